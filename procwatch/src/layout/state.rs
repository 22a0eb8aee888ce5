//! What was there before, kept until it is restored.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use super::{LayoutError, change::Content, unit};
use crate::{cgroup::CgroupPath, cpus::CpuSet, text::escape};

/// Where it is kept.
pub const STATE_FOLDER: &str = "/var/lib/procwatch";
const STATE_FILE: &str = "layout.json";
/// The form of the file. Another one is not read.
const VERSION: u32 = 1;
/// More than any layout needs, bytes.
const MAX_FILE: u64 = 1 << 22;

/// Whether something is kept.
pub fn is_there() -> bool {
    Path::new(STATE_FOLDER).join(STATE_FILE).exists()
}

/// All that was changed, and what was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Drop-ins by the units' names.
    pub drop_ins: BTreeMap<String, SavedDropIn>,
    /// CPUs of cgroups.
    pub cgroups: BTreeMap<CgroupPath, SavedCpus>,
    /// Cgroups whose children got the cpuset controller from us.
    pub controllers: BTreeSet<CgroupPath>,
}

/// The drop-in of one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedDropIn {
    /// What was there.
    pub before: Option<Content>,
    /// What was written: something else there now is somebody else's.
    pub written: String,
    /// Whether the folder was made for it.
    pub folder_is_ours: bool,
    /// The path of its cgroup below the mount, raw.
    pub cgroup: String,
    /// CPUs that it had in force before, if it was there.
    pub effective: Option<CpuSet>,
}

impl SavedDropIn {
    /// The CPUs that were written.
    pub fn cpus(&self) -> Option<CpuSet> {
        let last = self.written.lines().rev().find_map(|line| line.strip_prefix("AllowedCPUs="))?;
        CpuSet::parse(last).ok()
    }
}

/// The CPUs of one cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedCpus {
    /// What was there.
    pub before: CpuSet,
    /// What was written.
    pub written: CpuSet,
    /// CPUs that it had in force before.
    pub effective: Option<CpuSet>,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    drop_ins: BTreeMap<String, SavedDropIn>,
    cgroups: BTreeMap<String, SavedCpus>,
    controllers: BTreeSet<String>,
}

/// The folder of the state, held: nobody else applies or undoes a layout meanwhile.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    /// Whether it was not there before.
    made: bool,
    _lock: File,
}

impl State {
    /// What is kept here and not in `other`; controllers apart, which are taken away with the rest or not at all.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.drop_ins.retain(|unit, _| !other.drop_ins.contains_key(unit));
        rest.cgroups.retain(|path, _| !other.cgroups.contains_key(path));
        rest
    }

    /// All that is kept in either; what is written is as `later` says.
    #[must_use]
    pub fn with(&self, later: &Self) -> Self {
        let mut all = self.clone();
        all.drop_ins.extend(later.drop_ins.clone());
        all.cgroups.extend(later.cgroups.clone());
        all.controllers.extend(later.controllers.clone());
        all
    }

    /// Whether nothing of ours is in force.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl StateFolder {
    /// Makes the folder where it is missing, and holds it.
    ///
    /// # Errors
    /// When it cannot be made, or another procwatch holds it.
    pub fn hold(path: &Path) -> Result<Self, LayoutError> {
        let failed = |error: io::Error| LayoutError::at(path, error);
        let made = match DirBuilder::new().mode(0o755).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let lock = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), made, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(LayoutError::at(path, "another procwatch changes the layout just now; wait for it"))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.path.join(STATE_FILE)
    }

    /// What is kept; nothing where there is no file.
    ///
    /// # Errors
    /// When the file may have been written by somebody else, or is not what [`Self::save`] writes.
    pub fn load(&self) -> Result<State, LayoutError> {
        let file = self.file();
        read(&file)?.map_or_else(|| Ok(State::default()), |text| parse(&file, &text))
    }

    /// Keeps `state`, for its owner's eyes only; removes the file where there is nothing to keep.
    ///
    /// # Errors
    /// When the folder takes no file.
    pub fn save(&self, state: &State) -> Result<(), LayoutError> {
        let file = self.file();
        if state.is_empty() {
            return match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LayoutError::at(&file, error)),
                _ => Ok(()),
            };
        }
        let text = serde_json::to_string_pretty(&Document::from(state))
            .map_err(|error| LayoutError::at(&file, error))?;
        let owner = (geteuid().as_raw(), getegid().as_raw());
        Content { text: format!("{text}\n"), mode: 0o600, uid: owner.0, gid: owner.1 }.write(&file)
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        if self.made {
            // It stays as soon as there is something in it.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

impl From<&State> for Document {
    fn from(state: &State) -> Self {
        Self {
            version: VERSION,
            drop_ins: state.drop_ins.clone(),
            cgroups: state.cgroups.iter().map(|(path, saved)| (raw(path), saved.clone())).collect(),
            controllers: state.controllers.iter().map(raw).collect(),
        }
    }
}

/// The path for [`CgroupPath::parse`].
pub(super) fn raw(path: &CgroupPath) -> String {
    // It was made from text, so nothing of it is lost.
    format!("/{}", path.relative().display())
}

/// What it says decides which files root writes, so others must not have had a hand in it.
fn read(file: &Path) -> Result<Option<String>, LayoutError> {
    let failed = |error: io::Error| LayoutError::at(file, error);
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file);
    let opened = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let metadata = opened.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.mode() & 0o022 != 0 || metadata.uid() != geteuid().as_raw() {
        let what = "others than its owner, root, may have written it; look at it, and remove it or take their \
            right to write away";
        return Err(LayoutError::at(file, what));
    }
    let mut text = String::new();
    opened.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(LayoutError::at(file, "is larger than 4 MiB; procwatch did not write that"));
    }
    Ok(Some(text))
}

fn parse(file: &Path, text: &str) -> Result<State, LayoutError> {
    const REMEDY: &str = "what was there before cannot be known; restore this file, or remove it and the drop-ins \
        50-procwatch-layout.conf by hand";
    let bad = |what: String| LayoutError::at(file, format_args!("{what}; {REMEDY}"));
    let document: Document = serde_json::from_str(text)
        .map_err(|error| bad(format!("is damaged: {}", escape(error.to_string().as_bytes()))))?;
    if document.version != VERSION {
        return Err(bad(format!("has version {}, this procwatch knows {VERSION}", document.version)));
    }
    let path = |text: &str| CgroupPath::parse(text).map_err(|error| bad(error.to_string()));
    if let Some(name) = document.drop_ins.keys().find(|name| unit::section(name).is_none()) {
        return Err(bad(format!("\"{}\" is no unit", escape(name.as_bytes()))));
    }
    for saved in document.drop_ins.values() {
        path(&saved.cgroup)?;
    }
    let cgroups = document.cgroups.into_iter().map(|(at, saved)| Ok((path(&at)?, saved)));
    Ok(State {
        drop_ins: document.drop_ins,
        cgroups: cgroups.collect::<Result<_, LayoutError>>()?,
        controllers: document.controllers.iter().map(|at| path(at)).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests;
