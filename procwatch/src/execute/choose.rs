//! Which way of moving is taken.

use super::{
    Backend, PrepareError, affinity::FreeOfAffinity, cgroupfs::CgroupFs, scope::Scope, systemd::Systemd,
};
use crate::{
    cgroup::{Mount, SliceRef, resolve::systemd_runs},
    config::BackendChoice,
    systemd::{Manager, Waits},
};

/// The way that the configuration names, for a rule that leads to `slice`. `auto` is systemd's where there is one and
/// the slice is a unit, else that of cgroupfs.
///
/// # Errors
/// [`PrepareError::Manager`] when systemd is named, and there is none or it does not answer.
pub fn backend_for(
    choice: BackendChoice,
    slice: &SliceRef,
    mount: &Mount,
) -> Result<Box<dyn Backend>, PrepareError> {
    let backend: Box<dyn Backend> = match choice {
        BackendChoice::Auto => auto(slice, mount),
        BackendChoice::Systemd => Box::new(Systemd::new(mount, manager("systemd", slice)?)),
        BackendChoice::Scope => Box::new(Scope::new(mount, manager("scope", slice)?)),
        BackendChoice::Cgroupfs => Box::new(CgroupFs::new(mount)),
    };
    Ok(Box::new(FreeOfAffinity::new(mount, backend)))
}

fn auto(slice: &SliceRef, mount: &Mount) -> Box<dyn Backend> {
    if slice.unit().is_some() && systemd_runs() {
        match Manager::connect(Waits::Beside) {
            Ok(manager) => return Box::new(Systemd::new(mount, manager)),
            Err(error) => tracing::warn!("{error}; leaves are made in {slice} itself"),
        }
    }
    Box::new(CgroupFs::new(mount))
}

fn manager(choice: &str, slice: &SliceRef) -> Result<Manager, PrepareError> {
    let refuse = |what| PrepareError::Manager { unit: slice.to_string(), what };
    if !systemd_runs() {
        let what = format!(
            "backend = \"{choice}\" needs systemd as first process; right is \"auto\" or \"cgroupfs\""
        );
        return Err(refuse(what));
    }
    Manager::connect(Waits::Beside).map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn paths_are_cgroupfs_matter_whatever_there_is() {
        let root = tempfile::tempdir().unwrap();
        let slice = SliceRef::parse("/test/target").unwrap();
        let backend = backend_for(BackendChoice::Auto, &slice, &samples::mount(root.path())).unwrap();
        assert_eq!(backend.name(), "cgroupfs");
    }

    #[test]
    fn without_systemd_its_back_ends_are_refused() {
        if systemd_runs() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let slice = SliceRef::parse("user-1003.slice").unwrap();
        for choice in [BackendChoice::Systemd, BackendChoice::Scope] {
            let refused = backend_for(choice, &slice, &samples::mount(root.path())).map(|it| it.name());
            assert!(refused.unwrap_err().to_string().contains("needs systemd as first process"));
        }
    }
}
