//! How grave a record is, and whether an outlet is told of it.

use crate::{
    config::outlet::Wants,
    record::{ActResult, Body, HealthTopic, HoldResult, Occasion, Record, Result, Ring, Severity},
};

/// How grave a record is. Alerts say so themselves; what went wrong is a warning at least.
pub(super) const fn severity(body: &Body) -> Severity {
    match body {
        Body::Alert(alert) => alert.severity,
        Body::Cleared(cleared) => cleared.severity,
        Body::Diagnosis(diagnosed) => of_occasion(diagnosed.occasion),
        Body::Refused(refused) if refused.enforced => Severity::Warning,
        Body::Outcome(outcome) => match (outcome.result, outcome.still_outside) {
            (Result::Failed, _) | (_, Some(1..)) => Severity::Warning,
            _ => Severity::Notice,
        },
        Body::Hold(hold) => match hold.result {
            HoldResult::Deadline | HoldResult::NoAgent => Severity::Warning,
            HoldResult::Inside | HoldResult::LeftAlone => Severity::Notice,
        },
        Body::Action(act) => match act.result {
            ActResult::Gone => Severity::Notice,
            ActResult::Verified if act.undo => Severity::Notice,
            _ => Severity::Warning,
        },
        Body::Loss(loss) => match loss.ring {
            Ring::Urgent => Severity::Critical,
            Ring::Stream => Severity::Warning,
        },
        Body::Health(health) => match health.topic {
            HealthTopic::Degraded | HealthTopic::Refused => Severity::Warning,
            HealthTopic::Armed | HealthTopic::Unavailable | HealthTopic::Reloaded | HealthTopic::Stopped => {
                Severity::Notice
            }
        },
        _ => Severity::Notice,
    }
}

const fn of_occasion(occasion: Occasion) -> Severity {
    match occasion {
        Occasion::Warning | Occasion::Burst | Occasion::Leak => Severity::Warning,
        Occasion::Critical => Severity::Critical,
        Occasion::Emergency => Severity::Emergency,
        _ => Severity::Notice,
    }
}

/// Whether an outlet that wants these is told of the record.
pub(super) fn wants(wants: &Wants, record: &Record) -> bool {
    let is_about_one = |uid: u32| wants.uids.is_empty() || wants.uids.contains(&uid);
    wants.kinds.contains(&record.body.kind().name())
        && severity(&record.body) >= wants.severity
        && record.body.process().is_none_or(|process| is_about_one(process.uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::outlet::KINDS, samples};

    fn told(kinds: &[&'static str], severity: Severity, uids: &[u32]) -> Vec<&'static str> {
        let filter = Wants { kinds: kinds.to_vec(), severity, uids: uids.to_vec() };
        let all = samples::all();
        let fitting = all.iter().filter(|record| wants(&filter, record));
        fitting.map(|record| record.body.kind().name()).collect()
    }

    #[test]
    fn kind_severity_and_user_must_all_fit() {
        let defaults = ["alert", "action", "loss", "health"];
        // Of three actions one was taken back, and the health record says that all is well.
        assert_eq!(told(&defaults, Severity::Warning, &[]), ["alert", "action", "action", "loss"]);
        assert_eq!(
            told(&defaults, Severity::Notice, &[]),
            ["alert", "action", "action", "action", "loss", "health"]
        );
        assert_eq!(told(&defaults, Severity::Critical, &[]), Vec::<&str>::new());
        // What is about no process is no less wanted.
        assert_eq!(told(&defaults, Severity::Warning, &[1003]), ["loss"]);
        assert_eq!(
            told(&KINDS, Severity::Notice, &[1003]),
            ["decision", "outcome", "hold", "placement", "loss", "health"]
        );
        assert_eq!(told(&["diagnosis", "refused"], Severity::Warning, &[1000]), ["refused", "diagnosis"]);
        // What only a listener of the stream sees has no severity to speak of, and no name here.
        assert!(!KINDS.contains(&"fork"));
    }
}
