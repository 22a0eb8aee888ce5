//! What one mover came to, and the table of all.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    mover::Mover,
    witness::{Seen, Told},
};
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
    /// Most that were alive outside when a sweep had ended, by the kernel's task iterator; `None` when none was made.
    pub(super) left_outside: Option<u64>,
    /// CPU time of the mover, its helpers too, ms.
    pub(super) mover_cpu_ms: u64,
    /// CPU time of pid 1 meanwhile, which may do its work, ms.
    pub(super) init_cpu_ms: u64,
    /// How long all sessions took, s.
    pub(super) took_s: f64,
    /// Events that the witness never got, and those of which it could not say where.
    pub(super) unseen: u64,
    /// The mover's own account, if it gives one.
    pub(super) account: Value,
}

/// What was seen and told while the sessions ran.
pub(super) struct Run {
    /// By the sessions themselves.
    pub(super) told: Told,
    /// By the witness.
    pub(super) seen: Seen,
    /// By the mover: its records.
    pub(super) own: Vec<Value>,
    /// See [`Measured`].
    pub(super) mover_cpu_ms: u64,
    /// See [`Measured`].
    pub(super) init_cpu_ms: u64,
    /// How long all sessions took.
    pub(super) took: Duration,
}

impl Measured {
    /// The figures of a run.
    pub(super) fn new(mover: Mover, run: Run) -> Self {
        let Run { told, seen, own, .. } = run;
        let of_kind = |kind: &str| -> Vec<&Value> { own.iter().filter(|it| it["kind"] == kind).collect() };
        let (holds, outcomes) = (of_kind("hold"), of_kind("outcome"));
        let held = holds.iter().filter_map(|hold| hold["held_ns"].as_f64());
        let held: Vec<f64> = held.map(|ns| ns / 1e6).collect();
        Self {
            mover,
            sessions: told.sessions,
            sessions_outside: told.sessions_outside,
            forks: seen.forks,
            forks_outside: seen.forks_outside,
            children: told.children,
            began_outside: told.began_outside,
            ended_outside: told.ended_outside,
            ends_outside: seen.ends_outside,
            wrong: seen.wrong,
            outside_ms: Spread::of(&seen.outside_ms),
            held_ms: Spread::of(&held),
            holds: tally(&holds, "result"),
            strays: outcomes.iter().filter_map(|it| it["strays"].as_u64()).sum(),
            left_outside: outcomes.iter().filter_map(|it| it["still_outside"].as_u64()).max(),
            outcomes: tally(&outcomes, "result"),
            mover_cpu_ms: run.mover_cpu_ms,
            init_cpu_ms: run.init_cpu_ms,
            took_s: run.took.as_secs_f64(),
            unseen: seen.unknown + seen.lost,
            account: of_kind("placement").first().copied().cloned().unwrap_or_default(),
        }
    }
}

/// The different values of a field, with how often each comes.
fn tally(records: &[&Value], key: &str) -> BTreeMap<String, u64> {
    let mut tally = BTreeMap::new();
    for record in records {
        *tally.entry(record[key].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    tally
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
const ROWS: [Row; 17] = [
    ("sessions", |it| it.sessions.to_string()),
    ("forks in them, seen in the kernel", |it| it.forks.to_string()),
    ("forks made outside", |it| it.forks_outside.to_string()),
    ("the same, by the mover's own count", |it| {
        it.account["born_outside"].as_u64().map_or_else(|| "none".to_owned(), |count| count.to_string())
    }),
    ("children whose own first look was outside", |it| of(it.began_outside, it.children)),
    ("children that ended outside", |it| of(it.ended_outside, it.children)),
    ("sessions that ended outside", |it| of(it.sessions_outside, it.sessions)),
    ("alive outside after a sweep, at most", |it| {
        it.left_outside.map_or_else(|| "none".to_owned(), |count| count.to_string())
    }),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn movers_stand_side_by_side() {
        let run = |own: Vec<Value>| Run {
            told: Told { children: 10, ended_outside: 3, ..Told::default() },
            seen: Seen { forks: 10, forks_outside: 4, ..Seen::default() },
            own,
            mover_cpu_ms: 20,
            init_cpu_ms: 0,
            took: Duration::from_secs(1),
        };
        let own = vec![
            json!({"kind": "hold", "result": "inside", "held_ns": 2_000_000}),
            json!({"kind": "outcome", "result": "verified", "strays": 2, "still_outside": 0}),
            json!({"kind": "placement", "born_outside": 4}),
        ];
        let movers =
            vec![Measured::new(Mover::Nothing, run(Vec::new())), Measured::new(Mover::Hold, run(own))];
        assert_eq!((movers[1].strays, movers[1].holds["inside"]), (2, 1));
        let machine = "Linux 6.1".to_owned();
        let comparison =
            Comparison { machine, command: "bench".to_owned(), movers, missing: vec!["x: no".to_owned()] };
        let text = comparison.markdown();
        for line in [
            "| | nothing | hold |",
            "| forks made outside | 4 | 4 |",
            "| the same, by the mover's own count | none | 4 |",
            "| children that ended outside | 3 of 10 | 3 of 10 |",
            "| alive outside after a sweep, at most | none | 0 |",
            "| execs held, p50 / p99 / max ms | none | 2.00 / 2.00 / 2.00 (n=1) |",
            "Not measured: x: no",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        let text = serde_json::to_string(&comparison.movers[1]).unwrap();
        let back: Measured = serde_json::from_str(&text).unwrap();
        assert_eq!(back.account, comparison.movers[1].account);
    }
}
