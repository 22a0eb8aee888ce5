//! Many records in one message.

use jiff::Timestamp;
use serde::Serialize;

use super::grade::severity;
use crate::{
    record::{Record, Severity},
    text::{Comm, Text},
};

/// Most entries: what is beyond is counted and not named.
const MOST: usize = 50;

/// What was not told one by one: all of it counted, and most of it named.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Digest {
    /// The time of the first record; none when nothing but numbers is known.
    pub(super) since: Option<Timestamp>,
    /// The time of the last one.
    pub(super) until: Option<Timestamp>,
    /// How many records.
    pub(super) records: u64,
    /// Of these: messages of their own could not be delivered.
    pub(super) undelivered: u64,
    /// Of these: they are in no entry.
    pub(super) unnamed: u64,
    /// The gravest.
    pub(super) severity: Option<Severity>,
    /// The records, alike ones together, in the order in which the first of each came.
    pub(super) entries: Vec<Entry>,
}

/// Records that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    pub(super) kind: &'static str,
    pub(super) severity: Severity,
    /// The process that they are about; absent when they are about none.
    #[serde(flatten)]
    pub(super) process: Option<Named>,
    pub(super) count: u64,
}

/// A process with what a person knows it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Named {
    pub(super) pid: u32,
    start_ns: u64,
    pub(super) comm: Comm,
    pub(super) uid: u32,
    pub(super) user: Option<Text>,
}

impl Digest {
    /// Whether there is anything in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Takes a record in.
    pub(super) fn add(&mut self, record: &Record) {
        let process = record.body.process().map(|process| Named {
            pid: process.pid,
            start_ns: process.start_ns,
            comm: process.comm,
            uid: process.uid,
            user: process.user.clone(),
        });
        let entry =
            Entry { kind: record.body.kind().name(), severity: severity(&record.body), process, count: 1 };
        self.records += 1;
        self.span(record.time);
        self.severity = self.severity.max(Some(entry.severity));
        self.name(entry);
    }

    /// Takes records in of which only the number is known.
    pub(super) const fn add_unnamed(&mut self, count: u64) {
        self.records += count;
        self.unnamed += count;
    }

    /// Takes another one in that was to be told after this one.
    pub(super) fn merge(&mut self, other: Self) {
        self.records += other.records;
        self.undelivered += other.undelivered;
        self.unnamed += other.unnamed;
        self.severity = self.severity.max(other.severity);
        other.since.into_iter().chain(other.until).for_each(|time| self.span(time));
        other.entries.into_iter().for_each(|entry| self.name(entry));
    }

    fn span(&mut self, time: Timestamp) {
        self.since = Some(self.since.map_or(time, |since| since.min(time)));
        self.until = Some(self.until.map_or(time, |until| until.max(time)));
    }

    fn name(&mut self, entry: Entry) {
        let alike = |known: &&mut Entry| {
            (known.kind, known.severity, &known.process) == (entry.kind, entry.severity, &entry.process)
        };
        if let Some(known) = self.entries.iter_mut().find(alike) {
            known.count += entry.count;
        } else if self.entries.len() < MOST {
            self.entries.push(entry);
        } else {
            self.unnamed += entry.count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{Body, Health, HealthTopic},
        samples,
    };

    fn alert(pid: u32) -> Record {
        let Body::Alert(mut alert) = samples::all().swap_remove(7).body else { panic!() };
        alert.process.pid = pid;
        samples::record(Body::Alert(alert))
    }

    fn sum(digest: &Digest) -> u64 {
        digest.entries.iter().map(|entry| entry.count).sum::<u64>() + digest.unnamed
    }

    #[test]
    fn alike_ones_are_counted_together_and_all_are_counted() {
        let mut digest = Digest::default();
        assert!(digest.is_empty());
        for pid in [1, 2, 1, 1] {
            digest.add(&alert(pid));
        }
        let health = Health { topic: HealthTopic::Stopped, message: String::new() };
        digest.add(&samples::record(Body::Health(health)));
        digest.add_unnamed(7);
        let counts: Vec<_> = digest
            .entries
            .iter()
            .map(|it| (it.kind, it.process.as_ref().map(|it| it.pid), it.count))
            .collect();
        assert_eq!(counts, [("alert", Some(1), 3), ("alert", Some(2), 1), ("health", None, 1)]);
        assert_eq!((digest.records, digest.unnamed, digest.severity), (12, 7, Some(Severity::Warning)));
        assert_eq!(sum(&digest), 12);
    }

    #[test]
    fn entries_are_bounded_and_numbers_stay_exact() {
        let mut first = Digest::default();
        (0..40).for_each(|pid| first.add(&alert(pid)));
        let mut second = Digest { undelivered: 3, ..Digest::default() };
        (35..80).for_each(|pid| second.add(&alert(pid)));
        first.merge(second);
        assert_eq!((first.records, first.entries.len(), first.unnamed, first.undelivered), (85, 50, 30, 3));
        assert_eq!(sum(&first), 85);
        let time = samples::all()[0].time;
        assert_eq!((first.since, first.until), (Some(time), Some(time)));
    }
}
