use std::num::NonZeroU32;

use procwatch_common::wire::Trigger;
use serde_json::{Value, json};

use super::*;
use crate::{
    event::{self, Attach, Creator, UidChange},
    text::Comm,
};

struct Paths;

impl CgroupPaths for Paths {
    fn path(&mut self, cgroup_id: u64) -> Option<Text> {
        (cgroup_id == 42).then(|| Text::from("/user.slice"))
    }
}

fn subject() -> Subject {
    Subject {
        pid: 100,
        tid: 101,
        ppid: 50,
        uid: 1000,
        euid: 0,
        threads: 81,
        start: BootTime(1_000),
        cgroup_id: 42,
        comm: Comm::new(*b"bash\0\0\0\0\0\0\0\0\0\0\0\0"),
    }
}

fn convert_subject(subject: Subject, body: Body, extra: Extra) -> Option<Value> {
    let mut converter = Converter {
        clock: Clock::with_offset(0),
        users: UserNames::with_look_up(|uid| (uid == 1000).then(|| Text::from("alice"))),
        cgroups: Paths,
    };
    let event = Event { time: BootTime(5_000), cpu: 0, seq: 0, subject, body };
    converter.record(event, extra).map(|record| serde_json::to_value(record).unwrap())
}

fn convert(body: Body) -> Value {
    convert_subject(subject(), body, Extra::default()).unwrap()
}

/// The process of [`subject`] with `more`, which goes before.
fn expected(more: Value) -> Value {
    let mut record = json!({
        "time": "1970-01-01T00:00:00.000005Z", "boot_ns": 5_000, "pid": 100, "tid": 101, "ppid": 50, "uid": 1000,
        "euid": 0, "user": "alice", "comm": "bash", "threads": 81, "start_ns": 1_000, "cgroup_id": 42,
        "cgroup": "/user.slice",
    });
    let Value::Object(more) = more else { panic!("{more}") };
    record.as_object_mut().unwrap().extend(more);
    record
}

fn level_change() -> LevelChange {
    let argv = Argv { args: vec!["python3".into(), "leak.py".into()], cut_bytes: 3 };
    LevelChange { way: Way::Level(1), level: 100, rule: 0, growth: None, creator_tid: 99, argv: Some(argv) }
}

#[test]
fn creations() {
    let creator = Creator { pid: 50, tid: 51, clone_flags: 0 };
    assert_eq!(
        convert(Body::Fork(creator)),
        expected(json!({ "kind": "fork", "creator_pid": 50, "creator_tid": 51 }))
    );
    assert_eq!(convert(Body::Thread(creator)), expected(json!({ "kind": "thread", "creator_tid": 51 })));
}

#[test]
fn execs() {
    let exec = |argv| Body::Exec(event::Exec { file: "/bin/ls".into(), argv, old_tid: 100 });
    let argv = Argv { args: vec!["ls".into(), "a\x1bb".into()], cut_bytes: 9 };
    assert_eq!(
        convert(exec(Some(argv))),
        expected(json!({
            "kind": "exec", "file": "/bin/ls", "argv": ["ls", "a\\x1bb"], "argv_cut_bytes": 9,
        }))
    );
    assert_eq!(
        convert(exec(None)),
        expected(json!({ "kind": "exec", "file": "/bin/ls", "argv": null, "argv_cut_bytes": 0 }))
    );
}

#[test]
fn ends() {
    let code = event::Exit { status: ExitStatus::Code(3), lived_ns: 4_000, process_ends: true };
    let number = NonZeroU32::new(11).unwrap();
    let signal = event::Exit {
        status: ExitStatus::Signal { number, core: true },
        lived_ns: 4_000,
        process_ends: true,
    };
    assert_eq!(
        convert(Body::Exit(code)),
        expected(json!({
            "kind": "exit", "tid": 100, "code": 3, "signal": null, "core": false, "lived_ns": 4_000, "process_ends": true,
        }))
    );
    assert_eq!(
        convert(Body::ThreadExit(signal)),
        expected(json!({
            "kind": "thread-exit", "code": null, "signal": 11, "core": true, "lived_ns": 4_000, "process_ends": true,
        }))
    );
}

#[test]
fn changes_of_uid_and_cgroup() {
    let change = UidChange { old_uid: 0, old_euid: 1, trigger: Trigger::Uid };
    assert_eq!(
        convert(Body::Uid(change)),
        expected(json!({
            "kind": "uid", "old_uid": 0, "old_euid": 1, "seen_at": "credential-change",
        }))
    );
    let attach = Attach { mover_pid: 1, mover_comm: Comm::default(), path: "/elsewhere".into() };
    assert_eq!(
        convert(Body::Cgroup(attach)),
        expected(json!({ "kind": "cgroup", "cgroup": "/elsewhere", "mover_pid": 1, "mover_comm": "" }))
    );
}

#[test]
fn alerts() {
    let ancestor = Ancestor { pid: 50, uid: 0, comm: Comm::default() };
    let extra = Extra {
        lineage: Some(vec![ancestor]),
        alert: AlertExtra {
            exe: Some("/usr/bin/python3".into()),
            latency_ns: Some(85_000),
            rule: "default".to_owned(),
            ..AlertExtra::default()
        },
    };
    assert_eq!(
        convert_subject(subject(), Body::LevelCrossed(level_change()), extra).unwrap(),
        expected(json!({
            "kind": "alert", "severity": "warning", "bound": "level", "level": 100, "rule": "default", "growth": null,
            "stopped": null, "creator_tid": 99, "exe": "/usr/bin/python3",
            "argv": ["python3", "leak.py"], "argv_cut_bytes": 3, "age_ns": 4_000, "latency_ns": 85_000,
            "at_start": false, "lineage": [{ "pid": 50, "uid": 0, "comm": "" }],
        }))
    );
}

#[test]
fn a_level_is_cleared_by_fewer_threads_or_by_the_end() {
    let cleared = Body::LevelCleared(level_change());
    assert_eq!(
        convert(cleared.clone()),
        expected(json!({
            "kind": "cleared", "severity": "warning", "bound": "level", "level": 100, "rule": "", "ended": false,
        }))
    );
    let ended = Subject { threads: 0, ..subject() };
    assert_eq!(
        convert_subject(ended, cleared, Extra::default()).unwrap(),
        expected(json!({
            "kind": "cleared", "tid": 100, "threads": 0, "severity": "warning", "bound": "level", "level": 100,
            "rule": "", "ended": true,
        }))
    );
}

#[test]
fn placement_is_no_record_by_itself() {
    let stray = crate::samples::stray();
    let attach = Attach { mover_pid: 1, mover_comm: Comm::default(), path: "/".into() };
    for body in [Body::Stray(stray), Body::Moved(attach)] {
        assert_eq!(convert_subject(subject(), body, Extra::default()), None);
    }
}

#[test]
fn what_is_unknown_is_null() {
    let stranger = Subject { uid: 7, cgroup_id: 1, ..subject() };
    let creator = Creator { pid: 50, tid: 51, clone_flags: 0 };
    let record = convert_subject(stranger, Body::Fork(creator), Extra::default()).unwrap();
    assert_eq!((&record["user"], &record["cgroup"]), (&Value::Null, &Value::Null));
}
