//! The event log: records as JSON lines in a file that is put aside when it is large or old.
//!
//! Everything happens on a thread of its own, which sleeps while nothing is told. What cannot be written, because the
//! disk is full, is dropped and counted; the agent never waits.

mod aside;
mod compress;
mod writer;

use std::{io, time::Instant};

use jiff::Timestamp;

use self::writer::Writer;
use crate::{
    config::LogConfig,
    files,
    record::Body,
    sink::{listener::Complaints, queue::Intake, queued::Queued, trouble::Trouble},
    text::shown,
};

/// Lines that are written at once at most, bytes.
const BATCH_BYTES: usize = 256 << 10;
const NAME: &str = "log";

/// Opens the file, so that what cannot be opened is told now, and starts the thread. A disk that is full or fails is
/// no reason to do without the agent: that is complained of when lines come.
///
/// # Errors
/// What the kernel says when it cannot be opened, or no thread can be made.
pub fn open(config: &LogConfig, complaints: &Complaints) -> io::Result<Queued> {
    match files::append(&config.path) {
        Err(error) if !is_of_the_disk(&error) => return Err(error),
        _ => {}
    }
    let what = format!("log {}", shown(&config.path));
    let (kinds, complaints, config) = (config.kinds, complaints.clone(), config.clone());
    // A file is put aside between two batches.
    let most = BATCH_BYTES.min(usize::try_from(config.max_size / 2).unwrap_or(BATCH_BYTES));
    let path = config.path.clone();
    Queued::to_file(NAME, kinds, &path, move |intake| {
        let trouble = Trouble::new(what, complaints, intake.counts());
        work(intake, most, Writer::new(config, Timestamp::now), trouble);
    })
}

/// Troubles that may pass without anybody's changing the configuration.
fn is_of_the_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
        || error.raw_os_error() == Some(libc::EIO)
}

/// Writes until the end.
fn work(mut intake: Intake, most: usize, mut writer: Writer, mut trouble: Trouble) {
    while let Some(batch) = intake.batch(most) {
        let grave = batch.iter().any(|told| matches!(told.record.body, Body::Alert(_) | Body::Action(_)));
        let lines: Vec<&[u8]> = batch.iter().map(|told| &*told.line).collect();
        let now = Instant::now();
        match writer.write(&lines, grave) {
            Ok(()) => trouble.went_well(now, lines.len() as u64),
            Err(failure) => trouble.failed(now, &failure.error.to_string(), failure.dropped),
        }
        for note in writer.notes() {
            trouble.tell(&note);
        }
    }
    writer.finish();
}

#[cfg(test)]
mod tests;
