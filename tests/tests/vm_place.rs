//! On a stock kernel with systemd: who comes into the user's slice, and when.

use std::{
    fs,
    process::{Command, Stdio},
};

use procwatch_tests::{Agent, Ended, Started, has_bpf_lsm, needs, number, of_kind, start, text, until};
use serde_json::Value;
use tempfile::TempDir;

/// The configuration that is shipped for such a machine.
const SHIPPED: &str = include_str!("../../procwatch/examples/aimgr.toml");

/// Aimgr's slice.
const SLICE: &str = "/user.slice/user-1003.slice";

/// What aimgr's shell does: makes children when told to and says where it is.
const SHELL: &str =
    "echo in $$; read line; sleep 600 & sleep 600 & echo $(cat /proc/self/cgroup); read line; kill %1 %2";

/// What aimgr's shell does that makes children at once: they say where they were born, and end.
const FORKS: &str = "for i in 1 2 3 4 5; do cat /proc/self/cgroup & done; wait; echo all";

/// Keeps aimgr's slice an active unit for as long as it lives.
struct Slice;

impl Slice {
    fn active() -> Self {
        let keeper = ["--quiet", "--unit=keeper", "--slice=user-1003.slice", "sleep", "infinity"];
        assert!(Command::new("systemd-run").args(keeper).status().unwrap().success());
        until("aimgr's slice is there", || {
            fs::exists(format!("/sys/fs/cgroup{SLICE}")).unwrap().then_some(())
        });
        Self
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        // What is stopped already is well, too.
        let _ = Command::new("systemctl").args(["stop", "keeper.service"]).status();
    }
}

/// Processes in a cgroup, by the kernel's own account.
fn inhabitants(cgroup: &str) -> Vec<u32> {
    let procs = fs::read_to_string(format!("/sys/fs/cgroup{cgroup}/cgroup.procs")).unwrap();
    procs.lines().map(|pid| pid.parse().unwrap()).collect()
}

/// A shell in a session of desk, as a terminal gives one.
fn session(command: &str) -> Started {
    // systemd-run has a use of its own for a single `$`.
    let command = command.replace('$', "$$");
    let words = ["--quiet", "--pipe", "--wait", "--uid=desk", "--property=PAMName=login"];
    Started::new(
        Command::new("systemd-run").args(words).args(["sh", "-c", &command]).stderr(Stdio::inherit()),
    )
}

/// The agent with the shipped configuration, carrying out what it decides.
fn enforcing(change: impl Fn(String) -> String) -> (TempDir, Agent) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("procwatch.toml");
    fs::write(&config, change(SHIPPED.to_owned())).unwrap();
    let agent = Agent::run(&["--config", config.to_str().unwrap(), "--mode", "enforce"]);
    (folder, agent)
}

/// The account at the agent's end.
fn account(ended: &Ended) -> &Value {
    of_kind(&ended.records, "placement")[0]
}

#[test]
fn su_from_a_desktop_session_ends_in_the_users_slice() {
    needs!(Vm);
    let _slice = Slice::active();
    let (_folder, agent) = enforcing(|shipped| shipped);
    let mut shell = session(&format!("cat /proc/self/cgroup; exec su aimgr -c '{SHELL}'"));
    let before = shell.hear();
    assert!(before.starts_with("0::/user.slice/user-1000.slice/session-"), "{before}");
    let pid: u32 = shell.hear().strip_prefix("in ").expect("aimgr's shell runs").parse().unwrap();

    let outcome =
        agent.wait_for("the shell is moved", |record| record["kind"] == "outcome" && record["pid"] == pid);
    assert_eq!(text(&outcome["result"]), "verified", "{outcome}");
    let leaf = text(&outcome["to"]).to_owned();
    assert!(leaf.starts_with(SLICE) && leaf.ends_with(text(&outcome["session"])), "{outcome}");
    assert_eq!(number(&outcome["still_outside"]), 0, "{outcome}");
    let from = text(&outcome["from"]);
    assert!(from.starts_with("/user.slice/user-1000.slice/session-"), "{outcome}");

    shell.say("go on");
    assert_eq!(shell.hear(), format!("0::{leaf}"), "the children are born inside");
    let there = inhabitants(&leaf);
    assert_eq!(there.len(), 3, "the shell and its two children: {there:?}");
    assert!(there.contains(&pid), "{there:?}");
    // Nothing was killed: the shell still listens, and its children are there to be ended by it.
    shell.say("end");
    assert!(shell.end().success());
    let ended = agent.finish();
    let decision = of_kind(&ended.records, "decision").into_iter().find(|it| it["pid"] == pid).unwrap();
    let lineage = decision["lineage"].as_array().unwrap();
    assert_eq!(text(&lineage.last().unwrap()["comm"]), "su", "{decision}");
}

#[test]
fn a_service_of_the_same_user_is_left_alone() {
    needs!(Vm);
    let _slice = Slice::active();
    let (_folder, agent) = enforcing(|shipped| shipped);
    let words = ["--quiet", "--pipe", "--wait", "--uid=aimgr", "cat", "/proc/self/cgroup"];
    let mut service = start("systemd-run", &words);
    let place = service.hear();
    assert!(place.starts_with("0::/system.slice/run-"), "{place}");
    assert!(service.end().success());
    let ended = agent.finish();
    let decided = of_kind(&ended.records, "decision");
    assert!(decided.is_empty(), "{decided:?}");
    assert!(number(&account(&ended)["left_alone"]["system-service"]) > 0, "{}", account(&ended));
}

#[test]
fn no_child_of_a_held_su_is_born_outside() {
    needs!(Vm, Lsm);
    let _slice = Slice::active();
    let (_folder, agent) = enforcing(|shipped| shipped);
    const SESSIONS: u64 = 5;
    for _ in 0..SESSIONS {
        let mut shell = session(&format!("exec su aimgr -c '{FORKS}'"));
        let lines = shell.hear_all();
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert!(lines[..5].iter().all(|line| line.starts_with(&format!("0::{SLICE}/"))), "{lines:?}");
        assert!(shell.end().success());
    }
    let ended = agent.finish();
    let account = account(&ended);
    assert_eq!(number(&account["born_outside"]), 0, "{account}");
    assert_eq!(number(&account["sessions"]), SESSIONS, "{account}");
    println!("{account}");
}

#[test]
fn without_a_hold_all_are_inside_at_the_end() {
    needs!(Vm);
    let _slice = Slice::active();
    let (_folder, agent) = enforcing(|shipped| shipped + "\nhold = false\n");
    const SESSIONS: usize = 5;
    let mut shells: Vec<_> = (0..SESSIONS).map(|_| session(&format!("exec su aimgr -c '{SHELL}'"))).collect();
    for shell in &mut shells {
        let pid: u32 = shell.hear().strip_prefix("in ").unwrap().parse().unwrap();
        agent.wait_for("its move", |record| record["kind"] == "outcome" && record["pid"] == pid);
        shell.say("go on");
        assert!(shell.hear().starts_with(&format!("0::{SLICE}/")));
        shell.say("end");
        assert!(shell.end().success());
    }
    let ended = agent.finish();
    assert_eq!(of_kind(&ended.records, "hold"), [] as [&Value; 0]);
    println!("{}", account(&ended));
}

#[test]
fn nobody_is_held_when_the_agent_is_gone() {
    needs!(Vm, Lsm);
    let _slice = Slice::active();
    let (_folder, agent) = enforcing(|shipped| shipped);
    agent.signal(nix::sys::signal::Signal::SIGKILL);
    let mut shell = session(&format!("exec su aimgr -c '{FORKS}'"));
    let lines = shell.hear_all();
    assert_eq!(lines.len(), 6, "it ran all the same: {lines:?}");
    assert!(shell.end().success());
    assert!(!has_bpf_lsm() || lines[0].contains("user-1000.slice"), "{lines:?}");
}
