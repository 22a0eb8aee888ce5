//! What has happened so far in one line, for `systemctl status`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::listener::{Listener, Told};
use crate::{
    record::{ActResult, Body, Health, HealthTopic, Process, Severity},
    service::notify,
    status::OutputStatus,
};

/// So long after something happened it is told, with all that happened meanwhile.
const DELAY: Duration = Duration::from_secs(1);

/// The service manager as one who is told every record. It gets a line a second at most, and none while nothing happens.
#[derive(Debug, Default)]
pub struct Headline {
    shared: Arc<Mutex<State>>,
    taken: u64,
}

/// What has happened.
#[derive(Clone, Debug, Default)]
struct State {
    alerts: u64,
    last: String,
    actions: u64,
    moved: u64,
    lost: u64,
    /// Why the last reload was refused, while that is so.
    refused: Option<String>,
    /// It will be told.
    is_due: bool,
}

impl Listener for Headline {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn on(&mut self, told: &Arc<Told>) {
        let mut state = lock(&self.shared);
        if !state.note(&told.record.body) {
            return;
        }
        self.taken += 1;
        if !std::mem::replace(&mut state.is_due, true) {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                tokio::time::sleep(DELAY).await;
                let mut state = lock(&shared);
                state.is_due = false;
                notify::status(&state.line());
            });
        }
    }

    fn status(&self) -> OutputStatus {
        OutputStatus { name: self.name().to_owned(), taken: self.taken, ..OutputStatus::default() }
    }

    fn finish(self: Box<Self>) {}
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Takes note of a record. False when it changes nothing.
    fn note(&mut self, body: &Body) -> bool {
        match body {
            Body::Alert(alert) => {
                self.alerts += 1;
                self.last = last(alert.severity, &alert.process);
            }
            Body::Action(act) if act.result == ActResult::Verified => self.actions += 1,
            Body::Outcome(outcome) if outcome.result.is_moved() => self.moved += 1,
            Body::Loss(loss) => self.lost += loss.lost,
            // The reload itself tells these at once; here they only must not be covered.
            Body::Health(Health { topic: HealthTopic::Refused, message }) => {
                self.refused = Some(message.clone());
                return false;
            }
            Body::Health(Health { topic: HealthTopic::Reloaded, .. }) => {
                self.refused = None;
                return false;
            }
            _ => return false,
        }
        true
    }

    /// `3 alerts, last: warning python3(4242) 100 threads; 2 actions; 5 placed; 0 records lost`.
    fn line(&self) -> String {
        let Self { alerts, last, actions, moved, lost, refused, .. } = self;
        let refused = refused.as_ref().map(|why| format!("{why}; ")).unwrap_or_default();
        let last = if *alerts == 0 { String::new() } else { format!(", last: {last}") };
        format!("{refused}{alerts} alerts{last}; {actions} actions; {moved} placed; {lost} records lost")
    }
}

fn last(severity: Severity, process: &Process) -> String {
    format!("{} {}({}) {} threads", severity.name(), process.comm, process.pid, process.threads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_line_has_what_happened_and_the_last_alert() {
        let mut state = State::default();
        assert_eq!(state.line(), "0 alerts; 0 actions; 0 placed; 0 records lost");
        let noted = samples::all().into_iter().filter(|record| state.note(&record.body)).count();
        assert_eq!(noted, 5, "an alert, two actions that were done, a move and a loss");
        assert_eq!(
            state.line(),
            "1 alerts, last: warning python3(4242) 100 threads; 2 actions; 1 placed; 120 records lost"
        );
    }

    #[test]
    fn a_burst_of_records_is_told_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut headline = Headline::default();
            for record in samples::all() {
                headline.on(&Told::new(record).unwrap());
            }
            assert!(lock(&headline.shared).is_due);
            assert_eq!(Arc::strong_count(&headline.shared), 2, "one task");
            assert_eq!(headline.status().taken, 5);
        });
    }

    #[test]
    fn a_refused_reload_stays_in_sight_until_one_is_taken() {
        let mut state = State::default();
        let mut note = |topic, message: &str| {
            state.note(&Body::Health(Health { topic, message: message.to_owned() }));
            state.line()
        };
        let line = note(HealthTopic::Refused, "reload refused: a.toml:2: x");
        assert_eq!(line, "reload refused: a.toml:2: x; 0 alerts; 0 actions; 0 placed; 0 records lost");
        assert!(note(HealthTopic::Reloaded, "reloaded").starts_with("0 alerts"));
    }
}
