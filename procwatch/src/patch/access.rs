//! The process, and its rights to files.
//!
//! procwatch is root, and the files belong to somebody who may be anything but friendly: who can write a folder can put a
//! link in the place of a file at any moment, and what a process calls its source is its own word. So all that is done
//! with files is done by a thread that has the process' rights to files and no others. Whatever path it is led to, it can
//! read and write there what the process itself could.

use std::{io, thread};

use nix::unistd::{Gid, Uid, geteuid, setfsgid, setfsuid};
use rustix::{
    fd::OwnedFd,
    fs::{CWD, Mode, OFlags, openat},
};

use super::{NoPatch, PatchError};
use crate::{event::ProcessKey, inspect};

/// A process that lives, by a descriptor of its folder in /proc, which never comes to mean another one.
#[derive(Debug)]
pub(super) struct Process {
    /// Its pid and start.
    pub(super) key: ProcessKey,
    /// Its folder in /proc.
    pub(super) folder: OwnedFd,
    /// Its root folder, in its mount namespace.
    pub(super) root: OwnedFd,
    /// The folder that it is in, by its path.
    pub(super) cwd: Option<std::path::PathBuf>,
    /// User id for files.
    pub(super) uid: u32,
    /// Group id for files.
    pub(super) gid: u32,
    groups: Vec<u32>,
}

impl Process {
    /// Opens the process' folder in /proc, and its root.
    pub(super) fn find(key: ProcessKey) -> Result<Self, NoPatch> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |at: &OwnedFd, name: &str| openat(at, name, folder, Mode::empty());
        let own =
            openat(CWD, format!("/proc/{}", key.pid), folder, Mode::empty()).map_err(|_| NoPatch::Gone)?;
        // If the pid is this process' now, then it was when the folder was opened, or the folder is a dead one's.
        let process = inspect::open(key).ok_or(NoPatch::Gone)?;
        let status = process.status().map_err(|_| NoPatch::Gone)?;
        let me = geteuid();
        if !me.is_root() && me.as_raw() != status.fuid {
            return Err(NoPatch::NotAllowed);
        }
        let root = open(&own, "root").map_err(|_| NoPatch::NotAllowed)?;
        let groups = status.groups.into_iter().collect();
        let cwd = process.cwd().ok();
        Ok(Self { key, folder: own, root, cwd, uid: status.fuid, gid: status.fgid, groups })
    }

    /// Does `work` in a thread that has this process' rights to files: its user, its groups, no capabilities for files.
    ///
    /// The thread keeps its user id for all else: a thread with another one could be signalled by that user, and all of
    /// procwatch with it.
    pub(super) fn with_its_rights<T: Send>(&self, work: impl FnOnce(&Self) -> T + Send) -> Result<T, Rights> {
        let work = || {
            self.assume().map_err(|_| Rights)?;
            Ok(work(self))
        };
        thread::scope(|scope| match scope.spawn(work).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Whether files are to be reached with other rights than we have: only root can, and needs to.
    pub(super) fn is_anothers(&self) -> bool {
        geteuid().is_root() && self.uid != 0
    }

    fn assume(&self) -> io::Result<()> {
        if !self.is_anothers() {
            return Ok(());
        }
        let groups: Vec<_> = self.groups.iter().map(|gid| rustix::fs::Gid::from_raw(*gid)).collect();
        // The system call itself, which is for this thread alone, as the next two are.
        rustix::thread::set_thread_groups(&groups)?;
        let (gid, uid) = (Gid::from_raw(self.gid), Uid::from_raw(self.uid));
        setfsgid(gid);
        setfsuid(uid);
        // They do not fail, they just do nothing. What is not valid as an id changes nothing either, and tells.
        if setfsgid(Gid::from_raw(u32::MAX)) == gid && setfsuid(Uid::from_raw(u32::MAX)) == uid {
            Ok(())
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

/// The rights of the process could not be taken on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights;

impl From<Rights> for NoPatch {
    fn from(_: Rights) -> Self {
        Self::NotAllowed
    }
}

impl From<Rights> for PatchError {
    fn from(_: Rights) -> Self {
        Self::Refused(NoPatch::NotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::{event::BootTime, samples};

    #[test]
    fn a_pid_without_its_start_is_nobody() {
        let me = samples::me().key();
        assert_eq!(Process::find(me).unwrap().uid, geteuid().as_raw());
        let other = ProcessKey { start: BootTime(me.start.0 + 1_000_000_000), ..me };
        assert_eq!(Process::find(other).err(), Some(NoPatch::Gone));
    }

    #[test]
    fn rights_are_those_of_the_process_in_that_thread_alone() {
        if !geteuid().is_root() {
            println!(
                "SKIPPED rights_are_those_of_the_process_in_that_thread_alone: only root can take on others'"
            );
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let secret = place.path().join("secret");
        fs::write(&secret, "s").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let nobody = Process {
            uid: 65534,
            gid: 65534,
            groups: Vec::new(),
            ..Process::find(samples::me().key()).unwrap()
        };
        let read = nobody.with_its_rights(|_| fs::read(&secret).map_err(|error| error.kind()));
        assert_eq!(read.unwrap(), Err(io::ErrorKind::PermissionDenied));
        let written = nobody
            .with_its_rights(|_| fs::write(place.path().join("new"), "x").map_err(|error| error.kind()));
        assert_eq!(written.unwrap(), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(fs::read(&secret).unwrap(), b"s");
        assert!(fs::write(place.path().join("new"), "x").is_ok());
    }
}
