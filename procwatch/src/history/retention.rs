//! What is old, or too much, goes: when something is written, never by a clock of its own.
//!
//! What was told in this boot is as old as the kernel's clock says, which is never set. What earlier boots told is as
//! old as the wall's clock says, as far as that is trusted.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    moment::{Moment, Trust, before, ns, signed},
    rows::At,
};
use crate::config::HistoryConfig;

/// Between two rounds, ns.
const PAUSE: u64 = 60_000_000_000;
/// Rows deleted in one transaction: what it changes must fit the write-ahead log.
const CHUNK: i64 = 2000;
/// Transactions of one table in a round. What is left is for the round after the next batch.
const CHUNKS: usize = 20;
/// With a time of their own, and an order by it.
const TABLES: [&str; 3] = ["records", "health_metrics", "health_alerts"];

/// Deletes what has had its time.
#[derive(Debug, Default)]
pub(super) struct Retention {
    trust: Trust,
    last: Option<u64>,
    /// The last round did not get to its end.
    behind: bool,
}

impl Retention {
    /// Makes a round if it is time for one. To be called after something was written.
    pub(super) fn apply(
        &mut self,
        connection: &Connection,
        config: &HistoryConfig,
        at: At,
        now: Moment,
    ) -> rusqlite::Result<()> {
        let wall = self.trust.believe(now);
        let due = self.behind || self.last.is_none_or(|last| now.boot_ns.saturating_sub(last) >= PAUSE);
        if due {
            self.last = Some(now.boot_ns);
            self.behind = by_age(connection, config, at, now, wall)?;
        }
        // A storm of records does not wait for the minute.
        if used(connection)? > config.max_size {
            self.behind |= by_size(connection, config)?;
        }
        if file_size(connection)? > config.max_size {
            // It takes a page at each step.
            connection.pragma(None, "incremental_vacuum", 0, |_| Ok(()))?;
        }
        Ok(())
    }
}

/// Returns whether there is more to do.
fn by_age(
    connection: &Connection,
    config: &HistoryConfig,
    at: At,
    now: Moment,
    wall: Option<Timestamp>,
) -> rusqlite::Result<bool> {
    let keep_ns = u64::try_from(config.keep.as_nanos()).unwrap_or(u64::MAX);
    let oldest = signed(now.boot_ns.saturating_sub(keep_ns));
    let oldest_of_before = wall.map_or(i64::MIN, |wall| ns(before(wall, config.keep)));
    let mut behind = false;
    for table in TABLES {
        // What is open lasts still, however long ago it began.
        let but = if table == "health_alerts" { "AND resolved = 1" } else { "" };
        let sql = format!(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table}
             WHERE ((boot = ?1 AND boot_ns < ?2) OR (boot <> ?1 AND time_ns < ?3)) {but} LIMIT {CHUNK})"
        );
        behind |= in_chunks(|| connection.execute(&sql, params![at.boot, oldest, oldest_of_before]))?;
    }
    connection.execute(
        "DELETE FROM high_water WHERE (boot = ?1 AND boot_ns < ?2) OR (boot <> ?1 AND time_ns < ?3)",
        params![at.boot, oldest, oldest_of_before],
    )?;
    forget_empty(connection, at)?;
    Ok(behind)
}

/// Lives that had ended before the oldest record that is left, and boots of which nothing is. Not looked for record by record:
/// an agent that is started again and again has many lives in one boot.
fn forget_empty(connection: &Connection, at: At) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM runs WHERE id <> ?1 AND how IS NOT NULL AND (boot, ended_boot_ns) <
         (SELECT boot, boot_ns FROM records ORDER BY boot, boot_ns LIMIT 1)",
        [at.run],
    )?;
    connection.execute(
        "DELETE FROM boots WHERE id <> ?1 AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.boot = boots.id)
         AND NOT EXISTS (SELECT 1 FROM records WHERE records.boot = boots.id)
         AND NOT EXISTS (SELECT 1 FROM health_alerts WHERE health_alerts.boot = boots.id)",
        [at.boot],
    )?;
    Ok(())
}

/// Deletes the oldest, of all tables alike, until a tenth of the room is free.
fn by_size(connection: &Connection, config: &HistoryConfig) -> rusqlite::Result<bool> {
    let enough = config.max_size / 10 * 9;
    for _ in 0..CHUNKS {
        if used(connection)? <= enough {
            return Ok(false);
        }
        let mut gone = 0;
        if let Some((boot, boot_ns)) = last_of_the_oldest(connection)? {
            for table in TABLES.into_iter().chain(["high_water"]) {
                let sql = format!("DELETE FROM {table} WHERE boot < ?1 OR (boot = ?1 AND boot_ns <= ?2)");
                gone += connection.execute(&sql, [boot, boot_ns])?;
            }
        }
        if gone == 0 {
            // What fills it is nothing that has an age.
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where the oldest rows end that go at once, by the table that has most to give.
fn last_of_the_oldest(connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    for table in TABLES {
        let rows: i64 =
            connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0))?;
        if rows == 0 {
            continue;
        }
        let offset = (rows / 10).min(CHUNK - 1);
        let sql = format!("SELECT boot, boot_ns FROM {table} ORDER BY boot, boot_ns LIMIT 1 OFFSET {offset}");
        return connection.query_row(&sql, (), |row| Ok((row.get(0)?, row.get(1)?))).optional();
    }
    Ok(None)
}

/// Repeats a deletion while it is as large as it may be. Returns whether there is more to do.
fn in_chunks(mut delete: impl FnMut() -> rusqlite::Result<usize>) -> rusqlite::Result<bool> {
    for _ in 0..CHUNKS {
        if (delete()? as i64) < CHUNK {
            return Ok(false);
        }
    }
    Ok(true)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// What the file takes when all that was written has arrived there, bytes.
pub(super) fn file_size(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(pragma(connection, "page_count")? * pragma(connection, "page_size")?)
}

/// What of that is in use, bytes.
fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let free = pragma(connection, "freelist_count")? * pragma(connection, "page_size")?;
    Ok(file_size(connection)?.saturating_sub(free))
}
