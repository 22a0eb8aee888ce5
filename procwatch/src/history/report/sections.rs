//! A report in sections of words and tables: what both of its forms are made of.

use jiff::{Timestamp, tz::TimeZone};

use super::{Acted, MOST_ROWS, Placed, Program, Report, Run};
use crate::{
    record::{Quantiles, Severity},
    sink::duration::Span,
};

/// A part of a report.
pub(super) struct Section {
    /// One word.
    pub(super) title: &'static str,
    /// The answer in a line.
    pub(super) summary: String,
    /// What stands behind it.
    pub(super) table: Option<Table>,
}

/// Rows of cells.
pub(super) struct Table {
    /// Names of the columns.
    pub(super) head: &'static [&'static str],
    /// As many cells each.
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    fn some(head: &'static [&'static str], rows: Vec<Vec<String>>) -> Option<Self> {
        (!rows.is_empty()).then_some(Self { head, rows })
    }
}

/// A time of day with its date.
pub(super) fn shown(time: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The span and the machine.
pub(super) fn title(report: &Report, zone: &TimeZone) -> String {
    let ns = report.until.as_nanosecond() - report.since.as_nanosecond();
    let span = Span(u64::try_from(ns).unwrap_or(0));
    format!("{}, {} to {} ({span})", report.host, shown(report.since, zone), shown(report.until, zone))
}

/// All of it.
pub(super) fn of(report: &Report, zone: &TimeZone) -> Vec<Section> {
    vec![
        agent(report, zone),
        alerts(report),
        extremes(report),
        heights(report, zone),
        causes(report),
        actions(report),
        placed(report),
        holds(report),
        lost(report),
        faults(report, zone),
    ]
}

fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn agent(report: &Report, zone: &TimeZone) -> Section {
    let died = report.runs.iter().filter(|run| run.died).count() as u64;
    let mut parts = vec![count(report.runs.len() as u64, "start")];
    if died > 0 {
        parts.push(format!("ended without a word {}", count(died, "time")));
    }
    parts.push(count(report.records, "record"));
    if report.damaged > 0 {
        parts.push(format!("{} damaged", count(report.damaged, "row")));
    }
    let summary = parts.join("; ");
    let row = |run: &Run| {
        let end = match run.ended {
            None => "runs".to_owned(),
            Some(ended) if run.died => format!("died, heard of last {}", shown(ended, zone)),
            Some(ended) => format!("ended {}", shown(ended, zone)),
        };
        vec![shown(run.begun, zone), run.pid.to_string(), run.version.clone(), end]
    };
    // The last ones are the ones that are asked for.
    let rows = report.runs.iter().skip(report.runs.len().saturating_sub(MOST_ROWS)).map(row).collect();
    Section { title: "agent", summary, table: Table::some(&["BEGAN", "PID", "VERSION", "END"], rows) }
}

fn alerts(report: &Report) -> Section {
    let all: u64 = report.alerts.values().sum();
    let by = |severity: &Severity| {
        report
            .alerts
            .get(severity)
            .filter(|number| **number > 0)
            .map(|number| format!("{number} {}", severity.name()))
    };
    let parts: Vec<String> = Severity::ALL.iter().rev().filter_map(by).collect();
    let summary = match (all, report.open_alerts) {
        (0, _) => "none".to_owned(),
        (_, 0) => format!("{all}: {}", parts.join(", ")),
        (_, open) => format!("{all}: {}; {open} not over", parts.join(", ")),
    };
    let row = |it: &Program| {
        let mut row = vec![it.comm.clone(), it.user.clone(), it.processes.to_string()];
        row.extend(it.alerts.map(|number| number.to_string()));
        row.push(it.most.to_string());
        row.push(it.longest_ns.map_or_else(|| "-".to_owned(), |ns| Span(ns).to_string()));
        row
    };
    let head =
        &["PROGRAM", "USER", "PROCESSES", "NOTICE", "WARNING", "CRITICAL", "EMERGENCY", "MOST", "LONGEST"];
    Section { title: "alerts", summary, table: Table::some(head, report.programs.iter().map(row).collect()) }
}

fn extremes(report: &Report) -> Section {
    let mut parts = Vec::new();
    if let Some(it) = &report.longest {
        parts.push(format!("longest alert {} ({}, {})", Span(it.lasted_ns), it.process, it.what));
    }
    if let Some(it) = &report.fastest {
        parts.push(format!("fastest growth {} threads in {} ({})", it.threads, Span(it.took_ns), it.process));
    }
    if let Some(ns) = report.slowest_ns {
        parts.push(format!("slowest alert told after {}", Span(ns)));
    }
    let summary = if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") };
    Section { title: "extremes", summary, table: None }
}

fn heights(report: &Report, zone: &TimeZone) -> Section {
    let summary = report.heights.first().map_or_else(
        || "none told of".to_owned(),
        |it| format!("{} threads at most, {} of {}", it.threads, it.process, it.user),
    );
    let rows = report
        .heights
        .iter()
        .map(|it| vec![it.threads.to_string(), it.process.clone(), it.user.clone(), shown(it.time, zone)]);
    Section {
        title: "threads",
        summary,
        table: Table::some(&["MOST", "PROCESS", "USER", "WHEN"], rows.collect()),
    }
}

fn causes(report: &Report) -> Section {
    let summary = match report.causes.len() {
        0 => "none found".to_owned(),
        number => count(number as u64, "place") + " in code that makes threads",
    };
    let rows = report.causes.iter().map(|(what, times)| vec![times.to_string(), what.clone()]);
    Section { title: "causes", summary, table: Table::some(&["TIMES", "CODE"], rows.collect()) }
}

fn actions(report: &Report) -> Section {
    let all: u64 = report.actions.iter().map(|it| it.count).sum();
    let summary = if all == 0 { "none".to_owned() } else { count(all, "action") };
    let row = |it: &Acted| {
        let what = format!("{}{}", if it.undo { "undo " } else { "" }, it.action.name());
        let reason = it.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        vec![what, format!("{}{reason}", it.result.name()), it.count.to_string()]
    };
    let rows = report.actions.iter().map(row).collect();
    Section { title: "actions", summary, table: Table::some(&["ACTION", "RESULT", "TIMES"], rows) }
}

fn times(times: &Quantiles) -> String {
    if times.count == 0 {
        return "-".to_owned();
    }
    format!("p50 {} p99 {} max {}", Span(times.p50_ns), Span(times.p99_ns), Span(times.max_ns))
}

fn placed(report: &Report) -> Section {
    let sum = |of: fn(&Placed) -> u64| report.placed.iter().map(of).sum::<u64>();
    let (moved, failed, observed) = (sum(|it| it.moved), sum(|it| it.failed), sum(|it| it.observed));
    let summary = match (report.placed.is_empty(), observed) {
        (true, _) => "nobody".to_owned(),
        (false, 0) => format!("{moved} moved, {failed} failed"),
        (false, _) => format!("{moved} moved, {failed} failed, {observed} would have been in mode enforce"),
    };
    let row = |it: &Placed| {
        let mut row = vec![it.user.clone(), it.target.clone()];
        let numbers = [it.sessions, it.moved, it.failed, it.gone, it.observed];
        row.extend(numbers.map(|number| number.to_string()));
        row.push(times(&it.outside));
        row
    };
    let head = &["USER", "SLICE", "SESSIONS", "MOVED", "FAILED", "GONE", "WOULD", "OUTSIDE"];
    Section { title: "placed", summary, table: Table::some(head, report.placed.iter().map(row).collect()) }
}

fn holds(report: &Report) -> Section {
    let parts: Vec<String> = report.holds.iter().map(|(how, number)| format!("{number} {how}")).collect();
    let summary = if parts.is_empty() {
        "no exec".to_owned()
    } else {
        format!("{}; {}", parts.join(", "), times(&report.held))
    };
    Section { title: "held", summary, table: None }
}

fn lost(report: &Report) -> Section {
    let parts: Vec<String> =
        report.lost.iter().map(|(ring, number)| format!("{number} of the {ring} ring")).collect();
    let summary = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    Section { title: "lost", summary, table: None }
}

fn faults(report: &Report, zone: &TimeZone) -> Section {
    let all: u64 = report.faults.iter().map(|(_, times, _)| times).sum();
    let summary = if all == 0 { "none".to_owned() } else { count(all, "complaint") };
    let rows = report
        .faults
        .iter()
        .map(|(what, times, last)| vec![times.to_string(), shown(*last, zone), what.clone()]);
    Section { title: "faults", summary, table: Table::some(&["TIMES", "LAST", "WHAT"], rows.collect()) }
}
