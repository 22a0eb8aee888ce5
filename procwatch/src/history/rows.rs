//! Rows of records, and of what each says about a process' highest count.

use rusqlite::{Statement, Transaction, named_params};

use super::moment::{ns, signed};
use crate::{
    record::{Body, Process, Record},
    sink::listener::Told,
};

/// Where in the history something stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// The boot's row.
    pub(super) boot: i64,
    /// The run's row.
    pub(super) run: i64,
}

/// The statement for records: made once for a batch.
pub(super) fn insert_records<'t>(transaction: &'t Transaction<'_>) -> rusqlite::Result<Statement<'t>> {
    transaction.prepare(
        "INSERT INTO records (boot, run, boot_ns, time_ns, kind, pid, uid, euid, user, comm, line)
         VALUES (:boot, :run, :boot_ns, :time_ns, :kind, :pid, :uid, :euid, :user, :comm, :line)",
    )
}

/// Adds the row of a record.
pub(super) fn insert(insert: &mut Statement<'_>, at: At, told: &Told) -> rusqlite::Result<()> {
    let record = &told.record;
    let process = record.body.process();
    let line = String::from_utf8_lossy(&told.line);
    insert.execute(named_params! {
        ":boot": at.boot,
        ":run": at.run,
        ":boot_ns": signed(record.boot_ns),
        ":time_ns": ns(record.time),
        ":kind": record.body.kind().name(),
        ":pid": process.map(|it| it.pid),
        ":uid": process.map(|it| it.uid),
        ":euid": process.map(|it| it.euid),
        ":user": process.and_then(|it| it.user.as_ref()).map(ToString::to_string),
        ":comm": process.map(|it| it.comm.to_string()),
        ":line": line.trim_end_matches('\n'),
    })?;
    Ok(())
}

/// The highest count that a record tells of its process, where threads are what it is about.
fn threads_of(body: &Body) -> Option<(&Process, u32)> {
    Some(match body {
        Body::Alert(alert) => (&alert.process, alert.process.threads),
        Body::Refused(refused) => (&refused.process, refused.process.threads),
        Body::Diagnosis(diagnosed) => (&diagnosed.process, diagnosed.process.threads),
        Body::Action(act) => {
            let around = act.threads_before.max(act.threads_after).unwrap_or(0);
            (&act.process, act.process.threads.max(around))
        }
        _ => return None,
    })
}

/// Raises the high-water mark of the process that a record is about.
pub(super) fn mark(transaction: &Transaction<'_>, at: At, record: &Record) -> rusqlite::Result<()> {
    let Some((process, threads)) = threads_of(&record.body) else {
        return Ok(());
    };
    let user = process.user.as_ref().map_or_else(|| process.uid.to_string(), ToString::to_string);
    transaction.execute(
        "INSERT INTO high_water (boot, pid, start_ns, boot_ns, time_ns, threads, user, comm)
         VALUES (:boot, :pid, :start_ns, :boot_ns, :time_ns, :threads, :user, :comm)
         ON CONFLICT (boot, pid, start_ns) DO UPDATE SET boot_ns = excluded.boot_ns, time_ns = excluded.time_ns,
             threads = excluded.threads, user = excluded.user, comm = excluded.comm
         WHERE excluded.threads > threads",
        named_params! {
            ":boot": at.boot,
            ":pid": process.pid,
            ":start_ns": signed(process.start_ns),
            ":boot_ns": signed(record.boot_ns),
            ":time_ns": ns(record.time),
            ":threads": threads,
            ":user": user,
            ":comm": process.comm.to_string(),
        },
    )?;
    Ok(())
}
