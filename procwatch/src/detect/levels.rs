//! Thread levels. The kernel program decided; here it gets its meaning.

use super::{Alert, Decision, Detector};
use crate::{
    event::{Body, BootTime, Event, LevelChange, Subject},
    table::ProcessTable,
};

/// Turns level records into alerts.
#[derive(Debug)]
pub struct Levels {
    levels: Vec<u32>,
}

impl Levels {
    /// `levels` rise, threads.
    pub const fn new(levels: Vec<u32>) -> Self {
        Self { levels }
    }

    /// The alert for a process that was there before the agent: for the highest level that it is above.
    pub fn at_start(&self, time: BootTime, subject: &Subject) -> Option<Alert> {
        let index = self.levels.iter().rposition(|level| subject.threads >= *level)?;
        let change = LevelChange { level: self.levels[index], index: index as u32, argv: None };
        let body = Body::LevelCrossed(change);
        Some(Alert { event: Event { time, cpu: 0, seq: 0, subject: subject.clone(), body }, at_start: true })
    }
}

impl Detector for Levels {
    fn on(&mut self, event: &Event, _table: &ProcessTable) -> Vec<Decision> {
        match &event.body {
            Body::LevelCrossed(_) => {
                vec![Decision::Alert(Alert { event: event.clone(), at_start: false })]
            }
            Body::LevelCleared(_) => vec![Decision::Cleared(event.clone())],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Comm;

    fn subject(threads: u32) -> Subject {
        Subject {
            pid: 5,
            tid: 5,
            ppid: 1,
            uid: 0,
            euid: 0,
            threads,
            start: BootTime(1),
            cgroup_id: 1,
            comm: Comm::default(),
        }
    }

    #[test]
    fn crossing_and_clearing_are_told_as_they_come() {
        let mut levels = Levels::new(vec![80, 100]);
        let change = LevelChange { level: 80, index: 0, argv: None };
        let event = |body| Event { time: BootTime(7), cpu: 0, seq: 0, subject: subject(80), body };
        let table = ProcessTable::new();
        let crossed = levels.on(&event(Body::LevelCrossed(change.clone())), &table);
        assert!(matches!(&crossed[..], [Decision::Alert(Alert { at_start: false, .. })]));
        let cleared = levels.on(&event(Body::LevelCleared(change)), &table);
        assert!(matches!(&cleared[..], [Decision::Cleared(_)]));
    }

    #[test]
    fn at_start_the_highest_level_counts() {
        let levels = Levels::new(vec![80, 100, 500]);
        let level = |threads| match levels.at_start(BootTime(9), &subject(threads))?.event.body {
            Body::LevelCrossed(change) => Some(change.level),
            _ => None,
        };
        assert_eq!((level(79), level(80), level(501)), (None, Some(80), Some(500)));
    }
}
