//! What is contained, and how it was before: kept in a file, so that whoever comes after an agent can take it back.
//!
//! An effect is written down before it is brought about, as not done yet, and after it as done. So a crash in between
//! leaves a note of what may be so, and taking back what is not so does no harm.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cell::Cell;
use crate::{
    event::{BootTime, ProcessKey},
    inspect,
    lock::make_folder,
    text::escape,
};

/// Where it is kept: gone with the next boot, as what it tells of is.
pub const STATE_FILE: &str = "/run/procwatch/contained.json";
/// The form of the file. Another one is not read.
const VERSION: u32 = 1;
/// More than all contained processes of a machine need, bytes.
const MAX_FILE: u64 = 1 << 22;
/// How long to wait for another procwatch that acts just now.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// It, or its folder, cannot be read or written.
    #[error("{}: {source}", escape(path.as_os_str().as_encoded_bytes()))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else acts, and does not come to an end.
    #[error("{}: another procwatch has held it for a minute", escape(.0.as_os_str().as_encoded_bytes()))]
    Busy(PathBuf),
}

/// One contained process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Process id.
    pub pid: u32,
    /// Its start, ns since boot.
    pub start_ns: u64,
    /// Real uid.
    pub uid: u32,
    /// Name, for people.
    pub comm: String,
    /// The cgroup by which it is contained.
    pub cell: Option<Cell>,
    /// It is frozen.
    pub frozen: Option<Effect>,
    /// Its CPU time is limited.
    pub cpu: Option<Effect>,
    /// Its threads are limited.
    pub pids: Option<Effect>,
    /// It is stopped by a signal.
    pub stopped: Option<Effect>,
}

/// Something that is in force, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// What there was before: the content of the cgroup's file, or the number of the unit's property.
    pub before: String,
    /// Whether it was brought about; false when that was begun and its end is not known.
    pub done: bool,
    /// Whether a person asked for it. The agent leaves that to the person.
    pub by_hand: bool,
    /// Whether the service manager keeps it in a file that was not there before.
    pub leaves_file: bool,
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// The kernel's number for this run of the machine.
    boot_id: String,
    entries: Vec<Entry>,
}

/// The state, held: nobody else contains or releases anything meanwhile.
#[derive(Debug)]
pub struct State {
    file: PathBuf,
    entries: Vec<Entry>,
    /// What was wrong with the file that was found, in words, escaped.
    complaint: Option<String>,
    _lock: File,
}

impl Entry {
    /// Of a process to which nothing was done yet.
    pub const fn new(key: ProcessKey, uid: u32, comm: String) -> Self {
        Self {
            pid: key.pid,
            start_ns: key.start.0,
            uid,
            comm,
            cell: None,
            frozen: None,
            cpu: None,
            pids: None,
            stopped: None,
        }
    }

    /// The process.
    pub const fn key(&self) -> ProcessKey {
        ProcessKey { pid: self.pid, start: BootTime(self.start_ns) }
    }

    /// Whether it is the entry of this process: /proc and the kernel tell a start with unlike precision.
    pub fn is_of(&self, key: ProcessKey) -> bool {
        self.pid == key.pid && inspect::start_ticks(self.key().start) == inspect::start_ticks(key.start)
    }

    /// Whether nothing is in force.
    pub const fn is_empty(&self) -> bool {
        self.frozen.is_none() && self.cpu.is_none() && self.pids.is_none() && self.stopped.is_none()
    }
}

impl State {
    /// Waits until nobody else holds it, at most a minute, and reads it.
    ///
    /// A file that is no state of ours, or damaged, is set aside under another name, which [`Self::complaint`] tells. One
    /// of an earlier run of the machine is forgotten: nothing of it is in force.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn hold(file: &Path) -> Result<Self, StateError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            |source| StateError::Io { path, source }
        };
        if let Some(folder) = file.parent() {
            make_folder(folder).map_err(at(folder))?;
        }
        let lock = lock(&file.with_extension("lock"))?;
        let (entries, complaint) = match read(file) {
            Ok(None) => (Vec::new(), None),
            Ok(Some(entries)) => (entries, None),
            Err(why) => (Vec::new(), Some(set_aside(file, &why).map_err(at(file))?)),
        };
        Ok(Self { file: file.to_owned(), entries, complaint, _lock: lock })
    }

    /// What was wrong with the file, if something was.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// All that is contained.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a process.
    pub fn entry(&self, key: ProcessKey) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.is_of(key))
    }

    /// Keeps an entry in the place of the one of the same process, and writes the file. One in which nothing is in force
    /// and that has no cell is dropped.
    ///
    /// # Errors
    /// [`StateError::Io`]; the file is as it was then.
    pub fn keep(&mut self, entry: Entry) -> Result<(), StateError> {
        let place = self.entries.iter().position(|known| known.is_of(entry.key()));
        match (place, entry.is_empty() && entry.cell.is_none()) {
            (Some(place), false) => self.entries[place] = entry,
            (Some(place), true) => drop(self.entries.remove(place)),
            (None, false) => self.entries.push(entry),
            (None, true) => return Ok(()),
        }
        self.save()
    }

    fn save(&self) -> Result<(), StateError> {
        let failed = |source| StateError::Io { path: self.file.clone(), source };
        if self.entries.is_empty() {
            return match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        }
        let document =
            Document { version: VERSION, boot_id: boot_id().map_err(failed)?, entries: self.entries.clone() };
        let mut text = serde_json::to_vec_pretty(&document).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        // It is made with mode 0600, and takes the place of the old one in one step.
        let mut new = tempfile::Builder::new().prefix(".procwatch-").tempfile_in(folder).map_err(failed)?;
        new.write_all(&text).map_err(failed)?;
        new.persist(&self.file).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, StateError> {
    let failed = |source| StateError::Io { path: path.to_owned(), source };
    let file = crate::lock::open(path).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => {
                return Err(StateError::Busy(path.to_owned()));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK_AGAIN),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Reads the file; `None` when there is none, or none of this run of the machine. The error says in words, escaped,
/// what is wrong with it: what it says decides where root writes, so others must not have had a hand in it.
fn read(file: &Path) -> Result<Option<Vec<Entry>>, String> {
    let said = |error: io::Error| escape(error.to_string().as_bytes()).into_owned();
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file);
    let opened = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(said)?,
    };
    let metadata = opened.metadata().map_err(said)?;
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if metadata.mode() & 0o077 != 0 || metadata.uid() != geteuid().as_raw() {
        return Err("others than root may have written or read it".to_owned());
    }
    let mut text = Vec::new();
    opened.take(MAX_FILE + 1).read_to_end(&mut text).map_err(said)?;
    if text.len() as u64 > MAX_FILE {
        return Err("it is larger than 4 MiB".to_owned());
    }
    let document: Document = serde_json::from_slice(&text)
        .map_err(|error| format!("it is damaged: {}", escape(error.to_string().as_bytes())))?;
    if document.version != VERSION {
        return Err(format!("it has version {}, and this procwatch knows {VERSION}", document.version));
    }
    if let Some(bad) = document.entries.iter().filter_map(|entry| entry.cell.as_ref()).find_map(Cell::fault) {
        return Err(format!("it is damaged: {bad}"));
    }
    let is_of_now = document.boot_id == boot_id().map_err(said)?;
    Ok(is_of_now.then_some(document.entries))
}

/// Gives a file that cannot be used another name. Returns what to tell about it.
fn set_aside(file: &Path, why: &str) -> io::Result<String> {
    let aside = (1..100)
        .map(|number| file.with_extension(format!("json.bad-{number}")))
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or_else(|| file.with_extension("json.bad-100"));
    fs::rename(file, &aside)?;
    let shown = |path: &Path| escape(path.as_os_str().as_encoded_bytes()).into_owned();
    Ok(format!(
        "{}: {why}; it was set aside as {}, and what it told of is looked for by other means",
        shown(file),
        shown(&aside)
    ))
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

#[cfg(test)]
mod tests;
