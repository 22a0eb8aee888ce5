//! How often an outlet is told something.

use std::{collections::VecDeque, time::Instant};

use crate::config::outlet::Rate;

/// At most so many messages in any span of a length.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Rate,
    /// When the last messages began, at most as many as are possible in one span.
    begun: VecDeque<Instant>,
}

impl Pace {
    pub(super) const fn new(rate: Rate) -> Self {
        Self { rate, begun: VecDeque::new() }
    }

    /// When the next one may begin; `None` for at once.
    pub(super) fn free_at(&self, now: Instant) -> Option<Instant> {
        if self.begun.len() < self.rate.count as usize {
            return None;
        }
        self.begun.front().map(|first| *first + self.rate.within).filter(|at| *at > now)
    }

    /// One begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun.push_back(now);
        while self.begun.len() > self.rate.count as usize {
            self.begun.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn no_span_has_more_than_allowed() {
        let mut pace = Pace::new(Rate { count: 3, within: Duration::from_mins(1) });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut begun: Vec<u64> = Vec::new();
        for second in 0..=200 {
            while pace.free_at(at(second)).is_none() {
                pace.begin(at(second));
                begun.push(second);
            }
            let next = begun[begun.len() - 3] + 60;
            assert_eq!(pace.free_at(at(second)), Some(at(next)));
        }
        assert_eq!(begun, [0, 0, 0, 60, 60, 60, 120, 120, 120, 180, 180, 180]);
    }
}
