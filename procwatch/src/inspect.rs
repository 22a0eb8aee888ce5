//! A look at one process in /proc: only ever the one that an alert or a move is about.

use std::{
    io::Read as _,
    os::unix::{ffi::OsStrExt, fs::MetadataExt as _},
};

use procfs::{ProcResult, process::Process};

use crate::{
    cgroup::CgroupPath,
    config::Program,
    event::{BootTime, ProcessKey, Provenance, Subject},
    text::{Comm, Text},
};

/// So much of a command line is read, bytes.
const MAX_CMDLINE: u64 = 32 << 10;

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

/// The real uid of a process; `None` when it is gone.
pub fn uid(key: ProcessKey) -> Option<u32> {
    Some(open(key)?.status().ok()?.ruid)
}

/// The real and effective gid of a process; `None` when it is gone.
pub fn gids(key: ProcessKey) -> Option<[u32; 2]> {
    let status = open(key)?.status().ok()?;
    Some([status.rgid, status.egid])
}

/// Whether a process took on other ids and has run no program since, as `su` before it becomes a shell. Also true of one
/// whose program its user may not read, and of one that forbids to be looked at.
pub fn is_becoming(key: ProcessKey) -> bool {
    // The kernel gives the files of such a process to root, until an exec makes it one of its user's own.
    let look = || {
        let process = open(key)?;
        let owner = process.open_relative("status").ok()?.metadata().ok()?.uid();
        Some(owner != process.status().ok()?.euid)
    };
    look().unwrap_or(false)
}

/// When a process started, in the clock ticks of /proc, which rounds down.
pub fn start_ticks(start: BootTime) -> u64 {
    let ticks = u128::from(start.0) * u128::from(procfs::ticks_per_second()) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The executable of a process; `None` when it is gone, or has none.
pub fn exe(key: ProcessKey) -> Option<Text> {
    let path = open(key)?.exe().ok()?;
    Some(Text::new(path.as_os_str().as_bytes()))
}

/// The folder that a process is in; `None` when it is gone.
pub fn cwd(key: ProcessKey) -> Option<Text> {
    let path = open(key)?.cwd().ok()?;
    Some(Text::new(path.as_os_str().as_bytes()))
}

/// How many threads a process has; `None` when it is gone.
pub fn threads(key: ProcessKey) -> Option<u32> {
    let threads = open(key)?.stat().ok()?.num_threads;
    u32::try_from(threads).ok()
}

/// Whether the process lives. One that waits for its parent to take note is dead; one whose first thread has ended looks
/// like that, but has others.
pub fn is_alive(key: ProcessKey) -> bool {
    let stat = open(key).and_then(|process| process.stat().ok());
    stat.is_some_and(|stat| !matches!(stat.state, 'Z' | 'X') || stat.num_threads > 1)
}

/// A process as rules on threads look at it; `None` when it is gone.
pub fn program(key: ProcessKey) -> Option<Program> {
    program_of(&open(key)?).ok()
}

/// The same, of whoever bears this pid now.
///
/// # Errors
/// When nobody does, or /proc cannot be read.
pub fn program_by_pid(pid: i32) -> ProcResult<Program> {
    program_of(&Process::new(pid)?)
}

fn program_of(process: &Process) -> ProcResult<Program> {
    let comm = read(process, "comm")?;
    let cmdline = read(process, "cmdline")?;
    let arguments = cmdline.strip_suffix(b"\0").unwrap_or(&cmdline);
    Ok(Program {
        uid: process.status()?.ruid,
        comm: Comm::of_name(comm.strip_suffix(b"\n").unwrap_or(&comm)),
        exe: process.exe().ok().map(|path| {
            // An upgrade takes the file away from those that run it; they stay the program that they were.
            let path = path.as_os_str().as_bytes();
            Text::new(path.strip_suffix(b" (deleted)").unwrap_or(path))
        }),
        // Threads of the kernel and zombies have none.
        argv: (!cmdline.is_empty()).then(|| arguments.split(|byte| *byte == 0).map(Text::new).collect()),
        cgroup: cgroup_of(process),
    })
}

fn read(process: &Process, name: &str) -> ProcResult<Vec<u8>> {
    let mut bytes = Vec::new();
    process.open_relative(name)?.take(MAX_CMDLINE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The cgroup of a process; `None` when it is gone, or its cgroup has a name that is no text.
pub fn cgroup(key: ProcessKey) -> Option<CgroupPath> {
    cgroup_of(&open(key)?)
}

fn cgroup_of(process: &Process) -> Option<CgroupPath> {
    let all = process.cgroups().ok()?;
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
    (started == start_ticks(key.start)).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn pid_alone_is_no_identity() {
        let me = samples::me();
        assert_eq!(identity(&me), Identity::Same);
        let later = BootTime(me.start.0 + 1_000_000_000);
        assert_eq!(identity(&Subject { start: later, ..me.clone() }), Identity::Gone);
        assert_eq!(identity(&Subject { euid: 12345, ..me.clone() }), Identity::OtherUids);
        assert!(exe(me.key()).is_some());
        let own = [nix::unistd::getgid(), nix::unistd::getegid()].map(nix::unistd::Gid::as_raw);
        assert_eq!(gids(me.key()), Some(own));
        let mine = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let mine = mine.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        assert_eq!(cgroup(me.key()), CgroupPath::parse(mine).ok());
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let ticks = Process::new(pid).unwrap().stat().unwrap().starttime;
        let ns = (u128::from(ticks) * 1_000_000_000).div_ceil(u128::from(procfs::ticks_per_second()));
        let key = ProcessKey { pid: child.id(), start: BootTime(u64::try_from(ns).unwrap()) };
        assert!(is_alive(key));
        child.kill().unwrap();
        // It is waited for without being taken away.
        let ended = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        nix::sys::wait::waitid(nix::sys::wait::Id::Pid(nix::unistd::Pid::from_raw(pid)), ended).unwrap();
        assert!(open(key).is_some() && !is_alive(key));
        child.wait().unwrap();
    }

    #[test]
    fn a_program_is_what_runs() {
        let me = samples::me();
        let program = program(me.key()).unwrap();
        assert_eq!((program.uid, program.exe, program.cgroup), (me.uid, exe(me.key()), cgroup(me.key())));
        let argv: Vec<_> = std::env::args_os().map(|it| Text::new(it.as_bytes())).collect();
        assert_eq!(program.argv, Some(argv));
        let later = BootTime(me.start.0 + 1_000_000_000);
        assert!(super::program(Subject { start: later, ..me }.key()).is_none());
        assert!(program_by_pid(i32::MAX).is_err());
    }
}
