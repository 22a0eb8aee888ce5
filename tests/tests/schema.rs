//! What leaves the agent is what its published schema describes.

use std::{collections::BTreeSet, fs, process::Command};

use procwatch_tests::{Agent, Pool, Sandbox, Started, compiled, needs, refusal, start, text};
use serde_json::Value;

/// Holds each record against `procwatch schema`; returns the kinds there were.
fn check(records: &[Value]) -> BTreeSet<&str> {
    let printed = refusal(&["schema"]);
    assert_eq!((printed.code, &printed.stderr[..]), (Some(0), ""));
    let schema: Value = serde_json::from_str(&printed.stdout).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for record in records {
        if let Err(error) = schema.validate(record) {
            panic!("{error}: {record}");
        }
    }
    records.iter().map(|record| text(&record["kind"])).collect()
}

fn explode() {
    let mut pool = Pool::raw_clone();
    pool.threads(110);
    pool.threads(1);
}

#[test]
fn of_watch() {
    needs!(Root, Bpf);
    let sandbox = Sandbox::new(&["cell"]);
    let agent = Agent::watch(&["--lineage"]);
    let mut chain = start(compiled("chain"), &[] as &[&str]);
    sandbox.admit("cell", chain.pid());
    chain.say("go");
    chain.hear_all();
    chain.end();
    explode();
    let setpriv = Command::new("setpriv").args(["--reuid=64123", "--clear-groups", "/bin/true"]).status();
    assert!(setpriv.unwrap().success());
    let ended = agent.finish();
    let kinds = check(&ended.records);
    for kind in [
        "fork",
        "exec",
        "exit",
        "thread",
        "thread-exit",
        "uid",
        "cgroup",
        "alert",
        "cleared",
        "health",
        "summary",
    ] {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
}

#[test]
fn of_a_loss() {
    needs!(Root, Bpf);
    let agent = Agent::watch_unread(&["--comm", "forks", "--ring-kib", "4"]);
    let mut forks = start(compiled("forks"), &["2000"]);
    forks.say("go");
    forks.hear();
    agent.release();
    agent.wait_for("an exit", |record| record["kind"] == "exit");
    forks.end();
    let ended = agent.finish();
    let kinds = check(&ended.records);
    assert!(kinds.contains("summary"), "{kinds:?}");
}

#[test]
fn of_actions_by_hand() {
    needs!(Root);
    let mut shell = start("sh", &["-c", "read line"]);
    let pid = shell.pid().to_string();
    let mut records: Vec<Value> = Vec::new();
    for words in [
        &["contain", "--json", &pid, "stop"][..],
        &["contain", "--json", &pid, "freeze"],
        &["contain", "--json", "1", "kill"],
        &["undo", "--json", &pid],
        &["contain", "--json", &pid, "terminate"],
    ] {
        records
            .extend(refusal(words).stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    shell.end();
    assert_eq!((records.len(), check(&records)), (6, BTreeSet::from(["action"])));
    let results: Vec<&str> = records.iter().map(|record| text(&record["result"])).collect();
    assert_eq!(results, ["verified", "verified", "refused", "verified", "verified", "verified"]);
}

#[test]
fn of_run() {
    needs!(Root, Bpf);
    let sandbox = Sandbox::new(&["from", "target"]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("procwatch.toml");
    let (target, from) = (sandbox.path("target"), sandbox.path("from"));
    let rule = format!("mode = 'enforce'\n[[place]]\nuid = 64123\nslice = '{target}'\nfrom = ['{from}']\n");
    fs::write(&config, rule).unwrap();
    let agent = Agent::run(&["--config", config.to_str().unwrap()]);
    explode();
    let argv = ["setpriv", "--reuid=64123", "--clear-groups", "cat"];
    let mut cat = Started::new(&mut sandbox.command("from", &argv));
    agent.wait_for("its outcome", |record| record["kind"] == "outcome" && record["pid"] == cat.pid());
    cat.end();
    let ended = agent.finish();
    let kinds = check(&ended.records);
    for kind in ["alert", "cleared", "decision", "outcome", "health"] {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
}
