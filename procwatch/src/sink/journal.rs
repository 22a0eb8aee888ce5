//! The journal of systemd: one entry a record, with fields that `journalctl` can ask for.
//!
//! `journalctl PROCWATCH_KIND=alert PROCWATCH_USER=aimgr`, or `-o json` for all of it. A thread of its own writes, so that a
//! journal that is slow holds up nothing; records that find its queue full are dropped and counted.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    human::{Human, Style},
    listener::{Complaints, Told},
    queue::Intake,
    queued::Queued,
    trouble::Trouble,
};
use crate::{
    record::{ActResult, Body, Health, HealthTopic, HoldResult, Kinds, Process, Result as Moved, Severity},
    service::journal::{Entry, Priority, Socket},
};

/// How long the journal is waited for with one record.
const PATIENCE: Duration = Duration::from_millis(250);

/// Records that are taken at once, bytes of their lines.
const BATCH_BYTES: usize = 64 << 10;

const NAME: &str = "journal";

/// Opens the journal, whether it is there now or not.
///
/// # Errors
/// When there are no descriptors or threads left.
pub fn open(complaints: Complaints) -> io::Result<Queued> {
    over(Socket::new(Some(PATIENCE))?, complaints)
}

fn over(socket: Socket, complaints: Complaints) -> io::Result<Queued> {
    Queued::start(NAME, Kinds::own(), move |intake| {
        let trouble = Trouble::new("the journal".to_owned(), complaints, intake.counts());
        write(intake, &socket, trouble);
    })
}

/// Writes until the end.
fn write(mut intake: Intake, socket: &Socket, mut trouble: Trouble) {
    let mut lines = Human::new(io::sink(), Style::default());
    while let Some(batch) = intake.batch(BATCH_BYTES) {
        for told in batch {
            match socket.send(&entry(&told, &mut lines)) {
                Ok(()) => trouble.went_well(Instant::now(), 1),
                Err(error) => trouble.failed(Instant::now(), &error.to_string(), 1),
            }
        }
    }
}

/// The entry of a record.
fn entry(told: &Told, lines: &mut Human<io::Sink>) -> Entry {
    let body = &told.record.body;
    let mut entry = Entry::new(lines.message(&told.record), priority(body));
    entry.field("PROCWATCH_KIND", body.kind().name().as_bytes());
    if let Some(process) = body.process() {
        add_process(process, &mut entry);
    }
    add_particulars(body, &mut entry);
    entry.field("PROCWATCH_JSON", told.line.trim_ascii_end());
    entry
}

fn add_process(process: &Process, entry: &mut Entry) {
    entry.show("PROCWATCH_PID", process.pid);
    // A pid is used again; with this it names the process for ever.
    entry.show("PROCWATCH_START_NS", process.start_ns);
    entry.show("PROCWATCH_UID", process.uid);
    if let Some(user) = &process.user {
        entry.show("PROCWATCH_USER", user);
    }
    entry.show("PROCWATCH_COMM", process.comm);
    if let Some(cgroup) = &process.cgroup {
        entry.show("PROCWATCH_CGROUP", cgroup);
    }
}

/// Adds what is worth asking for of each kind; all the rest is in the JSON.
fn add_particulars(body: &Body, entry: &mut Entry) {
    let mut add = |name: &str, value: &str| entry.field(&format!("PROCWATCH_{name}"), value.as_bytes());
    match body {
        Body::Alert(alert) => {
            add("RULE", &alert.rule);
            add("SEVERITY", alert.severity.name());
            add("BOUND", alert.bound.name());
        }
        Body::Cleared(cleared) => {
            add("RULE", &cleared.rule);
            add("SEVERITY", cleared.severity.name());
            add("BOUND", cleared.bound.name());
        }
        Body::Decision(decision) => {
            add("RULE", &decision.rule);
            add("REASON", decision.reason.name());
        }
        Body::Diagnosis(diagnosed) => add("RULE", &diagnosed.rule),
        Body::Action(act) => {
            add("ACTION", act.action.name());
            add("RESULT", act.result.name());
            if let Some(rule) = &act.rule {
                add("RULE", rule);
            }
            if let Some(reason) = act.reason {
                add("REASON", reason.name());
            }
        }
        Body::Hold(hold) => add("RESULT", hold.result.name()),
        _ => {}
    }
}

/// How grave a record is. None is an emergency in the journal's sense: those are shown on every terminal.
const fn priority(body: &Body) -> Priority {
    match body {
        Body::Alert(alert) => match alert.severity {
            Severity::Notice => Priority::Notice,
            Severity::Warning => Priority::Warning,
            Severity::Critical => Priority::Critical,
            Severity::Emergency => Priority::Alert,
        },
        Body::Action(act) => match act.result {
            ActResult::Failed | ActResult::Unverified | ActResult::Unavailable => Priority::Warning,
            _ => Priority::Notice,
        },
        Body::Outcome(outcome) => match outcome.result {
            Moved::Failed | Moved::Unverified => Priority::Warning,
            Moved::Verified | Moved::Gone => Priority::Info,
        },
        Body::Hold(hold) => match hold.result {
            HoldResult::Deadline | HoldResult::NoAgent => Priority::Warning,
            HoldResult::Inside | HoldResult::LeftAlone => Priority::Info,
        },
        Body::Loss(_)
        | Body::Refused(_)
        | Body::Health(Health { topic: HealthTopic::Degraded | HealthTopic::Refused, .. }) => {
            Priority::Warning
        }
        Body::Diagnosis(_) | Body::Health(_) => Priority::Notice,
        _ => Priority::Info,
    }
}

#[cfg(test)]
mod tests;
