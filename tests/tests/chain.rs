//! Lives of which every step is known, told record by record.

use std::{collections::HashMap, ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, process::Command};

use procwatch_tests::{Agent, Ended, Sandbox, Started, compiled, needs, number, of_kind, start, text, texts};
use serde_json::{Value, json};

fn family(pid: u32) -> [String; 3] {
    ["--pid".to_owned(), pid.to_string(), "--children".to_owned()]
}

/// A chain's life, and the pids of its steps.
fn chain(more: &[&str]) -> (Ended, u32, HashMap<String, u32>) {
    let mut chain = start(compiled("chain"), &[] as &[&str]);
    let pid = chain.pid();
    let mut args = family(pid).to_vec();
    args.extend(more.iter().map(|&it| it.to_owned()));
    let agent = Agent::watch(&args);
    chain.say("go");
    let steps = chain.hear_all();
    assert!(chain.end().success());
    let steps = steps.iter().map(|line| {
        let (step, pid) = line.split_once(' ').unwrap();
        (step.to_owned(), pid.parse().unwrap())
    });
    (agent.finish(), pid, steps.collect())
}

fn told(records: &[Value]) -> Vec<(&str, u64)> {
    records
        .iter()
        .filter(|record| !record["pid"].is_null())
        .map(|record| (text(&record["kind"]), number(&record["pid"])))
        .collect()
}

#[test]
fn every_step_of_a_family_in_its_order() {
    needs!(Root, Bpf);
    let (ended, root, steps) = chain(&[]);
    let step = |name: &str| u64::from(steps[name]);
    let (second, third, threaded) = (step("second"), step("third"), step("threaded"));
    let expected = [
        ("fork", second),
        ("exec", second),
        ("fork", third),
        ("exec", third),
        ("exit", third),
        ("exit", second),
        ("fork", step("killed")),
        ("exit", step("killed")),
        ("fork", step("faulted")),
        ("exit", step("faulted")),
        ("fork", step("aborted")),
        ("exit", step("aborted")),
        ("fork", threaded),
        ("thread", threaded),
        ("thread-exit", threaded),
        ("thread", threaded),
        ("thread-exit", threaded),
        ("exit", threaded),
        ("exit", u64::from(root)),
    ];
    assert_eq!(told(&ended.records), expected);
    let summary = ended.summary();
    assert_eq!((&summary["events"], &summary["lost"]), (&json!(expected.len()), &json!(0)));
    let times: Vec<u64> = ended.records.iter().map(|record| number(&record["boot_ns"])).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn who_made_whom_and_how_each_ended() {
    needs!(Root, Bpf);
    let (ended, root, steps) = chain(&[]);
    let find = |kind: &str, name: &str| {
        let pid = steps[name];
        let found = of_kind(&ended.records, kind).into_iter().find(|it| it["pid"] == pid);
        found.unwrap_or_else(|| panic!("no {kind} of {name}"))
    };
    for name in ["second", "killed", "faulted", "aborted", "threaded"] {
        let fork = find("fork", name);
        assert_eq!((&fork["ppid"], &fork["creator_pid"]), (&json!(root), &json!(root)), "{fork}");
        assert_eq!((&fork["comm"], &fork["threads"]), (&json!("chain"), &json!(1)), "{fork}");
    }
    assert_eq!(find("fork", "third")["ppid"], steps["second"]);

    let program = compiled("chain");
    let program = program.to_str().unwrap();
    let (second, third) = (find("exec", "second"), find("exec", "third"));
    assert_eq!(texts(&second["argv"]), [program, "second", "two words"]);
    assert_eq!(texts(&third["argv"]), ["a third", "seven"]);
    for exec in [second, third] {
        assert_eq!((text(&exec["file"]), number(&exec["argv_cut_bytes"])), (program, 0), "{exec}");
    }

    for (name, code, signal) in [
        ("third", json!(7), Value::Null),
        ("second", json!(0), Value::Null),
        ("killed", Value::Null, json!(9)),
        ("faulted", Value::Null, json!(11)),
        ("aborted", Value::Null, json!(6)),
        ("threaded", json!(0), Value::Null),
    ] {
        let exit = find("exit", name);
        assert_eq!((&exit["code"], &exit["signal"]), (&code, &signal), "{name}: {exit}");
        let (time, start) = (number(&exit["boot_ns"]), number(&exit["start_ns"]));
        assert_eq!(number(&exit["lived_ns"]), time - start, "{name}: {exit}");
        assert_eq!(exit["threads"], 0, "{name}: {exit}");
    }
}

#[test]
fn threads_are_told_apart_from_their_process() {
    needs!(Root, Bpf);
    let (ended, _, steps) = chain(&["--kind", "thread,thread-exit"]);
    let pid = steps["threaded"];
    let (begun, gone) = (of_kind(&ended.records, "thread"), of_kind(&ended.records, "thread-exit"));
    assert_eq!((begun.len(), gone.len()), (2, 2));
    for (begun, gone) in begun.into_iter().zip(gone) {
        assert_eq!((&begun["pid"], &gone["pid"]), (&json!(pid), &json!(pid)));
        assert_eq!(begun["tid"], gone["tid"], "they follow each other");
        assert_ne!(begun["tid"], json!(pid));
        assert_eq!((&begun["creator_tid"], &begun["threads"]), (&json!(pid), &json!(2)));
        assert_eq!((&gone["code"], &gone["threads"]), (&json!(0), &json!(1)));
    }
}

#[test]
fn lineages_name_all_ancestors() {
    needs!(Root, Bpf);
    let (ended, root, steps) = chain(&["--lineage", "--kind", "exec"]);
    let third = of_kind(&ended.records, "exec").into_iter().find(|it| it["pid"] == steps["third"]).unwrap();
    let lineage = third["lineage"].as_array().unwrap();
    let pids: Vec<u64> = lineage.iter().map(|ancestor| number(&ancestor["pid"])).collect();
    let own = [steps["second"], root, std::process::id()].map(u64::from);
    assert_eq!(pids[..3], own, "{third}");
    assert_eq!((&lineage[0]["comm"], &lineage[0]["uid"]), (&json!("chain"), &json!(0)));
    // Some machines hide pid 1 from the task iterator; the test in a virtual machine demands it.
    let oldest = *pids.last().unwrap();
    assert!(oldest == 1 || parent_of(oldest) == 1, "up to the first process: {third}");
}

fn parent_of(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    line.trim().parse().unwrap()
}

/// The exec record of a program that this process starts.
fn exec_of(program: &str, args: &[&OsStr]) -> Value {
    let agent = Agent::watch(&[&family(std::process::id())[..], &["--kind".into(), "exec".into()]].concat());
    let mut child = Command::new(program).args(args).spawn().unwrap();
    let exec = agent.wait_for_event("exec", child.id());
    assert!(child.wait().unwrap().success());
    agent.finish();
    exec
}

#[test]
fn arguments_are_told_as_they_are_and_harmless() {
    needs!(Root, Bpf);
    let args: [&[u8]; 8] = [
        b"",
        b"two words",
        b"",
        b"line\nbreak",
        b"\x1b[31mred",
        b"bad \xff\xfe",
        b"back\\slash",
        "gr\u{fc}n".as_bytes(),
    ];
    let exec = exec_of("/bin/true", &args.map(OsStr::from_bytes));
    let shown = [
        "/bin/true",
        "",
        "two words",
        "",
        "line\\nbreak",
        "\\x1b[31mred",
        "bad \\xff\\xfe",
        "back\\\\slash",
        "gr\u{fc}n",
    ];
    assert_eq!(texts(&exec["argv"]), shown);
    assert_eq!((&exec["argv_cut_bytes"], &exec["file"]), (&json!(0), &json!("/bin/true")));
    assert_eq!(exec["ppid"], std::process::id());
}

#[test]
fn what_is_cut_of_arguments_is_counted() {
    needs!(Root, Bpf);
    const CAPTURED: usize = 2048;
    let long = "x".repeat(10_000);
    let exec = exec_of("/bin/true", &[OsStr::new("first"), OsStr::new(&long)]);
    let argv = texts(&exec["argv"]);
    let all = "/bin/true".len() + "first".len() + long.len() + 3;
    assert_eq!(argv[..2], ["/bin/true", "first"]);
    assert_eq!(number(&exec["argv_cut_bytes"]), (all - CAPTURED) as u64);
    assert_eq!(argv[2], &long[..CAPTURED - "/bin/true".len() - "first".len() - 2]);
    // The last one that fits.
    let fits = "y".repeat(CAPTURED - "/bin/true".len() - 2);
    let exec = exec_of("/bin/true", &[OsStr::new(&fits)]);
    assert_eq!((texts(&exec["argv"])[1], number(&exec["argv_cut_bytes"])), (&fits[..], 0));
}

#[test]
fn a_thread_that_runs_a_program_becomes_the_process() {
    needs!(Root, Bpf);
    let mut usurper = start(compiled("usurper"), &[] as &[&str]);
    let pid = usurper.pid();
    let agent = Agent::watch(&["--pid", &pid.to_string()]);
    usurper.say("go");
    let tid: u64 = usurper.hear().parse().unwrap();
    assert!(usurper.end().success());
    agent.wait_for_event("exit", pid);
    let records = agent.finish().records;
    let pid = u64::from(pid);
    let expected = [("thread", pid), ("thread-exit", pid), ("exec", pid), ("exit", pid)];
    assert_eq!(told(&records), expected);
    let tid_of = |kind| number(&of_kind(&records, kind)[0]["tid"]);
    assert_eq!((tid_of("thread"), tid_of("thread-exit")), (tid, pid), "the old leader ends");
    let exec = of_kind(&records, "exec")[0];
    assert_eq!((number(&exec["tid"]), number(&exec["threads"])), (pid, 1), "{exec}");
    assert_eq!(texts(&exec["argv"]), ["usurped"]);
    let exit = of_kind(&records, "exit")[0];
    assert_eq!((number(&exit["tid"]), &exit["code"]), (pid, &json!(0)), "{exit}");
}

#[test]
fn a_change_of_uids_is_told_with_old_and_new() {
    needs!(Root, Bpf);
    let agent = Agent::watch(&[&family(std::process::id())[..], &["--kind".into(), "uid".into()]].concat());
    let mut child = Command::new("setpriv")
        .args(["--reuid=64123", "--regid=64123", "--clear-groups", "/bin/true"])
        .spawn()
        .unwrap();
    let uid = agent.wait_for_event("uid", child.id());
    assert!(child.wait().unwrap().success());
    let records = agent.finish().records;
    assert_eq!((&uid["uid"], &uid["euid"]), (&json!(64123), &json!(64123)), "{uid}");
    assert_eq!((&uid["old_uid"], &uid["old_euid"]), (&json!(0), &json!(0)), "{uid}");
    assert!(["credential-change", "exec"].contains(&text(&uid["seen_at"])), "{uid}");
    assert_eq!(uid["user"], Value::Null, "the account database does not know it");
    assert_eq!(of_kind(&records, "uid").len(), 1);
}

#[test]
fn a_move_is_told_with_its_mover() {
    needs!(Root, Bpf);
    let sandbox = Sandbox::new(&["a/b"]);
    let mut cat = Started::new(&mut Command::new("cat"));
    let agent = Agent::watch(&["--kind", "cgroup", "--pid", &cat.pid().to_string()]);
    sandbox.admit("a/b", cat.pid());
    let moved = agent.wait_for_event("cgroup", cat.pid());
    sandbox.admit("a", cat.pid());
    cat.end();
    let records = agent.finish().records;
    assert_eq!(text(&moved["cgroup"]), sandbox.path("a/b"));
    assert_eq!(moved["mover_pid"], std::process::id());
    assert_eq!((&moved["comm"], &moved["pid"]), (&json!("cat"), &json!(cat.pid())));
    let comm = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    assert_eq!(text(&moved["mover_comm"]), comm.trim_end());
    let paths: Vec<&str> = of_kind(&records, "cgroup").iter().map(|it| text(&it["cgroup"])).collect();
    assert_eq!(paths, [sandbox.path("a/b"), sandbox.path("a")]);
    assert!(!Path::new("/proc").join(cat.pid().to_string()).exists());
}
