//! The table `health_alerts`: what is or was wrong, what was done about it, and when it was over.
//!
//! A row is open while the trouble lasts: an alert until it is cleared, a stray until it is moved, refused threads until
//! the process ends. What has no end of its own (records lost, a fault of the agent) is resolved from the start.

use std::borrow::Cow;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, named_params, params};

use super::{
    moment::{ns, signed},
    rows::At,
};
use crate::{
    event::{BootTime, ProcessKey},
    record::{
        ActResult, Action, Alert, Body, Cleared, Decision, HealthTopic, Mode, Outcome, Process, Record,
        Refused, Result as MoveResult, Severity, Verdict,
    },
    sink::human::detail_line,
    text::escape,
};

/// Columns of a foreign text within a message.
const COLUMNS: usize = 120;
/// What was done, at most: a rule that acts for ever must not fill the row. Bytes.
const MOST_DONE: i64 = 2000;
/// Rows of earlier lives that are looked after.
const MOST_OPEN: i64 = 1000;

/// How many threads a process has now; `None` when it is gone.
pub(super) type Look = fn(ProcessKey) -> Option<u32>;

/// What a row is about.
struct Row<'r> {
    severity: &'static str,
    component: String,
    message: String,
    action_taken: Option<String>,
    /// When it is over from the start: how.
    resolution: Option<&'static str>,
    process: Option<&'r Process>,
    bound: Option<&'static str>,
    level: Option<u32>,
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn shown(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// `process python3[4242]`: what the tables call a process.
pub(super) fn component(comm: impl std::fmt::Display, pid: u32) -> String {
    format!("process {comm}[{pid}]")
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Emergency | Severity::Critical => "CRITICAL",
        Severity::Warning => "WARNING",
        Severity::Notice => "INFO",
    }
}

/// Takes note of a record.
pub(super) fn on(transaction: &Transaction<'_>, at: At, record: &Record) -> rusqlite::Result<()> {
    let table = Table { transaction, at, record };
    match &record.body {
        Body::Alert(alert) => table.alert(alert),
        Body::Cleared(cleared) => table.cleared(cleared),
        Body::Refused(refused) => table.refused(refused),
        Body::Decision(decision) if decision.verdict == Verdict::Move => table.stray(decision),
        Body::Outcome(outcome) => table.outcome(outcome),
        Body::Action(act) => table.acted(&act.process, &detail_line(&record.body, COLUMNS), act.result),
        Body::Diagnosis(found) => table.diagnosed(&found.process, &found.headline),
        Body::Loss(loss) => table.insert(&Row {
            severity: "WARNING",
            component: format!(
                "{} ring",
                if loss.ring == crate::record::Ring::Stream { "stream" } else { "urgent" }
            ),
            message: detail_line(&record.body, COLUMNS),
            resolution: Some("at-once"),
            ..Row::of_agent()
        }),
        Body::Health(health) if health.topic == HealthTopic::Degraded => table.insert(&Row {
            severity: "WARNING",
            message: detail_line(&record.body, COLUMNS),
            resolution: Some("at-once"),
            ..Row::of_agent()
        }),
        _ => Ok(()),
    }
}

impl<'r> Row<'r> {
    fn of_agent() -> Self {
        Self {
            severity: "INFO",
            component: "agent".to_owned(),
            message: String::new(),
            action_taken: None,
            resolution: None,
            process: None,
            bound: None,
            level: None,
        }
    }

    fn of(process: &'r Process, severity: &'static str, bound: &'static str, detail: &str) -> Self {
        let user = process.user.as_ref().map_or_else(|| process.uid.to_string(), ToString::to_string);
        Self {
            severity,
            component: component(process.comm, process.pid),
            message: format!("{}[{}] of {user}: {detail}", process.comm, process.pid),
            process: Some(process),
            bound: Some(bound),
            ..Self::of_agent()
        }
    }
}

/// The table while a record is taken note of.
struct Table<'t> {
    transaction: &'t Transaction<'t>,
    at: At,
    record: &'t Record,
}

impl Table<'_> {
    fn insert(&self, row: &Row<'_>) -> rusqlite::Result<()> {
        insert(self.transaction, self.at, (self.record.time, self.record.boot_ns), row)
    }

    /// One that lasts since before the agent came may have its row already.
    fn alert(&self, alert: &Alert) -> rusqlite::Result<()> {
        let (bound, process) = (alert.bound.name(), &alert.process);
        if self.find_open(process, bound, Some(alert.level))?.is_some() {
            return Ok(());
        }
        let detail = detail_line(&self.record.body, COLUMNS);
        self.insert(&Row {
            level: Some(alert.level),
            ..Row::of(process, severity(alert.severity), bound, &detail)
        })
    }

    fn cleared(&self, cleared: &Cleared) -> rusqlite::Result<()> {
        let how = if cleared.ended { "ended" } else { "cleared" };
        match self.find_open(&cleared.process, cleared.bound.name(), Some(cleared.level))? {
            Some(row) => self.resolve(row, how),
            None => Ok(()),
        }
    }

    fn refused(&self, refused: &Refused) -> rusqlite::Result<()> {
        let process = &refused.process;
        let detail = detail_line(&self.record.body, COLUMNS);
        let row = Row::of(process, "WARNING", "cap", &detail);
        let open = self.find_open(process, "cap", None)?;
        match open {
            Some(open) => {
                self.transaction.execute(
                    "UPDATE health_alerts SET message = ? WHERE id = ?",
                    params![harmless(&row.message), open],
                )?;
            }
            None => self.insert(&row)?,
        }
        match (refused.cap, self.find_open(process, "cap", None)?) {
            (None, Some(open)) => self.resolve(open, "ended"),
            _ => Ok(()),
        }
    }

    fn stray(&self, decision: &Decision) -> rusqlite::Result<()> {
        if self.find_open(&decision.process, "stray", None)?.is_some() {
            return Ok(());
        }
        let observed = decision.mode == Mode::Observe;
        let detail = format!("outside of {}; rule {}", decision.target, decision.rule);
        self.insert(&Row {
            component: "placement".to_owned(),
            action_taken: observed.then(|| "none: mode observe".to_owned()),
            ..Row::of(&decision.process, "INFO", "stray", &detail)
        })
    }

    fn outcome(&self, outcome: &Outcome) -> rusqlite::Result<()> {
        let Action::Move = outcome.action;
        let Some(row) = self.find_open(&outcome.process, "stray", None)? else {
            return Ok(());
        };
        self.add_done(row, &detail_line(&self.record.body, COLUMNS))?;
        match outcome.result {
            MoveResult::Verified | MoveResult::Unverified => self.resolve(row, "moved"),
            MoveResult::Gone => self.resolve(row, "ended"),
            MoveResult::Failed => {
                let sql = "UPDATE health_alerts SET severity = 'WARNING' WHERE id = ?";
                self.transaction.execute(sql, [row]).map(drop)
            }
        }
    }

    /// What was done about a process goes to its youngest open row, else to its youngest. One that nothing was said of
    /// has a row for it.
    fn acted(&self, process: &Process, done: &str, result: ActResult) -> rusqlite::Result<()> {
        if let Some(row) = self.find_youngest(process)? {
            return self.add_done(row, done);
        }
        let failed = matches!(result, ActResult::Failed | ActResult::Unverified);
        let severity = if failed { "WARNING" } else { "INFO" };
        self.insert(&Row {
            action_taken: Some(done.to_owned()),
            resolution: Some("at-once"),
            ..Row::of(process, severity, "action", "contained without an alert")
        })
    }

    fn diagnosed(&self, process: &Process, headline: &str) -> rusqlite::Result<()> {
        match self.find_youngest(process)? {
            Some(row) => self.add_done(row, &format!("diagnosed: {headline}")),
            None => Ok(()),
        }
    }

    fn find_open(&self, process: &Process, bound: &str, level: Option<u32>) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT id FROM health_alerts WHERE boot = :boot AND pid = :pid AND start_ns = :start_ns
                   AND resolved = 0 AND bound = :bound AND level IS :level ORDER BY id DESC LIMIT 1";
        let parameters = named_params! {
            ":boot": self.at.boot, ":pid": process.pid, ":start_ns": signed(process.start_ns), ":bound": bound,
            ":level": level,
        };
        self.transaction.query_row(sql, parameters, |row| row.get(0)).optional()
    }

    fn find_youngest(&self, process: &Process) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT id FROM health_alerts WHERE boot = ? AND pid = ? AND start_ns = ?
                   ORDER BY resolved, id DESC LIMIT 1";
        let parameters = params![self.at.boot, process.pid, signed(process.start_ns)];
        self.transaction.query_row(sql, parameters, |row| row.get(0)).optional()
    }

    fn add_done(&self, row: i64, done: &str) -> rusqlite::Result<()> {
        self.transaction.execute(
            "UPDATE health_alerts SET action_taken = coalesce(action_taken || '; ', '') || :done
             WHERE id = :id AND coalesce(length(action_taken), 0) < :most",
            named_params! { ":done": harmless(done), ":id": row, ":most": MOST_DONE },
        )?;
        Ok(())
    }

    fn resolve(&self, row: i64, how: &str) -> rusqlite::Result<()> {
        resolve(self.transaction, row, how, self.record.time)
    }
}

/// Our own words, which may quote others': these are escaped already, unless a record's maker forgot it.
fn harmless(words: &str) -> Cow<'_, str> {
    if words.chars().any(char::is_control) { escape(words.as_bytes()) } else { Cow::Borrowed(words) }
}

fn insert(
    transaction: &Transaction<'_>,
    at: At,
    (time, boot_ns): (Timestamp, u64),
    row: &Row<'_>,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO health_alerts (time, severity, component, message, action_taken, resolved, resolved_time,
             resolution, boot, run, boot_ns, time_ns, pid, start_ns, bound, level)
         VALUES (:time, :severity, :component, :message, :action_taken, :resolved, :resolved_time, :resolution, :boot,
             :run, :boot_ns, :time_ns, :pid, :start_ns, :bound, :level)",
        named_params! {
            ":time": shown(time),
            ":severity": row.severity,
            ":component": row.component,
            ":message": harmless(&row.message),
            ":action_taken": row.action_taken.as_deref().map(harmless),
            ":resolved": row.resolution.is_some(),
            ":resolved_time": row.resolution.map(|_| shown(time)),
            ":resolution": row.resolution,
            ":boot": at.boot,
            ":run": at.run,
            ":boot_ns": signed(boot_ns),
            ":time_ns": ns(time),
            ":pid": row.process.map(|it| it.pid),
            ":start_ns": row.process.map(|it| signed(it.start_ns)),
            ":bound": row.bound,
            ":level": row.level,
        },
    )?;
    Ok(())
}

fn resolve(transaction: &Transaction<'_>, row: i64, how: &str, time: Timestamp) -> rusqlite::Result<()> {
    let sql = "UPDATE health_alerts SET resolved = 1, resolved_time = ?, resolution = ? WHERE id = ?";
    transaction.execute(sql, params![shown(time), how, row]).map(drop)
}

/// The agent before this one ended without saying so.
pub(super) fn died(
    transaction: &Transaction<'_>,
    at: At,
    now: (Timestamp, u64),
    pid: u32,
    last: Timestamp,
) -> rusqlite::Result<()> {
    let row = Row {
        severity: "CRITICAL",
        message: format!("procwatch, pid {pid}, ended without a word; last heard of at {}", shown(last)),
        action_taken: Some(format!("started again, pid {}", std::process::id())),
        resolution: Some("restarted"),
        ..Row::of_agent()
    };
    insert(transaction, at, now, &row)
}

/// A new boot: nobody of an earlier one lives.
pub(super) fn rebooted(transaction: &Transaction<'_>, at: At, time: Timestamp) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE health_alerts SET resolved = 1, resolved_time = ?, resolution = 'reboot'
         WHERE resolved = 0 AND boot <> ?",
        params![shown(time), at.boot],
    )?;
    Ok(())
}

/// The agent has looked around: rows of its forerunners are over when their process is gone, or has fewer than four
/// fifths of the threads that they are about. The others are its own from now on.
pub(super) fn look_after(
    transaction: &Transaction<'_>,
    at: At,
    time: Timestamp,
    look: Look,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare(
        "SELECT id, pid, start_ns, bound, level FROM health_alerts
         WHERE resolved = 0 AND run <> ? AND pid IS NOT NULL ORDER BY id DESC LIMIT ?",
    )?;
    let open = statement.query_map(params![at.run, MOST_OPEN], |row| {
        let key = ProcessKey { pid: row.get(1)?, start: BootTime(row.get::<_, i64>(2)?.unsigned_abs()) };
        let level = (row.get::<_, String>(3)? == "level").then(|| row.get::<_, u32>(4)).transpose()?;
        Ok((row.get::<_, i64>(0)?, key, level))
    })?;
    for row in open.collect::<rusqlite::Result<Vec<_>>>()? {
        let (id, key, level) = row;
        match look(key) {
            None => resolve(transaction, id, "ended", time)?,
            Some(threads) if level.is_some_and(|level| threads < level / 5 * 4) => {
                resolve(transaction, id, "cleared", time)?;
            }
            Some(_) => {
                let sql = "UPDATE health_alerts SET run = ? WHERE id = ?";
                transaction.execute(sql, [at.run, id])?;
            }
        }
    }
    Ok(())
}
