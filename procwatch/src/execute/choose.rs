//! Which way of moving is taken.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{
    Backend, HeldProcess, Home, MoveError, PrepareError, SessionName, affinity::FreeOfAffinity,
    cgroupfs::CgroupFs, scope::Scope, systemd::Systemd,
};
use crate::{
    cgroup::{CgroupPath, Mount, SliceRef, resolve::systemd_runs},
    config::BackendChoice,
    systemd::{BusError, Manager},
};

/// Why the way that the configuration names cannot be taken.
#[derive(Debug, Error)]
pub enum ChooseError {
    /// There is no systemd.
    #[error("backend = \"{0}\" needs systemd as first process; set backend = \"auto\" or \"cgroupfs\"")]
    NoSystemd(&'static str),
    /// There is one, and it does not answer.
    #[error("backend = \"{0}\": {1}")]
    NoBus(&'static str, BusError),
}

/// The way that the configuration names.
///
/// # Errors
/// [`ChooseError`]. `auto` always finds a way.
pub fn backend_for(choice: BackendChoice, mount: &Mount) -> Result<Box<dyn Backend>, ChooseError> {
    let backend: Box<dyn Backend> = match choice {
        BackendChoice::Auto => Box::new(Auto::new(mount)),
        BackendChoice::Systemd => Box::new(Systemd::new(mount, manager("systemd")?)),
        BackendChoice::Scope => Box::new(Scope::new(mount, manager("scope")?)),
        BackendChoice::Cgroupfs => Box::new(CgroupFs::new(mount)),
    };
    Ok(Box::new(FreeOfAffinity::new(mount, backend)))
}

fn manager(choice: &'static str) -> Result<Manager, ChooseError> {
    if !systemd_runs() {
        return Err(ChooseError::NoSystemd(choice));
    }
    Manager::connect().map_err(|error| ChooseError::NoBus(choice, error))
}

/// systemd's way into slices that are units, where there is systemd; else that of cgroupfs.
#[derive(Debug)]
struct Auto {
    systemd: Option<Systemd>,
    cgroupfs: CgroupFs,
    /// Slices that were prepared by cgroupfs.
    by_hand: BTreeSet<CgroupPath>,
}

impl Auto {
    fn new(mount: &Mount) -> Self {
        let manager = systemd_runs().then(Manager::connect);
        let systemd = match manager {
            Some(Ok(manager)) => Some(Systemd::new(mount, manager)),
            Some(Err(error)) => {
                tracing::warn!("{error}; leaves are made in the slices themselves");
                None
            }
            None => None,
        };
        Self { systemd, cgroupfs: CgroupFs::new(mount), by_hand: BTreeSet::new() }
    }

    fn is_by_hand(&self, home: &Home) -> bool {
        self.by_hand.contains(&home.slice.path)
    }
}

impl Backend for Auto {
    fn name(&self) -> &'static str {
        if self.systemd.is_some() { "systemd" } else { "cgroupfs" }
    }

    fn prepare(&mut self, slice: &SliceRef) -> Result<Home, PrepareError> {
        match &mut self.systemd {
            Some(systemd) if slice.unit().is_some() => systemd.prepare(slice),
            _ => {
                let home = self.cgroupfs.prepare(slice)?;
                self.by_hand.insert(home.slice.path.clone());
                Ok(home)
            }
        }
    }

    fn leaf(&self, home: &Home, session: &SessionName) -> CgroupPath {
        match &self.systemd {
            Some(systemd) if !self.is_by_hand(home) => systemd.leaf(home, session),
            _ => self.cgroupfs.leaf(home, session),
        }
    }

    fn place(
        &mut self,
        process: &HeldProcess,
        home: &Home,
        session: &SessionName,
    ) -> Result<CgroupPath, MoveError> {
        let by_hand = self.is_by_hand(home);
        match &mut self.systemd {
            Some(systemd) if !by_hand => systemd.place(process, home, session),
            _ => self.cgroupfs.place(process, home, session),
        }
    }

    fn tidy(&mut self) {
        if let Some(systemd) = &mut self.systemd {
            systemd.tidy();
        }
        self.cgroupfs.tidy();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn paths_are_cgroupfs_matter_whatever_there_is() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("test/target")).unwrap();
        let mut backend = backend_for(BackendChoice::Auto, &samples::mount(root.path())).unwrap();
        let home = backend.prepare(&SliceRef::parse("/test/target").unwrap()).unwrap();
        assert_eq!(home.leaves.to_string(), "/test/target/procwatch");
        let session = SessionName::of(samples::me().key());
        assert_eq!(backend.leaf(&home, &session), home.leaves.child(session.as_str()));
    }
}
