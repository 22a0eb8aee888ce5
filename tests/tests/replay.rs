//! Replay: recorded streams through a policy, without a kernel; and a stream of now, against what the kernel said.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use procwatch_tests::{Agent, Pool, binary, needs, number, of_kind, refusal, text};
use serde_json::Value;

const STREAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/streams");

fn stream(name: &str) -> String {
    format!("{STREAMS}/{name}")
}

fn replay(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(binary()).arg("replay").args(args).output().unwrap();
    assert_eq!(String::from_utf8(stderr).unwrap(), "");
    (status.code(), String::from_utf8(stdout).unwrap())
}

/// Each stream with its policy and what it must come to.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(STREAMS).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    cases.sort();
    cases
}

/// `NAME.POLICY.toml` is tried on `NAME.jsonl`, and comes to `NAME.POLICY.expected`.
#[test]
fn recorded_streams_give_the_same_alerts_byte_for_byte() {
    let cases = cases();
    assert_eq!(cases.len(), 5, "{cases:?}");
    for policy in cases {
        let name = policy.file_name().unwrap().to_str().unwrap();
        let events = stream(&format!("{}.jsonl", name.split('.').next().unwrap()));
        let (code, told) = replay(&[&events, "--config", policy.to_str().unwrap(), "--json"]);
        let expected = fs::read_to_string(policy.with_extension("expected")).unwrap();
        assert_eq!((code, told), (Some(0), expected), "{name}");
    }
}

/// What is told of a process, without what a live agent adds and without what two CPUs may see in another order.
fn told(records: &[Value], pid: u32) -> Vec<String> {
    let about = records.iter().filter(|it| it["pid"] == pid && !it["bound"].is_null());
    about
        .map(|it| {
            let threads = if it["kind"] == "alert" { number(&it["threads"]) } else { 0 };
            format!(
                "{} {} {} {} {} {threads} from {} ended {} {} {} {} {}",
                text(&it["kind"]),
                text(&it["bound"]),
                it["level"],
                text(&it["severity"]),
                text(&it["rule"]),
                it["growth"]["from"],
                it["ended"],
                it["argv"],
                it["uid"],
                it["user"],
                it["cgroup"],
            )
        })
        .collect()
}

#[test]
fn a_replay_tells_what_the_kernel_told() {
    needs!(Root, Bpf);
    let watch = Agent::watch(&["--ring-kib", "16384"]);
    let mut pool = Pool::pthreads();
    let pid = pool.pid();
    for threads in [300, 1, 90, 40, 110] {
        pool.threads(threads);
    }
    pool.end();
    watch.wait_for_event("exit", pid);
    let ended = watch.finish();
    assert_eq!(ended.summary()["lost"], 0, "{:?}", ended.summary());

    let folder = tempfile::tempdir().unwrap();
    let (events, policy) = (folder.path().join("events.jsonl"), folder.path().join("policy.toml"));
    let lines: Vec<String> = ended.records.iter().map(|it| format!("{it}\n")).collect();
    fs::write(&events, lines.concat()).unwrap();
    fs::write(&policy, "").unwrap();
    let (code, replayed) =
        replay(&[events.to_str().unwrap(), "--config", policy.to_str().unwrap(), "--json"]);
    let replayed: Vec<Value> = replayed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_kernel = told(&ended.records, pid);
    assert_eq!((code, told(&replayed, pid)), (Some(0), by_kernel.clone()));
    // Levels and a burst, up and down and at the end.
    assert!(by_kernel.len() >= 8, "{by_kernel:#?}");
    let account = replayed.last().unwrap();
    assert_eq!(
        (text(&account["kind"]), &account["lost"], &account["unknown"]),
        ("replay", &0.into(), &0.into())
    );
}

#[test]
fn two_policies_are_compared() {
    let (events, quiet, strict) =
        (stream("burst.jsonl"), stream("burst.quiet.toml"), stream("burst.strict.toml"));
    let (code, same) = replay(&[&events, "--config", &quiet, "--diff", &quiet]);
    assert_eq!(code, Some(0), "{same}");
    assert!(same.starts_with("replay old: ") && same.contains("\nreplay new: "), "{same}");
    let (code, differs) = replay(&[&events, "--config", &strict, "--diff", &quiet]);
    assert_eq!(code, Some(1), "{differs}");
    let signs = |sign: &str| differs.lines().filter(|line| line.starts_with(sign)).count();
    let (code, json) = replay(&[&events, "--config", &strict, "--diff", &quiet, "--json"]);
    let records: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let side = |name: &str| records.iter().filter(|it| it["side"] == name && it["kind"] != "replay").count();
    assert_eq!((code, side("old"), side("new")), (Some(1), signs("- "), signs("+ ")));
    assert!(signs("+ ") > 0, "{differs}");
    assert_eq!(of_kind(&records, "replay").len(), 2, "{json}");
}

#[test]
fn standard_input_is_a_stream_too() {
    let events = fs::read(stream("burst.jsonl")).unwrap();
    let policy = stream("burst.quiet.toml");
    let mut child = Command::new(binary())
        .args(["replay", "-", "--config", &policy])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&events).unwrap();
    let output = child.wait_with_output().unwrap();
    let by_name = replay(&[&stream("burst.jsonl"), "--config", &policy]);
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), by_name);
}

#[test]
fn bad_input_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("bad.jsonl"), "{\"kind\":\"health\"}\nnonsense\n").unwrap();
    fs::write(path("bad.toml"), "[[threads]]\nlevel = [3]\n").unwrap();
    fs::write(path("good.toml"), "").unwrap();
    let (bad, good) = (path("bad.jsonl"), path("good.toml"));
    for (args, parts) in [
        (
            vec![bad.clone(), "--config".into(), good.clone()],
            ["bad.jsonl:2: \"nonsense\" is no record", "watch --json"],
        ),
        (
            vec![path("none.jsonl"), "--config".into(), good.clone()],
            ["none.jsonl: there is no such file", "check the name"],
        ),
        (vec![path(""), "--config".into(), good.clone()], ["is a directory", "watch --json"]),
        (
            vec![bad.clone(), "--config".into(), path("bad.toml")],
            ["bad.toml:2: threads[1].level: ", "levels"],
        ),
        (
            vec![bad, "--config".into(), good, "--diff".into(), path("none.toml")],
            ["none.toml: ", "no such file"],
        ),
    ] {
        let args: Vec<_> = ["replay".to_owned()].into_iter().chain(args).collect();
        let refused = refusal(&args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        for part in parts {
            assert!(refused.stderr.contains(part), "{part:?}: {}", refused.stderr);
        }
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
    assert!(Path::new(STREAMS).is_dir());
}
