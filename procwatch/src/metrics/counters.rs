//! What is counted from the records.

use std::collections::HashMap;

use serde::Serialize;

use super::text::{Exposition, Histogram, Type};
use crate::record::{
    Act, ActResult, Body, Bound, Deed, DiagnosisResult, HealthTopic, HoldResult, Outcome, Reason, Refused,
    RefusedFor, Result, Ring, Severity,
};

/// Upper bounds of times for which a program is held, s: the default deadline is 0.25.
const HOLD_BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Upper bounds of times that a process was outside of its slice, s.
const OUTSIDE_BOUNDS: [f64; 13] =
    [0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

/// Alerts that there can be: they are there from the start, so that the first one is seen as an increase.
const ALERTS: [(Severity, Bound); 7] = [
    (Severity::Notice, Bound::Level),
    (Severity::Warning, Bound::Level),
    (Severity::Critical, Bound::Level),
    (Severity::Emergency, Bound::Level),
    (Severity::Warning, Bound::Burst),
    (Severity::Warning, Bound::Leak),
    (Severity::Critical, Bound::Stop),
];

const HOLDS: [HoldResult; 4] =
    [HoldResult::Inside, HoldResult::LeftAlone, HoldResult::Deadline, HoldResult::NoAgent];

const DEEDS: [Deed; 8] = [
    Deed::Throttle,
    Deed::Freeze,
    Deed::Thaw,
    Deed::Cap,
    Deed::Stop,
    Deed::Terminate,
    Deed::Restart,
    Deed::Kill,
];

/// How many of each of a few.
#[derive(Debug)]
struct Tally<K>(Vec<(K, u64)>);

impl<K: PartialEq> Tally<K> {
    fn zeros(keys: impl IntoIterator<Item = K>) -> Self {
        Self(keys.into_iter().map(|key| (key, 0)).collect())
    }

    fn add(&mut self, key: K, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known += count,
            None => self.0.push((key, count)),
        }
    }
}

/// All that is counted. What one looks for in vain was not seen yet.
#[derive(Debug)]
pub(super) struct Counters {
    records: Tally<&'static str>,
    alerts: Tally<(Severity, Bound)>,
    cleared: Tally<(Severity, Bound)>,
    refused: RefusedThreads,
    decisions: Tally<Reason>,
    outcomes: Tally<Result>,
    still_outside: u64,
    outside: Histogram,
    holds: Vec<(HoldResult, Histogram)>,
    actions: Tally<(Deed, bool, ActResult)>,
    refusals: Tally<RefusedFor>,
    diagnoses: Tally<DiagnosisResult>,
    health: Tally<HealthTopic>,
    /// Of each ring, as told last.
    lost: Vec<(Ring, u64)>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            records: Tally::zeros([]),
            alerts: Tally::zeros(ALERTS),
            cleared: Tally::zeros(ALERTS),
            refused: RefusedThreads::default(),
            decisions: Tally::zeros([]),
            outcomes: Tally::zeros([Result::Verified, Result::Unverified, Result::Failed, Result::Gone]),
            still_outside: 0,
            outside: Histogram::new(&OUTSIDE_BOUNDS),
            holds: HOLDS.into_iter().map(|result| (result, Histogram::new(&HOLD_BOUNDS))).collect(),
            // So that the first failure is seen as an increase.
            actions: Tally::zeros(DEEDS.map(|deed| (deed, false, ActResult::Failed))),
            refusals: Tally::zeros([]),
            diagnoses: Tally::zeros([]),
            health: Tally::zeros([HealthTopic::Degraded]),
            lost: vec![(Ring::Stream, 0), (Ring::Urgent, 0)],
        }
    }
}

impl Counters {
    /// Takes note of a record.
    pub(super) fn count(&mut self, body: &Body) {
        self.records.add(body.kind().name(), 1);
        match body {
            Body::Alert(alert) => self.alerts.add((alert.severity, alert.bound), 1),
            Body::Cleared(cleared) => self.cleared.add((cleared.severity, cleared.bound), 1),
            Body::Refused(refused) => self.refused.count(refused),
            Body::Decision(decision) => self.decisions.add(decision.reason, 1),
            Body::Outcome(outcome) => self.outcome(outcome),
            Body::Hold(hold) => {
                if let Some((_, times)) = self.holds.iter_mut().find(|(result, _)| *result == hold.result) {
                    times.record(hold.held_ns);
                }
            }
            Body::Action(act) => self.action(act),
            Body::Diagnosis(diagnosed) => self.diagnoses.add(diagnosed.result, 1),
            Body::Health(health) => self.health.add(health.topic, 1),
            Body::Loss(loss) => {
                if let Some((_, total)) = self.lost.iter_mut().find(|(ring, _)| *ring == loss.ring) {
                    *total = loss.lost_total;
                }
            }
            _ => {}
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        self.outcomes.add(outcome.result, 1);
        self.still_outside += u64::from(outcome.still_outside.unwrap_or(0));
        if let Some(ns) = outcome.outside_ns {
            self.outside.record(ns);
        }
    }

    fn action(&mut self, act: &Act) {
        self.actions.add((act.action, act.undo, act.result), 1);
        if let Some(reason) = act.reason {
            self.refusals.add(reason, 1);
        }
    }

    /// Records of a ring that were lost, as told last.
    pub(super) fn lost(&self, ring: Ring) -> u64 {
        self.lost.iter().find(|(it, _)| *it == ring).map_or(0, |(_, total)| *total)
    }

    /// Writes all of it.
    pub(super) fn write(&self, out: &mut Exposition) {
        let mut records = out.family("procwatch_records_total", Type::Counter, "Records told, by kind.");
        for (kind, count) in &self.records.0 {
            records.sample(&[("kind", kind)], count);
        }
        self.write_alerts(out);
        self.write_placement(out);
        self.write_actions(out);
        by_word(
            out,
            "procwatch_health_records_total",
            "Records of the agent's own state.",
            "topic",
            &self.health,
        );
    }

    fn write_alerts(&self, out: &mut Exposition) {
        for (name, help, tally) in [
            ("procwatch_alerts_total", "Alerts about threads of a process.", &self.alerts),
            ("procwatch_alerts_cleared_total", "Alerts that are over.", &self.cleared),
        ] {
            let mut family = out.family(name, Type::Counter, help);
            for ((severity, bound), count) in &tally.0 {
                family.sample(&[("severity", severity.name()), ("bound", bound.name())], count);
            }
        }
        let help = "Threads that the kernel refused to a process with a cap, or would have in mode enforce.";
        let mut refused = out.family("procwatch_threads_refused_total", Type::Counter, help);
        for (enforced, count) in [("true", self.refused.enforced), ("false", self.refused.observed)] {
            refused.sample(&[("enforced", enforced)], count);
        }
        by_word(
            out,
            "procwatch_diagnoses_total",
            "Diagnoses that alerts asked for.",
            "result",
            &self.diagnoses,
        );
    }

    fn write_placement(&self, out: &mut Exposition) {
        let mut decisions = out.family(
            "procwatch_decisions_total",
            Type::Counter,
            "Processes of a placement rule that were judged and told, by reason.",
        );
        for (reason, count) in &self.decisions.0 {
            decisions.sample(&[("verdict", &word(&reason.verdict())), ("reason", reason.name())], count);
        }
        by_word(out, "procwatch_moves_total", "Processes that were to be moved.", "result", &self.outcomes);
        out.counter(
            "procwatch_still_outside_total",
            "Processes that were still outside of their slice after a move and its sweep.",
            self.still_outside,
        );
        let help = "From the first sighting of a process outside of its slice to the proof of its move.";
        out.family("procwatch_outside_seconds", Type::Histogram, help).histogram(&[], &self.outside);
        let help = "How long programs waited in the kernel until their process was in its slice.";
        let mut holds = out.family("procwatch_hold_seconds", Type::Histogram, help);
        for (result, times) in &self.holds {
            holds.histogram(&[("result", result.name())], times);
        }
    }

    fn write_actions(&self, out: &mut Exposition) {
        let help = "What was done to contain processes, or would have been done.";
        let mut actions = out.family("procwatch_actions_total", Type::Counter, help);
        for ((deed, undo, result), count) in &self.actions.0 {
            let undo = if *undo { "true" } else { "false" };
            let labels = [("action", deed.name()), ("undo", undo), ("result", result.name())];
            actions.sample(&labels, count);
        }
        by_word(
            out,
            "procwatch_action_refusals_total",
            "Actions that were refused.",
            "reason",
            &self.refusals,
        );
    }
}

/// A family with one label, whose values are called as in JSON.
fn by_word<K: Serialize>(
    out: &mut Exposition,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    tally: &Tally<K>,
) {
    let mut family = out.family(name, Type::Counter, help);
    for (key, count) in &tally.0 {
        family.sample(&[(label, &word(key))], count);
    }
}

/// What it is called in JSON.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Threads that were refused. Records tell the sum of a process so far.
#[derive(Debug, Default)]
struct RefusedThreads {
    enforced: u64,
    observed: u64,
    /// What was counted already of those that live, by pid and start.
    counted: HashMap<(u32, u64), u64>,
}

impl RefusedThreads {
    /// Most processes that are followed; those beyond are counted when they end.
    const MOST: usize = 4096;

    fn count(&mut self, refused: &Refused) {
        let key = (refused.process.pid, refused.process.start_ns);
        let has_ended = refused.cap.is_none();
        if !has_ended && !self.counted.contains_key(&key) && self.counted.len() >= Self::MOST {
            return;
        }
        let before =
            if has_ended { self.counted.remove(&key) } else { self.counted.insert(key, refused.refused) };
        let new = refused.refused.saturating_sub(before.unwrap_or(0));
        *(if refused.enforced { &mut self.enforced } else { &mut self.observed }) += new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::text::Format, samples};

    fn written(counters: &Counters) -> String {
        let mut out = Exposition::new(Format::Prometheus);
        counters.write(&mut out);
        out.finish()
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|it| it == line), "no {line} in {text}");
    }

    #[test]
    fn each_kind_of_record_is_counted() {
        let mut counters = Counters::default();
        for record in samples::all() {
            counters.count(&record.body);
        }
        let text = written(&counters);
        for line in [
            "procwatch_records_total{kind=\"fork\"} 1",
            "procwatch_records_total{kind=\"action\"} 3",
            "procwatch_alerts_total{severity=\"warning\",bound=\"level\"} 1",
            "procwatch_alerts_total{severity=\"emergency\",bound=\"level\"} 0",
            "procwatch_alerts_cleared_total{severity=\"warning\",bound=\"level\"} 1",
            "procwatch_threads_refused_total{enforced=\"true\"} 12345",
            "procwatch_threads_refused_total{enforced=\"false\"} 0",
            "procwatch_decisions_total{verdict=\"move\",reason=\"outside-slice\"} 1",
            "procwatch_moves_total{result=\"verified\"} 1",
            "procwatch_moves_total{result=\"failed\"} 0",
            "procwatch_outside_seconds_bucket{le=\"0.001\"} 0",
            "procwatch_outside_seconds_bucket{le=\"0.0025\"} 1",
            "procwatch_outside_seconds_sum 0.00125",
            "procwatch_hold_seconds_bucket{result=\"inside\",le=\"0.0025\"} 1",
            "procwatch_hold_seconds_count{result=\"deadline\"} 0",
            "procwatch_actions_total{action=\"throttle\",undo=\"false\",result=\"verified\"} 1",
            "procwatch_actions_total{action=\"throttle\",undo=\"true\",result=\"verified\"} 1",
            "procwatch_action_refusals_total{reason=\"session-leader\"} 1",
            "procwatch_diagnoses_total{result=\"cause\"} 1",
            "procwatch_health_records_total{topic=\"degraded\"} 0",
            "procwatch_health_records_total{topic=\"armed\"} 1",
        ] {
            has(&text, line);
        }
        assert_eq!((counters.lost(Ring::Stream), counters.lost(Ring::Urgent)), (200, 0));
    }

    #[test]
    fn refused_threads_are_counted_once_however_often_they_are_told() {
        let mut refused = RefusedThreads::default();
        let told = |pid, count, cap: Option<u32>| Refused {
            process: crate::record::Process { pid, ..samples::process() },
            refused: count,
            cap,
            enforced: true,
        };
        for record in [
            told(1, 10, Some(5)),
            told(2, 3, Some(5)),
            told(1, 25, Some(5)),
            told(1, 27, None),
            // Another process with that pid, or one that was not followed.
            told(1, 4, None),
        ] {
            refused.count(&record);
        }
        assert_eq!((refused.enforced, refused.observed), (34, 0));
        assert_eq!(refused.counted.len(), 1);
        for pid in 10..10_000 {
            refused.count(&told(pid, 1, Some(5)));
        }
        let followed = refused.enforced - 34;
        assert_eq!((refused.counted.len(), followed), (4096, 4095));
        refused.count(&told(9_999, 7, None));
        assert_eq!(refused.enforced, 34 + 4095 + 7);
    }
}
