//! What one mover came to, and the table of all.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::mover::Mover;
use crate::bench::{report::number, statistics::Spread};

/// What one mover came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Who moved.
    pub(super) mover: Mover,
    /// Sessions that came to their end, by their own word.
    pub(super) sessions: u64,
    /// Those whose first process ended outside.
    pub(super) sessions_outside: u64,
    /// Forks by processes of the sessions, as the witness saw them in the kernel.
    pub(super) forks: u64,
    /// Those that happened outside of the slice.
    pub(super) forks_outside: u64,
    /// Children that told where they were.
    pub(super) children: u64,
    /// Those whose own first look round was outside.
    pub(super) began_outside: u64,
    /// Those whose own last was.
    pub(super) ended_outside: u64,
    /// Ends of processes outside, by the kernel.
    pub(super) ends_outside: u64,
    /// Who was moved and should not have been, with the number of processes.
    pub(super) wrong: BTreeMap<String, u64>,
    /// Time from becoming aimgr's, or from birth outside, to the slice, by the kernel's stamps, ms.
    pub(super) outside_ms: Option<Spread>,
    /// How long execs were held, ms, by the mover's own word.
    pub(super) held_ms: Option<Spread>,
    /// How holds ended.
    pub(super) holds: BTreeMap<String, u64>,
    /// What came of moves.
    pub(super) outcomes: BTreeMap<String, u64>,
    /// Children found outside after a move, by the mover's own word.
    pub(super) strays: u64,
    /// CPU time of the mover, its helpers too, ms.
    pub(super) mover_cpu_ms: u64,
    /// CPU time of pid 1 meanwhile, which may do its work, ms.
    pub(super) init_cpu_ms: u64,
    /// How long all sessions took, s.
    pub(super) took_s: f64,
    /// Events that the witness never got, and those of which it could not say where.
    pub(super) unseen: u64,
    /// The mover's own account, if it gives one.
    pub(super) account: serde_json::Value,
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// Kernel, CPUs, how they are had.
    pub(super) machine: String,
    /// How to repeat it.
    pub(super) command: String,
    /// One column each.
    pub(super) movers: Vec<Measured>,
    /// Those that could not be measured, and why.
    pub(super) missing: Vec<String>,
}

/// A row: its name, and what it has of a mover.
type Row = (&'static str, fn(&Measured) -> String);

/// The rows of the table.
const ROWS: [Row; 16] = [
    ("sessions", |it| it.sessions.to_string()),
    ("forks in them, seen in the kernel", |it| it.forks.to_string()),
    ("forks made outside", |it| it.forks_outside.to_string()),
    ("the same, by the mover's own count", |it| {
        it.account["born_outside"].as_u64().map_or_else(|| "none".to_owned(), |count| count.to_string())
    }),
    ("children whose own first look was outside", |it| of(it.began_outside, it.children)),
    ("children that ended outside", |it| of(it.ended_outside, it.children)),
    ("sessions that ended outside", |it| of(it.sessions_outside, it.sessions)),
    ("moved and should not have been", |it| list(&it.wrong)),
    ("time outside, p50 / p99 / max ms", |it| spread(it.outside_ms)),
    ("execs held, p50 / p99 / max ms", |it| spread(it.held_ms)),
    ("ends of holds", |it| list(&it.holds)),
    ("outcomes of moves", |it| list(&it.outcomes)),
    ("CPU time of the mover, ms", |it| it.mover_cpu_ms.to_string()),
    ("CPU time of pid 1, ms", |it| it.init_cpu_ms.to_string()),
    ("all sessions took, s", |it| number(it.took_s)),
    ("events that the witness missed", |it| it.unseen.to_string()),
];

fn of(part: u64, whole: u64) -> String {
    format!("{part} of {whole}")
}

fn list(tally: &BTreeMap<String, u64>) -> String {
    if tally.is_empty() {
        return "none".to_owned();
    }
    let parts: Vec<String> = tally.iter().map(|(name, count)| format!("{count} {name}")).collect();
    parts.join(", ")
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "none".to_owned(),
        |it| format!("{} / {} / {} (n={})", number(it.median), number(it.p99), number(it.max), it.count),
    )
}

impl Comparison {
    /// The movers side by side.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("# Placement, side by side\n\n{}; `{}`\n\n", self.machine, self.command);
        let names: Vec<&str> = self.movers.iter().map(|it| it.mover.name()).collect();
        let _ = writeln!(text, "| | {} |", names.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(names.len()));
        for (name, cell) in ROWS {
            let cells: Vec<String> = self.movers.iter().map(cell).collect();
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
        for why in &self.missing {
            let _ = writeln!(text, "\nNot measured: {why}");
        }
        text
    }

    /// Writes `place.md` and `place.json` into `folder`.
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(folder.join("place.json"), json))
            .and_then(|()| fs::write(folder.join("place.md"), self.markdown()))
            .with_context(|| format!("cannot write the figures to {}", folder.display()))
    }
}
