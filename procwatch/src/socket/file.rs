//! The socket in the file system: made where nobody else can put anything, for whom it is meant, and never in the place of
//! something that is not ours.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown},
    },
    path::{Path, PathBuf},
};

use nix::unistd::Group;
use rustix::{
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt},
};
use thiserror::Error;
use tokio::net::{UnixListener, UnixSocket};

use crate::{
    lock::make_folder,
    text::{escape, shown},
};

/// Read and write, for owner and group.
const MODE: u32 = 0o660;

/// Connections that wait to be taken.
const BACKLOG: u32 = 128;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Something is in its place.
    #[error(
        "{}: is there already and is no socket; remove it, or name another path in the configuration",
        shown(path)
    )]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// Another program listens there.
    #[error(
        "{}: another program listens there (pid {pid}); name another path in the configuration",
        shown(path)
    )]
    InUse {
        /// The path.
        path: PathBuf,
        /// Whose it is.
        pid: u32,
    },
    /// Somebody else could put something into its folder.
    #[error(
        "{}: must be a folder of root's that nobody else may write to (it is uid {uid}'s, mode {mode:o}); name \
         another path in the configuration",
        shown(folder)
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its permissions.
        mode: u32,
    },
    /// The system refused.
    #[error("{}: {source}; the socket of the agent cannot be made there", shown(path))]
    Io {
        /// The socket or its folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The socket's file. It is removed when this is dropped, unless another one has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Its folder, and the name that it has there until it takes its place.
    waits: Option<(File, OsString)>,
}

impl SocketFile {
    /// From now on it is at its path, in the place of whatever socket of ours was there.
    ///
    /// # Errors
    /// What the kernel says; then all is as before.
    pub(crate) fn take_place(&mut self) -> io::Result<()> {
        if let (Some((folder, fresh)), Some(name)) = (&self.waits, self.path.file_name()) {
            fs::rename(within(folder, fresh), within(folder, name))?;
            self.waits = None;
        }
        Ok(())
    }
}

/// By the folder that was looked at, whatever becomes of its name.
fn within(folder: &File, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name)
}

/// A socket that listens, and its file.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listener: UnixListener,
    pub(crate) file: SocketFile,
    /// Why it is for root alone.
    pub(crate) note: Option<String>,
}

/// Makes the socket that is to be at `path`, for root and `group`; it gets there with [`SocketFile::take_place`]. Must be
/// called within a tokio runtime.
pub(crate) fn bind(path: &Path, group: &str) -> Result<Bound, SocketError> {
    let failed = |source: io::Error| SocketError::Io { path: path.to_owned(), source };
    let no_name = || failed(io::ErrorKind::InvalidInput.into());
    let (folder_path, name) = path.parent().zip(path.file_name()).ok_or_else(no_name)?;
    let folder = open_folder(folder_path)?;
    make_room(&within(&folder, name), path)?;

    // Made under another name: it is there, with its permissions, in one step.
    let mut fresh = OsString::from(".");
    fresh.push(name);
    fresh.push(".new");
    let made = within(&folder, &fresh);
    match fs::remove_file(&made) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let socket = UnixSocket::new_stream().map_err(failed)?;
    socket.bind(&made).map_err(failed)?;
    // Nobody can connect before.
    let finished = finish(&made, group).and_then(|done| Ok((done, socket.listen(BACKLOG)?)));
    match finished {
        Ok(((identity, note), listener)) => {
            let file = SocketFile { path: path.to_owned(), identity, waits: Some((folder, fresh)) };
            Ok(Bound { listener, file, note })
        }
        Err(error) => {
            // What was begun is taken back, as far as possible.
            let _ = fs::remove_file(&made);
            Err(failed(error))
        }
    }
}

/// Gives it to the group, with its permissions.
fn finish(fresh: &Path, group: &str) -> io::Result<((u64, u64), Option<String>)> {
    let note = match Group::from_name(group) {
        Ok(Some(group)) => {
            chown(fresh, Some(0), Some(group.gid.as_raw()))?;
            None
        }
        Ok(None) => Some(format!("there is no group {}", escape(group.as_bytes()))),
        Err(error) => Some(format!("the group {} cannot be looked up: {error}", escape(group.as_bytes()))),
    };
    fs::set_permissions(fresh, fs::Permissions::from_mode(MODE))?;
    let found = fs::symlink_metadata(fresh)?;
    let note = note.map(|why| format!("the socket for others than root ({why}); only root is served"));
    Ok(((found.dev(), found.ino()), note))
}

/// Opens the folder, which is made if only it is missing.
fn open_folder(path: &Path) -> Result<File, SocketError> {
    let failed = |source: io::Error| SocketError::Io { path: path.to_owned(), source };
    make_folder(path).map_err(failed)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let folder =
        File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?);
    let found = folder.metadata().map_err(failed)?;
    let owner = nix::unistd::geteuid().as_raw();
    if found.uid() != owner || found.mode() & 0o022 != 0 {
        let (uid, mode) = (found.uid(), found.mode() & 0o7777);
        return Err(SocketError::Folder { folder: path.to_owned(), uid, mode });
    }
    Ok(folder)
}

/// A socket that nobody listens to any more, or that is our own, may be replaced; nothing else.
fn make_room(place: &Path, path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(SocketError::Io { path: path.to_owned(), source }),
        Ok(found) if !found.file_type().is_socket() => Err(SocketError::Occupied { path: path.to_owned() }),
        Ok(_) => match listener_at(place) {
            Some(pid) if pid != std::process::id() => Err(SocketError::InUse { path: path.to_owned(), pid }),
            _ => Ok(()),
        },
    }
}

/// Who listens at a socket; `None` when nobody does. Never waits.
fn listener_at(place: &Path) -> Option<u32> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    connect(&probe, &SocketAddrUnix::new(place).ok()?).ok()?;
    let cred = sockopt::socket_peercred(probe.as_fd()).ok()?;
    u32::try_from(cred.pid.as_raw_nonzero().get()).ok()
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let at =
            self.waits.as_ref().map_or_else(|| self.path.clone(), |(folder, fresh)| within(folder, fresh));
        let is_ours =
            fs::symlink_metadata(&at).is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_ours && let Err(error) = fs::remove_file(&at) {
            tracing::warn!("{}: {error}", shown(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixStream};

    use super::*;

    fn in_runtime(test: impl FnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        test();
    }

    /// At its path.
    fn bound(path: &Path, group: &str) -> Bound {
        let mut bound = bind(path, group).unwrap();
        bound.file.take_place().unwrap();
        bound
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn it_is_for_owner_and_group_alone_and_goes_with_its_owner() {
        in_runtime(|| {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("run/agent.sock");
            let bound = bound(&path, "no-such-group");
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o755));
            let note = bound.note.as_deref().unwrap();
            assert_eq!(
                note,
                "the socket for others than root (there is no group no-such-group); only root is served"
            );
            UnixStream::connect(&path).unwrap();
            let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
            assert_eq!(names.len(), 1, "nothing else is left there: {names:?}");
            drop(bound);
            assert!(!path.exists());
        });
    }

    #[test]
    fn a_stale_one_and_our_own_are_replaced_and_the_old_one_takes_nothing_away() {
        in_runtime(|| {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("agent.sock");
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            assert!(path.exists());
            let first = bound(&path, "");
            // One that never takes its place leaves nothing, and the first one where it is.
            drop(bind(&path, "").unwrap());
            UnixStream::connect(&path).unwrap();
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
            let second = bound(&path, "");
            drop(first);
            UnixStream::connect(&path).unwrap();
            drop(second);
            assert!(!path.exists());
        });
    }

    #[test]
    fn what_is_no_socket_stays() {
        in_runtime(|| {
            let place = tempfile::tempdir().unwrap();
            let (path, target) = (place.path().join("agent.sock"), place.path().join("precious"));
            fs::write(&target, "keep").unwrap();
            symlink(&target, &path).unwrap();
            assert!(matches!(bind(&path, ""), Err(SocketError::Occupied { .. })));
            fs::remove_file(&path).unwrap();
            fs::write(&path, "keep").unwrap();
            let error = bind(&path, "").unwrap_err().to_string();
            assert!(error.contains("agent.sock: is there already and is no socket"), "{error}");
            assert_eq!(fs::read_to_string(&target).unwrap(), "keep");
        });
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        in_runtime(|| {
            let place = tempfile::tempdir().unwrap();
            let open = place.path().join("open");
            fs::create_dir(&open).unwrap();
            fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
            assert!(matches!(bind(&open.join("a.sock"), ""), Err(SocketError::Folder { mode: 0o777, .. })));
            let link = place.path().join("link");
            symlink(place.path(), &link).unwrap();
            assert!(matches!(bind(&link.join("a.sock"), ""), Err(SocketError::Io { .. })));
        });
    }
}
