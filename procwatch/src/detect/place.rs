//! Placement: the kernel program found a process outside of its slice; here it is remembered what was done about it.

use std::collections::HashMap;

use super::{Decision, Detector, Place};
use crate::{
    event::{Body, BootTime, Event, ProcessKey},
    table::ProcessTable,
};

/// Passes over strays that were dealt with since they were seen, and those that were seen under other rules.
#[derive(Debug, Default)]
pub struct Placement {
    since: BootTime,
    settled: HashMap<ProcessKey, BootTime>,
}

/// Processes that are remembered. A stray's records come within moments of its move, so the oldest may be forgotten.
const MAX_SETTLED: usize = 4096;

impl Placement {
    /// One that remembers nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, under rules that hold since then. A stray names its rule by a number, which in a record from before is
    /// that of another rule.
    pub fn since(since: BootTime) -> Self {
        Self { since, ..Self::default() }
    }

    /// Whether this process was dealt with before.
    pub fn is_settled(&self, process: ProcessKey) -> bool {
        self.settled.contains_key(&process)
    }

    /// Remembers that it was moved, or that it is left alone, so that records from before raise nothing new.
    pub fn settle(&mut self, process: ProcessKey, at: BootTime) {
        if self.settled.len() >= MAX_SETTLED {
            self.settled.clear();
        }
        self.settled.insert(process, at);
    }
}

impl Detector for Placement {
    fn on(&mut self, event: &Event, _table: &ProcessTable) -> Vec<Decision> {
        let Body::Stray(stray) = &event.body else {
            return Vec::new();
        };
        let is_settled = self.settled.get(&event.subject.key()).is_some_and(|settled| *settled >= event.time);
        if is_settled || event.time < self.since {
            return Vec::new();
        }
        vec![Decision::Place(Place::of_stray(event, stray))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Stray, samples};

    fn stray(time: u64) -> Event {
        let stray = Stray { rule: 1, ..samples::stray() };
        Event {
            time: BootTime(time),
            cpu: 0,
            seq: 0,
            subject: samples::subject(5, 1003),
            body: Body::Stray(stray),
        }
    }

    #[test]
    fn what_was_settled_since_is_passed_over() {
        let (mut placement, table) = (Placement::new(), ProcessTable::new());
        placement.settle(stray(0).subject.key(), BootTime(10));
        assert!(placement.is_settled(stray(0).subject.key()));
        assert_eq!(placement.on(&stray(9), &table), []);
        let found = placement.on(&stray(11), &table);
        assert!(matches!(&found[..], [Decision::Place(Place { rule: 1, .. })]));
    }

    #[test]
    fn a_stray_of_other_rules_is_passed_over() {
        let (mut placement, table) = (Placement::since(BootTime(10)), ProcessTable::new());
        assert_eq!(placement.on(&stray(9), &table), []);
        assert_eq!(placement.on(&stray(10), &table).len(), 1);
    }
}
