//! Writes batches of records, each in one transaction, and looks after the file.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{
    db::{self, OpenError, is_corrupt},
    health::{self, Look},
    metrics::{self, Metric},
    moment::{Moment, ns, signed},
    retention::Retention,
    rows::{self, At},
};
use crate::{
    config::HistoryConfig,
    files,
    record::{Body, HealthTopic, Record},
    sink::listener::Told,
    text::shown,
};

/// The database while it is open.
#[derive(Debug)]
struct Open {
    connection: Connection,
    /// Device and inode: the path may come to mean another file.
    identity: Option<(u64, u64)>,
    at: At,
}

/// Writes to the database, and makes it again when it is lost.
pub(super) struct Writer {
    config: HistoryConfig,
    boot_id: String,
    look: Look,
    open: Option<Open>,
    retention: Retention,
    /// What happened besides, for people.
    notes: Vec<String>,
}

impl Writer {
    /// Touches nothing yet. `look` tells how many threads a process has.
    pub(super) fn new(config: HistoryConfig, boot_id: String, look: Look) -> Self {
        Self { config, boot_id, look, open: None, retention: Retention::default(), notes: Vec::new() }
    }

    /// What happened besides since this was asked last.
    pub(super) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Writes a batch, all of it or nothing.
    ///
    /// # Errors
    /// When nothing of it was written.
    pub(super) fn write(&mut self, batch: &[Arc<Told>], now: Moment) -> Result<(), OpenError> {
        let written = match self.try_write(batch, now) {
            // The file has gone bad since it was opened: a new one is begun.
            Err(OpenError::Useless { what, why }) => {
                self.set_aside(what, &why, now.wall)?;
                self.try_write(batch, now)
            }
            written => written,
        };
        if written.is_err() {
            // What failed may be the connection; a new one costs little.
            self.open = None;
        }
        written
    }

    /// Adds values, and those of processes whose alert is not over. To be called after a batch was written. They are
    /// worth no complaint: what keeps them from being written will keep records from it, too.
    pub(super) fn sample(&mut self, values: &[Metric], now: Moment) {
        let Some(open) = &mut self.open else {
            return;
        };
        let (at, look) = (open.at, self.look);
        let written =
            open.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|it| {
                metrics::insert(&it, at, now, values)?;
                metrics::sample(&it, at, now, look)?;
                it.commit()
            });
        if let Err(error) = written {
            tracing::warn!("values are missing in the history: {error}");
        }
    }

    fn try_write(&mut self, batch: &[Arc<Told>], now: Moment) -> Result<(), OpenError> {
        if self.open.as_ref().is_some_and(|open| open.identity != identity(&self.config.path)) {
            self.open = None;
        }
        if self.open.is_none() {
            let begun = batch.first().map_or((now.wall, now.boot_ns), |told| time_of(&told.record));
            self.open = Some(self.open_database(begun)?);
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        bound_log(&open.connection, &self.config)?;
        let transaction = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        add_batch(&transaction, open.at, batch, self.look)?;
        transaction.commit()?;
        // What was written stays written, whatever comes of this.
        match self.retention.apply(&open.connection, &self.config, open.at, now) {
            Err(error) if is_corrupt(&error) => self.set_aside("corrupt", &error.to_string(), now.wall),
            Err(error) => {
                tracing::warn!("the history's oldest records stay for now: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Opens the database and notes that the agent lives.
    fn open_database(&mut self, begun: (Timestamp, u64)) -> Result<Open, OpenError> {
        let mut connection = db::open(&self.config.path)?;
        if has_died(&connection)? {
            db::check(&connection)?;
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let at = begin(&transaction, &self.boot_id, begun)?;
        transaction.commit()?;
        Ok(Open { connection, identity: identity(&self.config.path), at })
    }

    fn set_aside(&mut self, what: &'static str, why: &str, now: Timestamp) -> Result<(), OpenError> {
        // Closed before it is renamed.
        self.open = None;
        let to: PathBuf = db::set_aside(&self.config.path, what, now)?;
        self.notes.push(format!("{why}; the file is {} now, and a new one was begun", shown(&to)));
        Ok(())
    }

    /// The last batch was written. The run is over if nothing has said so yet.
    pub(super) fn finish(mut self, now: Moment) {
        let Some(open) = self.open.take() else {
            return;
        };
        let closed = end(&open.connection, open.at, (now.wall, now.boot_ns), "closed").and_then(|()| {
            // So that those find little to do who open it next; somebody who reads is not waited for.
            open.connection.busy_timeout(Duration::ZERO)?;
            open.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
        });
        if let Err(error) = closed {
            tracing::warn!("the end of the history: {error}");
        }
    }
}

/// Somebody in the midst of reading keeps the log of writes from being begun anew. It must not fill the disk.
fn bound_log(connection: &Connection, config: &HistoryConfig) -> Result<(), OpenError> {
    let log = files::with_suffix(&config.path, "-wal");
    let size = || fs::metadata(&log).map_or(0, |metadata| metadata.len());
    if size() <= config.max_size {
        return Ok(());
    }
    connection.busy_timeout(Duration::ZERO)?;
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
    connection.busy_timeout(db::PATIENCE)?;
    emptied?;
    if size() <= config.max_size {
        return Ok(());
    }
    let why = format!("somebody reads it without end, and {} is larger than max-size", shown(&log));
    Err(io::Error::other(why).into())
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

const fn time_of(record: &Record) -> (Timestamp, u64) {
    (record.time, record.boot_ns)
}

fn add_batch(transaction: &Transaction<'_>, at: At, batch: &[Arc<Told>], look: Look) -> rusqlite::Result<()> {
    let mut insert = rows::insert_records(transaction)?;
    for told in batch {
        let record = &told.record;
        rows::insert(&mut insert, at, told)?;
        rows::mark(transaction, at, record)?;
        health::on(transaction, at, record)?;
        metrics::on(transaction, at, record)?;
        if let Body::Health(health) = &record.body {
            match health.topic {
                HealthTopic::Armed => health::look_after(transaction, at, record.time, look)?,
                HealthTopic::Stopped => end(transaction, at, time_of(record), "stopped")?,
                HealthTopic::Unavailable
                | HealthTopic::Degraded
                | HealthTopic::Reloaded
                | HealthTopic::Refused => {}
            }
        }
    }
    Ok(())
}

/// Whether the last agent did not say that it ends.
fn has_died(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT how IS NULL AND pid <> ? FROM runs ORDER BY id DESC LIMIT 1";
    let died = connection.query_row(sql, [std::process::id()], |row| row.get(0)).optional()?;
    Ok(died.unwrap_or(false))
}

/// Notes the boot and the run, and closes what earlier ones have left open.
fn begin(transaction: &Transaction<'_>, boot_id: &str, begun: (Timestamp, u64)) -> rusqlite::Result<At> {
    let (time, boot_ns) = begun;
    transaction.execute(
        "INSERT INTO boots (boot_id, time_ns) VALUES (?, ?) ON CONFLICT DO NOTHING",
        params![boot_id, ns(time)],
    )?;
    let boot: i64 =
        transaction.query_row("SELECT id FROM boots WHERE boot_id = ?", [boot_id], |row| row.get(0))?;
    let mine = "SELECT id FROM runs WHERE boot = ? AND pid = ? AND how IS NOT 'stopped' AND how IS NOT 'died'
                ORDER BY id DESC LIMIT 1";
    if let Some(run) =
        transaction.query_row(mine, params![boot, std::process::id()], |row| row.get(0)).optional()?
    {
        // It was closed for a while.
        transaction.execute(
            "UPDATE runs SET how = NULL, ended_ns = NULL, ended_boot_ns = NULL WHERE id = ?",
            [run],
        )?;
        return Ok(At { boot, run });
    }
    let dead = died(transaction)?;
    transaction.execute(
        "INSERT INTO runs (boot, pid, version, time_ns, boot_ns) VALUES (?, ?, ?, ?, ?)",
        params![boot, std::process::id(), env!("CARGO_PKG_VERSION"), ns(time), signed(boot_ns)],
    )?;
    let at = At { boot, run: transaction.last_insert_rowid() };
    for (pid, last) in dead {
        health::died(transaction, at, begun, pid, last)?;
    }
    health::rebooted(transaction, at, time)?;
    Ok(at)
}

/// Runs without an end get one: when they were heard of last. Returns their pids with that.
fn died(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(u32, Timestamp)>> {
    let mut statement = transaction.prepare(
        "UPDATE runs SET how = 'died',
             ended_ns = coalesce((SELECT max(time_ns) FROM records WHERE records.run = runs.id), time_ns),
             ended_boot_ns = coalesce((SELECT max(boot_ns) FROM records WHERE records.run = runs.id), boot_ns)
         WHERE how IS NULL RETURNING pid, ended_ns",
    )?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, timestamp(row.get(1)?))))?;
    rows.collect()
}

/// A run has ended, unless that is known already.
fn end(connection: &Connection, at: At, when: (Timestamp, u64), how: &str) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE runs SET how = ?, ended_ns = ?, ended_boot_ns = ? WHERE id = ? AND how IS NULL",
        params![how, ns(when.0), signed(when.1), at.run],
    )?;
    Ok(())
}

/// A time of the database.
pub(super) fn timestamp(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(ns.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}
