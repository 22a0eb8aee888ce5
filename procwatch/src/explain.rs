//! What placement decides about a process that runs, read from /proc once: for people who ask.

use std::{fs, io};

use procfs::{ProcError, process::Process};
use thiserror::Error;

use crate::{
    agent::placing::delegated,
    cgroup::{CgroupPath, Mount},
    config::{Owner, PlaceRule},
    detect::judge::{Candidate, Judgement, judge},
    event::{BootTime, Forebear, Provenance, Subject},
    inspect,
    record::Reason,
    text::{Comm, Text},
};

/// Longest lineage that is told.
const MAX_LINEAGE: usize = 32;
/// `PF_KTHREAD` of the kernel.
const PF_KTHREAD: u32 = 0x0020_0000;
/// Programs that wait as root for a child of another user.
const SWITCHERS: [&str; 6] = ["su", "sudo", "runuser", "login", "doas", "pkexec"];

/// Why nothing can be said.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// Nobody bears that pid.
    #[error("there is no process {0}")]
    None(u32),
    /// It could not be looked at.
    #[error("process {pid}: {source}")]
    Unreadable {
        /// Its pid.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A process as /proc shows it.
#[derive(Debug)]
pub struct Explained {
    /// The process.
    pub subject: Subject,
    /// Its cgroup; `None` when it is in none of the v2 hierarchy.
    pub cgroup: Option<CgroupPath>,
    /// Its program; `None` for a thread of the kernel.
    pub exe: Option<Text>,
    /// Where it comes from.
    pub provenance: Provenance,
    gids: [u32; 2],
    delegated: Option<CgroupPath>,
    is_kernel_thread: bool,
    is_in_other_namespace: bool,
}

/// What is decided, and by which rule; no rule where none speaks of the process.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// What is decided, and why.
    pub judgement: Judgement,
    /// The rule.
    pub rule: Option<&'a PlaceRule>,
}

impl Explained {
    /// Looks at the process.
    ///
    /// # Errors
    /// [`ExplainError`].
    pub fn read(pid: u32, mount: &Mount) -> Result<Self, ExplainError> {
        let named = |error: ProcError| match error {
            ProcError::NotFound(_) => ExplainError::None(pid),
            other => ExplainError::Unreadable { pid, source: io::Error::other(other) },
        };
        let process = open(pid).map_err(named)?;
        let (stat, status) = (process.stat().map_err(named)?, process.status().map_err(named)?);
        let subject = subject(&stat, &status);
        let cgroup = process.cgroups().map_err(named)?.into_iter().find(|group| group.hierarchy == 0);
        let cgroup = cgroup.and_then(|group| CgroupPath::parse(&group.pathname).ok());
        Ok(Self {
            delegated: cgroup.as_ref().and_then(|cgroup| delegated(&mount.point, cgroup, subject.uid)),
            cgroup,
            exe: inspect::exe(subject.key()),
            provenance: Provenance { ancestors: ancestors(stat.ppid), ..inspect::provenance(subject.key()) },
            gids: [status.rgid, status.egid],
            is_kernel_thread: stat.flags & PF_KTHREAD != 0,
            is_in_other_namespace: ["pid", "cgroup"].into_iter().any(|kind| is_other_namespace(pid, kind)),
            subject,
        })
    }

    /// What `rules` say of it.
    pub fn judged<'a>(&self, rules: &'a [PlaceRule]) -> Verdict<'a> {
        if let Some(rule) = self.rule(rules) {
            let exe = self.exe.as_ref();
            let candidate = Candidate {
                subject: &self.subject,
                cgroup: self.cgroup.as_ref(),
                delegated: self.delegated.as_ref(),
                is_kernel_thread: self.is_kernel_thread,
                is_in_other_namespace: self.is_in_other_namespace,
                exe,
                ancestors: &self.provenance.ancestors,
            };
            return Verdict { judgement: judge(rule, &candidate), rule: Some(rule) };
        }
        let (reason, evidence) = self.without_rule(rules);
        Verdict { judgement: Judgement { reason, evidence, of_cgroup: false }, rule: None }
    }

    /// The rule for its uid, or else for its gid. One of which only one id fits is someone else for a moment.
    fn rule<'a>(&self, rules: &'a [PlaceRule]) -> Option<&'a PlaceRule> {
        let Subject { uid, euid, .. } = self.subject;
        let of_uid = |rule: &&PlaceRule| [uid, euid].iter().any(|id| rule.owner == Owner::Uid(*id));
        let of_gid = |rule: &&PlaceRule| uid != 0 && self.gids.iter().all(|id| rule.owner == Owner::Gid(*id));
        rules.iter().find(of_uid).or_else(|| rules.iter().find(of_gid))
    }

    fn without_rule(&self, rules: &[PlaceRule]) -> (Reason, Option<String>) {
        if self.is_kernel_thread {
            return (Reason::KernelThread, None);
        }
        if self.subject.pid == 1 || self.subject.pid == std::process::id() {
            return (Reason::Protected, None);
        }
        let is_switcher = SWITCHERS.iter().any(|name| name.as_bytes() == self.subject.comm.as_bytes());
        if self.subject.euid == 0 && is_switcher {
            let child = children(self.subject.pid)
                .into_iter()
                .find(|child| rules.iter().any(|rule| rule.owner == Owner::Uid(child.uid)));
            if let Some(child) = child {
                return (Reason::RootParent, Some(format!("waits for {}({})", child.comm, child.pid)));
            }
        }
        (Reason::OtherUser, None)
    }
}

fn open(pid: u32) -> Result<Process, ProcError> {
    Process::new(i32::try_from(pid).map_err(|_| ProcError::NotFound(None))?)
}

fn subject(stat: &procfs::process::Stat, status: &procfs::process::Status) -> Subject {
    // /proc tells the start in clock ticks, and that is how it is compared.
    let start = BootTime((stat.starttime * 1_000_000_000).div_ceil(procfs::ticks_per_second()));
    Subject {
        pid: stat.pid as u32,
        tid: stat.pid as u32,
        ppid: stat.ppid as u32,
        uid: status.ruid,
        euid: status.euid,
        threads: stat.num_threads as u32,
        start,
        cgroup_id: 0,
        comm: Comm::of_name(stat.comm.as_bytes()),
    }
}

fn ancestors(mut pid: i32) -> Vec<Forebear> {
    let mut ancestors = Vec::new();
    while pid > 0 && ancestors.len() < MAX_LINEAGE {
        let look = |process: Process| Ok::<_, ProcError>((process.stat()?, process.status()?));
        let Ok((stat, status)) = Process::new(pid).and_then(look) else {
            break;
        };
        let subject = subject(&stat, &status);
        ancestors.push(Forebear { key: subject.key(), uid: subject.uid, comm: subject.comm });
        pid = stat.ppid;
    }
    ancestors
}

fn children(pid: u32) -> Vec<Subject> {
    let all = procfs::process::all_processes().into_iter().flatten().filter_map(Result::ok);
    let looked_at = all.filter_map(|process| Some(subject(&process.stat().ok()?, &process.status().ok()?)));
    looked_at.filter(|child| child.ppid == pid).collect()
}

/// Whether it has another namespace of that kind than the first process.
fn is_other_namespace(pid: u32, kind: &str) -> bool {
    let of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    match (of(pid), of(1)) {
        (Some(own), Some(first)) => own != first,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cgroup::SliceRef,
        config::{Ignore, Location},
    };

    fn rule(owner: Owner, slice: &str) -> PlaceRule {
        PlaceRule {
            owner,
            slice: SliceRef::parse(slice).unwrap(),
            from: vec![SliceRef::parse("/").unwrap()],
            hold: std::time::Duration::ZERO,
            ignore: Ignore::default(),
            described: "place[1]".to_owned(),
            location: Location::of_file("t.toml".as_ref()),
        }
    }

    /// The process of the test, of that uid.
    fn me(uid: u32) -> Explained {
        let mut me = Explained::read(std::process::id(), &Mount::find().unwrap()).unwrap();
        // Not the test itself, which is protected, but one like it.
        me.subject.pid = 0;
        (me.subject.uid, me.subject.euid) = (uid, uid);
        // Nor in a service, wherever the tests run.
        (me.cgroup, me.delegated) = (CgroupPath::parse("/session").ok(), None);
        me
    }

    #[test]
    fn nobody_is_no_process() {
        let mount = Mount::find().unwrap();
        assert!(matches!(Explained::read(u32::MAX, &mount), Err(ExplainError::None(u32::MAX))));
    }

    #[test]
    fn the_rule_of_the_uid_comes_before_that_of_the_gid() {
        let mut me = me(1003);
        me.gids = [7, 7];
        let rules = [rule(Owner::Gid(7), "/nowhere"), rule(Owner::Uid(1003), "/nowhere-else")];
        let verdict = me.judged(&rules);
        assert_eq!((verdict.rule, verdict.judgement.reason), (Some(&rules[1]), Reason::OutsideSlice));
        assert_eq!(me.judged(&rules[..1]).rule, Some(&rules[0]));
        me.subject.euid = 0;
        assert_eq!(me.judged(&rules).judgement.reason, Reason::ForAMoment);
        assert_eq!(self::me(5).judged(&rules).judgement.reason, Reason::OtherUser);
    }

    #[test]
    fn the_first_process_is_protected_and_has_no_ancestors() {
        let first = Explained::read(1, &Mount::find().unwrap()).unwrap();
        assert_eq!(first.judged(&[]).judgement.reason, Reason::Protected);
        assert_eq!(first.provenance.ancestors, []);
    }
}
