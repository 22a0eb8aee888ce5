//! What reaches the agent's loop besides the kernel: orders, questions and complaints.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::ask::{Ask, Asker};
use crate::sink::listener::Complaints;

/// Something for the loop.
#[derive(Debug)]
pub enum Note {
    /// SIGHUP: the configuration is to be read again.
    Reload,
    /// A client asks.
    Ask(Ask),
    /// An output has a problem.
    Complaint(String),
}

/// The loop's end.
pub struct Inbox {
    hangup: Signal,
    asks: mpsc::Receiver<Ask>,
    complaints: mpsc::Receiver<String>,
}

impl Inbox {
    /// From now on SIGHUP does not end the process. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the handler cannot be set.
    pub fn new() -> io::Result<(Self, Asker, Complaints)> {
        let (asker, asks) = Asker::channel();
        let (complaints, received) = Complaints::channel();
        let inbox = Self { hangup: signal(SignalKind::hangup())?, asks, complaints: received };
        Ok((inbox, asker, complaints))
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Note {
        tokio::select! {
            Some(()) = self.hangup.recv() => Note::Reload,
            Some(ask) = self.asks.recv() => Note::Ask(ask),
            Some(complaint) = self.complaints.recv() => Note::Complaint(complaint),
            else => std::future::pending().await,
        }
    }
}
