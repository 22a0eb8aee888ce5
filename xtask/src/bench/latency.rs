//! From the kernel's stamp of a crossing to the alert.

use std::{
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    Bench,
    report::{Figure, Section},
    statistics::Spread,
};
use crate::{
    agent::{Agent, Ending},
    load,
};

/// Explosions of one measurement, each of this many threads: two levels lie below it, and it is a burst.
const EXPLOSIONS: usize = 100;
const THREADS: &str = "300";
const ALERTS_EACH: usize = 3;
/// The most that 99 of 100 alerts may take, ms.
const TARGET_MS: f64 = 5.0;

/// Takes the figures.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let cpus = thread::available_parallelism()?.get();
    let mut figures = explosions(bench, "quiet", cpus)?;
    let spinning = (0..cpus)
        .map(|_| Ok(Ending(load::command(&["spin"])?.stdout(Stdio::null()).spawn()?)))
        .collect::<Result<Vec<_>>>()?;
    figures.extend(explosions(bench, "saturated", cpus)?);
    drop(spinning);
    Ok(Section {
        title: "Latency of alerts",
        commands: vec![
            "procwatch run --json".to_owned(),
            format!("{} explode {THREADS}   # {EXPLOSIONS} times, {cpus} at once", load::NAME),
            format!("{} spin   # {cpus} of them, when saturated", load::NAME),
        ],
        figures,
    })
}

/// Explosions, one a CPU at a time, and the latencies that the alerts tell.
fn explosions(bench: &Bench, load: &str, at_once: usize) -> Result<Vec<Figure>> {
    let mut agent = Agent::start(&mut bench.procwatch(&["run", "--json"])?)?;
    ensure!(
        agent.until(Duration::from_secs(20), |line| line.contains(r#""topic":"armed""#))?,
        "the agent was not armed within 20 s"
    );
    let mut started = 0;
    while started < EXPLOSIONS {
        let count = at_once.min(EXPLOSIONS - started);
        let children = (0..count).map(|_| explode()).collect::<Result<Vec<_>>>()?;
        for mut child in children {
            ensure!(child.wait()?.success(), "an explosion failed");
        }
        started += count;
    }
    let expected = EXPLOSIONS * ALERTS_EACH;
    let mut latencies = Vec::new();
    agent.until(Duration::from_secs(5), |line| {
        latencies.extend(latency_ms(line));
        latencies.len() == expected
    })?;
    agent.stop(|line| latencies.extend(latency_ms(line)))?;
    Ok(figures(load, &latencies, expected))
}

/// A process that ends as soon as it has its threads.
fn explode() -> Result<Child> {
    let mut command = load::command(&["explode", THREADS])?;
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
}

/// The latency in a line, when it is an alert about one of ours.
fn latency_ms(line: &str) -> Option<f64> {
    let record: Value = serde_json::from_str(line).ok()?;
    let ours = record["kind"] == "alert" && record["comm"] == load::NAME;
    ours.then(|| record["latency_ns"].as_f64()).flatten().map(|ns| ns / 1e6)
}

fn figures(load: &str, latencies: &[f64], expected: usize) -> Vec<Figure> {
    let Some(spread) = Spread::of(latencies) else {
        return vec![Figure::missing(load, "no alert came")];
    };
    let count = format!("{} alerts of {expected}", latencies.len());
    vec![
        Figure::median(format!("{load}, p50"), "ms", latencies).note(count),
        Figure::one(format!("{load}, p99"), "ms", spread.p99).at_most(TARGET_MS),
        Figure::one(format!("{load}, max"), "ms", spread.max),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_alerts_about_our_explosions_count() {
        let line = r#"{"kind":"alert","comm":"procwatch-demo","latency_ns":1500000}"#;
        assert_eq!(latency_ms(line), Some(1.5));
        assert_eq!(latency_ms(&line.replace("alert", "cleared")), None);
        assert_eq!(latency_ms(&line.replace("-demo", "")), None);
        assert_eq!(latency_ms("TIME KIND"), None);
    }
}
