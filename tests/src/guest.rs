//! A machine of one's own with systemd: login sessions, units, and who is where.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Agent, Started, compiled_static, for_everyone, refusal, text, until};

/// The uid of the user whose processes have a slice of their own.
pub const AIMGR: u32 = 1003;

/// The slice of that user.
pub const SLICE: &str = "/user.slice/user-1003.slice";

/// The configuration that is shipped for a machine such as the guest.
pub const SHIPPED: &str = include_str!("../../procwatch/examples/aimgr.toml");

/// What a shell does that a test wants to look at: says its pid, and lives until a line or the end of its input comes.
/// The pid is what this mount of /proc calls it, even in a pid namespace of its own.
pub const SHELL: &str = "read pid rest </proc/self/stat; echo in $pid; read line";

/// What an agent in a guest needs for as long as it runs.
#[derive(Debug)]
pub struct Surroundings {
    config: TempDir,
    _slice: Unit,
}

impl Surroundings {
    fn file(&self) -> String {
        self.config.path().join("procwatch.toml").to_str().unwrap().to_owned()
    }

    /// The reason that `procwatch place --explain` gives for what its configuration does with a process.
    pub fn explain(&self, pid: u32) -> String {
        let asked = refusal(&["place", "--json", "--config", &self.file(), "--explain", &pid.to_string()]);
        assert_eq!(asked.code, Some(0), "{}", asked.stderr);
        let answer: Value = serde_json::from_str(&asked.stdout).unwrap();
        text(&answer["reason"]).to_owned()
    }
}

/// The agent with this configuration, carrying out what it decides.
pub fn enforcing(config: &str) -> (Surroundings, Agent) {
    let surroundings = Surroundings { config: tempfile::tempdir().unwrap(), _slice: keep_slice() };
    fs::write(surroundings.file(), config).unwrap();
    let agent = Agent::run(&["--config", &surroundings.file(), "--mode", "enforce"]);
    (surroundings, agent)
}

/// A command in a fresh login session of `user`, as a terminal gives one, with its input and output in our hand.
pub fn session(user: &str, argv: &[&str]) -> Started {
    let uid = format!("--uid={user}");
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--pipe", "--wait", &uid, "--property=PAMName=login", "--"]);
    // systemd-run has a use of its own for a single `$`.
    command.args(argv.iter().map(|word| word.replace('$', "$$")));
    Started::new(command.stderr(Stdio::inherit()))
}

/// The pid that a [`SHELL`] says.
pub fn pid_of(shell: &mut Started) -> u32 {
    let line = shell.hear();
    let pid = line.strip_prefix("in ").and_then(|pid| pid.parse().ok());
    pid.unwrap_or_else(|| panic!("no shell but {line:?}"))
}

/// Runs a command that must succeed and returns what it writes.
pub fn done(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The cgroup that a process is in, below the root of the hierarchy; `None` when there is no such process.
pub fn cgroup_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    Some(path.expect("there is a cgroup2 hierarchy").to_owned())
}

/// Whether a cgroup is aimgr's slice or below it.
pub fn is_inside(cgroup: &str) -> bool {
    cgroup.strip_prefix(SLICE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Processes whose real uid is this one, by pid.
pub fn processes_of(uid: u32) -> Vec<u32> {
    let is_its = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uids.and_then(|uids| uids.split_whitespace().next()) == Some(uid.to_string().as_str())
    };
    let entries = fs::read_dir("/proc").unwrap().map(Result::unwrap);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_its).collect()
}

/// The folder of a cgroup.
pub fn folder(cgroup: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(cgroup.trim_start_matches('/'))
}

/// The habit of those who do not wait for systemd: the slice is made by hand, when it is not there, and a process written into
/// it. With a controller for what is below it, as a login wants it, it is threaded from then on.
pub fn spoil_slice(intruder: u32) {
    let slice = folder(SLICE);
    // systemd takes its own away when it has seen that nobody is in it any more, and ours as long as nobody is.
    until("a place in the slice", || {
        fs::create_dir(&slice).ok()?;
        fs::write(slice.join("cgroup.procs"), intruder.to_string()).ok()
    });
    // And it takes the controller away that nobody below wants.
    until("a controller for what is below", || {
        fs::write(folder("/user.slice").join("cgroup.subtree_control"), "+pids").unwrap();
        fs::write(slice.join("cgroup.subtree_control"), "+pids").ok()
    });
}

/// A transient unit of the system's manager. It is stopped when this is dropped.
#[derive(Debug)]
pub struct Unit {
    name: String,
}

impl Unit {
    /// Starts `argv` as a service with these options of systemd-run.
    pub fn start(options: &[&str], argv: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}.service", NEXT.fetch_add(1, Ordering::Relaxed));
        let unit = format!("--unit={name}");
        let words = [&["--quiet", unit.as_str()], options, &["--"], argv].concat();
        done("systemd-run", &words);
        Self { name }
    }

    /// One that is there already.
    pub fn known(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Its main process.
    pub fn pid(&self) -> u32 {
        let show = || done("systemctl", &["show", "--property=MainPID", "--value", &self.name]);
        until("the unit's main process", || show().trim().parse().ok().filter(|pid| *pid != 0))
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // What has ended already is well, too.
        let _ = Command::new("systemctl").args(["stop", &self.name]).stderr(Stdio::null()).status();
    }
}

/// Keeps aimgr's slice an active unit for as long as it lives.
pub fn keep_slice() -> Unit {
    let keeper = Unit::start(&["--slice=user-1003.slice"], &["sleep", "infinity"]);
    until("aimgr's slice", || folder(SLICE).is_dir().then_some(()));
    keeper
}

/// Path of a small program of `tests/programs` where every user may run it. The folder lasts as long as the guest.
pub fn program_for_all(name: &str) -> String {
    let (folder, path) = for_everyone(&compiled_static(name));
    // The whole machine is thrown away.
    let _ = folder.keep();
    path.to_str().unwrap().to_owned()
}
