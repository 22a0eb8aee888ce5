//! Moves into a unit of ours in the slice, delegated to us: a leaf for each session, one write for each move, no word
//! with systemd in between.

use super::{
    Backend, HeldProcess, Home, MoveError, PrepareError, Refusal, SessionName, keeper::Keepers,
    leaves::Leaves,
};
use crate::{
    cgroup::{CgroupPath, Mount, SliceRef},
    systemd::Manager,
};

/// The back end for machines with systemd.
#[derive(Debug)]
pub struct Systemd {
    keepers: Keepers,
    leaves: Leaves,
}

impl Systemd {
    /// Works in the hierarchy mounted there, by orders to `manager`.
    pub fn new(mount: &Mount, manager: Manager) -> Self {
        Self { keepers: Keepers::new(mount.clone(), manager), leaves: Leaves::new(mount) }
    }
}

impl Backend for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn prepare(&mut self, slice: &SliceRef) -> Result<Home, PrepareError> {
        self.keepers.keep(slice)
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
        if self.keepers.kept(&home.slice.path).is_none() {
            return Err(MoveError { path: leaf, why: Refusal::Unkept });
        }
        self.leaves.make_room();
        self.leaves.make(&leaf)?;
        self.leaves.admit(process, &leaf)?;
        Ok(leaf)
    }

    fn tidy(&mut self) {
        self.keepers.tidy(&mut self.leaves);
    }

    fn hand_over(&mut self) {
        self.keepers.hand_over(&mut self.leaves);
    }
}
