//! Goes on with what another agent has left in the kernel.
//!
//! What it was told by the kernel and had not told on waits in the ring, and is told now. What it had told is not told again,
//! but its steps begin anew: how far they were died with it.

use super::{AgentError, guard::Guard};
use crate::{
    detect::Alert,
    event::{Body, Event, Way},
    record::Mode,
};

impl Guard {
    /// What was taken over, in words; `None` when nothing was.
    pub fn heritage(&self) -> Option<&str> {
        self.heritage.as_deref()
    }

    /// The rules of now take the place of those that the other agent had, if they are others.
    ///
    /// # Errors
    /// When the kernel side or the output fails.
    pub(super) fn take_over_rules(&mut self) -> Result<(), AgentError> {
        let Some(told) = self.told.take() else { return Ok(()) };
        self.choose_rules()?;
        self.urgent.end_old();
        let enforce = self.config.mode == Mode::Enforce;
        // What is over was told by another, whose rules nobody knows any more.
        self.rules.resume(&mut self.kernel, told, enforce).map(drop)
    }

    /// Tells what waits, and has the steps of alerts done that last.
    ///
    /// # Errors
    /// When the kernel side or the output fails.
    pub(super) fn go_on(&mut self) -> Result<(), AgentError> {
        // What does not fit into the output now follows in the loop.
        self.take_in()?;
        let subjects = self.picture()?;
        let Self { kernel, rules, measures, report, .. } = self;
        for alert in
            subjects.iter().flat_map(|subject| rules.lasting(subject, kernel, report)).collect::<Vec<_>>()
        {
            if !measures.knows(&alert) {
                measures.on_alert(&alert, rules.book(), kernel, report)?;
            }
        }
        Ok(())
    }

    /// A record that was written under other rules about threads, as it is to be understood under those of now: the number of
    /// a rule in it is that of another rule by now, and its bound may be none. What it crossed is told here, and climbs no
    /// ladder: alerts that last under the rules of now climb theirs in [`Self::go_on`].
    pub(super) fn of_old_rules(&mut self, mut event: Event) -> Result<Option<Event>, AgentError> {
        if let Body::LevelCrossed(change) | Body::LevelCleared(change) = &mut event.body {
            change.rule = self.kernel.threads().rule_of(event.subject.key()).unwrap_or(0);
        }
        match &event.body {
            Body::LevelCrossed(change) if !matches!(change.way, Way::Stop { .. }) => {
                self.report.alert(&Alert { event, at_start: false }, self.rules.book(), None)?;
                Ok(None)
            }
            _ => Ok(Some(event)),
        }
    }
}
