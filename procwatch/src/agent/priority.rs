//! How soon the agent runs when it is woken.

use std::io;

use clap::ValueEnum;

/// How soon the agent runs when it is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Priority {
    /// Before all ordinary work: an alert is most wanted when the CPUs are fought for
    Realtime,
    /// Like any process
    Normal,
}

impl Priority {
    /// Its name as shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::Normal => "normal",
        }
    }

    /// Applies it to the calling thread. Threads that it starts later, such as the one that writes to standard output,
    /// are ordinary again. Returns what holds: the kernel may refuse.
    #[must_use]
    pub fn apply(self) -> Self {
        if self == Self::Normal {
            return self;
        }
        match round_robin() {
            Ok(()) => Self::Realtime,
            Err(error) => {
                tracing::warn!("no realtime priority: {error}; alerts may be late on a busy machine");
                Self::Normal
            }
        }
    }
}

/// The lowest of the realtime priorities is above all ordinary work, and below everything else of its kind.
fn round_robin() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: reads one structure, which outlives the call; 0 is the calling thread.
    let result = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameters)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
