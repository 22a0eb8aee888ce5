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
/// How long it may take to say which code it was.
const DIAGNOSIS: Duration = Duration::from_secs(10);

/// Shows it; false when an alert is missing or one came too many.
pub(super) fn show(agent: &mut Agent) -> Result<bool> {
    tell("")?;
    tell("1. A process gets out of hand: 300 threads, which sleep. It may have 79.")?;
    let levels: Vec<u32> = LEVELS.into_iter().filter(|level| *level < 300).collect();
    // And one for the burst that it is.
    let expected = levels.len() + 1;
    let process = Ending(load::command(&["explode", THREADS])?.stdout(Stdio::null()).spawn()?);
    let begun = Instant::now();
    let mut seen = 0;
    agent.until(PATIENCE, |line| {
        if kind_and_pid(line) == Some(("alert", process.0.id())) {
            pass_on(line);
            seen += 1;
        }
        seen == expected
    })?;
    let took = begun.elapsed();
    // One alert too many would come before that.
    let mut named = false;
    agent.until(DIAGNOSIS, |line| {
        match kind_and_pid(line) {
            Some(("alert", pid)) if pid == process.0.id() => seen += 1,
            Some(("diagnosis", pid)) if pid == process.0.id() => named = true,
            _ => return false,
        }
        pass_on(line);
        named
    })?;
    tell(&format!(
        "asked: an alert at {levels:?} threads, one for the burst, and which code it was. seen: {seen} alerts, all within \
         {:.0} ms of its start, and {}.",
        took.as_secs_f64() * 1e3,
        if named { "an answer" } else { "no answer" }
    ))?;
    Ok(seen == expected && named)
}
