//! Writes lines, and puts the file aside when it is large or old.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use jiff::{SignedDuration, Timestamp};

use super::{aside::Names, compress::Compressor};
use crate::{
    config::{LogConfig, Sync},
    files,
};

/// So much of the end of a file is looked through for the last whole line, bytes.
const TAIL: u64 = 4 << 20;

/// What a batch came to that was not written whole.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the kernel said.
    pub(super) error: io::Error,
    /// Lines that are not in the file.
    pub(super) dropped: u64,
}

/// The file being written.
#[derive(Debug)]
struct Current {
    file: File,
    /// Device and inode: the path may come to mean another file.
    identity: (u64, u64),
    /// When its first line was told.
    begun: Timestamp,
}

/// Writes lines to the files of a log.
#[derive(Debug)]
pub(super) struct Writer {
    config: LogConfig,
    now: fn() -> Timestamp,
    names: Names,
    compressor: Compressor,
    current: Option<Current>,
    /// What happened besides, for people.
    notes: Vec<String>,
}

impl Writer {
    /// Touches nothing yet. `now` tells the time of day.
    pub(super) fn new(config: LogConfig, now: fn() -> Timestamp) -> Self {
        let names = Names::of(&config.path);
        let compressor = Compressor::new(names.clone(), config.disk_limit - config.max_size);
        Self { config, now, names, compressor, current: None, notes: Vec::new() }
    }

    /// What happened besides since this was asked last.
    pub(super) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Writes lines, each with its line feed. `grave`: there is an alert or an action among them.
    ///
    /// # Errors
    /// When not all of them are in the file now. None is there in part.
    pub(super) fn write(&mut self, lines: &[&[u8]], grave: bool) -> Result<(), Failure> {
        let bytes: u64 = lines.iter().map(|line| line.len() as u64).sum();
        let all = |error| Failure { error, dropped: lines.len() as u64 };
        let sync = self.config.sync;
        let current = self.ready(bytes).map_err(all)?;
        append(current, lines)?;
        let synced = match sync {
            Sync::Always => current.file.sync_data(),
            Sync::Alert if grave => current.file.sync_data(),
            Sync::Alert | Sync::Never => Ok(()),
        };
        synced.map_err(|error| Failure { error, dropped: 0 })
    }

    /// The last lines were written.
    pub(super) fn finish(self) {
        self.compressor.stop();
        if let Some(current) = self.current.filter(|_| self.config.sync != Sync::Never)
            && let Err(error) = current.file.sync_data()
        {
            tracing::warn!("the end of the log: {error}");
        }
    }

    /// The file that so many bytes may be written to now.
    fn ready(&mut self, bytes: u64) -> io::Result<&mut Current> {
        let now = (self.now)();
        // Somebody else may have put it aside, or deleted it.
        if self.current.as_ref().is_some_and(|current| !is_at(current.identity, &self.config.path)) {
            self.current = None;
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.open(now)?,
        };
        let size = current.file.metadata()?.len();
        if size > 0 && (size + bytes > self.config.max_size || self.is_old(&mut current, now)) {
            self.put_aside(&current)?;
            current = self.open(now)?;
        }
        Ok(self.current.insert(current))
    }

    /// A clock that was set back makes no file young for ever: it counts from then.
    fn is_old(&self, current: &mut Current, now: Timestamp) -> bool {
        current.begun = current.begun.min(now);
        let age = now.duration_since(current.begun);
        SignedDuration::try_from(self.config.max_age).is_ok_and(|most| age >= most)
    }

    fn open(&mut self, now: Timestamp) -> io::Result<Current> {
        let mut file = files::append(&self.config.path)?;
        if let Some(note) = mend(&mut file)? {
            self.notes.push(note);
        }
        let metadata = file.metadata()?;
        self.tidy();
        let begun = begin_of(&file).unwrap_or(now);
        Ok(Current { file, identity: (metadata.dev(), metadata.ino()), begun })
    }

    fn put_aside(&self, current: &Current) -> io::Result<()> {
        if self.config.sync != Sync::Never {
            current.file.sync_data()?;
        }
        let number = self.names.list()?.last().map_or(1, |last| last.number + 1);
        fs::rename(&self.config.path, self.names.path(number))
    }

    /// Files that were put aside are compressed, and the oldest go. The log goes on whatever comes of it.
    fn tidy(&mut self) {
        let mut done = self.names.limit(self.config.disk_limit - self.config.max_size).map(drop);
        if self.config.compress {
            done = done.and(self.compressor.begin());
        }
        if let Err(error) = done {
            self.notes.push(format!("files that were put aside: {error}"));
        }
    }

    /// Waits until all that was put aside is compressed.
    #[cfg(test)]
    pub(super) fn wait_for_compression(&mut self) {
        self.compressor.wait().unwrap();
    }
}

fn is_at(identity: (u64, u64), path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == identity)
}

/// Appends lines. When the disk is full, those that went in whole stay, and a part of one is taken out again.
fn append(current: &mut Current, lines: &[&[u8]]) -> Result<(), Failure> {
    let file = &mut current.file;
    let all = lines.concat();
    let failed = |error, written: usize| {
        let mut end = 0;
        let whole = lines.iter().take_while(|line| {
            end += line.len();
            end <= written
        });
        Failure { error, dropped: (lines.len() - whole.count()) as u64 }
    };
    let before = file.metadata().map_err(|error| failed(error, 0))?.len();
    let mut written = 0;
    while written < all.len() {
        let error = match file.write(&all[written..]) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(bytes) => {
                written += bytes;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let whole = all[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        return Err(match file.set_len(before + whole as u64) {
            Ok(()) => failed(error, written),
            // What is left of a line is cut when the file is opened the next time.
            Err(also) => failed(io::Error::new(error.kind(), format!("{error}; and {also}")), written),
        });
    }
    Ok(())
}

/// An agent that was killed, or a machine that died, may have left a part of a line at the end. It is completed when
/// only its line feed is missing, else it is cut off. What was done, in words.
fn mend(file: &mut File) -> io::Result<Option<String>> {
    let size = file.metadata()?.len();
    let mut last = [0];
    if size == 0 || (file.read_exact_at(&mut last, size - 1).is_ok() && last == *b"\n") {
        return Ok(None);
    }
    let from = size.saturating_sub(TAIL);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    (&*file).take(TAIL).read_to_end(&mut tail)?;
    let begin = tail.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    let begin = begin.or_else(|| (from == 0).then_some(0));
    let whole = begin
        .and_then(|begin| tail.get(begin..))
        .is_some_and(|line| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok());
    let mut first = [0];
    // Of a file that somebody else began nothing is taken away.
    let ours = file.read_exact_at(&mut first, 0).is_ok() && first == *b"{";
    match begin {
        Some(begin) if !whole && ours => {
            file.set_len(from + begin as u64)?;
            Ok(Some(format!("an unfinished line of {} bytes was cut off at the end", tail.len() - begin)))
        }
        _ => {
            file.write_all(b"\n")?;
            Ok(Some("the last line was completed".to_owned()))
        }
    }
}

/// When the first line was told, by what it says itself.
fn begin_of(file: &File) -> Option<Timestamp> {
    let mut head = [0; 64];
    let read = file.read_at(&mut head, 0).ok()?;
    let text = head[..read].strip_prefix(br#"{"time":""#)?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}
