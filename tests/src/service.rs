//! The agent as a service of a machine: installed as people install it, and asked as they ask.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::{guest::done, until};

/// The package, where a guest gets it.
pub const PACKAGE: &str = "/job/procwatch.deb";

/// The service.
pub const UNIT: &str = "procwatch.service";

/// The program of the package.
pub const PROGRAM: &str = "/usr/bin/procwatch";

/// The configuration.
pub const CONFIG: &str = "/etc/procwatch/procwatch.toml";

/// Calls a program and waits for its end.
pub fn call(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).env("DEBIAN_FRONTEND", "noninteractive");
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// The package on this machine. It is purged when this is dropped.
#[derive(Debug)]
pub struct Installed(());

impl Installed {
    /// Installs it; the service is neither enabled nor started.
    pub fn new() -> Self {
        done("dpkg", &["--install", PACKAGE]);
        Self(())
    }

    /// The same, and the service runs with this configuration.
    pub fn running(config: &str) -> Self {
        let installed = Self::new();
        fs::write(CONFIG, config).unwrap();
        installed.enable();
        installed
    }

    /// One that is there already.
    pub fn found() -> Self {
        assert!(Path::new(PROGRAM).exists());
        Self(())
    }

    /// Enables and starts the service; when this returns, it is ready.
    pub fn enable(&self) {
        done("systemctl", &["enable", "--quiet", "--now", UNIT]);
        assert_eq!(show("ActiveState"), "active");
    }

    /// It stays for a later boot.
    pub fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = call("dpkg", &["--purge", "procwatch"]);
        // Failures of one test are not to count for the next.
        let _ = call("systemctl", &["reset-failed", UNIT]);
        let _ = fs::remove_dir_all("/etc/systemd/system/procwatch.service.d");
    }
}

impl Default for Installed {
    fn default() -> Self {
        Self::new()
    }
}

/// A property of the service.
pub fn show(property: &str) -> String {
    done("systemctl", &["show", "--value", "--property", property, UNIT]).trim().to_owned()
}

/// The service's main process.
pub fn main_pid() -> u32 {
    show("MainPID").parse().unwrap()
}

/// Entries of the journal of this run of the service for which all of these hold: `PROCWATCH_KIND=alert`.
pub fn entries(matches: &[&str]) -> Vec<Value> {
    let run = format!("_SYSTEMD_INVOCATION_ID={}", show("InvocationID"));
    entries_of_all(&[&[run.as_str()], matches].concat())
}

/// The same of all runs.
pub fn entries_of_all(matches: &[&str]) -> Vec<Value> {
    let lines = done("journalctl", &[&["--quiet", "--no-pager", "--output=json", "--all"], matches].concat());
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first such entry, as soon as there is one.
pub fn entry(matches: &[&str]) -> Value {
    until(&format!("an entry of the journal with {matches:?}"), || entries(matches).into_iter().next())
}

/// A field of an entry.
pub fn field<'e>(entry: &'e Value, name: &str) -> &'e str {
    entry[name].as_str().unwrap_or_else(|| panic!("no {name} in {entry}"))
}

/// The record that an entry has in it.
pub fn record(entry: &Value) -> Value {
    serde_json::from_str(field(entry, "PROCWATCH_JSON")).unwrap()
}
