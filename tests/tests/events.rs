//! `procwatch events`: what clients of the running agent are told is what `watch` tells, and nobody listens unasked.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use procwatch_tests::{
    Agent, Family, Pool, Talk, binary, compiled, kinds, needs, number, of_kind, refusal, start, text, until,
};
use serde_json::{Value, json};

const STREAM: &str = "fork,exec,exit,thread,thread-exit,uid,cgroup";

fn run() -> Agent {
    Agent::run(&[] as &[&str])
}

/// With a configuration.
fn run_with(text: &str) -> Agent {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("procwatch.toml");
    fs::write(&config, text).unwrap();
    Agent::run(&["--config", config.to_str().unwrap()])
}

/// Without what two readers of the same kernel cannot have alike: the moment at which each of them looked.
fn comparable(mut record: Value) -> Value {
    let fields = record.as_object_mut().unwrap();
    for moment in ["time", "boot_ns", "lived_ns", "age_ns", "latency_ns"] {
        fields.remove(moment);
    }
    record
}

/// The events of each process, in their order.
fn by_process(records: Vec<Value>) -> BTreeMap<u64, Vec<Value>> {
    let mut processes: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for record in records {
        if record["kind"] != "health" && record["kind"] != "summary" {
            processes.entry(number(&record["pid"])).or_default().push(comparable(record));
        }
    }
    processes
}

/// Plays the family before `watch` and before a client of the agent with the same filter: both tell the same.
fn same_as_watch(filter: &[&str]) {
    let mut family = Family::new();
    let (pid, here) = (family.pid().to_string(), family.here());
    let filled: Vec<&str> = filter
        .iter()
        .map(|&word| match word {
            "PID" => &pid[..],
            "HERE" => &here[..],
            word => word,
        })
        .collect();
    let filter = [&["--kind", STREAM][..], &filled].concat();
    let client = Agent::events(&filter);
    let watch = Agent::watch(&filter);
    family.live();
    let watched = watch.finish();
    let expected = number(&watched.summary()["events"]) as usize;
    assert!(expected > 0, "{filter:?} lets nothing through");
    client.wait_for_many(expected, "all that watch told", |it| it["kind"] != "health");
    let ended = client.finish();
    assert_eq!((&ended.summary()["events"], &ended.summary()["lost"]), (&expected.into(), &0.into()));
    assert_eq!(by_process(ended.records), by_process(watched.records), "{filter:?}");
}

#[test]
fn filters_let_through_what_those_of_watch_do() {
    needs!(Root, Bpf);
    let _agent = run();
    same_as_watch(&["--comm", "chain"]);
    same_as_watch(&["--pid", "PID"]);
    same_as_watch(&["--pid", "PID", "--children"]);
    same_as_watch(&["--uid", "64124"]);
    same_as_watch(&["--cgroup", "HERE"]);
    same_as_watch(&["--pid", "PID", "--children", "--lineage"]);
}

#[test]
fn several_clients_have_each_what_they_want() {
    needs!(Root, Bpf);
    let agent = run_with("[[threads]]\nlevels = [80]\nburst = false\nleak = false\n");
    let forks = Agent::events(&["--kind", "fork", "--comm", "forks", "--count", "300"]);
    let exits = Agent::events(&["--kind", "exit", "--comm", "forks", "--count", "301"]);
    let own = Agent::events(&["--kind", "alert,action"]);
    let family = Agent::events(&["--kind", "alert", "--lineage"]);
    let mut program = start(compiled("forks"), &["300"]);
    let mut pool = Pool::raw_clone();
    program.say("go");
    program.hear();
    program.end();
    pool.threads(90);
    pool.threads(1);
    own.wait_for("the end of the alert", |it| it["kind"] == "cleared" && it["pid"] == pool.pid());
    for (mut client, kind, count) in [(forks, "fork", 300), (exits, "exit", 301)] {
        let ended = client.wait();
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_eq!(kinds(&ended.records)[kind], count);
        assert_eq!(kinds(&ended.records).len(), 3, "the kind, the health at first, the summary at last");
    }
    let alert = family.wait_for("its alert", |it| it["kind"] == "alert" && it["pid"] == pool.pid());
    assert_eq!(alert["lineage"][0]["pid"], std::process::id(), "{alert}");
    // What the agent tells by itself is the very same line for all.
    let told = of_pool(&own.finish().records, pool.pid());
    assert_eq!(told.len(), 2);
    assert_eq!(told, of_pool(&agent.finish().records, pool.pid()));
}

fn of_pool(records: &[Value], pid: u32) -> Vec<Value> {
    records.iter().filter(|it| it["pid"] == pid && it["kind"] != "refused").cloned().collect()
}

/// What the kernel has sent on the stream so far.
fn sent(talk: &mut Talk) -> u64 {
    let status = talk.status();
    let rings = status["rings"].as_array().unwrap();
    number(&rings.iter().find(|ring| ring["ring"] == "stream").unwrap()["sent"])
}

fn storm(forks: &str) {
    let mut program = start(compiled("forks"), &[forks]);
    program.say("go");
    program.hear();
    program.end();
}

#[test]
fn the_stream_costs_nothing_once_the_last_client_has_left() {
    needs!(Root, Bpf);
    let _agent = run();
    let mut talk = Talk::greeted();
    // An agent before may have left its count.
    let none = sent(&mut talk);
    storm("200");
    assert_eq!(sent(&mut talk), none, "nobody wants it");
    let own = Agent::events(&[] as &[&str]);
    storm("200");
    assert_eq!(sent(&mut talk), none, "nor does one who wants what the agent tells by itself");
    let first = Agent::events(&["--kind", "fork", "--comm", "forks"]);
    let second = Agent::events(&["--kind", "exit", "--comm", "no-such-name"]);
    storm("200");
    first.wait_for_many(200, "all forks", |it| it["kind"] == "fork");
    assert!(sent(&mut talk) >= none + 400, "forks and exits");
    first.finish();
    second.finish();
    until("both are gone", || (talk.status()["clients"] == 2).then_some(()));
    let closed = sent(&mut talk);
    storm("200");
    assert_eq!(sent(&mut talk), closed);
    // It opens again, and tells nothing of what happened between.
    let mut third = Agent::events(&["--kind", "fork", "--comm", "forks", "--count", "200"]);
    storm("200");
    let ended = third.wait();
    assert_eq!((kinds(&ended.records)["fork"], &ended.summary()["lost"]), (200, &0.into()));
    assert!(!kinds(&ended.records).contains_key("loss"));
    own.finish();
}

#[test]
fn lost_records_are_told_to_those_who_listen() {
    needs!(Root, Bpf);
    let agent = run_with("[socket]\nring-kib = 4\n");
    let client = Agent::events(&["--kind", "fork,exit", "--comm", "forks"]);
    let own = Agent::events(&[] as &[&str]);
    // The agent is kept from reading, and its ring has room for some thirty records.
    agent.signal(Signal::SIGSTOP);
    storm("500");
    agent.signal(Signal::SIGCONT);
    // A gap shows with the next record of its CPU.
    until("a loss", || {
        storm("1");
        client.records().iter().any(|it| it["kind"] == "loss" && it["ring"] == "stream").then_some(())
    });
    let mut talk = Talk::greeted();
    let status = until("the loss is known", || {
        let status = talk.status();
        (status["health"] == "degraded").then_some(status)
    });
    let reasons = status["reasons"].to_string();
    assert!(reasons.contains("stream records lost"), "{reasons}");
    let ended = client.finish();
    let told: u64 = of_kind(&ended.records, "loss").iter().map(|it| number(&it["lost"])).sum();
    assert_eq!(number(&ended.summary()["lost"]), told);
    let ring = status["rings"].as_array().unwrap().iter().find(|ring| ring["ring"] == "stream").unwrap();
    assert!(told > 0 && told <= number(&ring["lost"]), "{told} {ring}");
    assert!(of_kind(&own.finish().records, "loss").is_empty(), "no loss of what that one wants");
    assert!(of_kind(&agent.finish().records, "loss").is_empty());
}

/// Storms until `complaint` has seen that somebody is let go of; another client gets every event of them.
fn storm_until(complaint: impl FnOnce() -> Value) -> Value {
    let good = Agent::events(&["--kind", "exit", "--comm", "forks"]);
    let is_over = AtomicBool::new(false);
    let found = thread::scope(|scope| {
        scope.spawn(|| {
            for round in (1..=200).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                storm("1000");
                good.wait_for_many(1001 * round, "all exits", |it| it["kind"] == "exit");
            }
        });
        let found = complaint();
        is_over.store(true, Ordering::Relaxed);
        found
    });
    assert_eq!(good.finish().summary()["lost"], 0, "another client's slowness costs nothing");
    found
}

#[test]
fn a_client_that_does_not_read_is_let_go_of() {
    needs!(Root, Bpf);
    let agent = run();
    let mut slow = Agent::events(&["--kind", STREAM]);
    slow.signal(Signal::SIGSTOP);
    let complaint = storm_until(|| {
        let found = agent.wait_for("somebody is let go of", |it| it["topic"] == "degraded");
        // The last words wait for a client, but not long: it goes on as soon as it is let go of, and not after a whole storm.
        slow.signal(Signal::SIGCONT);
        found
    });
    let message = text(&complaint["message"]);
    assert!(message.contains(&format!("pid {} (uid 0) reads too slowly", slow.pid())), "{message}");
    let ended = slow.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("the agent let go of us: you read too slowly"), "{}", ended.stderr);
    let last = &ended.records[ended.records.len() - 2];
    assert!(text(&last["message"]).contains("let go of us"), "{last}");
}

#[test]
fn a_client_that_reads_too_little_is_let_go_of() {
    needs!(Root, Bpf);
    let agent = run();
    let mut slow = Talk::greeted();
    slow.say(&json!({ "ask": "events", "kinds": STREAM.split(',').collect::<Vec<_>>() }));
    // A line now and then: less than a storm has.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) && slow.hear().is_some() {
                thread::sleep(Duration::from_millis(1));
            }
        });
        let complaint =
            storm_until(|| agent.wait_for("somebody is let go of", |it| it["topic"] == "degraded"));
        is_over.store(true, Ordering::Relaxed);
        assert!(text(&complaint["message"]).contains("reads too slowly"), "{complaint}");
    });
}

#[test]
fn the_end_of_the_agent_is_told() {
    needs!(Root, Bpf);
    let agent = run();
    let mut client = Agent::events(&[] as &[&str]);
    let stopped = agent.finish();
    let ended = client.wait();
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(ended.stderr, "procwatch: the agent is gone\n");
    let health = of_kind(&ended.records, "health");
    assert_eq!(health.last().unwrap()["topic"], "stopped");
    assert_eq!(Some(*health.last().unwrap()), of_kind(&stopped.records, "health").last().copied());
    ended.summary();
}

#[test]
fn people_are_shown_lines() {
    needs!(Root, Bpf);
    let _agent = run();
    let client = Command::new(binary())
        .args(["events", "--kind", "exec", "--comm", "true", "--count", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut talk = Talk::greeted();
    until("it is there", || (talk.status()["clients"] == 2).then_some(()));
    until("it has its line and has left", || {
        Command::new("/bin/true").status().unwrap();
        (talk.status()["clients"] == 1).then_some(())
    });
    let output = String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap();
    let words: Vec<&str> = output.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(words, ["KIND", "health", "exec", "summary"], "{output}");
}

#[test]
fn bad_wishes_are_refused() {
    needs!(Root, Bpf);
    for (args, why) in [
        (&["events", "--kind", "spoon"][..], "invalid value 'spoon'"),
        (&["events", "--children"], "--pid"),
        (&["events", "--cgroup", "/no-such-cgroup"], "there is no such cgroup"),
        (&["events", "--count", "0"], "0 is not in"),
    ] {
        let refused = refusal(args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
}
