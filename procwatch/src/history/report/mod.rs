//! What happened in a span of time, gathered from the history for people.

mod gather;
pub mod html;
mod plot;
mod sections;
pub mod text;

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;

use super::{
    HistoryError,
    read::{Border, Reader},
};
use crate::record::{ActResult, Deed, Quantiles, Severity};

/// Parts of the span that are told apart in plots.
const PARTS: usize = 48;
/// Rows of each list.
const MOST_ROWS: usize = 10;

/// All that a report tells.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where the span begins.
    pub since: Timestamp,
    /// Where it ends.
    pub until: Timestamp,
    /// This machine's name, escaped.
    pub host: String,
    /// Records in the span.
    pub records: u64,
    /// Rows that are none.
    pub damaged: u64,
    /// Lives of the agent, in their order.
    pub runs: Vec<Run>,
    /// Alerts by severity.
    pub alerts: BTreeMap<Severity, u64>,
    /// Alerts that were neither cleared nor ended with their agent.
    pub open_alerts: u64,
    /// Programs with alerts, the worst first.
    pub programs: Vec<Program>,
    /// Alerts in each part of the span, by severity.
    pub parts: Vec<[u64; 4]>,
    /// Who was placed, by user.
    pub placed: Vec<Placed>,
    /// Held execs, by what ended them.
    pub holds: BTreeMap<&'static str, u64>,
    /// How long they were held.
    pub held: Quantiles,
    /// What was done to contain processes, with what came of it.
    pub actions: Vec<Acted>,
    /// Code that creates threads, with how often it was found.
    pub causes: Vec<(String, u64)>,
    /// Records that were lost, by ring.
    pub lost: BTreeMap<&'static str, u64>,
    /// What the agent complained of, with how often and when last.
    pub faults: Vec<(String, u64, Timestamp)>,
    /// The highest thread counts.
    pub heights: Vec<Height>,
    /// The alert that lasted longest.
    pub longest: Option<Lasting>,
    /// The fastest growth.
    pub fastest: Option<Growing>,
    /// The alert that reached the agent last after it was raised.
    pub slowest_ns: Option<u64>,
    /// Thread counts over time of the processes with the highest ones.
    pub curves: Vec<Curve>,
    /// Resident memory of the agent over time, bytes.
    pub memory: Vec<(Timestamp, f64)>,
}

/// A life of the agent.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it began.
    pub begun: Timestamp,
    /// When it ended, or was heard of last; `None` while it runs.
    pub ended: Option<Timestamp>,
    /// It ended without saying so.
    pub died: bool,
}

/// A program with alerts: all processes of one name and user.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Its name, escaped.
    pub comm: String,
    /// Its user, escaped.
    pub user: String,
    /// Processes.
    pub processes: u64,
    /// Alerts by severity.
    pub alerts: [u64; 4],
    /// The most threads that one of them was told of.
    pub most: u32,
    /// The alert that lasted longest, ns; `None` when none is over.
    pub longest_ns: Option<u64>,
}

/// Processes of a user that were moved, or should have been.
#[derive(Clone, Debug, Default)]
pub struct Placed {
    /// The user, escaped.
    pub user: String,
    /// Where they belong.
    pub target: String,
    /// `su` sessions.
    pub sessions: u64,
    /// Moved.
    pub moved: u64,
    /// Could not be moved.
    pub failed: u64,
    /// Ended first.
    pub gone: u64,
    /// Would have been moved in mode enforce.
    pub observed: u64,
    /// How long they were outside.
    pub outside: Quantiles,
}

/// Something that was done, and how often it came to this.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acted {
    /// What.
    pub action: Deed,
    /// It was taken back.
    pub undo: bool,
    /// What came of it.
    pub result: ActResult,
    /// Why it was refused.
    pub reason: Option<&'static str>,
    /// How often.
    pub count: u64,
}

/// The most threads of a process.
#[derive(Clone, Debug)]
pub struct Height {
    /// `python3[4242]`, escaped.
    pub process: String,
    /// Its user, escaped.
    pub user: String,
    /// The most threads that it was told or seen to have.
    pub threads: u32,
    /// When.
    pub time: Timestamp,
}

/// An alert with its end.
#[derive(Clone, Debug)]
pub struct Lasting {
    /// `python3[4242]`, escaped.
    pub process: String,
    /// What it was, in words.
    pub what: String,
    /// How long it lasted, ns.
    pub lasted_ns: u64,
}

/// A burst.
#[derive(Clone, Debug)]
pub struct Growing {
    /// `python3[4242]`, escaped.
    pub process: String,
    /// Threads that came.
    pub threads: u32,
    /// Within this time, ns.
    pub took_ns: u64,
}

/// Thread counts of a process over time.
#[derive(Clone, Debug)]
pub struct Curve {
    /// `python3[4242]`, escaped.
    pub process: String,
    /// Its counts.
    pub points: Vec<(Timestamp, f64)>,
}

impl Report {
    /// Gathers a report.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn gather(path: &Path, since: Border, until: Option<Border>) -> Result<Self, HistoryError> {
        gather::gather(&Reader::open(path)?, since, until)
    }
}

#[cfg(test)]
mod tests;
