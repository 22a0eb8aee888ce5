//! Moves by writing to cgroupfs: into a leaf of ours, never into a slice itself.
//!
//! A slice that processes were written into turns "domain threaded", after which its user's logins fail.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

use super::{Backend, MoveError};
use crate::cgroup::{CgroupPath, Mount};

/// Name of the leaf in each slice.
const LEAF: &str = "procwatch";

/// The back end that needs nothing but cgroupfs.
#[derive(Debug)]
pub struct CgroupFs {
    root: PathBuf,
    made: BTreeSet<PathBuf>,
}

impl CgroupFs {
    /// Works in the hierarchy mounted there.
    pub fn new(mount: &Mount) -> Self {
        Self { root: mount.point.clone(), made: BTreeSet::new() }
    }

    fn folder(&self, path: &CgroupPath) -> PathBuf {
        self.root.join(path.relative())
    }

    fn make(&mut self, leaf: &CgroupPath) -> io::Result<PathBuf> {
        let folder = self.folder(leaf);
        match fs::create_dir(&folder) {
            Ok(()) => {
                self.made.insert(folder.clone());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(folder)
    }

    fn write_pid(&mut self, pid: u32, leaf: &CgroupPath) -> io::Result<()> {
        let folder = self.make(leaf)?;
        // One write is one order to the kernel, and moves all threads of the process.
        OpenOptions::new()
            .write(true)
            .open(folder.join("cgroup.procs"))?
            .write_all(pid.to_string().as_bytes())
    }
}

impl Backend for CgroupFs {
    fn place(&mut self, pid: u32, slice: &CgroupPath) -> Result<CgroupPath, MoveError> {
        let leaf = self.leaf(slice);
        match self.write_pid(pid, &leaf) {
            Ok(()) => Ok(leaf),
            Err(source) => Err(MoveError { path: leaf, source }),
        }
    }

    fn leaf(&self, slice: &CgroupPath) -> CgroupPath {
        slice.child(LEAF)
    }

    fn tidy(&mut self) {
        // The kernel refuses to remove a cgroup that somebody lives in; that one stays ours.
        self.made.retain(|folder| {
            fs::remove_dir(folder).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake() -> (tempfile::TempDir, CgroupFs, CgroupPath) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("user.slice")).unwrap();
        let backend = CgroupFs { root: root.path().to_owned(), made: BTreeSet::new() };
        (root, backend, CgroupPath::parse("/user.slice").unwrap())
    }

    #[test]
    fn the_pid_goes_into_a_leaf_and_not_into_the_slice() {
        let (root, mut backend, slice) = fake();
        let leaf = root.path().join("user.slice/procwatch");
        fs::create_dir(&leaf).unwrap();
        fs::write(leaf.join("cgroup.procs"), "").unwrap();
        assert_eq!(backend.place(42, &slice).unwrap().to_string(), "/user.slice/procwatch");
        assert_eq!(fs::read_to_string(leaf.join("cgroup.procs")).unwrap(), "42");
        assert!(!root.path().join("user.slice/cgroup.procs").exists());
    }

    #[test]
    fn only_own_and_empty_leaves_are_removed() {
        let (root, mut backend, slice) = fake();
        let leaf = root.path().join("user.slice/procwatch");
        // cgroup.procs is missing in a fresh folder of a plain file system, so the move itself fails.
        assert!(backend.place(42, &slice).is_err());
        fs::write(leaf.join("inhabitant"), "").unwrap();
        backend.tidy();
        assert!(leaf.exists());
        fs::remove_file(leaf.join("inhabitant")).unwrap();
        backend.tidy();
        assert!(!leaf.exists());
        fs::create_dir(&leaf).unwrap();
        backend.tidy();
        assert!(leaf.exists(), "not made by us");
    }

    #[test]
    fn a_slice_that_is_gone_is_said_so() {
        let (_root, mut backend, _) = fake();
        let error = backend.place(42, &CgroupPath::parse("/absent.slice").unwrap()).unwrap_err();
        assert!(error.to_string().contains("the slice is gone"), "{error}");
    }
}
