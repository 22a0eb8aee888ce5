//! Finds gaps in the sequence numbers of a ring.

/// Follows one ring's per-CPU sequence numbers.
#[derive(Debug, Default)]
pub struct LossTracker {
    /// The number that each CPU's next record should have; `None` where it begins with whatever comes.
    next: Vec<Option<u64>>,
    /// Of a CPU that nothing was seen of yet.
    first: Option<u64>,
    total: u64,
}

impl LossTracker {
    /// A tracker that expects each CPU to begin at 0.
    pub fn new() -> Self {
        Self { first: Some(0), ..Self::default() }
    }

    /// A tracker that goes on where another one, which is no more, has stopped.
    pub fn resumed() -> Self {
        Self::default()
    }

    /// Notes a received record. Returns how many are missing before it on its CPU, if any.
    ///
    /// A record that comes after its successor (possible only where tracepoints may be preempted) takes itself off
    /// the total again.
    pub fn received(&mut self, cpu: u32, seq: u64) -> Option<u64> {
        let cpu = cpu as usize;
        if cpu >= self.next.len() {
            self.next.resize(cpu + 1, self.first);
        }
        let next = self.next[cpu].get_or_insert(seq);
        if seq < *next {
            self.total = self.total.saturating_sub(1);
            return None;
        }
        let missing = seq - *next;
        *next = seq + 1;
        self.total += missing;
        (missing > 0).then_some(missing)
    }

    /// All that is missing so far.
    pub const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_found_per_cpu() {
        let mut loss = LossTracker::new();
        assert_eq!(loss.received(0, 0), None);
        assert_eq!(loss.received(3, 2), Some(2));
        assert_eq!(loss.received(0, 1), None);
        assert_eq!(loss.received(0, 5), Some(3));
        assert_eq!(loss.total(), 5);
    }

    #[test]
    fn a_late_record_is_not_lost() {
        let mut loss = LossTracker::new();
        assert_eq!(loss.received(0, 1), Some(1));
        assert_eq!(loss.received(0, 0), None);
        assert_eq!(loss.total(), 0);
        assert_eq!(loss.received(0, 2), None);
    }

    #[test]
    fn one_that_is_resumed_begins_with_what_comes() {
        let mut loss = LossTracker::resumed();
        assert_eq!(loss.received(1, 70), None);
        assert_eq!(loss.received(0, 5), None);
        assert_eq!(loss.received(1, 73), Some(2));
        assert_eq!(loss.total(), 2);
    }
}
