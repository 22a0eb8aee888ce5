//! The table `health_metrics`. Rows are written when something else is written anyhow, and then at most once a minute,
//! but for the count of threads in each alert: an idle machine is never woken for them.

use rusqlite::{Transaction, named_params, params};

use super::{
    health::{Look, component, shown},
    moment::{Moment, ns, signed},
    rows::At,
};
use crate::{
    event::{BootTime, ProcessKey},
    record::{Body, Record, Ring},
    status::Status,
};

/// Between two looks around, ns.
const PAUSE: u64 = 60_000_000_000;
/// After a look around that came to nothing, ns.
const AGAIN: u64 = 1_000_000_000;
/// Processes with an open alert that are looked at.
const MOST_PROCESSES: i64 = 64;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Metric {
    /// `agent`, `kernel`, `urgent ring`, `output log`, `process python3[4242]`.
    pub(super) component: String,
    /// What is measured.
    pub(super) name: &'static str,
    /// How much.
    pub(super) value: f64,
    /// Of what: `bytes`, `seconds`, `threads`, `records`, `processes`.
    pub(super) unit: &'static str,
}

/// Says when it is time for values.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<u64>,
}

impl Pace {
    /// Whether values are due now.
    pub(super) fn is_due(&mut self, now: Moment) -> bool {
        let due = self.last.is_none_or(|last| now.boot_ns.saturating_sub(last) >= PAUSE);
        if due {
            self.last = Some(now.boot_ns);
        }
        due
    }

    /// There were none: the agent had no time to tell them. Not much later there may be.
    pub(super) const fn missed(&mut self, now: Moment) {
        self.last = Some((now.boot_ns + AGAIN).saturating_sub(PAUSE));
    }
}

/// The agent's own values, as it tells of itself.
pub(super) fn of_status(status: &Status) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let mut add = |component: &str, name, value: u64, unit| {
        metrics.push(Metric { component: component.to_owned(), name, value: value as f64, unit });
    };
    add("agent", "resident_memory", status.resident_bytes, "bytes");
    add("agent", "clients", status.clients.into(), "clients");
    add("kernel", "processes", status.processes.into(), "processes");
    add("kernel", "threads", status.threads, "threads");
    for ring in &status.rings {
        let name = if ring.ring == Ring::Urgent { "urgent ring" } else { "stream ring" };
        add(name, "waiting", ring.waiting_bytes, "bytes");
        add(name, "sent", ring.sent, "records");
        add(name, "lost", ring.lost, "records");
    }
    for output in &status.outputs {
        add(&format!("output {}", output.name), "taken", output.taken, "records");
        add(&format!("output {}", output.name), "dropped", output.dropped, "records");
    }
    let cpu = status.cpu_ns as f64 / 1e9;
    metrics.push(Metric { component: "agent".to_owned(), name: "cpu_time", value: cpu, unit: "seconds" });
    metrics
}

/// Adds rows.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    at: At,
    now: Moment,
    metrics: &[Metric],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare(
        "INSERT INTO health_metrics (time, component, metric, value, unit, boot, boot_ns, time_ns)
         VALUES (:time, :component, :metric, :value, :unit, :boot, :boot_ns, :time_ns)",
    )?;
    for metric in metrics {
        statement.execute(named_params! {
            ":time": shown(now.wall),
            ":component": metric.component,
            ":metric": metric.name,
            ":value": metric.value,
            ":unit": metric.unit,
            ":boot": at.boot,
            ":boot_ns": signed(now.boot_ns),
            ":time_ns": ns(now.wall),
        })?;
    }
    Ok(())
}

/// Adds the count of threads that an alert, or its end, tells.
pub(super) fn on(transaction: &Transaction<'_>, at: At, record: &Record) -> rusqlite::Result<()> {
    let (Body::Alert(crate::record::Alert { process, .. })
    | Body::Cleared(crate::record::Cleared { process, .. })) = &record.body
    else {
        return Ok(());
    };
    let value = Metric {
        component: component(process.comm, process.pid),
        name: "threads",
        value: process.threads.into(),
        unit: "threads",
    };
    insert(transaction, at, Moment { boot_ns: record.boot_ns, wall: record.time }, &[value])
}

/// Looks at the processes with an open alert: adds their counts, and raises their high-water marks.
pub(super) fn sample(transaction: &Transaction<'_>, at: At, now: Moment, look: Look) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare(
        "SELECT DISTINCT high_water.pid, high_water.start_ns, comm FROM high_water
         JOIN health_alerts USING (boot, pid, start_ns) WHERE resolved = 0 AND boot = ? LIMIT ?",
    )?;
    let open = statement.query_map(params![at.boot, MOST_PROCESSES], |row| {
        Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
    })?;
    for row in open.collect::<rusqlite::Result<Vec<_>>>()? {
        let (pid, start, comm) = row;
        let Some(threads) = look(ProcessKey { pid, start: BootTime(start.unsigned_abs()) }) else {
            continue;
        };
        let value = f64::from(threads);
        let metric = Metric { component: component(comm, pid), name: "threads", value, unit: "threads" };
        insert(transaction, at, now, &[metric])?;
        transaction.execute(
            "UPDATE high_water SET threads = ?1, boot_ns = ?2, time_ns = ?3
             WHERE boot = ?4 AND pid = ?5 AND start_ns = ?6 AND threads < ?1",
            params![threads, signed(now.boot_ns), ns(now.wall), at.boot, pid, start],
        )?;
    }
    Ok(())
}
