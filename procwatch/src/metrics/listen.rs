//! The socket at which one asks.

use std::io;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::{
    config::metrics::Listen,
    files::GROUP,
    socket::{file, server::SocketError},
};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// Why nobody can ask.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// At an address.
    #[error("metrics.listen: {address}: {source}; name another one, or end who has it")]
    Address {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// At a socket in the file system.
    #[error("metrics.listen: {0}")]
    Socket(#[from] SocketError),
}

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

/// One that listens.
pub(super) struct Listening {
    pub(super) acceptor: Acceptor,
    /// Of a socket in the file system.
    pub(super) file: Option<file::SocketFile>,
    /// Why that is for root alone.
    pub(super) note: Option<String>,
}

/// Listens. An agent that listens there already with other settings, this one, does not stand in the way. Must be called
/// within a tokio runtime.
pub(super) fn bind(listen: &Listen) -> Result<Listening, MetricsError> {
    match listen {
        Listen::Tcp(address) => match bind_tcp(*address) {
            Ok(listener) => Ok(Listening { acceptor: Acceptor::Tcp(listener), file: None, note: None }),
            Err(source) => Err(MetricsError::Address { address: *address, source }),
        },
        Listen::Unix(path) => {
            let file::Bound { listener, file, note } = file::bind(path, GROUP)?;
            Ok(Listening { acceptor: Acceptor::Unix(listener), file: Some(file), note })
        }
    }
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // At a reload the new one listens before the old one goes. Of others only those of the same user could join.
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_of_us_may_have_one_port_and_nobody_elses() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = Listen::Tcp(free.local_addr().unwrap());
        let error = bind(&listen).err().unwrap().to_string();
        assert!(error.starts_with("metrics.listen: 127.0.0.1:") && error.contains("in use"), "{error}");
        drop(free);
        let _first = bind(&listen).unwrap();
        bind(&listen).unwrap();
    }

    #[tokio::test]
    async fn a_socket_is_removed_with_the_last_who_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.sock");
        let listen = Listen::Unix(path.clone());
        let bound = || {
            let mut listening = bind(&listen).unwrap();
            listening.file.as_mut().unwrap().take_place().unwrap();
            listening
        };
        let (first, second) = (bound(), bound());
        drop(first);
        let client = UnixStream::connect(&path).await.unwrap();
        assert!(matches!(second.acceptor.accept().await.unwrap(), Connection::Unix(_)));
        drop((client, second));
        assert!(!path.exists());
    }
}
