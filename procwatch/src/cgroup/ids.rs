//! From the cgroup ids of kernel records to paths.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use super::Mount;
use crate::{convert::CgroupPaths, text::Text};

/// Paths that are remembered. All are forgotten when a further one comes: a machine has fewer cgroups than this.
const CACHE: usize = 4096;
/// `FILEID_KERNFS`: the handle is the 64-bit id.
const FILEID_KERNFS: libc::c_int = 0xfe;
/// What the kernel appends to the path of a directory that is gone.
const DELETED: &[u8] = b" (deleted)";

/// Names cgroups by their ids, through the kernel's file handles: no walk of the tree. The path of an id never
/// changes (cgroup2 has no rename) and an id is not used again, so what was found once holds for ever.
#[derive(Debug)]
pub struct CgroupNames {
    point: PathBuf,
    root: File,
    known: HashMap<u64, Text>,
}

/// `struct file_handle` with the eight bytes that kernfs wants.
#[repr(C)]
struct KernfsHandle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    id: u64,
}

impl CgroupPaths for CgroupNames {
    fn path(&mut self, cgroup_id: u64) -> Option<Text> {
        Self::path(self, cgroup_id)
    }
}

impl CgroupNames {
    /// Opens the mount.
    ///
    /// # Errors
    /// When the mount point cannot be opened.
    pub fn new(mount: &Mount) -> io::Result<Self> {
        Ok(Self { point: mount.point.clone(), root: File::open(&mount.point)?, known: HashMap::new() })
    }

    /// The path of a cgroup below the root of the hierarchy; `/` is the root. `None` when it is gone and was not
    /// asked for before, when it is outside of the mount, or without root privileges.
    pub fn path(&mut self, id: u64) -> Option<Text> {
        if let Some(path) = self.known.get(&id) {
            return Some(path.clone());
        }
        let path = self.look_up(id)?;
        if self.known.len() >= CACHE {
            self.known.clear();
        }
        self.known.insert(id, path.clone());
        Some(path)
    }

    fn look_up(&self, id: u64) -> Option<Text> {
        let cgroup = self.open(id).ok()?;
        let full = fs::read_link(format!("/proc/self/fd/{}", cgroup.as_raw_fd())).ok()?;
        if full.as_os_str().as_bytes().ends_with(DELETED) && !is_named_so(&full, id) {
            return None;
        }
        below(&full, &self.point)
    }

    fn open(&self, id: u64) -> io::Result<OwnedFd> {
        let mut handle = KernfsHandle { bytes: size_of::<u64>() as libc::c_uint, kind: FILEID_KERNFS, id };
        let pointer = (&raw mut handle).cast::<libc::file_handle>();
        // SAFETY: `pointer` is to a live value that begins like `struct file_handle` and is followed by as many bytes
        // as its first field says; the kernel only reads it. `root` is open for as long as `self` lives.
        let fd = unsafe {
            libc::open_by_handle_at(self.root.as_raw_fd(), pointer, libc::O_PATH | libc::O_CLOEXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Whether a directory really bears the name that looks like a deleted one's.
fn is_named_so(full: &Path, id: u64) -> bool {
    fs::symlink_metadata(full).is_ok_and(|found| found.ino() == id)
}

fn below(full: &Path, point: &Path) -> Option<Text> {
    let relative = full.strip_prefix(point).ok()?.as_os_str().as_bytes();
    Some(Text::new([b"/", relative].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_point_is_taken_off() {
        let shown =
            |full: &str| below(Path::new(full), Path::new("/sys/fs/cgroup")).map(|path| path.to_string());
        assert_eq!(shown("/sys/fs/cgroup").unwrap(), "/");
        assert_eq!(shown("/sys/fs/cgroup/a/b").unwrap(), "/a/b");
        assert_eq!(shown("/sys/fs/cgroups/a"), None);
        assert_eq!(shown("/elsewhere"), None);
    }

    /// A cgroup that is removed when the test ends, also when it fails.
    struct Throwaway(PathBuf);

    impl Throwaway {
        fn new(mount: &Mount, name: &str) -> Self {
            let path = mount.point.join(format!("{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn id(&self) -> u64 {
            fs::metadata(&self.0).unwrap().ino()
        }
    }

    impl Drop for Throwaway {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.0);
        }
    }

    #[test]
    fn real_cgroups_are_named_until_they_are_gone() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: open_by_handle_at needs root");
            return;
        }
        let mount = Mount::find().unwrap();
        let mut names = CgroupNames::new(&mount).unwrap();
        assert_eq!(names.path(fs::metadata(&mount.point).unwrap().ino()).unwrap().to_string(), "/");

        let kept = Throwaway::new(&mount, "pw-kept (deleted)");
        let path = names.path(kept.id()).unwrap().to_string();
        assert!(path.starts_with("/pw-kept (deleted)-"), "{path}");
        let odd = Throwaway(kept.0.join("x (deleted)"));
        fs::create_dir(&odd.0).unwrap();
        assert!(names.path(odd.id()).unwrap().to_string().ends_with("/x (deleted)"));

        let gone = Throwaway::new(&mount, "pw-gone");
        let id = gone.id();
        drop(gone);
        assert_eq!(names.path(id), None);
        assert_eq!(names.path(0), None);
        assert_eq!(names.path(u64::MAX), None);

        let asked = Throwaway::new(&mount, "pw-asked");
        let (id, before) = (asked.id(), names.path(asked.id()));
        drop(asked);
        assert!(before.is_some() && names.path(id) == before, "what was known stays known");
    }
}
