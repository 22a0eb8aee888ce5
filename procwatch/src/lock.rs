//! One agent per machine.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use thiserror::Error;

use crate::text::shown;

/// Where the agent's lock is.
pub const AGENT_LOCK: &str = "/run/procwatch/agent.lock";

/// Why the lock could not be had.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another agent has it.
    #[error(
        "another procwatch agent runs on this machine ({holder}); stop it first ({} is locked)",
        shown(path)
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// `pid N`, or that it is unknown.
        holder: String,
    },
    /// The file could not be made, opened or locked.
    #[error("{}: {source}; the agent needs to lock this file", shown(path))]
    Io {
        /// The lock file or its folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The lock, for as long as this lives. The kernel lets go of it when the process ends, however it ends, so a file
/// that is left behind means nothing; it stays, because removing it would let two agents lock different files.
#[derive(Debug)]
pub struct AgentLock {
    _file: File,
}

impl AgentLock {
    /// Takes the lock at `path`, usually [`AGENT_LOCK`], making its folder (0755) and the file (0600) if they are
    /// absent, and writes this process' id into it.
    ///
    /// # Errors
    /// [`LockError::Held`] with the pid of the agent that has it; [`LockError::Io`] for all else.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            make_folder(folder).map_err(|source| LockError::Io { path: folder.to_owned(), source })?;
        }
        let mut file = open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { path: path.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Only the holder may touch the content.
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The process id of the agent that holds the lock at `path`; `None` when there is none.
pub fn running_agent(path: &Path) -> Option<u32> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).ok()?;
    // Shared, so that two who ask do not take each other for an agent.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => pid_in(&mut file),
        _ => None,
    }
}

/// The running agent, held by a pidfd: what is done to it is done to nobody else.
#[derive(Debug)]
pub struct RunningAgent {
    pid: u32,
    fd: OwnedFd,
}

impl RunningAgent {
    /// Finds the one that holds the lock at `path`; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be held.
    pub fn find(path: &Path) -> io::Result<Option<Self>> {
        let Some(pid) = running_agent(path) else {
            return Ok(None);
        };
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let fd = match pidfd_open(raw, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            opened => opened?,
        };
        // It may have ended meanwhile, and another process bear its pid.
        Ok((running_agent(path) == Some(pid)).then_some(Self { pid, fd }))
    }

    /// Process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal; that it has ended already is no error.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Err(Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// Waits for its end, at most `limit`. Whether it has ended.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn ends_within(&self, limit: Duration) -> io::Result<bool> {
        let begun = Instant::now();
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            let timeout =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) if begun.elapsed() < limit => {}
                Ok(ready) => return Ok(ready > 0),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Makes a folder for files of a run of the machine (0755) unless it is there.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Opens a file that only root may touch, and makes it if it is absent. The standard library sets `O_CLOEXEC` itself.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

fn holder(file: &mut File) -> String {
    pid_in(file).map_or_else(|| "its pid is not known".to_owned(), |pid| format!("pid {pid}"))
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, symlink},
    };

    #[test]
    fn the_second_is_told_who_has_it_until_the_first_ends() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run/agent.lock");
        let first = AgentLock::take(&path).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600);
        let error = AgentLock::take(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        assert_eq!(running_agent(&path), Some(std::process::id()));
        let agent = RunningAgent::find(&path).unwrap().unwrap();
        assert_eq!(agent.pid(), std::process::id());
        assert!(!agent.ends_within(Duration::from_millis(1)).unwrap());
        drop(first);
        assert_eq!(running_agent(&path), None);
        assert!(RunningAgent::find(&path).unwrap().is_none());
        AgentLock::take(&path).unwrap();
    }

    #[test]
    fn old_content_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("agent.lock");
        fs::write(&path, "123456789012345\n").unwrap();
        let _lock = AgentLock::take(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_symbolic_link_is_refused_and_its_target_untouched() {
        let place = tempfile::tempdir().unwrap();
        let (target, path) = (place.path().join("precious"), place.path().join("agent.lock"));
        fs::write(&target, "keep").unwrap();
        symlink(&target, &path).unwrap();
        assert!(matches!(AgentLock::take(&path), Err(LockError::Io { .. })));
        assert_eq!(fs::read_to_string(&target).unwrap(), "keep");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("no/such/agent.lock");
        let error = AgentLock::take(&path).unwrap_err().to_string();
        assert!(error.contains("no/such: "), "{error}");
    }
}
