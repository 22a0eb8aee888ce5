//! Cgroups of sessions, made and entered by cgroupfs alone.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{HeldProcess, MoveError, Refusal, SessionName};
use crate::cgroup::{CgroupPath, Mount};

/// So many leaves are made before the empty ones among them are looked for.
const TIDY_EVERY: usize = 64;

/// Makes leaves, moves processes into them, and removes those that it made.
#[derive(Debug)]
pub(super) struct Leaves {
    mount: PathBuf,
    made: BTreeSet<PathBuf>,
    /// How many there may be before it is time to tidy up.
    room: usize,
}

impl Leaves {
    /// In the hierarchy mounted there.
    pub(super) fn new(mount: &Mount) -> Self {
        Self { mount: mount.point.clone(), made: BTreeSet::new(), room: TIDY_EVERY }
    }

    /// The folder of a cgroup.
    pub(super) fn folder(&self, path: &CgroupPath) -> PathBuf {
        self.mount.join(path.relative())
    }

    /// Makes a cgroup unless it is there. The one above it must be there.
    pub(super) fn make(&mut self, path: &CgroupPath) -> Result<(), MoveError> {
        let folder = self.folder(path);
        match fs::create_dir(&folder) {
            Ok(()) => {
                self.made.insert(folder);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(MoveError::kernel(path.clone(), error)),
        }
        Ok(())
    }

    /// Removes empty ones if many were made since the last time. Nothing may have been made for a move that is to come.
    pub(super) fn make_room(&mut self) {
        if self.made.len() >= self.room {
            self.remove_empty();
            self.room = self.made.len() + TIDY_EVERY;
        }
    }

    /// Moves the process with all its threads into a cgroup that is there.
    pub(super) fn admit(&self, process: &HeldProcess, leaf: &CgroupPath) -> Result<(), MoveError> {
        // One write is one order to the kernel, and moves all threads of the process.
        let file = self.folder(leaf).join("cgroup.procs");
        let written = OpenOptions::new()
            .write(true)
            .open(file)
            .and_then(|mut file| file.write_all(process.pid().to_string().as_bytes()));
        written.map_err(|source| MoveError::kernel(leaf.clone(), source))?;
        process.check_alive(leaf)
    }

    /// Whether somebody lives in a cgroup or below it.
    pub(super) fn is_inhabited(&self, path: &CgroupPath) -> bool {
        let events = fs::read_to_string(self.folder(path).join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Removes those that it made and nobody lives in any more.
    pub(super) fn remove_empty(&mut self) {
        // Inner ones first. The kernel refuses to remove a cgroup that somebody lives in; that one stays ours.
        let made = std::mem::take(&mut self.made);
        self.made = made.into_iter().rev().filter(|folder| !is_removed(folder)).collect();
    }

    /// Removes the leaves below `home` that nobody lives in any more, whoever made them. Returns how many are left.
    pub(super) fn remove_empty_below(&self, home: &CgroupPath) -> usize {
        self.children(home)
            .filter(|name| SessionName::is_one(name) && !is_removed(&self.folder(&home.child(name))))
            .count()
    }

    /// How many scopes of sessions in `slice` are lived in. Removing them is systemd's matter.
    pub(super) fn inhabited_scopes(&self, slice: &CgroupPath) -> usize {
        let scopes = self.children(slice).filter(|name| SessionName::of_scope(name).is_some());
        scopes.filter(|name| self.is_inhabited(&slice.child(name))).count()
    }

    /// Names of the cgroups in one; none when it is gone.
    fn children(&self, path: &CgroupPath) -> impl Iterator<Item = String> + use<> {
        let entries = fs::read_dir(self.folder(path)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    }
}

/// Whether a cgroup is not there any more, after it was removed if it could be.
fn is_removed(folder: &Path) -> bool {
    fs::remove_dir(folder).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

impl HeldProcess {
    /// Makes sure that the pid that was just moved to `leaf` was this process' all the time.
    pub(super) fn check_alive(&self, leaf: &CgroupPath) -> Result<(), MoveError> {
        match self.is_alive() {
            Ok(true) => Ok(()),
            Ok(false) => Err(MoveError { path: leaf.clone(), why: Refusal::EndedMeanwhile }),
            Err(source) => Err(MoveError::kernel(leaf.clone(), source)),
        }
    }
}
