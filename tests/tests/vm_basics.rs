//! On a stock kernel with systemd: what procwatch finds there, and that what the development machines refuse works.

use std::{
    fs,
    process::Command,
    sync::{Arc, Barrier},
    thread,
};

use procwatch_tests::{Agent, compiled_static, has_bpf_lsm, needs, number, of_kind, refusal, start, text};
use serde_json::Value;

/// The uid of `aimgr`.
const AIMGR: u64 = 1003;

/// Whether this kernel tells an fentry program which task is current, so that a uid change is seen at once.
fn tells_current_task() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (5, 11)
}

/// The state and the detail of a feature in a report of `procwatch check`.
fn feature<'a>(report: &'a Value, name: &str) -> (&'a str, &'a str) {
    let features = report["features"].as_array().unwrap();
    let found = features.iter().find(|feature| feature["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no feature {name} in {report}"));
    (text(&found["state"]), text(&found["detail"]))
}

#[test]
fn check_finds_what_a_stock_machine_has() {
    needs!(Vm);
    let check = refusal(&["check", "--json"]);
    let report: Value = serde_json::from_str(&check.stdout).unwrap();
    for name in [
        "btf",
        "kernel-fields",
        "ring-buffer",
        "task-iterator",
        "hook-task-newtask",
        "hook-process-exec",
        "hook-process-exit",
        "hook-cgroup-attach",
        "cgroup2",
        "cgroup-controllers",
        "systemd",
    ] {
        let (state, detail) = feature(&report, name);
        assert_eq!(state, "yes", "{name}: {detail}");
    }
    let (lsm, detail) = feature(&report, "bpf-lsm");
    assert_eq!(lsm == "yes", has_bpf_lsm(), "{lsm}: {detail}");
    let (trampolines, detail) = feature(&report, "trampolines");
    let wanted = if tells_current_task() { "yes" } else { "partly" };
    assert_eq!(trampolines, wanted, "{detail}");
    // Nothing else may be missing here, and each of the two is a loss.
    let all = has_bpf_lsm() && tells_current_task();
    assert_eq!(check.code, Some(i32::from(!all)), "{}", check.stdout);
}

#[test]
fn lineages_reach_the_first_process() {
    needs!(Vm);
    let agent = Agent::watch(&["--lineage", "--kind", "exec"]);
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let exec = agent.wait_for_event("exec", child.id());
    assert!(child.wait().unwrap().success());
    agent.finish();
    let oldest = exec["lineage"].as_array().unwrap().last().unwrap();
    assert_eq!((number(&oldest["pid"]), text(&oldest["comm"])), (1, "systemd"), "{exec}");
}

#[test]
fn a_uid_change_is_seen_at_the_change_itself() {
    needs!(Vm);
    let agent = Agent::watch(&["--no-such-option"; 0]);
    let mut child =
        Command::new("setpriv").args(["--reuid=1003", "--clear-groups", "/bin/true"]).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    agent.wait_for_event("exit", pid);
    let ended = agent.finish();
    let told: Vec<&Value> = ended.records.iter().filter(|record| record["pid"] == pid).collect();
    let kinds: Vec<&str> = told.iter().map(|record| text(&record["kind"])).collect();
    let at_once = tells_current_task();
    // Where the change is not seen itself, its record comes with that of the next exec, before or after it.
    let seen_later = [["fork", "exec", "uid", "exec", "exit"], ["fork", "exec", "exec", "uid", "exit"]];
    assert!(kinds == seen_later[0] || (!at_once && kinds == seen_later[1]), "{told:?}");
    let change = of_kind(&ended.records, "uid").into_iter().find(|it| it["pid"] == pid).unwrap();
    assert_eq!(
        (number(&change["old_uid"]), number(&change["uid"]), number(&change["euid"])),
        (0, AIMGR, AIMGR),
        "{change}"
    );
    let told_of_loss = ended
        .records
        .iter()
        .any(|record| record["topic"] == "unavailable" && record.to_string().contains("fentry commit_creds"));
    assert_eq!(told_of_loss, !at_once, "a loss is told, and only a loss");
    let wanted = if at_once { ("credential-change", "setpriv") } else { ("exec", "true") };
    assert_eq!((text(&change["seen_at"]), text(&change["comm"])), wanted, "{change}");
}

#[test]
fn three_hundred_threads_raise_each_level_once() {
    needs!(Vm);
    let agent = Agent::run(&["--mode", "observe"]);
    let gate = Arc::new(Barrier::new(300));
    let threads: Vec<_> = (0..299)
        .map(|_| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                gate.wait();
            })
        })
        .collect();
    gate.wait();
    for thread in threads {
        thread.join().unwrap();
    }
    let pid = std::process::id();
    agent.wait_for("80 is cleared", |record| {
        record["kind"] == "cleared" && record["pid"] == pid && record["level"] == 80
    });
    let ended = agent.finish();
    let alerts: Vec<(u64, u64)> = ended
        .records
        .iter()
        .filter(|record| record["kind"] == "alert" && record["pid"] == pid && record["bound"] == "level")
        .map(|alert| (number(&alert["level"]), number(&alert["threads"])))
        .collect();
    assert_eq!(alerts, [(80, 80), (100, 100)]);
}

#[test]
fn a_crowd_that_ends_in_one_moment_is_cleared() {
    needs!(Vm);
    const TIMES: usize = 30;
    let agent = Agent::run(&["--mode", "observe"]);
    let mut throng = start(compiled_static("throng"), &[] as &[&str]);
    let pid = throng.pid();
    let is_of_level = |record: &Value| record["pid"] == pid && record["bound"] == "level";
    for time in 1..=TIMES {
        throng.say("scatter");
        assert_eq!(throng.hear(), "1");
        agent.wait_for_many(time, "80 is cleared", |record| {
            is_of_level(record) && record["kind"] == "cleared" && record["level"] == 80
        });
    }
    let records = agent.finish().records;
    let told: Vec<(&str, u64)> = records
        .iter()
        .filter(|record| is_of_level(record))
        .map(|record| (text(&record["kind"]), number(&record["level"])))
        .collect();
    assert_eq!(told, [("alert", 80), ("alert", 100), ("cleared", 100), ("cleared", 80)].repeat(TIMES));
}
