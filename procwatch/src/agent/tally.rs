//! How many records of which kind were told, and the last ones that matter.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    event::BootTime,
    record::{Body, HealthTopic, Loss, Record, Ring},
    status::Count,
};

/// Records that are kept.
const RECENT: usize = 20;

/// The tally.
#[derive(Debug, Default)]
pub(super) struct Tally {
    told: BTreeMap<&'static str, u64>,
    recent: VecDeque<Record>,
    /// Of urgent records.
    last_loss: Option<BootTime>,
}

impl Tally {
    /// Takes note of a record.
    pub(super) fn note(&mut self, record: &Record) {
        *self.told.entry(record.body.kind().name()).or_default() += 1;
        if let Body::Loss(Loss { ring: Ring::Urgent, .. }) = record.body {
            self.last_loss = Some(BootTime(record.boot_ns));
        }
        if matters(&record.body) {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(record.clone());
        }
    }

    /// How many of each kind.
    pub(super) fn told(&self) -> Vec<Count> {
        self.told.iter().map(|(kind, count)| Count { of: (*kind).to_owned(), count: *count }).collect()
    }

    /// The last alerts, actions, outcomes, losses and complaints, oldest first.
    pub(super) fn recent(&self) -> Vec<Record> {
        self.recent.iter().cloned().collect()
    }

    /// When a loss of urgent records was told last.
    pub(super) const fn last_loss(&self) -> Option<BootTime> {
        self.last_loss
    }
}

const fn matters(body: &Body) -> bool {
    match body {
        Body::Alert(_) | Body::Action(_) | Body::Outcome(_) | Body::Loss(_) => true,
        Body::Health(health) => matches!(health.topic, HealthTopic::Degraded | HealthTopic::Refused),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::Health, samples};

    #[test]
    fn all_are_counted_and_the_last_that_matter_are_kept() {
        let mut tally = Tally::default();
        for record in samples::all() {
            tally.note(&record);
        }
        let kinds: Vec<_> = tally.recent().iter().map(|record| record.body.kind().name()).collect();
        assert_eq!(kinds, ["alert", "outcome", "action", "action", "action", "loss"]);
        let told = tally.told();
        assert_eq!(told.iter().map(|count| count.count).sum::<u64>(), samples::all().len() as u64);
        assert!(told.contains(&Count { of: "action".to_owned(), count: 3 }));
        assert_eq!(tally.last_loss(), None, "that was one of the stream");
        let loss = |ring| Loss { ring, cpu: None, lost: 1, lost_total: 1, hint: String::new() };
        tally.note(&samples::record(Body::Loss(loss(Ring::Urgent))));
        assert_eq!(tally.last_loss(), Some(BootTime(7_123_456_789)));
        for number in 0..100 {
            let health = Health { topic: HealthTopic::Degraded, message: number.to_string() };
            tally.note(&samples::record(Body::Health(health)));
        }
        let recent = tally.recent();
        let Body::Health(last) = &recent[RECENT - 1].body else { panic!("{recent:?}") };
        assert_eq!((recent.len(), &*last.message), (RECENT, "99"));
    }
}
