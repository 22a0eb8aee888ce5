use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::{
    config::{Burst, Leak, Match, ThreadRule},
    event::{BootTime, Creator, Event, Exec, Exit, ExitStatus, Subject},
    samples,
    text::Comm,
};

const MS: u64 = 1_000_000;
const MINUTE: u64 = 60_000 * MS;

/// A stream that is written by hand.
struct Stream {
    replay: Replay,
    time: u64,
    told: Vec<Value>,
}

impl Stream {
    fn new(rules: Vec<ThreadRule>) -> Self {
        let config = Config { threads: rules, ..Config::default() };
        Self { replay: Replay::new(&config), time: 1_000 * MINUTE, told: Vec::new() }
    }

    fn tell(&mut self, subject: Subject, body: crate::event::Body) {
        let event = Event { time: BootTime(self.time), cpu: 0, seq: 0, subject, body };
        let recorded = Recorded {
            event,
            time: "2026-11-25T01:00:00Z".parse().unwrap(),
            user: Some("alice".into()),
            cgroup: Some("/a.slice/b.service".into()),
        };
        let records = self.replay.on(&Line::Event(Box::new(recorded)));
        self.told.extend(records.iter().map(|record| serde_json::to_value(record).unwrap()));
    }

    fn exec(&mut self, pid: u32, argv: &[&str]) {
        let args = argv.iter().copied().map(Text::from).collect();
        let argv_of = Some(crate::event::Argv { args, cut_bytes: 0 });
        let exec = Exec { file: argv[0].into(), argv: argv_of, old_tid: pid };
        let comm = Comm::of_file(argv[0].as_bytes());
        self.tell(Subject { comm, ..samples::subject(pid, 1000) }, crate::event::Body::Exec(exec));
    }

    fn fork(&mut self, parent: u32, child: u32) {
        let creator = Creator { pid: parent, tid: parent, clone_flags: 0 };
        self.tell(samples::subject(child, 1000), crate::event::Body::Fork(creator));
    }

    /// The process has that many threads now.
    fn grow(&mut self, pid: u32, threads: u32) {
        let creator = Creator { pid, tid: pid, clone_flags: 0 };
        let subject = Subject { threads, tid: 10_000 + threads, ..samples::subject(pid, 1000) };
        self.tell(subject, crate::event::Body::Thread(creator));
    }

    fn shrink(&mut self, pid: u32, live: u32, process_ends: bool) {
        let exit = Exit { status: ExitStatus::Code(0), lived_ns: 1, process_ends };
        let subject = Subject { threads: live, ..samples::subject(pid, 1000) };
        let body =
            if live == 0 { crate::event::Body::Exit(exit) } else { crate::event::Body::ThreadExit(exit) };
        self.tell(subject, body);
    }

    /// What was told since this was asked last, in short.
    fn told(&mut self) -> Vec<String> {
        let short = |it: Value| {
            let ended = if it["ended"] == json!(true) { " ended" } else { "" };
            let text = |field: &str| it[field].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {} at {}{ended}",
                text("kind"),
                text("severity"),
                text("bound"),
                it["level"],
                it["threads"]
            )
        };
        std::mem::take(&mut self.told).into_iter().map(short).collect()
    }
}

fn quiet() -> ThreadRule {
    ThreadRule { burst: None, leak: None, ..ThreadRule::built_in() }
}

fn of_comm(name: &str, rule: ThreadRule) -> ThreadRule {
    let matches = Match { comms: vec![name.into()], ..Match::default() };
    ThreadRule { matches, described: format!("threads[1] comm={name}"), ..rule }
}

#[test]
fn levels_are_told_once_and_cleared_below_four_fifths() {
    let mut stream = Stream::new(vec![quiet()]);
    for threads in 2..=120 {
        stream.grow(7, threads);
    }
    assert_eq!(stream.told(), ["alert notice level 80 at 80", "alert warning level 100 at 100"]);
    for live in (63..119).rev() {
        stream.shrink(7, live, false);
    }
    assert_eq!(stream.told(), ["cleared warning level 100 at 79", "cleared notice level 80 at 63"]);
    stream.grow(7, 81);
    assert_eq!(stream.told(), ["alert notice level 80 at 81"]);
}

#[test]
fn a_process_that_ends_has_not_become_smaller() {
    let mut stream = Stream::new(vec![quiet()]);
    stream.grow(7, 600);
    assert_eq!(stream.told().len(), 3);
    for live in (1..600).rev() {
        stream.shrink(7, live, true);
    }
    assert_eq!(stream.told(), Vec::<String>::new());
    stream.shrink(7, 0, true);
    assert_eq!(
        stream.told(),
        [
            "cleared critical level 500 at 0 ended",
            "cleared warning level 100 at 0 ended",
            "cleared notice level 80 at 0 ended"
        ]
    );
    // Its end is told once, and who bears the pid next begins anew.
    stream.shrink(7, 0, true);
    assert_eq!(stream.told(), Vec::<String>::new());
    stream.grow(7, 80);
    assert_eq!(stream.told(), ["alert notice level 80 at 80"]);
}

#[test]
fn a_burst_is_told_once_while_it_goes_on() {
    let rule = ThreadRule { levels: vec![], leak: None, ..ThreadRule::built_in() };
    let mut stream = Stream::new(vec![rule.clone()]);
    for threads in 2..=200 {
        stream.time += MS;
        stream.grow(7, threads);
    }
    assert_eq!(stream.told(), ["alert warning burst 50 at 81"]);
    // A pool that breathes.
    for live in (30..200).rev() {
        stream.shrink(7, live, false);
    }
    assert_eq!(stream.told(), ["cleared warning burst 50 at 64"]);
    for threads in 31..=200 {
        stream.time += MS;
        stream.grow(7, threads);
    }
    assert_eq!(stream.told(), Vec::<String>::new());
    // After a while it is news again.
    for live in (30..200).rev() {
        stream.shrink(7, live, false);
    }
    stream.time += 11_000 * MS;
    for threads in 31..=200 {
        stream.grow(7, threads);
    }
    assert_eq!(stream.told(), ["alert warning burst 50 at 81"]);
    // A server with a thread for each request never bursts.
    let mut server = Stream::new(vec![rule]);
    for round in 0..5_000_u32 {
        server.time += MS / 10;
        server.grow(8, 60 + round % 30);
        server.shrink(8, 60, false);
    }
    assert_eq!(server.told(), Vec::<String>::new());
}

#[test]
fn a_slow_leak_is_told_with_its_pace() {
    let leak = Some(Leak { marks: 4, over: Duration::from_hours(1) });
    let mut stream =
        Stream::new(vec![ThreadRule { leak, burst: None, levels: vec![500], ..ThreadRule::built_in() }]);
    stream.exec(7, &["/usr/bin/python3", "watcher.py"]);
    // A thread a minute, for five hours.
    for threads in 2..302 {
        stream.time += MINUTE;
        stream.grow(7, threads);
    }
    let [alert] = &stream.told[..] else { panic!("{:?}", stream.told) };
    assert_eq!(
        (&alert["bound"], &alert["threads"], &alert["level"]),
        (&json!("leak"), &json!(124), &json!(4))
    );
    assert_eq!(alert["argv"], json!(["/usr/bin/python3", "watcher.py"]));
    let growth = &alert["growth"];
    assert_eq!((&growth["from"], &growth["took_ns"]), (&json!(50), &json!(92 * MINUTE)), "{growth}");
    // 376 threads are left to the next level, at 74 in 92 minutes.
    assert_eq!((&growth["next_level"], &growth["next_level_in_s"]), (&json!(500), &json!(28_047)));
    assert_eq!(
        (&alert["latency_ns"], &alert["exe"], &alert["user"]),
        (&Value::Null, &Value::Null, &json!("alice"))
    );
    assert_eq!(
        (&alert["time"], &alert["cgroup"]),
        (&json!("2026-11-25T01:00:00Z"), &json!("/a.slice/b.service"))
    );
}

#[test]
fn the_rule_is_chosen_at_exec_and_inherited_at_fork() {
    let python = of_comm("python3", ThreadRule { levels: vec![40], ..quiet() });
    let mut stream = Stream::new(vec![python, ThreadRule { described: "default".into(), ..quiet() }]);
    stream.exec(7, &["/usr/bin/python3", "x.py"]);
    stream.fork(7, 8);
    stream.grow(8, 40);
    assert_eq!(stream.told[0]["rule"], "threads[1] comm=python3");
    assert_eq!(stream.told(), ["alert notice level 40 at 40"]);
    stream.exec(8, &["/bin/sh"]);
    stream.grow(8, 41);
    assert_eq!(stream.told(), Vec::<String>::new());
    stream.grow(8, 80);
    // It was told of a first level already, by the rule before.
    assert_eq!(stream.told(), Vec::<String>::new());
    stream.fork(8, 9);
    stream.grow(9, 80);
    assert_eq!(stream.told(), ["alert notice level 80 at 80"]);
    // One that was there before has the name that its threads have.
    stream.grow(10, 40);
    assert_eq!(stream.told(), ["alert notice level 40 at 40"]);
    let account = stream.replay.account();
    assert_eq!((account.unseen, account.events, account.cleared), (1, 9, 0));
    let alerts: Vec<_> =
        account.alerts.iter().map(|it| (it.rule.as_str(), it.severity.name(), it.count)).collect();
    assert_eq!(alerts, [("default", "notice", 1), ("threads[1] comm=python3", "notice", 2)]);
}

#[test]
fn what_is_ignored_is_not_told() {
    let ignored = ThreadRule { ignore: true, levels: vec![], ..quiet() };
    let mut stream = Stream::new(vec![of_comm("python3", ignored), quiet()]);
    stream.exec(7, &["python3"]);
    stream.grow(7, 3000);
    assert_eq!(stream.told(), Vec::<String>::new());
}

#[test]
fn a_stop_is_told_as_the_mode_would_have_it() {
    let rule = ThreadRule { stop_at: Some(50), levels: vec![], ..quiet() };
    for (mode, stopped) in [(Mode::Observe, false), (Mode::Enforce, true)] {
        let mut stream = Stream::new(vec![]);
        stream.replay = Replay::new(&Config { threads: vec![rule.clone()], mode, ..Config::default() });
        for threads in 45..60 {
            stream.grow(7, threads);
        }
        let [stop] = &stream.told[..] else { panic!("{:?}", stream.told) };
        assert_eq!(
            (&stop["bound"], &stop["threads"], &stop["stopped"]),
            (&json!("stop"), &json!(50), &json!(stopped))
        );
    }
}

#[test]
fn times_that_go_back_are_no_danger() {
    let mut stream = Stream::new(vec![ThreadRule {
        burst: Some(Burst { threads: 2, within: Duration::from_hours(1) }),
        leak: Some(Leak { marks: 2, over: Duration::from_secs(1) }),
        ..ThreadRule::built_in()
    }]);
    for (time, threads) in
        [(u64::MAX, 50), (5, 51), (0, 4_194_304), (u64::MAX, 90), (3, 400), (2, 33), (1, 34)]
    {
        stream.time = time;
        stream.grow(7, threads);
        stream.shrink(7, threads / 2, false);
    }
    assert!(!stream.told.is_empty());
}

#[test]
fn alerts_carry_as_much_of_the_arguments_as_the_kernel_sends() {
    let long = "x".repeat(200);
    let mut stream = Stream::new(vec![quiet()]);
    stream.exec(7, &["python3", &long, &long, "end"]);
    stream.grow(7, 80);
    // 8 + 201 + 47 of 201, and nothing of 4.
    assert_eq!(stream.told[0]["argv"], json!(["python3", long, "x".repeat(47)]));
    assert_eq!(stream.told[0]["argv_cut_bytes"], json!(154 + 4));
}

#[test]
fn differences_are_what_one_alone_tells() {
    let records = |rules: Vec<ThreadRule>| {
        let mut replay = Replay::new(&Config { threads: rules, ..Config::default() });
        let mut line = Vec::new();
        crate::sink::json::encode(&samples::all()[1], &mut line).unwrap();
        let mut reader = read::Reader::new(&line[..], "x".into());
        let line = reader.next_line().unwrap().unwrap();
        replay.on(&line)
    };
    // One of 81 threads.
    let with = |levels: Vec<u32>| records(vec![ThreadRule { levels, ..quiet() }]);
    let (old, new) = (with(vec![40, 80]), with(vec![40, 70, 81, 90]));
    let (only_old, only_new) = differences(&old, &new);
    let levels = |records: Vec<&Record>| -> Vec<u32> {
        let level = |it: &Record| if let Body::Alert(alert) = &it.body { alert.level } else { 0 };
        records.into_iter().map(level).collect()
    };
    assert_eq!((levels(only_old), levels(only_new)), (vec![80], vec![70, 81]));
    let (only_old, only_new) = differences(&new, &new);
    assert!(only_old.is_empty() && only_new.is_empty());
}
