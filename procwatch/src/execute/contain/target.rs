//! The process that is contained: held, and as /proc shows it.

use std::{fs, os::unix::fs::MetadataExt as _};

use procfs::process::Process as ProcFolder;

use super::protect::Nature;
use crate::{
    cgroup::{CgroupPath, Mount},
    event::{BootTime, ProcessKey},
    execute::HeldProcess,
    inspect,
    orphans::facts::{self, Facts},
    record::Process,
    text::Text,
    users::UserNames,
};

/// A process that is meant by pid and start, and is alive or was when it was held.
#[derive(Debug)]
pub struct Target {
    held: HeldProcess,
    facts: Facts,
    exe: Option<Text>,
    is_procwatch: bool,
}

impl Target {
    /// Holds the process of this pid and start; `None` when it has ended or another one bears its pid.
    pub fn of_key(key: ProcessKey) -> Option<Self> {
        let held = HeldProcess::of_key(key)?;
        let facts = facts_of(key.pid)?;
        if facts.start_ticks != inspect::start_ticks(key.start) || facts.is_zombie() {
            return None;
        }
        Some(Self { held, facts, exe: inspect::exe(key), is_procwatch: runs_procwatch(key.pid) })
    }

    /// Holds whoever bears this pid now; `None` when nobody does.
    pub fn of_pid(pid: u32) -> Option<Self> {
        Self::of_key(key_of(&facts_of(pid)?))
    }

    /// The process, held.
    pub const fn held(&self) -> &HeldProcess {
        &self.held
    }

    /// Its pid and start.
    pub const fn key(&self) -> ProcessKey {
        self.held.key()
    }

    /// Its pid.
    pub const fn pid(&self) -> u32 {
        self.held.pid()
    }

    /// What /proc said of it when it was held.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The same as the table of protection looks at it.
    pub const fn nature(&self) -> Nature<'_> {
        Nature {
            pid: self.facts.pid,
            comm: self.facts.comm,
            exe: self.exe.as_ref(),
            is_kernel_thread: self.facts.is_kernel_thread,
            is_procwatch: self.is_procwatch,
            leads_terminal: self.facts.sid == self.facts.pid && self.facts.has_terminal,
        }
    }

    /// Its threads now; 0 when it has ended.
    pub fn threads(&self) -> u32 {
        self.now().map_or(0, |facts| facts.threads)
    }

    /// Whether it is stopped by a signal now.
    pub fn is_stopped(&self) -> bool {
        self.now().is_some_and(|facts| facts.state == b'T')
    }

    /// The process part of a record about it.
    pub fn record(&self, users: &mut UserNames, mount: &Mount) -> Process {
        let Facts { pid, ppid, uid, euid, comm, threads, .. } = self.facts;
        let cgroup = inspect::cgroup(self.key());
        let folder = cgroup.as_ref().map(|path| mount.point.join(path.relative()));
        Process {
            pid,
            tid: pid,
            ppid,
            uid,
            euid,
            user: users.name(uid).cloned(),
            comm,
            threads,
            start_ns: self.key().start.0,
            cgroup_id: folder.and_then(|folder| fs::metadata(folder).ok()).map_or(0, |it| it.ino()),
            cgroup: cgroup.map(|path| shown(&path)),
            lineage: None,
        }
    }

    /// `None` when it has ended.
    fn now(&self) -> Option<Facts> {
        let facts = facts_of(self.pid())?;
        (facts.start_ticks == self.facts.start_ticks && !facts.is_zombie()).then_some(facts)
    }
}

/// The path of a cgroup as foreign text, which is escaped where it is shown.
pub(super) fn shown(path: &CgroupPath) -> Text {
    Text::from(path.raw().as_str())
}

/// The pid and start of a process as /proc tells them.
fn key_of(facts: &Facts) -> ProcessKey {
    let ns = u128::from(facts.start_ticks) * 1_000_000_000;
    let ns = ns.div_ceil(u128::from(procfs::ticks_per_second()));
    ProcessKey { pid: facts.pid, start: BootTime(u64::try_from(ns).unwrap_or(u64::MAX)) }
}

/// What /proc says of a process; `None` when there is none.
pub(super) fn facts_of(pid: u32) -> Option<Facts> {
    facts::read(&ProcFolder::new(i32::try_from(pid).ok()?).ok()?, |_| false)
}

/// Whether a process runs the file that this one runs.
fn runs_procwatch(pid: u32) -> bool {
    let file =
        |process: &str| fs::metadata(format!("/proc/{process}/exe")).ok().map(|it| (it.dev(), it.ino()));
    file("self").is_some_and(|own| file(&pid.to_string()) == Some(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_pid_and_held_by_its_start() {
        let pid = std::process::id();
        let me = Target::of_pid(pid).unwrap();
        assert_eq!((me.pid(), me.held().pid()), (pid, pid));
        assert!(me.threads() > 0 && !me.is_stopped());
        assert!(me.nature().is_procwatch, "it runs the file that this test is");
        assert_eq!(Target::of_key(me.key()).unwrap().facts().start_ticks, me.facts().start_ticks);
        let later = ProcessKey { start: BootTime(me.key().start.0 + 1_000_000_000), ..me.key() };
        assert!(Target::of_key(later).is_none());
        assert!(Target::of_pid(u32::MAX).is_none());
        let record = me.record(&mut UserNames::new(), &Mount::find().unwrap());
        assert_eq!((record.pid, record.start_ns), (pid, me.key().start.0));
    }
}
