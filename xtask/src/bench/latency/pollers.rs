//! When somebody who polls could have known of the same explosion.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::{ChildStdout, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{armed, quantiles};
use crate::{
    agent::Ending,
    bench::{Bench, peers::POLLER, report::Figure},
    interrupt, load,
};

/// What ran.
pub(super) const COMMAND: &str =
    "python3 poll.py 1 procwatch-demo 80   # psutil, next to `procwatch run --json`: the same explosions";

/// Threads of each explosion; the default's first level lies below.
const THREADS: &str = "100";
const LEVEL: u64 = 80;
/// How long the poller has for seeing one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two explosions, so that they come at any moment of the interval.
const STEP: Duration = Duration::from_millis(137);

/// From the kernel's stamp to the poller's sight.
pub(super) fn figures(bench: &Bench) -> Vec<Figure> {
    let measured = POLLER.prepare(!bench.quick).and_then(|()| measure(bench));
    match measured {
        Ok(latencies) => quantiles(POLLER.name, &latencies).into(),
        Err(error) => vec![Figure::missing(POLLER.name, format!("{error:#}"))],
    }
}

fn measure(bench: &Bench) -> Result<Vec<f64>> {
    let mut agent = armed(&mut bench.procwatch(&["run", "--json"])?)?;
    let (_poller, output) = POLLER.start_piped()?;
    let sights = listen(output);
    let mut seen = HashMap::new();
    for round in 0..bench.pick(3, 20) {
        interrupt::check()?;
        thread::sleep(STEP * (round % 7));
        // It lives until it was seen: most that explode in earnest do.
        let mut load = load::command(&["explode", THREADS])?;
        let process = Ending(load.stdout(Stdio::null()).spawn()?);
        let pid = u64::from(process.0.id());
        while let Ok((found, time_ns)) = sights.recv_timeout(PATIENCE) {
            seen.insert(found, time_ns);
            if found == pid {
                break;
            }
        }
    }
    let mut latencies = Vec::new();
    agent.until(Duration::from_secs(2), |line| {
        latencies.extend(latency_ms(line, &seen));
        latencies.len() == seen.len()
    })?;
    agent.stop(|_| {})?;
    Ok(latencies)
}

/// Whom the poller sees, `(pid, CLOCK_BOOTTIME ns)`.
fn listen(output: ChildStdout) -> Receiver<(u64, u64)> {
    let (sender, sights) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        // Who does not listen any more has seen enough.
        let _ = lines.filter_map(|line| parse(&line).ok()).try_for_each(|sight| sender.send(sight));
    });
    sights
}

fn parse(line: &str) -> Result<(u64, u64)> {
    let (pid, time_ns) = line.split_once(' ').context("not a sight")?;
    Ok((pid.parse()?, time_ns.parse()?))
}

/// The time from the stamp in a line to the sight, when it tells that one of ours crossed the level.
fn latency_ms(line: &str, seen: &HashMap<u64, u64>) -> Option<f64> {
    let record: Value = serde_json::from_str(line).ok()?;
    let is_level = record["kind"] == "alert" && record["bound"] == "level" && record["level"] == LEVEL;
    let sight = seen.get(&record["pid"].as_u64().filter(|_| is_level)?)?;
    Some(sight.checked_sub(record["boot_ns"].as_u64()?)? as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sight_is_matched_with_the_alert_of_the_same_process() {
        assert_eq!(parse("12 3400").unwrap(), (12, 3400));
        assert!(parse("ready").is_err());
        let line = r#"{"boot_ns":1000000,"kind":"alert","pid":7,"bound":"level","level":80}"#;
        let seen = HashMap::from([(7, 501_000_000)]);
        assert_eq!(latency_ms(line, &seen), Some(500.0));
        assert_eq!(latency_ms(&line.replace("80", "100"), &seen), None);
    }
}
