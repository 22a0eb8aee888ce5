//! The socket at which one asks.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::{Group, chown};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::metrics::Listen;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// Who may ask at a socket in the file system, besides root.
const GROUP: &str = "procwatch";

/// Takes connections.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection.
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Acceptor {
    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Connection::Tcp(stream)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Connection::Unix(stream)),
        }
    }
}

/// The file of a socket, removed with this if it is still the same.
#[derive(Debug)]
pub(super) struct Bound(Option<(PathBuf, (u64, u64))>);

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some((path, ours)) = &self.0
            && fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == *ours)
        {
            // One that cannot be removed is removed by the next one who listens there.
            let _ = fs::remove_file(path);
        }
    }
}

/// Listens. An agent that listens there already with other settings, this one, does not stand in the way.
pub(super) fn bind(listen: &Listen) -> io::Result<(Acceptor, Bound)> {
    match listen {
        Listen::Tcp(address) => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            // At a reload the new one listens before the old one goes. Others of the same user only could join.
            socket.set_reuseport(true)?;
            socket.bind(*address)?;
            Ok((Acceptor::Tcp(socket.listen(BACKLOG)?), Bound(None)))
        }
        Listen::Unix(path) => bind_unix(path),
    }
}

fn bind_unix(path: &Path) -> io::Result<(Acceptor, Bound)> {
    if let Some(folder) = path.parent() {
        crate::lock::make_folder(folder)?;
    }
    refuse_foreign(path)?;
    // Beside it first, so that it is never there without its mode, and comes in place of an old one at once.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    let placed = admit_group(&new).and_then(|()| fs::rename(&new, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    let file = fs::symlink_metadata(path)?;
    Ok((Acceptor::Unix(listener), Bound(Some((path.to_owned(), (file.dev(), file.ino()))))))
}

/// For root, and for the group where there is one.
fn admit_group(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    if let Ok(Some(group)) = Group::from_name(GROUP) {
        chown(path, None, Some(group.gid))?;
    }
    Ok(())
}

/// An error when something is there that is no socket, or somebody else listens.
fn refuse_foreign(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket is there"));
    }
    let Ok(stream) = std::os::unix::net::UnixStream::connect(path) else {
        return Ok(());
    };
    stream.set_nonblocking(true)?;
    let peer = UnixStream::from_std(stream)?.peer_cred()?.pid();
    if peer == i32::try_from(std::process::id()).ok() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path) -> Listen {
        Listen::Unix(path.to_owned())
    }

    #[tokio::test]
    async fn a_new_socket_takes_the_place_of_an_old_one_and_only_the_last_removes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/m.sock");
        let (_first, first_file) = bind(&unix(&path)).unwrap();
        let (second, second_file) = bind(&unix(&path)).unwrap();
        drop(first_file);
        let metadata = fs::metadata(&path).unwrap();
        assert!(metadata.file_type().is_socket() && metadata.mode() & 0o777 == 0o660);
        let client = UnixStream::connect(&path).await.unwrap();
        let Connection::Unix(_) = second.accept().await.unwrap() else { panic!() };
        drop((client, second_file));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        // One that an agent left behind when it died.
        let (dead, dead_file) = bind(&unix(&path)).unwrap();
        std::mem::forget(dead_file);
        drop(dead);
        bind(&unix(&path)).unwrap();
    }

    #[tokio::test]
    async fn what_is_somebody_elses_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.sock");
        fs::write(&path, "text").unwrap();
        let error = bind(&unix(&path)).err().unwrap();
        assert_eq!(error.to_string(), "something that is no socket is there");
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }

    #[tokio::test]
    async fn two_of_us_may_have_one_port() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Listen::Tcp(free.local_addr().unwrap());
        assert_eq!(bind(&address).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(free);
        let (_first, _) = bind(&address).unwrap();
        bind(&address).unwrap();
    }
}
