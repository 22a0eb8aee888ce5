//! Throw-away cgroups below the machine's cgroup2 mount.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::until;

/// A tree of cgroups that is removed when dropped, with all that lives in it.
#[derive(Debug)]
pub struct Sandbox {
    mount: PathBuf,
    name: String,
}

impl Sandbox {
    /// A tree with these cgroups in it.
    pub fn new(cgroups: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let sandbox =
            Self { mount: mount(), name: format!("procwatch-test-{}-{number}", std::process::id()) };
        fs::create_dir(sandbox.folder("")).expect("cgroups can be made");
        for cgroup in cgroups {
            fs::create_dir_all(sandbox.folder(cgroup)).unwrap();
        }
        sandbox
    }

    /// Path of a cgroup of the tree below the root of the hierarchy, as the agent shows it.
    pub fn path(&self, cgroup: &str) -> String {
        format!("/{}/{cgroup}", self.name).trim_end_matches('/').to_owned()
    }

    /// Its folder.
    pub fn folder(&self, cgroup: &str) -> PathBuf {
        self.mount.join(&self.name).join(cgroup)
    }

    /// Who lives in it, without its children.
    pub fn inhabitants(&self, cgroup: &str) -> Vec<u32> {
        inhabitants(&self.folder(cgroup))
    }

    /// Moves a process there.
    pub fn admit(&self, cgroup: &str, pid: u32) {
        fs::write(self.folder(cgroup).join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// A command that begins its life in the cgroup: a shell enters and becomes the program.
    pub fn command(&self, cgroup: &str, argv: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.folder(cgroup).join("cgroup.procs"))
            .args(argv);
        command
    }

    /// Makes a cgroup in it.
    pub fn make(&self, cgroup: &str) {
        fs::create_dir_all(self.folder(cgroup)).unwrap();
    }

    /// Kills all that lives in the cgroup, waits until it is empty, and removes it.
    pub fn remove(&self, cgroup: &str) {
        remove(&self.folder(cgroup));
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        remove(&self.folder(""));
    }
}

fn inhabitants(folder: &Path) -> Vec<u32> {
    let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    procs.lines().map(|pid| pid.parse().unwrap()).collect()
}

fn remove(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            remove(&entry.path());
        }
    }
    until("an empty cgroup", || {
        for pid in inhabitants(folder) {
            // One that has ended meanwhile is what we want. 0 is a process of another pid namespace.
            if pid != 0 {
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
            }
        }
        fs::remove_dir(folder).ok()
    });
}

/// Where the cgroup2 hierarchy is mounted whole.
pub(crate) fn mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (after.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    });
    point.expect("there is a cgroup2 mount")
}
