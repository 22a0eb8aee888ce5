//! Finds the file system that keeps kernel objects by name.

use std::{
    io,
    path::{Path, PathBuf},
};

use procfs::{ProcError, process::Process};
use rustix::{
    fs::statfs,
    mount::{MountFlags, mount},
};

use super::PinError;

/// Where systemd and everyone else mounts it.
const USUAL_POINT: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC`.
const MAGIC: u64 = 0xcafe_4a11;

/// Where it is mounted; mounts it at the usual place when it is nowhere.
pub(super) fn find() -> Result<PathBuf, PinError> {
    let usual = Path::new(USUAL_POINT);
    if is_bpffs(usual) {
        return Ok(usual.to_owned());
    }
    let listed = listed().map_err(|error| PinError::Unmounted(io::Error::other(error)))?;
    if let Some(point) = listed.into_iter().find(|point| is_bpffs(point)) {
        return Ok(point);
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", usual, "bpf", flags, c"mode=0700").map_err(|error| PinError::Unmounted(error.into()))?;
    Ok(usual.to_owned())
}

/// The same, but nothing is mounted: `None` when it is nowhere.
pub(super) fn find_mounted() -> Option<PathBuf> {
    let usual = Path::new(USUAL_POINT);
    if is_bpffs(usual) {
        return Some(usual.to_owned());
    }
    listed().ok()?.into_iter().find(|point| is_bpffs(point))
}

fn is_bpffs(point: &Path) -> bool {
    statfs(point).is_ok_and(|found| found.f_type as u64 == MAGIC)
}

fn listed() -> Result<Vec<PathBuf>, ProcError> {
    let mounts = Process::myself()?.mountinfo()?;
    let bpf = mounts.into_iter().filter(|mount| mount.fs_type == "bpf");
    Ok(bpf.map(|mount| mount.mount_point).collect())
}
