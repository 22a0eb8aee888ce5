//! From the kernel's stamp of a crossing to the alert; [`stops`], [`moves`] and [`pollers`] are other ends of the same way.

mod moves;
mod pollers;
mod stops;

use std::{
    process::{Child, Command, Stdio},
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
/// The most that 99 of 100 alerts may take, ms: on a quiet machine, and with all CPUs fought for.
const TARGETS_MS: [f64; 2] = [0.2, 2.0];

/// Takes the figures.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let cpus = thread::available_parallelism()?.get();
    let mut figures = explosions(bench, "quiet", cpus, TARGETS_MS[0])?;
    figures.extend(stops::figures(bench, "quiet")?);
    figures.extend(moves::figures(bench, "quiet")?);
    let spinning = (0..cpus)
        .map(|_| Ok(Ending(load::command(&["spin"])?.stdout(Stdio::null()).spawn()?)))
        .collect::<Result<Vec<_>>>()?;
    figures.extend(explosions(bench, "saturated", cpus, TARGETS_MS[1])?);
    figures.extend(stops::figures(bench, "saturated")?);
    figures.extend(moves::figures(bench, "saturated")?);
    drop(spinning);
    figures.extend(pollers::figures(bench));
    let mut commands = vec![
        "procwatch run --json".to_owned(),
        format!("{} explode {THREADS}   # {EXPLOSIONS} times, {cpus} at once", load::NAME),
        format!("{} spin   # {cpus} of them, when saturated", load::NAME),
    ];
    commands.extend(stops::commands());
    commands.extend(moves::commands());
    commands.push(pollers::COMMAND.to_owned());
    Ok(Section { title: "Latency", commands, figures })
}

/// Explosions, one a CPU at a time, and the latencies that the alerts tell.
fn explosions(bench: &Bench, load: &str, at_once: usize, target_ms: f64) -> Result<Vec<Figure>> {
    let mut agent = armed(&mut bench.procwatch(&["run", "--json"])?)?;
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
    Ok(figures(load, &latencies, expected, target_ms))
}

/// Starts an agent and waits until it is armed.
pub(super) fn armed(command: &mut Command) -> Result<Agent> {
    let mut agent = Agent::start(command)?;
    let armed = agent.until(Duration::from_secs(20), |line| line.contains(r#""topic":"armed""#))?;
    ensure!(armed, "the agent was not armed within 20 s");
    Ok(agent)
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

fn figures(load: &str, latencies: &[f64], expected: usize, target_ms: f64) -> Vec<Figure> {
    let count = format!("{} alerts of {expected}", latencies.len());
    let [p50, p99, max] = quantiles(&format!("alert, {load}"), latencies);
    vec![p50.note(count), p99.at_most(target_ms), max]
}

/// The middle, 99 of 100, and the worst of latencies in ms.
pub(super) fn quantiles(name: &str, latencies: &[f64]) -> [Figure; 3] {
    let spread = Spread::of(latencies);
    let one = |which: &str, value: Option<f64>| {
        let name = format!("{name}, {which}");
        value.map_or_else(|| Figure::missing(&name, "nothing came"), |value| Figure::one(&name, "ms", value))
    };
    [
        Figure::median(format!("{name}, p50"), "ms", latencies),
        one("p99", spread.map(|it| it.p99)),
        one("max", spread.map(|it| it.max)),
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
