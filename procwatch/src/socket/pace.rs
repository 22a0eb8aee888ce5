//! How fast new clients are let in: one who comes and goes all the time must not keep the agent busy.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Connections that are taken in each [`SPAN`]; the rest waits in the kernel.
const BURST: u32 = 32;

/// How long that is.
const SPAN: Duration = Duration::from_millis(50);

/// Counts connections.
#[derive(Debug)]
pub(super) struct Pace {
    taken: u32,
    since: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { taken: 0, since: Instant::now() }
    }

    /// One more was taken: returns when the next may be.
    pub(super) async fn step(&mut self) {
        if let Some(wait) = self.wait(Instant::now()) {
            sleep_until(wait).await;
        }
    }

    fn wait(&mut self, now: Instant) -> Option<Instant> {
        let next = self.since + SPAN;
        if now >= next {
            (self.taken, self.since) = (1, now);
            return None;
        }
        self.taken += 1;
        if self.taken < BURST {
            return None;
        }
        (self.taken, self.since) = (0, next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_the_next_waits() {
        let mut pace = Pace::new();
        let now = pace.since;
        let waits: Vec<_> = (0..BURST).filter_map(|_| pace.wait(now)).collect();
        assert_eq!(waits, [now + SPAN], "the last one of the burst");
        assert_eq!(pace.wait(now + SPAN), None);
        assert_eq!(pace.wait(now + SPAN * 3), None);
    }
}
