//! The configuration is read again: all of it holds then, or the one before does, and nothing is lost meanwhile.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use procwatch_tests::{Agent, Pool, SCENE_UID, Scene, Talk, needs, number, text};
use serde_json::Value;

/// A configuration in a file of its own, and the agent that reads it.
struct Told {
    folder: tempfile::TempDir,
    agent: Agent,
}

impl Told {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.toml");
        fs::write(&path, config).unwrap();
        let agent = Agent::run(&["--config".as_ref(), path.as_os_str()]);
        Self { folder, agent }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("test.toml")
    }

    /// Writes the file anew, orders a reload, and returns what is said of it.
    fn reload(&self, config: &str) -> Value {
        fs::write(self.path(), config).unwrap();
        let said = |record: &Value| ["reloaded", "refused"].contains(&record["topic"].as_str().unwrap_or(""));
        let before = self.agent.records().iter().filter(|record| said(record)).count();
        self.agent.signal(Signal::SIGHUP);
        self.agent.wait_for_many(before + 1, "an answer to SIGHUP", said)[before].clone()
    }
}

/// `(level, threads)` of the alerts about a process.
fn alerts(records: &[Value], pid: u32) -> Vec<(u64, u64)> {
    let of_process = records.iter().filter(|record| record["kind"] == "alert" && record["pid"] == pid);
    of_process.map(|record| (number(&record["level"]), number(&record["threads"]))).collect()
}

fn levels(levels: &str) -> String {
    format!("[[threads]]\nlevels = {levels}\nburst = false\nleak = false\n")
}

#[test]
fn new_levels_hold_for_those_that_run_and_nothing_is_told_twice() {
    needs!(Root, Bpf);
    let told = Told::new(&levels("[60, 200]"));
    let mut pool = Pool::raw_clone();
    let pid = pool.pid();
    pool.threads(90);
    told.agent.wait_for_event("alert", pid);

    let answer = told.reload(&levels("[60, 80, 120]"));
    assert_eq!(answer["topic"], "reloaded", "{answer}");
    assert!(text(&answer["message"]).contains("thread levels 60 80 120"), "{answer}");
    // It is above 80 already; 60 was told of before.
    told.agent
        .wait_for_many(2, "the alert at 80", |record| record["kind"] == "alert" && record["pid"] == pid);
    pool.threads(130);
    let is_third =
        |record: &Value| record["kind"] == "alert" && record["pid"] == pid && record["level"] == 120;
    told.agent.wait_for("the alert at 120", is_third);
    let records = told.agent.finish().records;
    assert_eq!(alerts(&records, pid), [(60, 60), (80, 90), (120, 120)]);
    let at_start: Vec<_> = records.iter().filter(|it| it["kind"] == "alert" && it["pid"] == pid).collect();
    assert_eq!(at_start[1]["at_start"], true, "it was seen by the picture: {}", at_start[1]);
}

#[test]
fn an_alert_by_a_reload_ends_and_comes_again() {
    needs!(Root, Bpf);
    let told = Told::new(&levels("[60, 200]"));
    let mut pool = Pool::raw_clone();
    let pid = pool.pid();
    pool.threads(90);
    told.agent.wait_for_event("alert", pid);
    let at_80 = |kind: &'static str, count: usize| {
        told.agent.wait_for_many(count, "what is told of 80", |record| {
            record["kind"] == kind && record["pid"] == pid && record["level"] == 80
        });
    };
    told.reload(&levels("[60, 80]"));
    at_80("alert", 1);
    // No thread was created since the alert: the programs have to know of it by the agent.
    pool.threads(1);
    at_80("cleared", 1);
    pool.threads(90);
    at_80("alert", 2);
    let records = told.agent.finish().records;
    assert_eq!(alerts(&records, pid), [(60, 60), (80, 90), (60, 60), (80, 80)]);
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    needs!(Root, Bpf);
    let told = Told::new(&levels("[60]"));
    for (bad, why) in [
        ("levels = [1]\n", "test.toml:1: levels: unknown key"),
        ("[[threads]]\nlevels = [5]\n", "test.toml:2: threads[1].levels"),
        ("[[place]]\nuid = 64003\nslice = \"/no/such\"\n", "/no/such"),
        ("mode = \n", "test.toml:1"),
    ] {
        let answer = told.reload(bad);
        assert_eq!(answer["topic"], "refused", "{answer}");
        let message = text(&answer["message"]);
        assert!(message.contains("all stays as it was") && message.contains(why), "{bad:?}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    fs::remove_file(told.path()).unwrap();
    let mut pool = Pool::pthreads();
    pool.threads(61);
    told.agent.wait_for_event("alert", pool.pid());
    let answer = told.reload(&levels("[70]"));
    assert_eq!(answer["topic"], "reloaded", "{answer}");
    let records = told.agent.finish().records;
    assert_eq!(alerts(&records, pool.pid()), [(60, 60)]);
}

#[test]
fn outputs_all_change_or_none_does() {
    needs!(Root, Bpf);
    let told = Told::new("");
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = format!("[metrics]\nlisten = \"{}\"\n", occupied.local_addr().unwrap());
    let socket = "[socket]\nmax-clients = 3\n";
    let answer = told.reload(&(socket.to_owned() + &metrics));
    assert_eq!(answer["topic"], "refused", "{answer}");
    // The socket is still that of before, and nothing of the other one is left.
    assert_eq!(Talk::greeted().status()["pid"], told.agent.pid());
    let names = || fs::read_dir("/run/procwatch").unwrap().map(|entry| entry.unwrap().file_name());
    assert!(
        names().all(|name| !name.to_string_lossy().ends_with(".new")),
        "{:?}",
        names().collect::<Vec<_>>()
    );
    drop(occupied);
    let answer = told.reload(&(socket.to_owned() + &metrics));
    assert_eq!(answer["topic"], "reloaded", "{answer}");
    assert_eq!(Talk::greeted().status()["pid"], told.agent.pid());
    told.agent.finish();
}

#[test]
fn rules_of_a_process_are_chosen_anew() {
    needs!(Root, Bpf);
    let told = Told::new(&levels("[500]"));
    let mut pool = Pool::pthreads();
    let pid = pool.pid();
    pool.threads(90);
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let rule = format!("[[threads]]\ncomm = \"{}\"\n", name.trim());
    let answer = told.reload(&(rule + "levels = [100]\nburst = false\nleak = false\n" + &levels("[500]")));
    assert_eq!(answer["topic"], "reloaded", "{answer}");
    pool.threads(101);
    let alert = told.agent.wait_for_event("alert", pid);
    assert_eq!(number(&alert["level"]), 100);
    assert!(text(&alert["rule"]).starts_with("threads[1] comm="), "{alert}");
    // And back: the rule is no more, and 100 is no bound.
    assert_eq!(told.reload(&levels("[500]"))["topic"], "reloaded");
    pool.threads(1);
    pool.threads(150);
    let mut witness = Pool::pthreads();
    witness.threads(501);
    told.agent.wait_for_event("alert", witness.pid());
    let records = told.agent.finish().records;
    assert_eq!(alerts(&records, pid), [(100, 100)]);
}

#[test]
fn an_alert_of_which_no_rule_speaks_any_more_is_over() {
    needs!(Root, Bpf);
    let told = Told::new(&levels("[60, 80]"));
    let mut pool = Pool::raw_clone();
    let pid = pool.pid();
    pool.threads(90);
    told.agent.wait_for_many(2, "both alerts", |record| record["kind"] == "alert" && record["pid"] == pid);
    told.reload(&levels("[60, 120]"));
    let cleared = told.agent.wait_for_event("cleared", pid);
    assert_eq!((number(&cleared["level"]), number(&cleared["threads"])), (80, 90), "{cleared}");
    assert_eq!((text(&cleared["rule"]), &cleared["ended"]), ("threads[1]", &Value::Bool(false)));
    pool.end();
    // The one that goes on ends when the process does, and the one that is over does not end again.
    told.agent.wait_for("the end", |record| record["kind"] == "cleared" && record["level"] == 60);
    let records = told.agent.finish().records;
    let ends = records.iter().filter(|record| record["kind"] == "cleared" && record["pid"] == pid);
    assert_eq!(ends.count(), 2);
}

#[test]
fn a_step_that_is_to_come_outlives_a_reload_that_does_not_concern_it() {
    needs!(Root, Bpf);
    let rules = levels("[60]") + "[threads.actions]\nnotice = [{ do = \"diagnose\", after = \"2s\" }]\n";
    let told = Told::new(&rules);
    let mut pool = Pool::pthreads();
    pool.threads(70);
    told.agent.wait_for_event("alert", pool.pid());
    assert_eq!(told.reload(&("socket = false\n".to_owned() + &rules))["topic"], "reloaded");
    let diagnosis = told.agent.wait_for_event("diagnosis", pool.pid());
    assert_eq!(diagnosis["occasion"], "notice", "{diagnosis}");
    let records = told.agent.finish().records;
    assert_eq!(alerts(&records, pool.pid()), [(60, 60)]);
}

#[test]
fn placement_begins_and_ends_with_a_reload() {
    needs!(Root, Bpf);
    let scene = Scene::new("enforce", SCENE_UID);
    let placing = fs::read_to_string(&scene.config).unwrap();
    let told = Told::new("mode = \"enforce\"\n");
    // One that is outside already, and has run its program.
    let mut shell = scene.start("from/session", &["/bin/sh", "-c", "echo born; read line; exit 0"]);
    assert_eq!(shell.hear(), "born");
    let answer = told.reload(&placing);
    assert_eq!(answer["topic"], "reloaded", "{answer}");
    assert!(text(&answer["message"]).contains(&format!("placement place[1] uid={SCENE_UID}")), "{answer}");
    let outcome = told.agent.wait_for_event("outcome", shell.pid());
    assert_eq!((&outcome["result"], &outcome["still_outside"]), (&"verified".into(), &0.into()), "{outcome}");
    assert!(scene.sandbox.inhabitants("from/session").is_empty());

    // The same again changes nothing, and moves nobody twice.
    assert_eq!(told.reload(&placing)["topic"], "reloaded");
    let observing = placing.replace("enforce", "observe");
    assert_eq!(told.reload(&observing)["topic"], "reloaded");
    let mut second = scene.start("from/session", &["/bin/sh", "-c", "echo born; read line; exit 0"]);
    assert_eq!(second.hear(), "born");
    let decision = told.agent.wait_for_event("decision", second.pid());
    assert_eq!((&decision["mode"], &decision["verdict"]), (&"observe".into(), &"move".into()), "{decision}");
    assert_eq!(scene.sandbox.inhabitants("from/session"), [second.pid()]);
    // What was only told of is moved once that is ordered.
    assert_eq!(told.reload(&placing)["topic"], "reloaded");
    assert_eq!(told.agent.wait_for_event("outcome", second.pid())["result"], "verified");
    // Without the rule a further one stays where it is.
    assert_eq!(told.reload("mode = \"enforce\"\n")["topic"], "reloaded");
    let mut third = scene.start("from/session", &["/bin/sh", "-c", "echo born; read line; exit 0"]);
    assert_eq!(third.hear(), "born");
    assert_eq!(scene.sandbox.inhabitants("from/session"), [third.pid()]);
    for process in [&mut shell, &mut second, &mut third] {
        process.say("end");
        assert!(process.end().success());
    }
    let records = told.agent.finish().records;
    let moved: Vec<_> = records.iter().filter(|it| it["kind"] == "outcome").map(|it| &it["pid"]).collect();
    assert_eq!(moved, [&Value::from(shell.pid()), &Value::from(second.pid())]);
}

#[test]
fn a_storm_of_reloads_loses_no_alert() {
    needs!(Root, Bpf);
    let told = Told::new(&levels("[60]"));
    let answered = |count: usize| {
        told.agent.wait_for_many(count, "an answer", |record| record["topic"] == "reloaded");
    };
    let mut pids = Vec::new();
    for round in 0..20 {
        told.agent.signal(Signal::SIGHUP);
        let mut pool = Pool::raw_clone();
        pool.threads(100);
        pids.push(pool.pid());
        told.agent.wait_for_event("alert", pool.pid());
        answered(round + 1);
    }
    let records = told.agent.finish().records;
    for pid in pids {
        assert_eq!(alerts(&records, pid).len(), 1, "one alert for each, and no second one: {pid}");
    }
    assert!(!records.iter().any(|record| record["kind"] == "loss"), "nothing is lost");
    assert!(Path::new("/run/procwatch").is_dir());
}
