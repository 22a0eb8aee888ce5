//! Throw-away cgroups for the demo and the measurement of moves, and a user for them.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::{Uid, User};

use crate::agent;

/// Its name below the root of the cgroup2 hierarchy.
const NAME: &str = "procwatch-demo";

/// A uid that nobody has.
pub(crate) fn unused_uid() -> Result<u32> {
    let mut candidates = 64_003..64_103;
    match candidates.find(|uid| matches!(User::from_uid(Uid::from_raw(*uid)), Ok(None))) {
        Some(uid) => Ok(uid),
        None => bail!("every uid from {} to {} has a user", 64_003, 64_102),
    }
}

/// `procwatch-demo/{session,target}`. Removed, with all that runs in it, when this is dropped.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Makes it, in place of one that an earlier demo may have left.
    pub(crate) fn plant() -> Result<Self> {
        let mountinfo = agent::read(Path::new("/proc/self/mountinfo"))?;
        let mount = cgroup2_mount(&mountinfo).context("there is no cgroup2 mount in /proc/self/mountinfo")?;
        let tree = Self { root: Path::new(mount).join(NAME) };
        tree.clear();
        for folder in [tree.session(), tree.target()] {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the cgroup {}", folder.display()))?;
        }
        Ok(tree)
    }

    fn session(&self) -> PathBuf {
        self.root.join("session")
    }

    fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// The rule that processes of `uid` belong in the target and are taken from the session.
    pub(crate) fn rule(uid: u32) -> String {
        let (target, session) = (Self::target_name(), Self::session_name());
        format!("[[place]]\nuid = {uid}\nslice = \"/{target}\"\nfrom = [\"/{session}\"]\n")
    }

    /// The caller's session, below the root of the hierarchy.
    pub(crate) fn session_name() -> String {
        format!("{NAME}/session")
    }

    /// Where the user belongs, below the root of the hierarchy.
    pub(crate) fn target_name() -> String {
        format!("{NAME}/target")
    }

    /// Puts a process into the session.
    pub(crate) fn enter_session(&self, pid: u32) -> Result<()> {
        let file = self.session().join("cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The processes in the session.
    pub(crate) fn in_session(&self) -> Result<Vec<u32>> {
        processes(&self.session())
    }

    /// The processes in the target, that is in the leaves which procwatch makes in it.
    pub(crate) fn in_target(&self) -> Result<Vec<u32>> {
        processes(&self.target())
    }

    /// Removes it and looks whether it is gone.
    pub(crate) fn fell(self) -> Result<()> {
        self.clear();
        ensure!(!self.root.exists(), "{} could not be removed", self.root.display());
        Ok(())
    }

    /// Ends what runs in it and removes it, as far as the kernel lets it.
    fn clear(&self) {
        for _ in 0..50 {
            let Ok(left) = processes(&self.root) else { return };
            // Kernels before 5.14 have no such file; there the processes end with their parent.
            drop(fs::write(self.root.join("cgroup.kill"), "1"));
            if left.is_empty() && remove(&self.root).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The cgroups directly below.
fn children(cgroup: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(cgroup).with_context(|| format!("cannot list {}", cgroup.display()))?;
    let folders =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.map(|entry| entry.path()).collect())
}

/// The processes in a cgroup and below it.
fn processes(cgroup: &Path) -> Result<Vec<u32>> {
    let text = agent::read(&cgroup.join("cgroup.procs"))?;
    let mut found: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for child in children(cgroup)? {
        found.extend(processes(&child)?);
    }
    Ok(found)
}

/// Removes an empty tree, the leaves first.
fn remove(cgroup: &Path) -> Result<()> {
    for child in children(cgroup)? {
        remove(&child)?;
    }
    Ok(fs::remove_dir(cgroup)?)
}

/// Where the cgroup2 hierarchy is mounted whole.
fn cgroup2_mount(mountinfo: &str) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then_some(point)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_is_found_on_hybrid_and_unified_machines() {
        let hybrid = "30 20 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      20 41 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(hybrid), Some("/sys/fs/cgroup/unified"));
        let unified = "35 24 0:30 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(cgroup2_mount(unified), Some("/sys/fs/cgroup"));
        let part = "35 24 0:30 /a /mnt rw - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(part), None);
    }
}
