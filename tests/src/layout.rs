//! The CPUs of slices in a guest: a configuration of two slices, and what `procwatch layout` says of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Refusal, Started, refusal, start, text, until};

/// The cgroup2 mount of a guest.
pub const CGROUPS: &str = "/sys/fs/cgroup";
/// The slice of aimgr.
pub const AIMGR: &str = "/user.slice/user-1003.slice";
/// Where procwatch remembers what was there before.
pub const STATE: &str = "/var/lib/procwatch/layout.json";
/// What procwatch sets for the system.
pub const SYSTEM_DROP_IN: &str = "/etc/systemd/system/system.slice.d/50-procwatch-layout.conf";
/// What procwatch sets for aimgr.
pub const AIMGR_DROP_IN: &str = "/etc/systemd/system/user-1003.slice.d/50-procwatch-layout.conf";
/// One CPU for the system, the other one for aimgr.
pub const LAYOUT: &str = "[[layout]]\nslice = 'system.slice'\ncpus = '0'\n\n\
    [[layout]]\nslice = 'user-1003.slice'\ncpus = '1'\n";

/// Runs systemctl, which must succeed.
pub fn systemctl(args: &[&str]) {
    let status = Command::new("systemctl").args(args).status().unwrap();
    assert!(status.success(), "systemctl {args:?}: {status}");
}

/// A property of a unit.
pub fn show(unit: &str, property: &str) -> String {
    let output = Command::new("systemctl").args(["show", "--value", "-p", property, unit]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A file of a cgroup.
pub fn read(cgroup: &str, file: &str) -> String {
    let file = format!("{CGROUPS}{cgroup}/{file}");
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")).trim_end().to_owned()
}

/// The CPUs that a cgroup has.
pub fn effective(cgroup: &str) -> String {
    read(cgroup, "cpuset.cpus.effective")
}

/// A unit in aimgr's slice: the slice is active as long as it runs.
pub struct Keeper(Started);

impl Keeper {
    /// Starts it.
    pub fn start() -> Self {
        let words = ["--quiet", "--pipe", "--wait", "--unit=keeper", "--slice=user-1003.slice", "cat"];
        let mut keeper = start("systemd-run", &words);
        keeper.say("here");
        assert_eq!(keeper.hear(), "here", "aimgr's slice is in use");
        Self(keeper)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.end();
        until("aimgr's slice is gone", || (!Path::new(&format!("{CGROUPS}{AIMGR}")).exists()).then_some(()));
    }
}

/// A configuration, and aimgr's slice in use. At the end all is taken back.
pub struct Machine {
    folder: TempDir,
    /// What keeps the slice active.
    pub keeper: Option<Keeper>,
}

impl Machine {
    /// With this configuration.
    pub fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("procwatch.toml"), config).unwrap();
        Self { folder, keeper: Some(Keeper::start()) }
    }

    /// Its file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("procwatch.toml")
    }

    /// `procwatch layout WORDS` with it.
    pub fn call(&self, words: &[&str]) -> Refusal {
        let config = self.config();
        refusal(&[&["layout"], words, &["--config", config.to_str().unwrap()]].concat())
    }

    /// What `layout check` says, and its exit code.
    pub fn check(&self) -> (Option<i32>, Value) {
        let told = self.call(&["check", "--json", "--seconds", "0"]);
        let report = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        (told.code, report)
    }

    /// What `layout apply` says, and its exit code.
    pub fn apply(&self) -> (Option<i32>, Value) {
        let told = self.call(&["apply", "--json", "--yes"]);
        let report = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        (told.code, report)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A test that undid it itself leaves nothing to undo.
        let _ = undo(&["--force"]);
    }
}

/// Takes the layout back.
pub fn undo(more: &[&str]) -> Refusal {
    refusal(&[&["layout", "apply", "--undo", "--yes"], more].concat())
}

/// Slice, what it has, whether that is as wanted, and the kinds of its obstacles.
pub fn slices(report: &Value) -> Vec<(&str, &str, bool, Vec<&str>)> {
    let slices = report["slices"].as_array().unwrap();
    slices
        .iter()
        .map(|slice| {
            let kinds = slice["obstacles"].as_array().unwrap().iter().map(|obstacle| text(&obstacle["kind"]));
            let as_wanted = slice["as_wanted"].as_bool().unwrap();
            (text(&slice["slice"]), text(&slice["effective"]), as_wanted, kinds.collect())
        })
        .collect()
}

/// The obstacle of this kind.
pub fn obstacle<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let mut all =
        report["slices"].as_array().unwrap().iter().flat_map(|slice| slice["obstacles"].as_array().unwrap());
    all.find(|obstacle| obstacle["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {report}"))
}
