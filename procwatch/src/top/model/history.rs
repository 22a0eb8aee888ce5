//! Threads and their creation, as time went by.

use std::collections::VecDeque;

/// Samples that are kept: as many as a wide screen has columns.
const KEPT: usize = 300;

/// What one picture adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Live threads.
    pub threads: u64,
    /// Threads created a second since the picture before.
    pub per_second: u64,
}

/// Samples that differ from the one before: where nothing happens, nothing moves, and a screen far away is left in peace.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Sample>);

impl History {
    /// Takes a sample in.
    pub fn push(&mut self, sample: Sample) {
        if self.last() == Some(sample) {
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The last one.
    pub fn last(&self) -> Option<Sample> {
        self.0.back().copied()
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = Sample> {
        self.0.iter().rev().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_samples_are_one_and_old_ones_go() {
        let mut history = History::default();
        for threads in [5, 5, 6, 6, 5] {
            history.push(Sample { threads, per_second: 0 });
        }
        let threads: Vec<u64> = history.newest_first().map(|sample| sample.threads).collect();
        assert_eq!(threads, [5, 6, 5]);
        for threads in 0..1000 {
            history.push(Sample { threads, per_second: 0 });
        }
        assert_eq!((history.newest_first().count(), history.last().unwrap().threads), (KEPT, 999));
    }
}
