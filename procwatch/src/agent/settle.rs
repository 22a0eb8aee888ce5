//! What the kernel side does not know of the processes that a picture shows is told to it, and to the world: that some are
//! above a level, and that others have fallen while nobody counted.

use std::collections::HashSet;

use super::{AgentError, guard::Guard};
use crate::{
    detect::Alert,
    event::{Event, ProcessKey, Subject},
};

/// How often what happened during a look is looked for.
const ROUNDS: usize = 4;

/// What was found about a process.
#[derive(Default)]
struct Found {
    over: Vec<Event>,
    alert: Option<Alert>,
}

impl Guard {
    /// Alerts for those above a level already, and, if the counting has `rested`, the end of those that are over.
    ///
    /// # Errors
    /// When the kernel side or the output fails.
    pub(super) fn settle(&mut self, mut subjects: Vec<Subject>, mut rested: bool) -> Result<(), AgentError> {
        for _ in 0..ROUNDS {
            subjects = self.unsettled(&subjects, rested)?;
            if subjects.is_empty() {
                break;
            }
            self.settle_these(&subjects)?;
            // Nobody saw who fell while the counting rested.
            rested = true;
            subjects = self.picture()?;
        }
        Ok(())
    }

    /// Those of which the kernel side does not know all, now and a moment later: what ends, or is being told of just now, is
    /// none of them. To count rests for no less.
    fn unsettled(&mut self, subjects: &[Subject], rested: bool) -> Result<Vec<Subject>, AgentError> {
        let Self { kernel, rules, .. } = self;
        let mut is_open = |subject: &Subject| !rules.is_settled(subject, rested, kernel);
        let open: HashSet<ProcessKey> = subjects.iter().filter(|it| is_open(it)).map(Subject::key).collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let mut again = self.picture()?;
        let Self { kernel, rules, .. } = self;
        again.retain(|it| open.contains(&it.key()) && !rules.is_settled(it, rested, kernel));
        Ok(again)
    }

    fn settle_these(&mut self, subjects: &[Subject]) -> Result<(), AgentError> {
        let Self { kernel, rules, report, .. } = self;
        let found = kernel.while_counting_rests(|kernel| {
            let look = |subject| {
                let over = rules.fallen(subject, kernel, report);
                Ok(Found { over, alert: rules.at_start(subject, kernel, report)? })
            };
            subjects.iter().map(look).collect::<Result<Vec<Found>, AgentError>>()
        })?;
        let found = found?;
        if found.iter().any(|found| !found.over.is_empty()) {
            // What is over may not be told before it began.
            self.drain()?;
        }
        let Self { kernel, rules, measures, report, .. } = self;
        for Found { over, alert } in found {
            for event in over {
                measures.on_cleared(&event);
                report.cleared(event, rules.book(), None)?;
            }
            if let Some(alert) = alert {
                report.alert(&alert, rules.book(), None)?;
                measures.on_alert(&alert, rules.book(), kernel, report)?;
            }
        }
        Ok(())
    }
}
