//! Each filter shows what it should and nothing else.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use procwatch_tests::{Agent, Ended, Family, Started, binary, compiled, kinds, needs, number, start};
use serde_json::Value;

/// Plays it before `watch`, and returns what the filter let through, without health and summary.
fn play(mut family: Family, args: &[&str]) -> Vec<Value> {
    let agent = Agent::watch(args);
    family.live();
    events(agent.finish())
}

fn events(ended: Ended) -> Vec<Value> {
    let events = number(&ended.summary()["events"]);
    let mut records = ended.records;
    records.retain(|record| record["kind"] != "health" && record["kind"] != "summary");
    assert_eq!(records.len() as u64, events, "the summary counts what was shown");
    records
}

fn values<'a>(records: &'a [Value], field: &str) -> BTreeSet<&'a str> {
    records.iter().filter_map(|record| record[field].as_str()).collect()
}

#[test]
fn by_kind() {
    needs!(Root, Bpf);
    for kind in ["fork", "exec", "exit", "thread", "thread-exit", "uid", "cgroup"] {
        let records = play(Family::new(), &["--kind", kind]);
        assert_eq!(values(&records, "kind"), BTreeSet::from([kind]));
    }
    let records = play(Family::new(), &["--kind", "fork,uid", "--kind", "cgroup"]);
    assert_eq!(values(&records, "kind"), BTreeSet::from(["cgroup", "fork", "uid"]));
}

#[test]
fn by_uid_and_user() {
    needs!(Root, Bpf);
    let records = play(Family::new(), &["--uid", "64124", "--kind", "fork,exec,exit"]);
    assert!(records.iter().all(|it| it["uid"] == 64124 || it["euid"] == 64124), "{records:#?}");
    // The shell's exec, its child with fork, exec and exit, and the shell's end.
    let kinds: Vec<&str> = records.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["exec", "fork", "exec", "exit", "exit"]);
    let records = play(Family::new(), &["--user", "root", "--kind", "exec"]);
    assert!(!records.is_empty() && records.iter().all(|it| it["uid"] == 0), "{records:#?}");
    assert!(values(&records, "file").contains("/bin/true"), "the one in the cgroup");
}

#[test]
fn by_name() {
    needs!(Root, Bpf);
    let records = play(Family::new(), &["--comm", "chain", "--kind", "fork,exec,exit,thread,thread-exit"]);
    assert_eq!(values(&records, "comm"), BTreeSet::from(["chain"]));
    let kinds = kinds(&records);
    let expected = [("exec", 2), ("exit", 7), ("fork", 6), ("thread", 2), ("thread-exit", 2)];
    assert_eq!(kinds, expected.into());
    let records = play(Family::new(), &["--comm", "no-such-name"]);
    assert_eq!(records, [] as [Value; 0]);
}

#[test]
fn by_process_with_and_without_its_children() {
    needs!(Root, Bpf);
    let family = Family::new();
    let pid = family.pid().to_string();
    let records = play(family, &["--pid", &pid]);
    // What it is, and what it causes: five children are its own, and one is its child's.
    let told = kinds(&records);
    assert_eq!(told, [("exit", 1), ("fork", 5)].into(), "{records:#?}");
    let family = Family::new();
    let pid = family.pid().to_string();
    let records = play(family, &["--pid", &pid, "--children"]);
    let expected = [("exec", 2), ("exit", 7), ("fork", 6), ("thread", 2), ("thread-exit", 2)];
    assert_eq!(kinds(&records), expected.into());
}

#[test]
fn children_that_are_there_already_count() {
    needs!(Root, Bpf);
    let mut shell = Started::new(Command::new("/bin/sh").args(["-c", "/bin/cat; :"]));
    shell.say("awake");
    assert_eq!(shell.hear(), "awake");
    let agent = Agent::watch(&["--pid", &shell.pid().to_string(), "--children"]);
    shell.end();
    let records = events(agent.finish());
    assert_eq!(kinds(&records), [("exit", 2)].into(), "cat and its shell: {records:#?}");
}

#[test]
fn by_cgroup() {
    needs!(Root, Bpf);
    let family = Family::new();
    let here = family.here();
    let records = play(family, &["--cgroup", &here]);
    assert_eq!(values(&records, "cgroup"), BTreeSet::from([&here[..]]), "{records:#?}");
    // It enters, becomes the second shell, which makes a child.
    let expected = [("cgroup", 1), ("exec", 2), ("exit", 2), ("fork", 1)];
    assert_eq!(kinds(&records), expected.into(), "{records:#?}");
}

#[test]
fn filters_that_are_combined_must_all_agree() {
    needs!(Root, Bpf);
    let records = play(Family::new(), &["--kind", "exec", "--comm", "true,chain", "--uid", "64124"]);
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!((&records[0]["file"], &records[0]["uid"]), (&"/bin/true".into(), &64124.into()));
}

#[test]
fn a_count_of_events_ends_it() {
    needs!(Root, Bpf);
    let mut forks = start(compiled("forks"), &["100"]);
    let mut agent = Agent::watch(&["--count", "7", "--comm", "forks", "--kind", "fork,exit"]);
    forks.say("go");
    let ended = agent.wait();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(events(ended).len(), 7);
}

#[test]
fn a_time_ends_it() {
    needs!(Root, Bpf);
    let mut agent = Agent::watch(&["--for", "500ms", "--comm", "no-such-name"]);
    let ended = agent.wait();
    assert!(ended.status.success(), "{}", ended.stderr);
    let seconds = ended.summary()["seconds"].as_f64().unwrap();
    assert!((0.5..10.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    needs!(Root, Bpf);
    let mut forks = start(compiled("forks"), &["2000"]);
    let mut watch = Command::new(binary())
        .args(["watch", "--comm", "forks", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(watch.stdout.take());
    forks.say("go");
    forks.hear();
    let output = watch.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
