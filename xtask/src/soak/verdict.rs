//! What a soak came to.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::bench::report::{Figure, Section};

/// How much more memory the last quarter of a run may take than the second one, of 1: what the allocator keeps varies.
const MEMORY_SLACK: f64 = 0.05;

/// In less time than this it is still warming up, and how much memory it takes is shown and not judged.
const WARM: Duration = Duration::from_mins(10);

/// The agent at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) resident_kb: u64,
    pub(super) own_kb: u64,
    pub(super) threads: u64,
    pub(super) descriptors: u64,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) samples: Vec<Sample>,
    /// Records by kind.
    told: BTreeMap<String, u64>,
    /// Records that were told to be missing, by ring.
    told_lost: BTreeMap<String, u64>,
    /// Complaints of the agent, each with how often it came.
    complaints: BTreeMap<String, u64>,
    /// What the agent said of itself at the end.
    pub(super) status: Value,
    pub(super) cpu_s: f64,
    pub(super) took: Duration,
}

impl Verdict {
    /// Takes in a line of the agent.
    pub(super) fn hear(&mut self, line: &str) {
        let Ok(record) = serde_json::from_str::<Value>(line) else {
            *self.complaints.entry("a line that is no JSON".to_owned()).or_default() += 1;
            return;
        };
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        *self.told.entry(text("kind")).or_default() += 1;
        match (&*text("kind"), &*text("topic")) {
            ("loss", _) => {
                *self.told_lost.entry(text("ring")).or_default() += record["lost"].as_u64().unwrap_or(0);
            }
            ("health", "degraded") => *self.complaints.entry(text("message")).or_default() += 1,
            _ => {}
        }
    }

    /// What is not as it should be.
    pub(super) fn failings(&self) -> Vec<String> {
        let mut failings = Vec::new();
        let grown = self.growth(|sample| sample.own_kb).is_none_or(|growth| growth > MEMORY_SLACK);
        if grown && self.took >= WARM {
            failings.push("the agent's memory grew".to_owned());
        }
        let steady =
            |of: fn(&Sample) -> u64| self.quarters(of).is_some_and(|(early, late)| late <= early + 2.0);
        if !steady(|sample| sample.descriptors) {
            failings.push("the agent's descriptors grew".to_owned());
        }
        for (ring, lost) in self.lost() {
            let told = self.told_lost.get(&ring).copied().unwrap_or(0);
            if lost > told {
                failings.push(format!(
                    "{} records of the ring {ring} are missing and were not told",
                    lost - told
                ));
            }
        }
        failings.extend(self.complaints.iter().map(|(what, times)| format!("{times} times: {what}")));
        failings
    }

    /// Records that found a ring full, by the kernel programs' own count.
    fn lost(&self) -> Vec<(String, u64)> {
        let rings = self.status["rings"].as_array().into_iter().flatten();
        rings
            .map(|ring| {
                (ring["ring"].as_str().unwrap_or_default().to_owned(), ring["lost"].as_u64().unwrap_or(0))
            })
            .collect()
    }

    /// The medians of the second and the last quarter: the first one fills caches.
    fn quarters(&self, of: impl Fn(&Sample) -> u64) -> Option<(f64, f64)> {
        let quarter = self.samples.len() / 4;
        let median = |samples: &[Sample]| {
            let mut values: Vec<u64> = samples.iter().map(&of).collect();
            values.sort_unstable();
            values.get(values.len() / 2).map(|value| *value as f64)
        };
        Some((median(self.samples.get(quarter..2 * quarter)?)?, median(self.samples.get(3 * quarter..)?)?))
    }

    fn growth(&self, of: impl Fn(&Sample) -> u64) -> Option<f64> {
        let (early, late) = self.quarters(of)?;
        Some(late / early - 1.0)
    }

    /// The figures.
    pub(super) fn section(&self) -> Section {
        let mb = |kb: f64| kb / 1024.0;
        let mut figures = vec![
            Figure::one("minutes", "", self.took.as_secs_f64() / 60.0),
            Figure::one("CPU time of the agent", "ms/s", self.cpu_s / self.took.as_secs_f64() * 1e3),
        ];
        for (name, of) in [
            ("resident", (|sample| sample.resident_kb) as fn(&Sample) -> u64),
            ("resident, anonymous", |sample| sample.own_kb),
        ] {
            if let Some((early, late)) = self.quarters(of) {
                let note = format!("{:.2} MB in the second quarter", mb(early));
                figures.push(Figure::one(format!("{name}, last quarter"), "MB", mb(late)).note(note));
            }
        }
        for (name, of) in [
            ("descriptors", (|sample| sample.descriptors) as fn(&Sample) -> u64),
            ("threads of the agent", |sample| sample.threads),
        ] {
            if let Some((early, late)) = self.quarters(of) {
                figures.push(
                    Figure::one(format!("{name}, last quarter"), "", late)
                        .note(format!("{early} in the second quarter")),
                );
            }
        }
        for (ring, lost) in self.lost() {
            let told = self.told_lost.get(&ring).copied().unwrap_or(0);
            figures.push(
                Figure::one(format!("lost, ring {ring}"), "", lost as f64).note(format!("told: {told}")),
            );
        }
        for (kind, count) in &self.told {
            figures.push(Figure::one(format!("records told: {kind}"), "", *count as f64));
        }
        for output in self.status["outputs"].as_array().into_iter().flatten() {
            let number = |key: &str| output[key].as_u64().unwrap_or(0);
            let name = output["name"].as_str().unwrap_or_default();
            figures.push(Figure::one(format!("taken by {name}"), "", number("taken") as f64).note(format!(
                "dropped {}, failed {}",
                number("dropped"),
                number("failed")
            )));
        }
        Section {
            title: "Soak",
            commands: vec!["stress-ng --fork --clone --pthread --exec".to_owned()],
            figures,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(own_kb: impl Fn(u64) -> u64, lost: u64) -> Verdict {
        let sample = |at| Sample { resident_kb: 9000, own_kb: own_kb(at), threads: 5, descriptors: 40 };
        let status = json!({"rings": [{"ring": "urgent", "lost": lost}], "outputs": []});
        Verdict { samples: (0..40).map(sample).collect(), status, took: WARM, ..Verdict::default() }
    }

    #[test]
    fn a_leak_is_told_from_a_warm_up() {
        assert_eq!(verdict(|at| if at < 5 { 1000 } else { 3000 }, 0).failings(), [] as [String; 0]);
        let grows = verdict(|at| 1000 + 20 * at, 0);
        assert_eq!(grows.failings(), ["the agent's memory grew"]);
        assert_eq!(Verdict { took: WARM / 2, ..grows }.failings(), [] as [String; 0]);
    }

    #[test]
    fn what_is_lost_must_have_been_told() {
        let mut verdict = verdict(|_| 1000, 7);
        verdict.hear(r#"{"kind":"loss","ring":"urgent","lost":5}"#);
        assert_eq!(verdict.failings(), ["2 records of the ring urgent are missing and were not told"]);
        verdict.hear(r#"{"kind":"loss","ring":"urgent","lost":2}"#);
        assert_eq!(verdict.failings(), [] as [String; 0]);
        verdict.hear(r#"{"kind":"health","topic":"degraded","message":"log: disk full"}"#);
        assert_eq!(verdict.failings(), ["1 times: log: disk full"]);
    }
}
