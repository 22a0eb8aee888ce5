//! Tells when cgroups that rules name come and go: a slice that is made anew has another id.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::PathBuf,
};

use rustix::{
    fs::inotify::{self, CreateFlags, Reader, WatchFlags},
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::cgroup::{CgroupPath, Mount};

/// Room for some events with names of up to 255 bytes.
const BUFFER: usize = 4096;

/// Watches the folders in which the rules' cgroups, and those above them, are made and removed.
pub(super) struct Watch {
    inotify: AsyncFd<OwnedFd>,
    folders: BTreeSet<PathBuf>,
    names: BTreeSet<OsString>,
}

impl Watch {
    /// Watches for these cgroups. Must be called within a tokio runtime.
    pub(super) fn new<'a>(mount: &Mount, cgroups: impl Iterator<Item = &'a CgroupPath>) -> io::Result<Self> {
        let (mut folders, mut names) = (BTreeSet::new(), BTreeSet::new());
        for cgroup in cgroups {
            let mut path = Some(cgroup.clone());
            while let Some((inner, outer)) = path.and_then(|inner| inner.parent().map(|outer| (inner, outer)))
            {
                names.extend(inner.relative().file_name().map(OsString::from));
                folders.insert(mount.point.join(outer.relative()));
                path = Some(outer);
            }
        }
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // SAFETY: the `OwnedFd` keeps its descriptor open, and the same, for as long as it lives.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) }?;
        let watch = Self { inotify, folders, names };
        watch.follow();
        Ok(watch)
    }

    /// Returns when one of the cgroups, or one above it, came or went. Cancel safe.
    pub(super) async fn changed(&self) -> io::Result<()> {
        loop {
            self.inotify.readable().await?.clear_ready();
            if self.drain()? {
                self.follow();
                return Ok(());
            }
        }
    }

    /// Reads what is there. Whether it concerns one of ours.
    fn drain(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut ours = false;
        loop {
            match reader.next() {
                // An event without a name tells that a watch ended, or that some were lost.
                Ok(event) => {
                    let name = event.file_name().map(|name| std::ffi::OsStr::from_bytes(name.to_bytes()));
                    ours |= name.is_none_or(|name| self.names.contains(name));
                }
                Err(Errno::WOULDBLOCK) => return Ok(ours),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A folder that is not there now is watched for in the one above it.
    fn follow(&self) {
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        for folder in &self.folders {
            // Where there was a watch already it stays.
            let _ = inotify::add_watch(&self.inotify, folder, flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::samples;

    #[test]
    fn comings_and_goings_are_told_and_others_are_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let tree = tempfile::tempdir().unwrap();
            let cgroup = CgroupPath::parse("/user.slice/user-1.slice").unwrap();
            let watch = Watch::new(&samples::mount(tree.path()), [&cgroup].into_iter()).unwrap();
            for name in ["user.slice", "user.slice/user-1.slice"] {
                fs::create_dir(tree.path().join(name)).unwrap();
                watch.changed().await.unwrap();
            }
            fs::create_dir(tree.path().join("user.slice/user-2.slice")).unwrap();
            assert!(!watch.drain().unwrap(), "another one's");
            fs::remove_dir(tree.path().join("user.slice/user-1.slice")).unwrap();
            watch.changed().await.unwrap();
        });
    }
}
