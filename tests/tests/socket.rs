//! The agent's socket: who may ask, and that the answers are the truth.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, net::UnixListener},
    process::Command,
};

use nix::{
    sys::signal::Signal,
    unistd::{Group, getpid},
};
use procwatch_tests::{
    Agent, Pool, Refusal, SOCKET, Talk, binary, for_everyone, needs, number, refusal, text, until,
};
use serde_json::{Value, json};

/// A configuration in a folder of its own.
struct Configured {
    folder: tempfile::TempDir,
}

impl Configured {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("procwatch.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("procwatch.toml").to_str().unwrap().to_owned()
    }

    fn run(&self) -> Agent {
        Agent::run(&["--config", &self.path()])
    }
}

fn run() -> Agent {
    Agent::run(&[] as &[&str])
}

/// Held against `procwatch schema --of WHAT`.
fn check(what: &str, value: &Value) {
    let schema: Value = serde_json::from_str(&refusal(&["schema", "--of", what]).stdout).unwrap();
    if let Err(error) = jsonschema::validator_for(&schema).unwrap().validate(value) {
        panic!("{error}: {value}");
    }
}

/// Resident memory by procfs, bytes.
fn resident(pid: u32) -> u64 {
    let stat = procfs::process::Process::new(pid as i32).unwrap().stat().unwrap();
    stat.rss * procfs::page_size()
}

#[test]
fn a_status_is_true() {
    needs!(Root, Bpf);
    let config = Configured::new(
        "[[threads]]\ncomm = 'pthreads'\nlevels = [40, 50]\n[[threads]]\nlevels = [80, 100]\n",
    );
    let agent = config.run();
    let mut pool = Pool::pthreads();
    let mut talk = Talk::greeted();
    talk.wait_for_rule(pool.pid(), "threads[1] comm=pthreads");
    pool.threads(57);
    agent.wait_for_many(2, "both alerts", |it| it["kind"] == "alert" && it["pid"] == pool.pid());
    let answer = talk.given_back();
    let rss = resident(agent.pid());
    check("answer", &answer);
    let mut status = answer;
    status.as_object_mut().unwrap().remove("answer");
    check("status", &status);
    assert_eq!((&status["pid"], &status["mode"]), (&json!(agent.pid()), &json!("observe")));
    assert_eq!(status["config"]["files"], json!([config.path()]));
    let rules = status["thread_rules"].as_array().unwrap();
    assert_eq!(rules.len(), 2, "{rules:?}");
    assert_eq!((&rules[0]["levels"], &rules[0]["processes"]), (&json!([40, 50]), &json!(1)));
    assert_eq!((&rules[1]["levels"], &rules[1]["processes"]), (&json!([80, 100]), &Value::Null));
    let told = status["told"].as_array().unwrap();
    let alerts = told.iter().find(|count| count["of"] == "alert").unwrap();
    let recorded = agent.records().iter().filter(|it| it["kind"] == "alert").count() as u64;
    assert!(number(&alerts["count"]) >= 2 && number(&alerts["count"]) <= recorded, "{told:?}");
    let recent = status["recent"].as_array().unwrap();
    assert!(recent.iter().any(|it| it["kind"] == "alert" && it["pid"] == pool.pid()), "{recent:?}");
    assert_eq!(status["clients"], 1);
    assert!(status["outputs"].as_array().unwrap().iter().any(|output| output["name"] == "socket"));
    let urgent = status["rings"].as_array().unwrap().iter().find(|ring| ring["ring"] == "urgent").unwrap();
    assert!(number(&urgent["sent"]) >= 2 && urgent["lost"] == 0, "{urgent}");
    assert_eq!((number(&urgent["size_bytes"]), &urgent["waiting_bytes"]), (1 << 20, &json!(0)), "{urgent}");
    assert_eq!(status["pinned"]["folder"], "/sys/fs/bpf/procwatch");
    let programs = status["programs"].as_array().unwrap();
    assert!(programs.iter().any(|program| program["name"] == "task_newtask"), "{programs:?}");
    assert!(number(&status["resident_bytes"]).abs_diff(rss) < rss / 2, "{rss} {status}");
    assert!(number(&status["cpu_ns"]) > 0);
    assert!(number(&status["threads"]) > number(&status["processes"]));
    assert!(number(&status["processes"]) >= 3, "at least the agent, the pool and this one");
}

#[test]
fn processes_are_told_as_they_are() {
    needs!(Root, Bpf);
    let _agent = run();
    let mut talk = Talk::greeted();
    let mut pool = Pool::pthreads();
    for (threads, alert) in [(5, None), (57, None), (120, Some("warning")), (3, None)] {
        pool.threads(threads);
        let row = until("the pool as it is", || {
            let row = talk.process(pool.pid())?;
            (row["threads"] == threads && row["alert"].as_str() == alert).then_some(row)
        });
        assert_eq!((text(&row["comm"]), text(&row["user"])), ("pthreads", "root"));
        assert_eq!((&row["ppid"], &row["rule"]), (&json!(getpid().as_raw()), &json!("default")));
        let stat = procfs::process::Process::new(pool.pid() as i32).unwrap().stat().unwrap();
        let tick = 1_000_000_000 / procfs::ticks_per_second();
        assert_eq!(number(&row["start_ns"]) / tick, stat.starttime, "{row}");
        // From the floor of 32 on: 32 to 57, and from there 63 more.
        let created = [(5, None), (57, Some(26)), (120, Some(89)), (3, Some(89))];
        let created = created.iter().find(|(at, _)| *at == threads).unwrap().1;
        assert_eq!(row["creations"].as_u64(), created, "{row}");
    }
    let pid = pool.pid();
    pool.end();
    until("it is no more", || talk.process(pid).is_none().then_some(()));
    check("answer", &talk.ask("processes"));
}

#[test]
fn the_command_status_tells_people_programs_and_monitors() {
    needs!(Root, Bpf);
    let agent = run();
    let Refusal { code, stdout, stderr } = refusal(&["status"]);
    assert_eq!(stderr, "");
    let word = if code == Some(0) { "ok" } else { "degraded" };
    assert!(stdout.starts_with(&format!("health     {word}\n")), "{stdout}");
    assert!(stdout.contains(&format!("pid {}, mode observe", agent.pid())), "{stdout}");
    let printed = refusal(&["status", "--json"]);
    let status: Value = serde_json::from_str(&printed.stdout).unwrap();
    check("status", &status);
    assert_eq!((text(&status["health"]), printed.code), (word, code));
    agent.finish();
    for command in ["status", "events"] {
        let Refusal { code, stdout, stderr } = refusal(&[command]);
        assert_eq!((code, &stdout[..], stderr.lines().count()), (Some(2), "", 1), "{stderr}");
        assert!(stderr.starts_with("procwatch: no agent runs on this machine"), "{stderr}");
    }
}

#[test]
fn the_socket_is_for_root_and_its_group() {
    needs!(Root, Bpf);
    let group = Group::from_name("daemon").unwrap().expect("every machine has the group daemon");
    let agent = Configured::new("[socket]\ngroup = 'daemon'\n").run();
    let found = fs::symlink_metadata(SOCKET).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o660, 0, group.gid.as_raw()));
    let folder = fs::symlink_metadata("/run/procwatch").unwrap();
    assert_eq!((folder.mode() & 0o7777, folder.uid()), (0o755, 0));
    let names = fs::read_dir("/run/procwatch").unwrap().map(|it| it.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().ends_with(".new")));

    let (_folder, program) = for_everyone(&binary());
    let ask = |gid: u32| {
        let output = Command::new("setpriv")
            .args(["--reuid=64124", &format!("--regid={gid}"), "--clear-groups"])
            .arg(&program)
            .arg("status")
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = ask(group.gid.as_raw());
    assert!(code < 2 && stderr.is_empty(), "{code} {stderr}");
    let (code, stderr) = ask(64124);
    assert_eq!(code, 2);
    assert!(stderr.contains("only root and the group of the socket"), "{stderr}");
    agent.finish();
    assert!(!fs::exists(SOCKET).unwrap(), "it goes with the agent");
}

#[test]
fn a_group_that_is_not_there_is_told() {
    needs!(Root, Bpf);
    let agent = run();
    let found = fs::symlink_metadata(SOCKET).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o660, 0));
    let told = agent.records().iter().any(|record| {
        record["topic"] == "unavailable" && text(&record["message"]).contains("no group procwatch")
    });
    let group = Group::from_name("procwatch").unwrap();
    assert_eq!(told, group.is_none());
    assert_eq!(found.gid(), group.map_or(0, |group| group.gid.as_raw()));
    let Refusal { code, stderr, .. } = refusal(&["run", "--config", &absent_group().path()]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("procwatch.toml:2: socket.group: there is no group \"no-such\""), "{stderr}");
}

fn absent_group() -> Configured {
    Configured::new("[socket]\ngroup = 'no-such'\n")
}

#[test]
fn a_second_agent_leaves_the_socket_of_the_first_alone() {
    needs!(Root, Bpf);
    let agent = run();
    let inode = fs::metadata(SOCKET).unwrap().ino();
    let Refusal { code, stderr, .. } = refusal(&["run"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains(&format!("another procwatch agent runs on this machine (pid {})", agent.pid())));
    assert_eq!(fs::metadata(SOCKET).unwrap().ino(), inode);
    assert_eq!(Talk::greeted().status()["pid"], agent.pid());
}

#[test]
fn what_a_killed_agent_left_is_replaced() {
    needs!(Root, Bpf);
    let mut agent = run();
    agent.signal(Signal::SIGKILL);
    agent.wait();
    assert!(fs::exists(SOCKET).unwrap(), "nobody could remove it");
    assert!(refusal(&["status"]).stderr.contains("no agent runs"));
    let next = run();
    assert_eq!(Talk::greeted().status()["pid"], next.pid());
}

#[test]
fn what_is_in_the_way_stays_and_the_agent_does_not_start() {
    needs!(Root, Bpf);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let config = Configured::new(&format!("[socket]\npath = '{}'\n", path.display()));
    // Nobody may be in the way of the agent itself.
    run().finish();
    fs::write(&path, "keep").unwrap();
    let Refusal { code, stderr, .. } = refusal(&["run", "--config", &config.path()]);
    assert!(code == Some(2) && stderr.contains("is there already and is no socket"), "{stderr}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "keep");
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    let Refusal { code, stderr, .. } = refusal(&["run", "--config", &config.path()]);
    let pid = getpid();
    assert!(code == Some(2) && stderr.contains(&format!("listens there (pid {pid})")), "{stderr}");
    drop(other);
    let agent = config.run();
    let status = refusal(&["status", "--json", "--socket", path.to_str().unwrap()]);
    assert_eq!(serde_json::from_str::<Value>(&status.stdout).unwrap()["pid"], agent.pid());
    assert!(!fs::exists(SOCKET).unwrap());
}

#[test]
fn without_a_socket_there_is_none() {
    needs!(Root, Bpf);
    let agent = Configured::new("socket = false\n").run();
    assert!(!fs::exists(SOCKET).unwrap());
    assert_eq!(refusal(&["status"]).code, Some(2));
    agent.finish();
}
