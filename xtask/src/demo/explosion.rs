//! A process that creates far too many threads.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{kind_and_pid, pass_on, tell};
use crate::{
    agent::{Agent, Ending},
    load,
};

/// The levels of the demo: those of procwatch's default.
pub(super) const LEVELS: [u32; 4] = [80, 100, 500, 1000];
/// Threads of the explosion.
const THREADS: &str = "300";
/// How long the alerts may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Shows it; false when an alert is missing or one came too many.
pub(super) fn show(agent: &mut Agent) -> Result<bool> {
    tell("")?;
    tell("1. A process gets out of hand: 300 threads, which sleep. It may have 79.")?;
    let expected: Vec<u32> = LEVELS.into_iter().filter(|level| *level < 300).collect();
    let process = Ending(load::command(&["explode", THREADS])?.stdout(Stdio::null()).spawn()?);
    let begun = Instant::now();
    let mut seen = 0;
    agent.until(PATIENCE, |line| {
        if kind_and_pid(line) == Some(("alert", process.0.id())) {
            pass_on(line);
            seen += 1;
        }
        seen == expected.len()
    })?;
    let took = begun.elapsed();
    // One too many would come at once.
    agent.until(Duration::from_millis(300), |line| {
        if kind_and_pid(line) == Some(("alert", process.0.id())) {
            pass_on(line);
            seen += 1;
        }
        false
    })?;
    tell(&format!(
        "asked: an alert at {expected:?} threads. seen: {seen} alerts, all within {:.0} ms of its start.",
        took.as_secs_f64() * 1e3
    ))?;
    Ok(seen == expected.len())
}
