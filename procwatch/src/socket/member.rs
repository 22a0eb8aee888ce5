//! One client, as all parts of the agent know it: what it wants, and what waits for it.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::{net::UnixStream, sync::Notify};

use super::{outbox::Outbox, wish::Wish};

/// Who is at the other end, by the kernel's word at the time of connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process id, where it has one that we can see.
    pub pid: Option<u32>,
    /// Effective uid.
    pub uid: u32,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let cred = stream.peer_cred()?;
        let pid = cred.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        Ok(Self { pid, uid: cred.uid() })
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid {pid} (uid {})", self.uid),
            None => write!(f, "a client (uid {})", self.uid),
        }
    }
}

/// Why a client is let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It did not read; so many lines were dropped.
    Slow(u64),
    /// The agent ends, or its socket moves.
    Closing,
}

/// A client.
#[derive(Debug)]
pub struct Member {
    /// Who it is.
    pub peer: Peer,
    pub(super) stream: UnixStream,
    state: Mutex<State>,
    /// Something waits for it, or it is let go of.
    pub(super) wake: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) outbox: Outbox,
    pub(super) wish: Option<Wish>,
    /// The wish is new: nothing was told yet.
    pub(super) is_new: bool,
    pub(super) farewell: Option<Farewell>,
}

impl Member {
    pub(super) fn new(peer: Peer, stream: UnixStream) -> Self {
        Self { peer, stream, state: Mutex::default(), wake: Notify::new() }
    }

    /// All of the agent runs on one thread, so nobody ever waits here.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record for it. False when that was one too many: then it is let go of.
    pub(super) fn tell(&self, line: Bytes) -> bool {
        let mut state = self.state();
        if state.farewell.is_some() {
            return true;
        }
        let was_empty = state.outbox.is_empty();
        if !state.outbox.add(line, false) {
            state.let_go(1);
            drop(state);
            self.wake.notify_one();
            return false;
        }
        drop(state);
        if was_empty {
            self.wake.notify_one();
        }
        true
    }

    /// An answer, or a greeting.
    pub(super) fn answer(&self, line: Bytes) {
        self.state().outbox.add(line, true);
    }

    /// What the connection takes now is written. Returns how many lines are gone.
    ///
    /// # Errors
    /// When the connection fails.
    pub(super) fn flush(&self) -> io::Result<u64> {
        self.state().outbox.write_to(&self.stream)
    }
}

impl State {
    /// What it wishes, if that holds already.
    pub(super) fn begun(&mut self) -> Option<&mut Wish> {
        if self.is_new { None } else { self.wish.as_mut() }
    }

    /// It reads too slowly.
    pub(super) fn let_go(&mut self, besides: u64) {
        let dropped = self.outbox.drop_lines() + besides;
        self.wish = None;
        self.farewell = Some(Farewell::Slow(dropped));
    }
}
