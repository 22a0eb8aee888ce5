//! What happened, kept in a database (SQLite) of one file.
//!
//! All records that the agent tells by itself are kept as they were told, in the order of the kernel's clock within a
//! boot; besides them what is made of them: lives of the agent, the most threads that processes had, and the tables
//! `health_alerts` and `health_metrics`, which are an interface (see `schema.sql`).
//!
//! Everything is written by a thread of its own, a transaction for each batch, and nothing is done while nothing is
//! told. A file that is of no use is set aside; what a full disk does not take is dropped and counted.

mod db;
mod health;
mod metrics;
mod moment;
mod pages;
pub mod read;
pub mod report;
mod retention;
mod rows;
pub mod when;
mod writer;

use std::{
    io,
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::runtime::Handle;

use self::{
    db::OpenError,
    metrics::Pace,
    moment::{Moment, boot_id},
    writer::Writer,
};
use crate::{
    agent::ask::Asker,
    config::HistoryConfig,
    inspect,
    record::Kinds,
    sink::{listener::Complaints, queue::Intake, queued::Queued, trouble::Trouble},
    status::Status,
    text::shown,
};

/// Records that are written in one transaction, bytes of their lines.
const BATCH_BYTES: usize = 1 << 20;
/// How long the loop is waited for when it is asked how it is: it may be at its end, and not answer.
const PATIENCE: Duration = Duration::from_millis(200);
const NAME: &str = "history";

/// Why a history cannot be read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The database.
    #[error("{}: {why}", shown(path))]
    Database {
        /// Its file.
        path: PathBuf,
        /// What is wrong, in words.
        why: String,
    },
    /// Where it is written to.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Starts the thread. A database that cannot be opened is complained of: the agent goes on without it. Must be
/// called within the agent's runtime.
///
/// # Errors
/// When no thread can be made, or the kernel does not tell which boot this is.
pub fn open(config: &HistoryConfig, asker: &Asker, complaints: &Complaints) -> io::Result<Queued> {
    let kinds = Kinds::own().and(config.events);
    let what = format!("history {}", shown(&config.path));
    let writer = Writer::new(config.clone(), boot_id()?, inspect::threads);
    let complaints = complaints.clone();
    let ask = asking(asker.clone(), Handle::current());
    Queued::to_file(NAME, kinds, &config.path, move |intake| {
        let trouble = Trouble::new(what, complaints, intake.counts());
        work(intake, writer, trouble, ask);
    })
}

/// Asks the agent's loop how it is, from another thread; `None` when it does not answer soon.
fn asking(asker: Asker, runtime: Handle) -> impl Fn() -> Option<Box<Status>> {
    move || {
        let (sender, answer) = mpsc::channel();
        let asker = asker.clone();
        runtime.spawn(async move {
            // Who asked may have given up.
            let _ = sender.send(asker.status().await);
        });
        answer.recv_timeout(PATIENCE).ok().flatten()
    }
}

/// Writes until the end.
fn work(mut intake: Intake, mut writer: Writer, mut trouble: Trouble, ask: impl Fn() -> Option<Box<Status>>) {
    let mut pace = Pace::default();
    while let Some(batch) = intake.batch(BATCH_BYTES) {
        let count = batch.len() as u64;
        let written = Moment::now().map_err(OpenError::Io).and_then(|now| {
            writer.write(&batch, now)?;
            // After the records, which do not wait for it.
            if pace.is_due(now) && !intake.counts().is_ending() {
                let status = ask();
                if status.is_none() {
                    pace.missed(now);
                }
                writer.sample(&status.as_deref().map(metrics::of_status).unwrap_or_default(), now);
            }
            Ok(())
        });
        match written {
            Ok(()) => trouble.went_well(Instant::now(), count),
            Err(error) => trouble.failed(Instant::now(), &error.to_string(), count),
        }
        for note in writer.notes() {
            trouble.tell(&note);
        }
    }
    if let Ok(now) = Moment::now() {
        writer.finish(now);
    }
}

#[cfg(test)]
mod tests;
