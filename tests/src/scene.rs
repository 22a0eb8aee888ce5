//! A place to be taken from, a place to be moved to, and the rule that leads from one to the other.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::{Agent, Sandbox, Started, until};

/// A uid, and a gid, that no account has.
pub const SCENE_UID: u32 = 64_123;

/// Cgroups `from/session`, `target` and `elsewhere`, and a configuration.
#[derive(Debug)]
pub struct Scene {
    /// The cgroups.
    pub sandbox: Sandbox,
    _folder: TempDir,
    /// The file of the configuration.
    pub config: PathBuf,
}

impl Scene {
    /// With a rule for a uid.
    pub fn new(mode: &str, uid: u32) -> Self {
        Self::with(mode, &format!("uid = {uid}"))
    }

    /// With a rule that has these lines in it, besides `slice` and `from`.
    pub fn with(mode: &str, lines: &str) -> Self {
        let sandbox = Sandbox::new(&["from/session", "target", "elsewhere"]);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("procwatch.toml");
        let (target, from) = (sandbox.path("target"), sandbox.path("from"));
        let rule =
            format!("mode = \"{mode}\"\n[[place]]\nslice = \"{target}\"\nfrom = [\"{from}\"]\n{lines}\n");
        fs::write(&config, rule).unwrap();
        Self { sandbox, _folder: folder, config }
    }

    /// The agent with that configuration.
    pub fn agent(&self) -> Agent {
        Agent::run(&["--config", self.config.to_str().unwrap()])
    }

    /// A program of [`SCENE_UID`], begun in a cgroup as someone who calls `su` there.
    pub fn start(&self, cgroup: &str, argv: &[&str]) -> Started {
        self.start_as(cgroup, SCENE_UID, SCENE_UID, argv)
    }

    /// A program of these ids, begun in a cgroup.
    pub fn start_as(&self, cgroup: &str, uid: u32, gid: u32, argv: &[&str]) -> Started {
        let (user, group) = (format!("--reuid={uid}"), format!("--regid={gid}"));
        let setpriv = ["setpriv", &user, &group, "--clear-groups"];
        Started::new(&mut self.sandbox.command(cgroup, &[&setpriv, argv].concat()))
    }

    /// Waits until as many live in the leaf of the session that `first` began.
    pub fn wait_for_inhabitants(&self, first: u32, count: usize) -> Vec<u32> {
        let leaf = leaf_of(first);
        until("all of them in the leaf", || {
            let inside = self.sandbox.inhabitants(&leaf);
            (inside.len() == count).then_some(inside)
        })
    }
}

/// The leaf of the session that a living process began, in the scene's sandbox.
pub fn leaf_of(first: u32) -> String {
    let started = procfs::process::Process::new(first as i32).unwrap().stat().unwrap().starttime;
    format!("target/procwatch/su-{first}-{}", started / procfs::ticks_per_second())
}
