//! The process that is asked about: who it is, and whether it still is.

use std::{io, os::unix::ffi::OsStrExt as _};

use procfs::{ProcError, process::Process as ProcProcess};

use super::{DiagnoseError, report::Process};
use crate::{
    clock::Clock,
    text::{Comm, Text},
    users::UserNames,
};

/// `PF_KTHREAD` of the kernel.
const PF_KTHREAD: u32 = 0x0020_0000;
/// Most arguments that are told.
const MAX_ARGS: usize = 64;

/// A process, held by a descriptor of its /proc folder, which never comes to mean another one.
#[derive(Debug)]
pub(super) struct Target {
    process: ProcProcess,
    start_ticks: u64,
    /// As it was at the beginning.
    pub told: Process,
    /// Effective uid.
    pub euid: u32,
    /// Effective gid.
    pub egid: u32,
}

impl Target {
    /// Looks at the process.
    ///
    /// # Errors
    /// When there is none of that pid, or it may not be looked at.
    pub(super) fn open(pid: u32) -> Result<Self, DiagnoseError> {
        let failed = |error: ProcError| match error {
            ProcError::NotFound(_) => DiagnoseError::None(pid),
            other => DiagnoseError::Unreadable { pid, source: io::Error::other(other) },
        };
        let number = i32::try_from(pid).map_err(|_| DiagnoseError::None(pid))?;
        let process = ProcProcess::new(number).map_err(failed)?;
        let (stat, status) = (process.stat().map_err(failed)?, process.status().map_err(failed)?);
        if status.tgid != number {
            return Err(DiagnoseError::Thread { tid: pid, pid: status.tgid.cast_unsigned() });
        }
        if stat.flags & PF_KTHREAD != 0 {
            return Err(DiagnoseError::Kernel(pid));
        }
        let start_ns = stat.starttime * 1_000_000_000 / procfs::ticks_per_second();
        let now = Clock::new().map_or(0, |clock| clock.now().0);
        let exe = process.exe().ok().map(|path| Text::new(path.as_os_str().as_bytes()));
        let argv = process.cmdline().unwrap_or_default();
        let told = Process {
            pid,
            start_ns,
            uid: status.ruid,
            user: UserNames::new().name(status.ruid).cloned(),
            comm: Comm::of_name(stat.comm.as_bytes()),
            exe,
            argv: argv.iter().take(MAX_ARGS).map(|it| Text::from(it.as_str())).collect(),
            rule: None,
            threads: u32::try_from(stat.num_threads).unwrap_or(0),
            age_ns: now.saturating_sub(start_ns),
        };
        Ok(Self { process, start_ticks: stat.starttime, told, euid: status.euid, egid: status.egid })
    }

    /// How many threads it has now.
    ///
    /// # Errors
    /// When it is gone, or another process bears its pid.
    pub(super) fn threads_now(&self) -> Result<u32, DiagnoseError> {
        let gone = DiagnoseError::Gone(self.told.pid);
        // The descriptor still means the old process; the number must, too, because files were read by it.
        let by_number = ProcProcess::new(self.process.pid).and_then(|process| process.stat());
        match (self.process.stat(), by_number) {
            (Ok(stat), Ok(by_number))
                if stat.starttime == self.start_ticks
                    && by_number.starttime == self.start_ticks
                    && stat.state != 'Z' =>
            {
                Ok(u32::try_from(stat.num_threads).unwrap_or(0))
            }
            _ => Err(gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn own_process_is_itself() {
        let me = Target::open(std::process::id()).unwrap();
        assert!(me.told.threads >= 1 && me.told.age_ns > 0);
        assert!(me.threads_now().unwrap() >= 1);
    }

    #[test]
    fn nobody_and_the_dead_are_told() {
        assert!(matches!(Target::open(u32::MAX), Err(DiagnoseError::None(u32::MAX))));
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let target = Target::open(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(target.threads_now(), Err(DiagnoseError::Gone(_))));
    }

    #[test]
    fn a_thread_is_no_process() {
        let tid = std::thread::spawn(|| {
            let tid = nix::unistd::gettid().as_raw().cast_unsigned();
            (tid, Target::open(tid).unwrap_err())
        });
        let (tid, error) = tid.join().unwrap();
        assert!(
            matches!(error, DiagnoseError::Thread { tid: it, pid } if it == tid && pid == std::process::id())
        );
    }
}
