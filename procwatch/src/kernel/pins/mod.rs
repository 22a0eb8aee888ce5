//! What is kept in the kernel when the agent dies: names for programs, links and maps in a folder of the file system that
//! the kernel has for that.
//!
//! ```text
//! /sys/fs/bpf/procwatch/state-0123456789abcdef/{maps,links,programs}/NAME
//! ```
//!
//! The number stands for the programs and all they depend on. A folder gets its name `state-…` when it is whole; until then
//! it is `half-…`, so what an agent has left that was killed in between is known by its name.

mod bpffs;

use std::{
    fs::{self, DirBuilder, DirEntry, Metadata},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::unistd::geteuid;
use thiserror::Error;

use crate::text::shown;

/// The name of our folder.
const FOLDER: &str = "procwatch";
const WHOLE: &str = "state-";
const HALF: &str = "half-";
/// What a state consists of.
const PARTS: [&str; 3] = ["maps", "links", "programs"];

/// Why nothing can be kept in the kernel, or taken away again.
#[derive(Debug, Error)]
pub enum PinError {
    /// No such file system, and none could be mounted.
    #[error("no file system of type bpf is mounted, and mounting one on /sys/fs/bpf failed: {0}")]
    Unmounted(io::Error),
    /// There is something that is not ours.
    #[error("{}: {what}; procwatch leaves it alone, remove it by hand if nobody needs it", shown(path))]
    Foreign {
        /// What.
        path: PathBuf,
        /// Why it is not ours.
        what: &'static str,
    },
    /// A file or folder.
    #[error("{}: {source}", shown(path))]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An object.
    #[error("{}: {source}", shown(path))]
    Object {
        /// Its name.
        path: PathBuf,
        /// What is wrong.
        source: aya::pin::PinError,
    },
}

/// Our folder, whether it is there or not.
#[derive(Clone, Debug)]
pub struct PinFolder(PathBuf);

impl PinFolder {
    /// Finds where it belongs; mounts the file system if it is not mounted.
    ///
    /// # Errors
    /// [`PinError::Unmounted`].
    pub fn find() -> Result<Self, PinError> {
        Ok(Self(bpffs::find()?.join(FOLDER)))
    }

    /// The same, but nothing is mounted. `None`: nothing can be pinned.
    pub fn find_mounted() -> Option<Self> {
        Some(Self(bpffs::find_mounted()?.join(FOLDER)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The states that are there, whole ones only.
    ///
    /// # Errors
    /// When there is something that is not ours, or it cannot be read.
    pub fn states(&self) -> Result<Vec<State>, PinError> {
        let entries = self.entries()?;
        Ok(entries.into_iter().filter_map(|(name, path)| State::of(&name, path)).collect())
    }

    /// What an agent has left half made goes.
    ///
    /// # Errors
    /// When there is something that is not ours, or it cannot be removed.
    pub(super) fn remove_half(&self) -> Result<(), PinError> {
        let half = self.entries()?.into_iter().filter(|(name, _)| name.starts_with(HALF));
        half.into_iter().try_for_each(|(_, path)| remove(&path))
    }

    /// Makes room for a state; what was left half made goes.
    ///
    /// # Errors
    /// When there is something that is not ours, or nothing can be made there.
    pub(super) fn begin(&self, mark: u64) -> Result<HalfState, PinError> {
        self.remove_half()?;
        make(&self.0)?;
        let half = HalfState { folder: self.clone(), path: self.0.join(format!("{HALF}{mark:016x}")), mark };
        make(&half.path)?;
        for part in PARTS {
            make(&half.path.join(part))?;
        }
        Ok(half)
    }

    /// Takes everything of ours away. Whether there was anything.
    ///
    /// # Errors
    /// When there is something that is not ours, and then nothing is taken away; or when it cannot be removed.
    pub fn remove(&self) -> Result<bool, PinError> {
        let entries = self.entries()?;
        for (_, path) in &entries {
            remove(path)?;
        }
        match fs::remove_dir(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&self.0)(error)),
            _ => Ok(!entries.is_empty()),
        }
    }

    /// What is in it, each with its name: states, whole or half made, and nothing else.
    fn entries(&self) -> Result<Vec<(String, PathBuf)>, PinError> {
        match fs::symlink_metadata(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => check_folder(&self.0, &found.map_err(io_error(&self.0))?)?,
        }
        let mut entries = Vec::new();
        for entry in list(&self.0)? {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let mark = name.strip_prefix(WHOLE).or_else(|| name.strip_prefix(HALF));
            if !mark.is_some_and(|mark| mark.len() == 16 && u64::from_str_radix(mark, 16).is_ok()) {
                return Err(PinError::Foreign { path, what: "is not of procwatch" });
            }
            check_state(&path)?;
            entries.push((name, path));
        }
        Ok(entries)
    }
}

/// A whole state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    path: PathBuf,
    /// What it stands for.
    mark: u64,
}

impl State {
    fn of(name: &str, path: PathBuf) -> Option<Self> {
        let mark = u64::from_str_radix(name.strip_prefix(WHOLE)?, 16).ok()?;
        Some(Self { path, mark })
    }

    /// What it stands for.
    pub(super) const fn mark(&self) -> u64 {
        self.mark
    }

    /// When it was made.
    pub(super) fn since(&self) -> Option<SystemTime> {
        fs::metadata(&self.path).ok()?.modified().ok()
    }

    /// The maps, each with its name.
    pub(super) fn maps(&self) -> Result<Vec<(String, PathBuf)>, PinError> {
        named(&self.path.join("maps"))
    }

    /// The links, as above.
    pub(super) fn links(&self) -> Result<Vec<(String, PathBuf)>, PinError> {
        named(&self.path.join("links"))
    }

    /// The programs, as above.
    pub(super) fn programs(&self) -> Result<Vec<(String, PathBuf)>, PinError> {
        named(&self.path.join("programs"))
    }

    /// Where a map of this name is, or would be.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.path.join("maps").join(name)
    }

    /// A place for a link.
    pub(super) fn link(&self, name: &str) -> PathBuf {
        self.path.join("links").join(name)
    }

    /// A place for a program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.path.join("programs").join(name)
    }
}

/// A state that is being made. It goes when it is dropped unfinished.
#[derive(Debug)]
pub(super) struct HalfState {
    folder: PinFolder,
    path: PathBuf,
    mark: u64,
}

impl HalfState {
    /// Where its parts are to be put.
    pub(super) fn state(&self) -> State {
        State { path: self.path.clone(), mark: self.mark }
    }

    /// It is whole, and takes the place of all others.
    ///
    /// # Errors
    /// When the others cannot be removed, or it cannot be renamed.
    pub(super) fn finish(self) -> Result<State, PinError> {
        for other in self.folder.states()? {
            remove(&other.path)?;
        }
        let path = self.folder.0.join(format!("{WHOLE}{:016x}", self.mark));
        fs::rename(&self.path, &path).map_err(io_error(&self.path))?;
        Ok(State { path, mark: self.mark })
    }
}

impl Drop for HalfState {
    fn drop(&mut self) {
        // Once it was renamed there is nothing to remove. What cannot be removed is seen to be half made.
        let _ = remove(&self.path);
    }
}

/// Refuses a folder that others may write to, or that is none.
fn check_folder(path: &Path, found: &Metadata) -> Result<(), PinError> {
    let foreign = |what| Err(PinError::Foreign { path: path.to_owned(), what });
    if !found.is_dir() {
        return foreign("is no folder");
    }
    if found.uid() != geteuid().as_raw() {
        return foreign("belongs to another user");
    }
    Ok(())
}

/// Refuses a state with anything in it that is not of a state.
fn check_state(path: &Path) -> Result<(), PinError> {
    let metadata = |path: &Path| fs::symlink_metadata(path).map_err(io_error(path));
    check_folder(path, &metadata(path)?)?;
    for part in list(path)? {
        let path = part.path();
        if !PARTS.iter().any(|known| part.file_name() == *known) {
            return Err(PinError::Foreign { path, what: "is no part of what procwatch keeps" });
        }
        check_folder(&path, &metadata(&path)?)?;
        for object in list(&path)? {
            if !metadata(&object.path())?.is_file() {
                return Err(PinError::Foreign { path: object.path(), what: "is no kernel object" });
            }
        }
    }
    Ok(())
}

fn named(folder: &Path) -> Result<Vec<(String, PathBuf)>, PinError> {
    let entries = list(folder)?.into_iter();
    Ok(entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect())
}

fn list(folder: &Path) -> Result<Vec<DirEntry>, PinError> {
    let entries = fs::read_dir(folder).map_err(io_error(folder))?;
    entries.collect::<Result<_, _>>().map_err(io_error(folder))
}

fn make(folder: &Path) -> Result<(), PinError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(io_error(folder)),
    }
}

/// Removes a state with its parts. Links first: what a program finds in its maps is whole to its end.
fn remove(state: &Path) -> Result<(), PinError> {
    for part in ["links", "programs", "maps"].map(|part| state.join(part)) {
        if !part.exists() {
            continue;
        }
        for object in list(&part)? {
            fs::remove_file(object.path()).map_err(io_error(&object.path()))?;
        }
        fs::remove_dir(&part).map_err(io_error(&part))?;
    }
    match fs::remove_dir(state) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(state)(error)),
        _ => Ok(()),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> PinError {
    let path = path.to_owned();
    move |source| PinError::Io { path, source }
}

#[cfg(test)]
mod tests;
