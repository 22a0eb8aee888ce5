//! One record of each kind, for tests.

use std::path::Path;

use jiff::Timestamp;
use procwatch_common::wire::Trigger;

use crate::{
    cgroup::Mount,
    event::{BootTime, Provenance, Stray, Subject},
    record::{
        Act, ActResult, Action, Alert, Body, Bound, Cgroup, Cleared, Command, Decision, Deed, Diagnosed,
        DiagnosisResult, Exec, Exit, Fork, Health, HealthTopic, Hold, HoldResult, Holds, Loss, Mode,
        Occasion, Outcome, Placement, Process, Quantiles, Reason, Record, Refused, RefusedFor, Result, Ring,
        SeenAt, Severity, Summary, Thread, Uid, Verdict,
    },
    status::{
        self, ConfigStatus, KernelCounts, OutputStatus, PlaceRuleStatus, ProgramStatus, RingStatus, Status,
        ThreadRuleStatus,
    },
    text::{Comm, Text},
};

/// An agent that is not well.
pub(crate) fn status() -> Status {
    let time: Timestamp = "2026-11-22T15:04:05.123456789Z".parse().unwrap();
    let Some(Body::Placement(placement)) = placements().pop() else { unreachable!() };
    let ring = |ring, lost| RingStatus { ring, size_bytes: 65_536, waiting_bytes: 64, sent: 1000, lost };
    Status {
        version: "0.1.0".to_owned(),
        pid: 77,
        time,
        since: time,
        armed_ms: 250,
        mode: Mode::Enforce,
        health: status::Health::Degraded,
        reasons: vec!["webhook ops fails".to_owned()],
        config: ConfigStatus { files: Vec::new(), loaded: time, refused: Some("t.toml:1: …".to_owned()) },
        thread_rules: vec![ThreadRuleStatus {
            rule: "threads[1] comm=python3".to_owned(),
            levels: vec![80],
            cap: None,
            processes: Some(2),
        }],
        place_rules: vec![PlaceRuleStatus {
            rule: "place[1] user=aimgr".to_owned(),
            slice: "user-1003.slice".to_owned(),
            present: true,
            cpus: Some("4-19".to_owned()),
        }],
        unavailable: Vec::new(),
        rings: vec![ring(Ring::Stream, 0), ring(Ring::Urgent, 3)],
        programs: vec![ProgramStatus { name: "task_newtask".to_owned(), runs: 9, run_ns: 2_000_000 }],
        kernel: KernelCounts { argv_unread: 4, names_unread: 0, state_full: 0 },
        pinned: None,
        resident_bytes: 12_000_000,
        cpu_ns: 1_500_000_000,
        processes: 120,
        threads: 400,
        told: Vec::new(),
        placement: Some(placement),
        outputs: vec![OutputStatus {
            name: "webhook ops".to_owned(),
            taken: 9,
            dropped: 2,
            waiting: 0,
            failed: 5,
            error: Some("refused".to_owned()),
        }],
        clients: 0,
        recent: Vec::new(),
    }
}

/// Wraps a body with a time.
pub(crate) fn record(body: Body) -> Record {
    let time: Timestamp = "2026-11-22T15:04:05.123456789Z".parse().unwrap();
    Record { time, boot_ns: 7_123_456_789, body }
}

/// A name of at most 15 bytes.
pub(crate) fn comm(name: &str) -> Comm {
    let mut raw = [0; 16];
    raw[..name.len()].copy_from_slice(name.as_bytes());
    Comm::new(raw)
}

/// An ordinary process of alice.
pub(crate) fn process() -> Process {
    Process {
        pid: 4242,
        tid: 4242,
        ppid: 100,
        uid: 1000,
        euid: 1000,
        user: Some("alice".into()),
        comm: comm("python3"),
        threads: 1,
        start_ns: 1_000,
        cgroup_id: 77,
        cgroup: Some("/user.slice/user-1000.slice/session-2.scope".into()),
        lineage: None,
    }
}

/// A process named python3 of that uid, as the kernel would tell of it.
pub(crate) fn subject(pid: u32, uid: u32) -> Subject {
    Subject {
        pid,
        tid: pid,
        ppid: 100,
        uid,
        euid: uid,
        threads: 1,
        start: BootTime(1),
        cgroup_id: 1,
        comm: comm("python3"),
    }
}

/// A stray of the first rule, seen at an exec.
pub(crate) fn stray() -> Stray {
    Stray { rule: 0, trigger: Trigger::Exec, file: None, provenance: Provenance::default() }
}

/// The process that runs the tests, as the kernel would tell of it.
pub(crate) fn me() -> Subject {
    let pid = std::process::id();
    let (uid, euid) = (nix::unistd::getuid().as_raw(), nix::unistd::geteuid().as_raw());
    let ticks = procfs::process::Process::myself().unwrap().stat().unwrap().starttime;
    let start = BootTime(ticks * 1_000_000_000 / procfs::ticks_per_second());
    Subject { pid, tid: pid, ppid: 0, uid, euid, threads: 1, start, cgroup_id: 0, comm: Comm::default() }
}

/// A cgroup2 hierarchy mounted there.
pub(crate) fn mount(point: &Path) -> Mount {
    Mount {
        point: point.to_owned(),
        controllers: Vec::new(),
        favordynmods: false,
        nsdelegate: false,
        memory_recursiveprot: false,
        whole: true,
    }
}

/// What alice's process runs.
pub(crate) fn command() -> Command {
    let argv = ["python3", "leak.py", "a b"].map(Text::from).to_vec();
    Command { argv: Some(argv), argv_cut_bytes: 0 }
}

/// One record of each kind, in the order of [`Body`].
pub(crate) fn all() -> Vec<Record> {
    let mut bodies = kernel();
    bodies.extend(alerts());
    bodies.extend(placements());
    bodies.extend(actions());
    bodies.extend(own());
    bodies.into_iter().map(record).collect()
}

fn kernel() -> Vec<Body> {
    let thread = Process { tid: 4300, threads: 81, ..process() };
    let ended = Process { threads: 0, ..process() };
    let thread_ended = Process { tid: 4300, threads: 80, ..process() };
    vec![
        Body::Fork(Fork { process: process(), creator_pid: 100, creator_tid: 101 }),
        Body::Thread(Thread { process: thread, creator_tid: 4242 }),
        Body::Exec(Exec { process: process(), file: "/usr/bin/python3".into(), command: command() }),
        Body::Exit(Exit {
            process: ended,
            code: None,
            signal: Some(9),
            core: false,
            lived_ns: 1_234_000_000,
            process_ends: true,
        }),
        Body::ThreadExit(Exit {
            process: thread_ended,
            code: Some(0),
            signal: None,
            core: false,
            lived_ns: 312_000,
            process_ends: false,
        }),
        Body::Uid(Uid {
            process: Process { uid: 1003, euid: 1003, user: Some("aimgr".into()), ..process() },
            old_uid: 1000,
            old_euid: 1000,
            seen_at: SeenAt::Exec,
        }),
        Body::Cgroup(Cgroup { process: process(), mover_pid: 1, mover_comm: comm("systemd") }),
    ]
}

fn alerts() -> Vec<Body> {
    vec![
        Body::Alert(Alert {
            process: Process { tid: 4341, threads: 100, ..process() },
            severity: Severity::Warning,
            bound: Bound::Level,
            level: 100,
            rule: "default".into(),
            growth: None,
            stopped: None,
            creator_tid: Some(4242),
            exe: Some("/usr/bin/python3.11".into()),
            command: command(),
            age_ns: 130_000_000_000,
            latency_ns: Some(85_000),
            at_start: false,
        }),
        Body::Cleared(Cleared {
            process: Process { threads: 79, ..process() },
            severity: Severity::Warning,
            bound: Bound::Level,
            level: 100,
            rule: "default".into(),
            ended: false,
        }),
        Body::Refused(Refused {
            process: Process { threads: 150, ..process() },
            refused: 12_345,
            cap: Some(150),
            enforced: true,
        }),
    ]
}

fn placements() -> Vec<Body> {
    let stray = Process { uid: 1003, euid: 1003, user: Some("aimgr".into()), ..process() };
    vec![
        Body::Decision(Decision {
            process: stray.clone(),
            verdict: Verdict::Move,
            reason: Reason::OutsideSlice,
            rule: "place[1] user=aimgr".into(),
            mode: Mode::Observe,
            target: "/user.slice/user-1003.slice".into(),
            evidence: None,
            session: Some("su-4242-7".into()),
            seen_at: SeenAt::Exec,
            file: Some("/bin/bash".into()),
            loginuid: Some(1000),
            sessionid: None,
            tty: None,
        }),
        Body::Outcome(Outcome {
            process: stray.clone(),
            action: Action::Move,
            result: Result::Verified,
            from: Some("/user.slice/user-1000.slice/session-2.scope".into()),
            to: "/user.slice/user-1003.slice/procwatch.service/su-4242-7".into(),
            session: "su-4242-7".into(),
            error: None,
            outside_ns: Some(1_250_000),
            freed_threads: Some(0),
            strays: Some(0),
            still_outside: Some(0),
        }),
        Body::Hold(Hold {
            process: stray,
            file: "/bin/bash".into(),
            result: HoldResult::Inside,
            held_ns: 1_900_000,
        }),
        Body::Placement(Placement {
            sessions: 1,
            moved: 1,
            strays: 1,
            born_outside: 0,
            left_alone: [(Reason::AlreadyInside, 7)].into(),
            errors: [("EBUSY".to_owned(), 1)].into(),
            outside: times(1_250_000),
            holds: Holds { results: [(HoldResult::Inside, 1)].into(), held: times(1_900_000) },
        }),
    ]
}

/// One that was done, one that was refused, and one that was taken back.
fn actions() -> Vec<Body> {
    let act = Act {
        process: Process { threads: 510, ..process() },
        action: Deed::Throttle,
        undo: false,
        limit: Some(50),
        rule: Some("threads[1] comm=python3".into()),
        occasion: Occasion::Critical,
        mode: Mode::Enforce,
        result: ActResult::Verified,
        reason: None,
        threads_before: Some(510),
        threads_after: Some(512),
        detail: "cpu.max 50000 100000".into(),
        cell: Some("/user.slice/user-1000.slice/procwatch-cell-4242-7.scope".into()),
        took_ns: 41_000_000,
    };
    let refused = Act {
        action: Deed::Kill,
        limit: None,
        result: ActResult::Refused,
        reason: Some(RefusedFor::SessionLeader),
        threads_before: None,
        threads_after: None,
        detail: "it leads session 4242 with a terminal".into(),
        cell: None,
        ..act.clone()
    };
    let undone = Act {
        undo: true,
        limit: None,
        rule: None,
        occasion: Occasion::Hand,
        detail: "back in /user.slice/user-1000.slice/session-2.scope".into(),
        ..act.clone()
    };
    vec![Body::Action(act), Body::Action(refused), Body::Action(undone), diagnosis()]
}

fn diagnosis() -> Body {
    Body::Diagnosis(Box::new(Diagnosed {
        process: Process { threads: 100, ..process() },
        rule: "default".into(),
        occasion: Occasion::Warning,
        result: DiagnosisResult::Cause,
        headline: "/opt/leak.py:12 in scan: Thread(target=scan).start() (counted, 98 %)".into(),
        diagnosis: None,
        took_ns: 210_000_000,
    }))
}

const fn times(ns: u64) -> Quantiles {
    Quantiles { count: 1, p50_ns: ns, p99_ns: ns, max_ns: ns }
}

fn own() -> Vec<Body> {
    vec![
        Body::Loss(Loss {
            ring: Ring::Stream,
            cpu: Some(3),
            lost: 120,
            lost_total: 200,
            hint: "enlarge it with --ring-bytes or filter".into(),
        }),
        Body::Health(Health { topic: HealthTopic::Armed, message: "9 programs attached".into() }),
        Body::Summary(Summary { events: 1234, lost: 0, seconds: 10.0, per_second: 123.4 }),
    ]
}
