//! What the kernel side does not know of the processes that a picture shows is told to it, and to the world: that some are
//! above a level, and that others have fallen while nobody counted.

use super::{AgentError, guard::Guard};
use crate::detect::Alert;
use crate::event::{Event, Subject};

/// How often what happened during a look is looked for.
const ROUNDS: usize = 4;

/// What was found about a process.
#[derive(Default)]
struct Found {
    over: Vec<Event>,
    alert: Option<Alert>,
}

impl Guard {
    /// Alerts for those above a level already, and the end of those that are over.
    ///
    /// # Errors
    /// When the kernel side or the output fails.
    pub(super) fn settle(&mut self, mut subjects: Vec<Subject>) -> Result<(), AgentError> {
        for _ in 0..ROUNDS {
            let Self { kernel, rules, .. } = self;
            subjects.retain(|subject| !rules.is_settled(subject, kernel));
            if subjects.is_empty() {
                break;
            }
            self.settle_these(&subjects)?;
            // Nobody saw who fell while the counting rested.
            subjects = self.picture()?;
        }
        Ok(())
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
