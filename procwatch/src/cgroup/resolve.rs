//! From a slice in the configuration to the cgroup that it is now.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{CgroupPath, Mount, SliceRef};
use crate::text::escape;

/// A cgroup that exists, as the kernel programs know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedCgroup {
    /// Where it is below the root of the hierarchy.
    pub path: CgroupPath,
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// How many steps below the root it is.
    pub depth: u32,
}

/// Why a slice is no cgroup now.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// It does not exist.
    #[error("{slice}: there is no such cgroup ({}); {remedy}", escape(looked_at.as_os_str().as_encoded_bytes()))]
    Missing {
        /// The slice as written.
        slice: String,
        /// The directory that is not there.
        looked_at: PathBuf,
        /// What brings it into being.
        remedy: String,
    },
    /// It could not be looked at.
    #[error("{slice}: {}: {source}", escape(looked_at.as_os_str().as_encoded_bytes()))]
    Unreadable {
        /// The slice as written.
        slice: String,
        /// The directory.
        looked_at: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The path is a file of a cgroup.
    #[error("{slice}: {} is a file, not a cgroup", escape(looked_at.as_os_str().as_encoded_bytes()))]
    File {
        /// The slice as written.
        slice: String,
        /// The file.
        looked_at: PathBuf,
    },
    /// Depths are not those of the kernel here.
    #[error("the cgroup2 mount {0} shows only a part of the hierarchy; run procwatch outside of containers")]
    Part(String),
}

/// Whether systemd is pid 1, by the test of `sd_booted(3)`.
pub fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Looks a slice up.
///
/// # Errors
/// When it does not exist now, or when the mount does not show the whole hierarchy.
pub fn resolve(mount: &Mount, slice: &SliceRef) -> Result<ResolvedCgroup, ResolveError> {
    if !mount.whole {
        return Err(ResolveError::Part(mount.shown()));
    }
    let looked_at = mount.point.join(slice.path().relative());
    match fs::symlink_metadata(&looked_at) {
        Ok(found) if found.is_dir() => {
            Ok(ResolvedCgroup { path: slice.path().clone(), id: found.ino(), depth: slice.path().depth() })
        }
        Ok(_) => Err(ResolveError::File { slice: slice.to_string(), looked_at }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ResolveError::Missing {
            slice: slice.to_string(),
            remedy: remedy(slice, systemd_runs(), &looked_at),
            looked_at,
        }),
        Err(source) => Err(ResolveError::Unreadable { slice: slice.to_string(), looked_at, source }),
    }
}

fn remedy(slice: &SliceRef, systemd: bool, looked_at: &Path) -> String {
    match slice.unit() {
        Some(unit) if systemd && unit.starts_with("user-") => {
            format!("it exists while that user is logged in, or: systemctl start {unit}")
        }
        Some(unit) if systemd => format!("to start it: systemctl start {unit}"),
        _ => format!("create it first: mkdir -p {}", escape(looked_at.as_os_str().as_encoded_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::mount;

    #[test]
    fn a_slice_that_exists_has_its_inode_as_id() {
        let tree = tempfile::tempdir().unwrap();
        let directory = tree.path().join("user.slice/user-1003.slice");
        fs::create_dir_all(&directory).unwrap();
        let slice = SliceRef::parse("user-1003.slice").unwrap();
        let found = resolve(&mount(tree.path()), &slice).unwrap();
        assert_eq!((found.id, found.depth), (fs::metadata(&directory).unwrap().ino(), 2));
        let root = resolve(&mount(tree.path()), &SliceRef::parse("-.slice").unwrap()).unwrap();
        assert_eq!((root.id, root.depth), (fs::metadata(tree.path()).unwrap().ino(), 0));
    }

    #[test]
    fn a_missing_slice_names_itself_the_path_and_the_remedy() {
        let tree = tempfile::tempdir().unwrap();
        let slice = SliceRef::parse("user-1003.slice").unwrap();
        let error = resolve(&mount(tree.path()), &slice).unwrap_err().to_string();
        let path = tree.path().join("user.slice/user-1003.slice").display().to_string();
        assert!(error.starts_with("user-1003.slice: ") && error.contains(&path), "{error}");
        let hint = |text, systemd| remedy(&SliceRef::parse(text).unwrap(), systemd, Path::new("/cg/x"));
        assert!(hint("user-1003.slice", true).ends_with("systemctl start user-1003.slice"));
        assert!(hint("user-1003.slice", false).ends_with("mkdir -p /cg/x"));
        assert!(hint("/x", true).ends_with("mkdir -p /cg/x"));
    }

    #[test]
    fn a_file_is_no_cgroup_and_a_part_is_no_hierarchy() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("cgroup.procs"), "").unwrap();
        let slice = SliceRef::parse("/cgroup.procs").unwrap();
        let mut mount = mount(tree.path());
        assert!(matches!(resolve(&mount, &slice), Err(ResolveError::File { .. })));
        mount.whole = false;
        assert!(matches!(resolve(&mount, &slice), Err(ResolveError::Part(_))));
    }
}
