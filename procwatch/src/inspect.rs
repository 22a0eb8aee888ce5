//! A look at one process in /proc: only ever the one that an alert or a move is about.

use std::{io::Read as _, os::unix::ffi::OsStrExt};

use procfs::process::Process;

use crate::{
    cgroup::CgroupPath,
    event::{ProcessKey, Provenance, Subject},
    text::Text,
};

/// What stands behind a pid now.
#[derive(Debug, PartialEq, Eq)]
pub enum Identity {
    /// The process meant, with the uids it had.
    Same,
    /// The process meant, with other uids.
    OtherUids,
    /// Nobody, or another process.
    Gone,
}

/// Whether `subject` is still the process behind its pid, with the same uids.
pub fn identity(subject: &Subject) -> Identity {
    let Some(process) = open(subject.key()) else {
        return Identity::Gone;
    };
    match process.status() {
        Ok(status) if (status.ruid, status.euid) == (subject.uid, subject.euid) => Identity::Same,
        Ok(_) => Identity::OtherUids,
        Err(_) => Identity::Gone,
    }
}

/// The executable of a process; `None` when it is gone, or has none.
pub fn exe(key: ProcessKey) -> Option<Text> {
    let path = open(key)?.exe().ok()?;
    Some(Text::new(path.as_os_str().as_bytes()))
}

/// The arguments of a process; `None` when it is gone.
pub fn argv(key: ProcessKey) -> Option<Vec<Text>> {
    /// More than a rule looks at, bytes.
    const MOST: u64 = 64 << 10;
    let mut bytes = Vec::new();
    let cmdline = open(key)?.open_relative("cmdline").ok()?;
    cmdline.take(MOST).read_to_end(&mut bytes).ok()?;
    let args = bytes.split_inclusive(|byte| *byte == 0);
    Some(args.map(|arg| Text::new(arg.strip_suffix(&[0]).unwrap_or(arg))).collect())
}

/// Whether the process lives.
pub fn is_alive(key: ProcessKey) -> bool {
    open(key).is_some()
}

/// The cgroup of a process; `None` when it is gone, or its cgroup has a name that is no text.
pub fn cgroup(key: ProcessKey) -> Option<CgroupPath> {
    let all = open(key)?.cgroups().ok()?;
    let unified = all.into_iter().find(|cgroup| cgroup.hierarchy == 0)?;
    CgroupPath::parse(&unified.pathname).ok()
}

/// Where a process comes from, as far as /proc tells: its login uid and its terminal.
pub fn provenance(key: ProcessKey) -> Provenance {
    let Some(process) = open(key) else {
        return Provenance::default();
    };
    let tty = process.stat().ok().and_then(|stat| terminal(stat.tty_nr()));
    let loginuid = process.loginuid().ok().filter(|uid| *uid != u32::MAX);
    Provenance { loginuid, tty, ..Provenance::default() }
}

/// The name of a terminal by its device number, major and minor; `None` for none and for rare ones.
fn terminal((major, minor): (i32, i32)) -> Option<Text> {
    // Documentation/admin-guide/devices.txt: pseudo terminals take eight majors of 256 each.
    let name = match major {
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => return None,
    };
    Some(Text::from(name.as_str()))
}

/// The process, held by a descriptor of its /proc folder, which never comes to mean another one.
pub(crate) fn open(key: ProcessKey) -> Option<Process> {
    let process = Process::new(i32::try_from(key.pid).ok()?).ok()?;
    let started = process.stat().ok()?.starttime;
    // /proc tells the start in clock ticks, rounded down.
    let ticks = u128::from(key.start.0) * u128::from(procfs::ticks_per_second()) / 1_000_000_000;
    (u128::from(started) == ticks).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::BootTime, samples};

    #[test]
    fn pid_alone_is_no_identity() {
        let me = samples::me();
        assert_eq!(identity(&me), Identity::Same);
        let later = BootTime(me.start.0 + 1_000_000_000);
        assert_eq!(identity(&Subject { start: later, ..me.clone() }), Identity::Gone);
        assert_eq!(identity(&Subject { euid: 12345, ..me.clone() }), Identity::OtherUids);
        assert!(exe(me.key()).is_some());
        let mine = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let mine = mine.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        assert_eq!(cgroup(me.key()), CgroupPath::parse(mine).ok());
    }
}
