//! A status in short lines, for people: what matters most comes first.

use std::{
    fmt::{self, Write as _},
    io,
};

use jiff::Timestamp;

use super::{
    Count, Health, OutputStatus, PlaceRuleStatus, ProgramStatus, RingStatus, Status, ThreadRuleStatus,
};
use crate::{
    record::{Mode, Ring},
    sink::{
        Sink as _,
        duration::Span,
        human::{Human, Style},
    },
    text::escape,
};

/// Column at which the text of a line begins.
const INDENT: usize = 11;

/// All of it.
///
/// # Errors
/// Never: all goes into memory.
pub fn screen(status: &Status) -> io::Result<String> {
    let mut lines = Lines::default();
    let health = match status.health {
        Health::Ok => "ok",
        Health::Degraded => "degraded",
        Health::Failed => "failed",
    };
    lines.add("health", health);
    status.reasons.iter().for_each(|reason| lines.add("", escape(reason.as_bytes())));
    agent(status, &mut lines);
    status.thread_rules.iter().for_each(|rule| lines.add("threads", thread_rule(rule)));
    status.place_rules.iter().for_each(|rule| lines.add("placement", place_rule(rule)));
    status.unavailable.iter().for_each(|what| lines.add("not here", escape(what.as_bytes())));
    figures(status, &mut lines);
    status.outputs.iter().for_each(|output| lines.add("outputs", output_line(output)));
    lines.add("clients", status.clients);
    let recent = recent(status)?;
    recent.lines().for_each(|line| lines.add("last", line));
    Ok(lines.text)
}

/// Lines with a name before the first of each kind.
#[derive(Default)]
struct Lines {
    text: String,
    last: &'static str,
}

impl Lines {
    fn add(&mut self, name: &'static str, text: impl fmt::Display) {
        let shown = if name == self.last { "" } else { name };
        self.last = if name.is_empty() { self.last } else { name };
        // A string takes everything.
        let _ = writeln!(self.text, "{shown:INDENT$}{text}");
    }
}

fn agent(status: &Status, lines: &mut Lines) {
    let mode = match status.mode {
        Mode::Observe => "observe",
        Mode::Enforce => "enforce",
    };
    let Status { version, pid, armed_ms, time, .. } = status;
    lines.add(
        "agent",
        format_args!(
            "procwatch {}, pid {pid}, mode {mode}, armed {} ago in {armed_ms} ms",
            escape(version.as_bytes()),
            ago(*time, status.since)
        ),
    );
    let config = &status.config;
    let files: Vec<String> = config.files.iter().map(ToString::to_string).collect();
    let files = if files.is_empty() { "built-in defaults".to_owned() } else { files.join(", ") };
    lines.add("config", format_args!("{files}, read {} ago", ago(*time, config.loaded)));
    match &status.pinned {
        Some(pinned) => {
            let adopted = if pinned.adopted { ", adopted" } else { "" };
            let folder = escape(pinned.folder.as_bytes());
            lines.add("pinned", format_args!("in {folder} for {}{adopted}", ago(*time, pinned.since)));
        }
        None => lines.add("pinned", "nothing: what is in the kernel ends with the agent"),
    }
}

fn figures(status: &Status, lines: &mut Lines) {
    lines.add("machine", format_args!("{} processes, {} threads", status.processes, status.threads));
    lines.add("told", counts(&status.told));
    let seconds = seconds(status.time, status.since);
    status.rings.iter().for_each(|ring| lines.add("rings", ring_line(ring, seconds)));
    let kernel = &status.kernel;
    lines.add(
        "kernel",
        format_args!(
            "{} argv unread, {} names unread, {} times a state map was full",
            kernel.argv_unread, kernel.names_unread, kernel.state_full
        ),
    );
    for program in status.programs.iter().filter(|program| program.runs > 0) {
        lines.add("programs", program_line(program));
    }
    if let Some(placement) = &status.placement {
        let left: u64 = placement.left_alone.values().sum();
        let refused: u64 = placement.errors.values().sum();
        lines.add(
            "placed",
            format_args!(
                "{} moved in {} sessions, {} strays, {} born outside, {left} left alone, {refused} refused",
                placement.moved, placement.sessions, placement.strays, placement.born_outside
            ),
        );
    }
    let share = status.cpu_ns as f64 / 1e7 / seconds;
    lines.add(
        "cost",
        format_args!(
            "{} resident, {} of CPU ({share:.2} %)",
            Size(status.resident_bytes),
            Span(status.cpu_ns)
        ),
    );
}

fn thread_rule(rule: &ThreadRuleStatus) -> String {
    let mut line = escape(rule.rule.as_bytes()).into_owned();
    if rule.levels.is_empty() {
        line.push_str(": no levels");
    } else {
        let levels: Vec<String> = rule.levels.iter().map(ToString::to_string).collect();
        line = format!("{line}: levels {}", levels.join(" "));
    }
    if let Some(cap) = rule.cap {
        line = format!("{line}, cap {cap}");
    }
    match rule.processes {
        Some(1) => line + ", 1 process",
        Some(count) => format!("{line}, {count} processes"),
        None => line,
    }
}

fn place_rule(rule: &PlaceRuleStatus) -> String {
    let there = if rule.present { "" } else { ", which is not there now" };
    let cpus = rule.cpus.as_ref().map(|cpus| format!(" on CPUs {}", escape(cpus.as_bytes())));
    let (described, slice) = (escape(rule.rule.as_bytes()), escape(rule.slice.as_bytes()));
    format!("{described}: {slice}{}{there}", cpus.unwrap_or_default())
}

fn ring_line(ring: &RingStatus, seconds: f64) -> String {
    let name = match ring.ring {
        Ring::Stream => "stream",
        Ring::Urgent => "urgent",
    };
    let fill = 100 * ring.waiting_bytes / ring.size_bytes.max(1);
    let per_minute = ring.sent as f64 * 60.0 / seconds;
    format!(
        "{name}: {} sent ({per_minute:.1} a minute), {} lost, {fill} % of {} waits",
        ring.sent,
        ring.lost,
        Size(ring.size_bytes)
    )
}

fn program_line(program: &ProgramStatus) -> String {
    let each = program.run_ns / program.runs.max(1);
    format!("{}: {} runs, {} each", escape(program.name.as_bytes()), program.runs, Span(each))
}

fn output_line(output: &OutputStatus) -> String {
    let OutputStatus { name, taken, dropped, waiting, failed, error } = output;
    let waiting = if *waiting > 0 { format!(", {waiting} waiting") } else { String::new() };
    let error = error.as_ref().map(|error| format!("; {}", escape(error.as_bytes())));
    let name = escape(name.as_bytes());
    format!(
        "{name}: {taken} taken, {dropped} dropped{waiting}, {failed} failures{}",
        error.unwrap_or_default()
    )
}

fn counts(told: &[Count]) -> String {
    let told: Vec<String> =
        told.iter().map(|count| format!("{} {}", count.count, escape(count.of.as_bytes()))).collect();
    if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
}

fn recent(status: &Status) -> io::Result<String> {
    let mut text = Vec::new();
    let mut human = Human::new(&mut text, Style::default());
    status.recent.iter().try_for_each(|record| human.write(record))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn ago(now: Timestamp, then: Timestamp) -> Span {
    Span(u64::try_from(now.duration_since(then).as_nanos()).unwrap_or(0))
}

/// At least one, so that rates have a meaning.
fn seconds(now: Timestamp, then: Timestamp) -> f64 {
    now.duration_since(then).as_secs_f64().max(1.0)
}

/// Bytes in the unit that fits.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.0 as f64 / 1024.0;
        if kib < 1024.0 { write!(f, "{kib:.0} KiB") } else { write!(f, "{:.1} MiB", kib / 1024.0) }
    }
}

#[cfg(test)]
mod tests;
