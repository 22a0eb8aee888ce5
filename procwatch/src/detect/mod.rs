//! Detectors: pure functions of the stream. No clock but the event's, no I/O.

pub mod judge;
pub mod ladder;
pub mod place;
pub mod threads;

use crate::{
    event::{BootTime, Event, Provenance, Stray, Subject},
    record::SeenAt,
    table::ProcessTable,
    text::Text,
};

/// Finds what is worth telling or doing in a stream of events.
pub trait Detector {
    /// Looks at one event. `table` is what was known before it.
    fn on(&mut self, event: &Event, table: &ProcessTable) -> Vec<Decision>;
}

/// What a detector found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A process crossed a bound of its threads.
    Alert(Alert),
    /// A process fell back from one, or ended; the event is a [`crate::event::Body::LevelCleared`].
    Cleared(Event),
    /// A process is not where it belongs.
    Place(Place),
}

/// A process that crossed a bound of its threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The crossing; its body is a [`crate::event::Body::LevelCrossed`].
    pub event: Event,
    /// It was above before the agent came.
    pub at_start: bool,
}

/// A process of a placement rule that was seen outside its slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// When it was seen outside.
    pub time: BootTime,
    /// The process.
    pub subject: Subject,
    /// Index of the rule.
    pub rule: usize,
    /// Where it was noticed.
    pub seen_at: SeenAt,
    /// The file that it runs now, or is about to; `None` when it was not seen at an exec.
    pub file: Option<Text>,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl Place {
    /// A stray as the kernel reported it.
    fn of_stray(event: &Event, stray: &Stray) -> Self {
        Self {
            time: event.time,
            subject: event.subject.clone(),
            rule: stray.rule as usize,
            seen_at: stray.trigger.into(),
            file: stray.file.clone(),
            provenance: stray.provenance.clone(),
        }
    }
}
