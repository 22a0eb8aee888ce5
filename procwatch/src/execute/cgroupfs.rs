//! Moves by writing to cgroupfs alone: for machines without systemd, or where the configuration says so.

use super::{Backend, HeldProcess, Home, MoveError, PrepareError, SessionName, leaves::Leaves};
use crate::cgroup::{CgroupPath, Mount, SliceRef, resolve};

/// Name of the cgroup in each slice below which the leaves are.
const LEAVES: &str = "procwatch";

/// The back end that needs nothing but cgroupfs.
#[derive(Debug)]
pub struct CgroupFs {
    mount: Mount,
    leaves: Leaves,
}

impl CgroupFs {
    /// Works in the hierarchy mounted there.
    pub fn new(mount: &Mount) -> Self {
        Self { mount: mount.clone(), leaves: Leaves::new(mount) }
    }
}

impl Backend for CgroupFs {
    fn name(&self) -> &'static str {
        "cgroupfs"
    }

    fn prepare(&mut self, slice: &SliceRef) -> Result<Home, PrepareError> {
        let slice = resolve(&self.mount, slice)?;
        Ok(Home { leaves: slice.path.child(LEAVES), slice })
    }

    fn leaf(&self, home: &Home, session: &SessionName) -> CgroupPath {
        home.leaves.child(session.as_str())
    }

    fn place(
        &mut self,
        process: &HeldProcess,
        home: &Home,
        session: &SessionName,
    ) -> Result<CgroupPath, MoveError> {
        let leaf = self.leaf(home, session);
        self.leaves.make_room();
        self.leaves.make(&home.leaves)?;
        self.leaves.make(&leaf)?;
        self.leaves.admit(process, &leaf)?;
        Ok(leaf)
    }

    fn tidy(&mut self) {
        self.leaves.remove_empty();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::samples;

    /// A plain folder in the place of the hierarchy, with the leaf of the test's own process ready.
    fn fake() -> (tempfile::TempDir, CgroupFs, Home, SessionName, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("user.slice")).unwrap();
        let mut backend = CgroupFs::new(&samples::mount(root.path()));
        let home = backend.prepare(&SliceRef::parse("/user.slice").unwrap()).unwrap();
        let session = SessionName::of(samples::me().key());
        let leaf = root.path().join(backend.leaf(&home, &session).relative());
        (root, backend, home, session, leaf)
    }

    #[test]
    fn the_pid_goes_into_a_leaf_and_not_into_the_slice() {
        let (root, mut backend, home, session, leaf) = fake();
        fs::create_dir_all(&leaf).unwrap();
        fs::write(leaf.join("cgroup.procs"), "").unwrap();
        let me = HeldProcess::open(&samples::me()).unwrap();
        let placed = backend.place(&me, &home, &session).unwrap();
        assert_eq!(placed.to_string(), format!("/user.slice/procwatch/{session}"));
        assert_eq!(fs::read_to_string(leaf.join("cgroup.procs")).unwrap(), std::process::id().to_string());
        assert!(!root.path().join("user.slice/cgroup.procs").exists());
    }

    #[test]
    fn only_own_and_empty_leaves_are_removed() {
        let (root, mut backend, home, session, leaf) = fake();
        let me = HeldProcess::open(&samples::me()).unwrap();
        // cgroup.procs is missing in a fresh folder of a plain file system, so the move itself fails.
        assert!(backend.place(&me, &home, &session).unwrap_err().is_homeless());
        fs::write(leaf.join("inhabitant"), "").unwrap();
        backend.tidy();
        assert!(leaf.exists());
        fs::remove_file(leaf.join("inhabitant")).unwrap();
        backend.tidy();
        assert!(!root.path().join("user.slice/procwatch").exists());
        fs::create_dir_all(&leaf).unwrap();
        backend.tidy();
        assert!(leaf.exists(), "not made by us");
    }

    #[test]
    fn a_slice_that_is_gone_is_said_so() {
        let (root, mut backend, home, session, _) = fake();
        fs::remove_dir(root.path().join("user.slice")).unwrap();
        let me = HeldProcess::open(&samples::me()).unwrap();
        let error = backend.place(&me, &home, &session).unwrap_err();
        assert!(error.is_homeless() && error.to_string().contains("the slice is gone"), "{error}");
        assert!(backend.prepare(&SliceRef::parse("/user.slice").unwrap()).is_err());
    }
}
