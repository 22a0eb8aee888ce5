//! Complaints about clients: few, whatever clients do.

use std::time::Duration;

use tokio::time::Instant;

use crate::sink::listener::Complaints;

/// Shortest time between two of them.
const APART: Duration = Duration::from_secs(10);

/// Tells what goes wrong with clients.
#[derive(Debug)]
pub(super) struct Grumbler {
    complaints: Complaints,
    last: Option<Instant>,
    /// Not told since.
    silent: u64,
}

impl Grumbler {
    pub(super) const fn new(complaints: Complaints) -> Self {
        Self { complaints, last: None, silent: 0 }
    }

    /// Tells it, unless something was told just before: then it is only counted.
    pub(super) fn say(&mut self, what: &str) {
        if let Some(what) = self.due(what, Instant::now()) {
            self.complaints.make(what);
        }
    }

    fn due(&mut self, what: &str, now: Instant) -> Option<String> {
        if self.last.is_some_and(|last| now < last + APART) {
            self.silent += 1;
            return None;
        }
        self.last = Some(now);
        let silent = std::mem::take(&mut self.silent);
        let more =
            if silent == 0 { String::new() } else { format!("; {silent} more before it were not told") };
        Some(format!("socket: {what}{more}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_many_are_counted() {
        let mut grumbler = Grumbler::new(Complaints::channel().0);
        let now = Instant::now();
        assert_eq!(grumbler.due("a", now).unwrap(), "socket: a");
        assert!(grumbler.due("b", now).is_none() && grumbler.due("c", now + APART / 2).is_none());
        assert_eq!(grumbler.due("d", now + APART).unwrap(), "socket: d; 2 more before it were not told");
    }
}
