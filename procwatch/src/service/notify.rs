//! Messages to the service manager, by the protocol of `sd_notify(3)`: one datagram each, to the socket that
//! `NOTIFY_SOCKET` names.
//!
//! Nothing here waits. Where there is no such socket nothing is sent; a message that the socket does not take is told in
//! the agent's own log, and what follows from it is the service manager's affair.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

use crate::text::escape_cut;

/// The variable that names the socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Characters of a status that are worth a line of `systemctl status`.
const STATUS: usize = 160;

/// Whether there is a service manager that wants to know.
pub fn is_wanted() -> bool {
    env::var_os(SOCKET).is_some()
}

/// The service is up, or has been reloaded; what it does in one line.
pub fn ready(status: &str) {
    send(&format!("READY=1\n{}", status_line(status)));
}

/// What the service does now in one line.
pub fn status(status: &str) {
    send(&status_line(status));
}

/// The configuration is being read again. [`ready`] says that this is over, whatever came of it.
pub fn reloading() {
    // Every Linux has this clock.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    send(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.as_micros()));
}

/// The service ends.
pub fn stopping() {
    send(&format!("STOPPING=1\n{}", status_line("ends")));
}

/// The service's loop goes round.
pub(super) fn alive() {
    send("WATCHDOG=1\n");
}

/// A status has one line: what would begin another one, and so another message, is escaped.
fn status_line(status: &str) -> String {
    format!("STATUS={}\n", escape_cut(status.as_bytes(), STATUS))
}

fn send(message: &str) {
    let Some(socket) = env::var_os(SOCKET) else {
        return;
    };
    if let Err(error) = send_to(&socket, message) {
        tracing::warn!("the service manager was not told: {error}");
    }
}

fn send_to(socket: &OsStr, message: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(socket)?,
        _ => return Err(io::Error::other(format!("{SOCKET} is neither a path nor an abstract name"))),
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_reach_sockets_with_and_without_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        send_to(path.as_os_str(), "READY=1\nSTATUS=armed\n").unwrap();
        assert_eq!(received(&by_path), "READY=1\nSTATUS=armed\n");

        let name = format!("procwatch-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        send_to(OsStr::new(&format!("@{name}")), "WATCHDOG=1\n").unwrap();
        assert_eq!(received(&by_name), "WATCHDOG=1\n");
    }

    #[test]
    fn what_cannot_be_reached_is_told() {
        assert!(send_to(OsStr::new("/no/such/socket"), "READY=1\n").is_err());
        let error = send_to(OsStr::new("vsock:2:1"), "READY=1\n").unwrap_err().to_string();
        assert!(error.contains("neither a path nor an abstract name"), "{error}");
    }

    #[test]
    fn a_status_is_one_short_line_whatever_it_quotes() {
        assert_eq!(status_line("rule\nREADY=1\x1b"), "STATUS=rule\\nREADY=1\\x1b\n");
        assert_eq!(status_line(&"x".repeat(1000)).chars().count(), "STATUS=…\n".chars().count() + STATUS);
    }
}
