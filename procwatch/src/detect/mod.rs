//! Detectors: pure functions of the stream. No clock but the event's, no I/O.

pub mod levels;
pub mod place;

use crate::{
    event::{BootTime, Event, Stray, Subject},
    record::{Reason, SeenAt, Verdict},
    table::ProcessTable,
};

/// Finds what is worth telling or doing in a stream of events.
pub trait Detector {
    /// Looks at one event. `table` is what was known before it.
    fn on(&mut self, event: &Event, table: &ProcessTable) -> Vec<Decision>;
}

/// What a detector found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A process rose to a level.
    Alert(Alert),
    /// A process fell back below a level, or ended; the event is a [`crate::event::Body::LevelCleared`].
    Cleared(Event),
    /// A process is not where it belongs.
    Place(Place),
}

/// A process at or above a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The crossing; its body is a [`crate::event::Body::LevelCrossed`].
    pub event: Event,
    /// It was above before the agent came.
    pub at_start: bool,
}

/// A process of a placement rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// When it was seen outside.
    pub time: BootTime,
    /// The process.
    pub subject: Subject,
    /// Index of the rule.
    pub rule: usize,
    /// What is to be done.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Where it was noticed.
    pub seen_at: SeenAt,
    /// Login uid, if known.
    pub loginuid: Option<u32>,
    /// Audit session, if known.
    pub sessionid: Option<u32>,
}

impl Place {
    /// A stray as the kernel reported it.
    pub(crate) fn of_stray(event: &Event, stray: &Stray, rule: usize) -> Self {
        Self {
            time: event.time,
            subject: event.subject.clone(),
            rule,
            verdict: Verdict::Move,
            reason: Reason::OutsideSlice,
            seen_at: stray.trigger.into(),
            loginuid: stray.loginuid,
            sessionid: stray.sessionid,
        }
    }
}
