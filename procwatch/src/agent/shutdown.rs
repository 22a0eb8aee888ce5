//! The orders to end: SIGTERM and SIGINT, and SIGUSR1, which leaves the kernel's part behind.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::timeout,
};

use crate::{config::Pin, systemd};

/// How long the service manager may take to tell whether it starts us again.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits for the order to end.
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
    leave: Signal,
    /// The order was to leave the kernel's part behind.
    leaves: bool,
}

impl Shutdown {
    /// From now on the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// When the handlers cannot be set.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            leave: signal(SignalKind::user_defined1())?,
            leaves: false,
        })
    }

    /// Returns when one of them has come. Cancel safe.
    pub async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.leave.recv() => self.leaves = true,
        }
    }

    /// Whether what is pinned is to stay when the agent ends now: because the order or the configuration says so, or because
    /// the service manager is about to start the agent again. Of whoever stops it for good nothing is left.
    pub async fn keeps(&self, pin: Pin) -> bool {
        if self.leaves || pin == Pin::Always {
            return true;
        }
        // Set by systemd for what it starts.
        if pin == Pin::Never || std::env::var_os("INVOCATION_ID").is_none() {
            return false;
        }
        let asked = timeout(PATIENCE, spawn_blocking(systemd::restarts_us)).await;
        matches!(asked, Ok(Ok(true)))
    }
}
