//! A process that changes to another user and stays in its caller's session, like `su`.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    process::ChildStdout,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{kind_and_pid, pass_on, tell};
use crate::{
    agent::{Agent, Ending},
    load,
    tree::Tree,
};

/// Children of the stray.
const CHILDREN: usize = 20;
/// Lines of procwatch that are shown; the others are alike.
const SHOWN_LINES: usize = 4;
/// How long it may take to move them all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows it; false when one of the processes is not where it belongs.
pub(super) fn show(agent: &mut Agent, tree: &Tree, uid: u32) -> Result<bool> {
    let processes = CHILDREN + 1;
    tell("")?;
    tell(&format!(
        "2. Like `su`: in {}, a process becomes uid {uid} and makes {CHILDREN} children at once.",
        Tree::session_name()
    ))?;
    tell(&format!("   The rule: uid {uid} belongs in {}.", Tree::target_name()))?;
    let mut process = Ending(load::command(&["stray", &uid.to_string(), &CHILDREN.to_string()])?.spawn()?);
    tree.enter_session(process.0.id())?;
    let answer = process.0.stdout.take().context("the stray has no output")?;
    let mut go = process.0.stdin.take().context("the stray has no input")?;
    go.write_all(b"!")?;
    wait_for_children(answer)?;

    let moved = follow(agent, tree, processes)?;
    let (inside, outside) = (tree.in_target()?.len(), tree.in_session()?.len());
    let slowest = moved.slowest.as_deref().unwrap_or("not told");
    tell(&format!(
        "asked: {processes} processes in target. seen: {inside} in target, {outside} left outside, by cgroup.procs."
    ))?;
    tell(&format!(
        "{} were moved, each proved by the kernel's own event; the slowest was outside {slowest}.",
        moved.proved.len()
    ))?;
    tell(&format!(
        "{} were born inside, as children of one that had been moved.",
        processes.saturating_sub(moved.proved.len())
    ))?;
    // The process ends when its input does.
    drop(go);
    Ok(inside == processes && outside == 0)
}

/// The stray says how many it has when all are there.
fn wait_for_children(answer: ChildStdout) -> Result<()> {
    let mut line = String::new();
    BufReader::new(answer).read_line(&mut line)?;
    if line.trim().parse() != Ok(CHILDREN) {
        bail!("the stray could not make its {CHILDREN} children");
    }
    Ok(())
}

/// What procwatch said of its moves.
#[derive(Default)]
struct Moved {
    proved: BTreeSet<u32>,
    slowest: Option<String>,
}

impl Moved {
    /// Takes the outcome of one move.
    fn note(&mut self, line: &str) {
        let Some(("outcome", pid)) = kind_and_pid(line) else {
            return;
        };
        if !line.contains("moved, verified") {
            return;
        }
        self.proved.insert(pid);
        let Some(span) = outside(line) else { return };
        if self.slowest.as_deref().is_none_or(|slowest| nanoseconds(span) > nanoseconds(slowest)) {
            self.slowest = Some(span.to_owned());
        }
    }
}

/// Shows what procwatch does until all are where they belong, and a moment longer.
fn follow(agent: &mut Agent, tree: &Tree, processes: usize) -> Result<Moved> {
    let end = Instant::now() + PATIENCE;
    let (mut moved, mut lines) = (Moved::default(), 0);
    loop {
        let complete = tree.in_target()?.len() == processes && tree.in_session()?.is_empty();
        let wait = Duration::from_millis(200);
        let Some(line) = agent.line_before(Instant::now() + wait)? else {
            if complete || Instant::now() > end {
                break;
            }
            continue;
        };
        if matches!(kind_and_pid(&line), Some(("decision" | "outcome", _))) {
            lines += 1;
            if lines <= SHOWN_LINES {
                pass_on(&line);
            }
            moved.note(&line);
        }
    }
    if lines > SHOWN_LINES {
        tell(&format!("   ({} more lines like these)", lines - SHOWN_LINES))?;
    }
    Ok(moved)
}

/// The span in `…, outside 2.31ms, …`.
fn outside(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(", outside ")?;
    rest.split([',', ' ']).next()
}

/// A span as procwatch writes it, to compare it.
fn nanoseconds(span: &str) -> f64 {
    let digits = span.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(span.len());
    let (number, unit) = span.split_at(digits);
    let factor = match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        _ => 1e9,
    };
    number.parse::<f64>().map_or(0.0, |number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowest_of_the_proved_is_kept() {
        let mut moved = Moved::default();
        for (pid, result) in [
            (7, "moved, verified, outside 812µs, 0 still outside  /a → /b"),
            (8, "moved, verified, outside 2.31ms  /a → /b"),
            (9, "ended before it was moved  → /b"),
        ] {
            moved.note(&format!("16:14:35.839018 outcome  {pid} {pid} 1 64003 procwatch-demo {result}"));
        }
        assert_eq!(moved.proved, BTreeSet::from([7, 8]));
        assert_eq!(moved.slowest.as_deref(), Some("2.31ms"));
    }
}
