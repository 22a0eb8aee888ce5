//! Bounds of threads. The kernel program decided; here it gets its meaning.

use super::{Alert, Decision, Detector};
use crate::{
    event::{Body, BootTime, Event, LevelChange, Subject, Way},
    table::ProcessTable,
};

/// Passes crossings on.
#[derive(Debug, Default)]
pub struct Threads;

/// The alert for a process that was there before the agent: for the highest of `levels` that it is above. `rule` is the
/// number of the rule that they are of.
pub fn at_start(levels: &[u32], rule: u32, time: BootTime, subject: &Subject) -> Option<Alert> {
    let index = levels.iter().rposition(|level| subject.threads >= *level)?;
    Some(found((Way::Level(index as u32), levels[index]), rule, time, subject))
}

/// The burst or leak of a process that an agent before has been told of.
pub fn lasting(way: Way, rule: u32, time: BootTime, subject: &Subject) -> Alert {
    found((way, subject.threads), rule, time, subject)
}

/// The end of an alert whose rule is no more.
pub fn over((way, level): (Way, u32), rule: u32, time: BootTime, subject: &Subject) -> Event {
    let change = LevelChange { way, level, rule, growth: None, creator_tid: 0, argv: None };
    Event { time, cpu: 0, seq: 0, subject: subject.clone(), body: Body::LevelCleared(change) }
}

fn found((way, level): (Way, u32), rule: u32, time: BootTime, subject: &Subject) -> Alert {
    let change = LevelChange { way, level, rule, growth: None, creator_tid: 0, argv: None };
    let body = Body::LevelCrossed(change);
    Alert { event: Event { time, cpu: 0, seq: 0, subject: subject.clone(), body }, at_start: true }
}

impl Detector for Threads {
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
    use crate::samples;

    fn subject(threads: u32) -> Subject {
        Subject { threads, ..samples::subject(5, 0) }
    }

    #[test]
    fn crossing_and_clearing_are_told_as_they_come() {
        let change =
            LevelChange { way: Way::Burst, level: 50, rule: 0, growth: None, creator_tid: 5, argv: None };
        let event = |body| Event { time: BootTime(7), cpu: 0, seq: 0, subject: subject(80), body };
        let table = ProcessTable::new();
        let crossed = Threads.on(&event(Body::LevelCrossed(change.clone())), &table);
        assert!(matches!(&crossed[..], [Decision::Alert(Alert { at_start: false, .. })]));
        let cleared = Threads.on(&event(Body::LevelCleared(change)), &table);
        assert!(matches!(&cleared[..], [Decision::Cleared(_)]));
    }

    #[test]
    fn at_start_the_highest_level_counts() {
        let alert = |threads| at_start(&[80, 100, 500], 3, BootTime(9), &subject(threads));
        let level = |threads| match alert(threads)?.event.body {
            Body::LevelCrossed(change) => Some((change.level, change.rule)),
            _ => None,
        };
        assert_eq!((level(79), level(80), level(501)), (None, Some((80, 3)), Some((500, 3))));
    }
}
