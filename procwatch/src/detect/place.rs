//! Placement: who belongs in which slice. The kernel program found the process outside; here it is decided what to do.

use std::collections::HashMap;

use super::{Decision, Detector, Place};
use crate::{
    event::{Body, BootTime, Event, ProcessKey},
    table::ProcessTable,
};

/// Finds the rule of each stray, and passes over those that were moved since they were seen.
#[derive(Debug)]
pub struct Placement {
    rules: HashMap<u32, usize>,
    moved: HashMap<ProcessKey, BootTime>,
}

/// Moves that are remembered. A stray's records come within moments of its move, so the oldest may be forgotten.
const MAX_MOVED: usize = 4096;

impl Placement {
    /// `uids` of the rules, in their order.
    pub fn new(uids: impl IntoIterator<Item = u32>) -> Self {
        let rules = uids.into_iter().enumerate().map(|(rule, uid)| (uid, rule)).collect();
        Self { rules, moved: HashMap::new() }
    }

    /// The rule for a process of these uids: real and effective must agree.
    pub fn rule(&self, uid: u32, euid: u32) -> Option<usize> {
        (uid == euid).then(|| self.rules.get(&uid).copied()).flatten()
    }

    /// When this process was moved by us, if it was.
    pub fn moved_at(&self, process: ProcessKey) -> Option<BootTime> {
        self.moved.get(&process).copied()
    }

    /// Remembers a move, so that records from before it raise nothing new.
    pub fn remember(&mut self, process: ProcessKey, at: BootTime) {
        if self.moved.len() >= MAX_MOVED {
            self.moved.clear();
        }
        self.moved.insert(process, at);
    }
}

impl Detector for Placement {
    fn on(&mut self, event: &Event, _table: &ProcessTable) -> Vec<Decision> {
        let Body::Stray(stray) = &event.body else {
            return Vec::new();
        };
        let subject = &event.subject;
        let Some(rule) = self.rule(subject.uid, subject.euid) else {
            return Vec::new();
        };
        if self.moved_at(subject.key()).is_some_and(|moved| moved >= event.time) {
            return Vec::new();
        }
        vec![Decision::Place(Place::of_stray(event, stray, rule))]
    }
}

#[cfg(test)]
mod tests {
    use procwatch_common::wire::Trigger;

    use super::*;
    use crate::{
        event::{Stray, Subject},
        text::Comm,
    };

    fn stray(uid: u32, euid: u32, time: u64) -> Event {
        Event {
            time: BootTime(time),
            cpu: 0,
            seq: 0,
            subject: Subject {
                pid: 5,
                tid: 5,
                ppid: 1,
                uid,
                euid,
                threads: 1,
                start: BootTime(1),
                cgroup_id: 1,
                comm: Comm::default(),
            },
            body: Body::Stray(Stray {
                target_id: 2,
                trigger: Trigger::Exec,
                loginuid: None,
                sessionid: None,
            }),
        }
    }

    #[test]
    fn only_uids_with_a_rule_and_only_when_both_agree() {
        let (mut placement, table) = (Placement::new([1003, 1004]), ProcessTable::new());
        let found = placement.on(&stray(1004, 1004, 5), &table);
        assert!(matches!(&found[..], [Decision::Place(Place { rule: 1, .. })]));
        assert_eq!(placement.on(&stray(1000, 1000, 5), &table), []);
        assert_eq!(placement.on(&stray(1003, 0, 5), &table), []);
    }

    #[test]
    fn what_was_moved_since_is_passed_over() {
        let (mut placement, table) = (Placement::new([1003]), ProcessTable::new());
        placement.remember(stray(1003, 1003, 0).subject.key(), BootTime(10));
        assert_eq!(placement.on(&stray(1003, 1003, 9), &table), []);
        assert_eq!(placement.on(&stray(1003, 1003, 11), &table).len(), 1);
    }
}
