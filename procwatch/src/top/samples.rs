//! An agent of a small machine, for tests.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::model::{Model, Picture, Row, Viewer};
use crate::{
    record::{Body, Health as HealthRecord, HealthTopic, Mode, Process, Record, Ring},
    samples,
    status::{ConfigStatus, Health, KernelCounts, PlaceRuleStatus, ProcessRow, RingStatus, Status},
    text::Comm,
};

/// Seconds after 15:04:05.
pub(super) fn at(second: i64) -> Timestamp {
    let begin: Timestamp = "2026-11-22T15:04:05Z".parse().unwrap();
    begin + SignedDuration::from_secs(second)
}

/// A python3 of alice.
pub(crate) fn process(pid: u32, threads: u32) -> ProcessRow {
    ProcessRow {
        pid,
        start_ns: 1_000,
        ppid: 1,
        uid: 1000,
        user: Some("alice".to_owned()),
        comm: Comm::of_name(b"python3"),
        cgroup: Some("/user.slice/user-1000.slice/session-2.scope".into()),
        threads,
        creations: None,
        rule: "default".to_owned(),
        alert: None,
    }
}

/// A row that did not grow.
pub(super) fn row(process: ProcessRow) -> Row {
    Row { process, growth: 0, minute: 0, per_second: 0 }
}

/// A placement rule of a slice.
pub(super) fn place_rule(slice: &str, cpus: Option<&str>) -> PlaceRuleStatus {
    PlaceRuleStatus {
        rule: format!("uid 1003 → {slice}"),
        slice: slice.to_owned(),
        present: cpus.is_some(),
        cpus: cpus.map(str::to_owned),
    }
}

/// The agent at a second.
pub(super) fn status(second: i64, processes: &[ProcessRow]) -> Status {
    Status {
        version: "0.1.0".to_owned(),
        pid: 900,
        time: at(second),
        since: at(-3600),
        armed_ms: 40,
        mode: Mode::Enforce,
        health: Health::Ok,
        reasons: Vec::new(),
        config: ConfigStatus {
            files: vec!["/etc/procwatch/procwatch.toml".into()],
            loaded: at(-3600),
            refused: None,
        },
        thread_rules: Vec::new(),
        place_rules: vec![place_rule("user-1003.slice", Some("4-19"))],
        unavailable: Vec::new(),
        rings: vec![RingStatus {
            ring: Ring::Urgent,
            size_bytes: 1 << 20,
            waiting_bytes: 0,
            sent: 7,
            lost: 0,
        }],
        programs: Vec::new(),
        kernel: KernelCounts::default(),
        pinned: None,
        resident_bytes: 9 << 20,
        cpu_ns: 0,
        processes: processes.len() as u32,
        threads: processes.iter().map(|row| u64::from(row.threads)).sum(),
        told: Vec::new(),
        placement: None,
        outputs: Vec::new(),
        clients: 1,
        recent: Vec::new(),
    }
}

/// A picture of these.
pub(super) fn picture(second: i64, processes: Vec<ProcessRow>) -> Picture {
    Picture { status: Box::new(status(second, &processes)), processes }
}

fn named(pid: u32, ppid: u32, user: (u32, &str), comm: &str, cgroup: &str, threads: u32) -> ProcessRow {
    ProcessRow {
        ppid,
        uid: user.0,
        user: Some(user.1.to_owned()),
        comm: Comm::of_name(comm.as_bytes()),
        cgroup: Some(cgroup.into()),
        ..process(pid, threads)
    }
}

/// Who lives on that machine. `leaked` threads are those of a program of aimgr's that explodes.
pub(super) fn processes(leaked: u32) -> Vec<ProcessRow> {
    const ROOT: (u32, &str) = (0, "root");
    const DESK: (u32, &str) = (1000, "desk");
    const AIMGR: (u32, &str) = (1003, "aimgr");
    let alert = match leaked {
        0..100 => None,
        100..500 => Some("warning"),
        _ => Some("critical"),
    };
    let mut all = vec![
        named(1, 0, ROOT, "systemd", "/init.scope", 1),
        named(900, 1, ROOT, "procwatch", "/system.slice/procwatch.service", 3),
        named(
            950,
            1,
            DESK,
            "gnome-terminal-",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/t",
            5,
        ),
        named(951, 950, DESK, "bash", "/user.slice/user-1000.slice/user@1000.service/app.slice/t", 1),
        named(960, 951, DESK, "top", "/user.slice/user-1000.slice/user@1000.service/app.slice/t", 4),
        ProcessRow {
            creations: (leaked > 64).then(|| u64::from(leaked) * 2),
            alert: alert.map(str::to_owned),
            rule: "threads \"ai\"".to_owned(),
            ..named(4242, 1, AIMGR, "python3", "/user.slice/user-1003.slice/session-9.scope", leaked)
        },
        named(
            4300,
            951,
            AIMGR,
            "日本\u{1b}[31m",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/t",
            2,
        ),
    ];
    all.extend((0..20).map(|number| {
        let cgroup = format!("/system.slice/worker@{number}.service");
        ProcessRow { user: None, uid: 5000 + number, ..named(2000 + number, 1, ROOT, "worker", &cgroup, 8) }
    }));
    all
}

/// One who is root looks, at UTC.
pub(super) fn viewer() -> Viewer {
    Viewer { is_root: true, pid: 960, zone: TimeZone::UTC }
}

/// Nothing grows.
pub(super) fn model() -> Model {
    let mut model = Model::new(viewer());
    model.look(picture(0, processes(30)));
    model.fit(10, 10, 0);
    model
}

/// Records as they might come: an alert, what was done, a placement.
pub(super) fn records() -> Vec<Record> {
    let leaking = |process: &mut Process| {
        process.pid = 4242;
        process.comm = Comm::of_name(b"python3");
    };
    let mut records: Vec<Record> = samples::all()
        .into_iter()
        .filter(|record| {
            matches!(
                record.body,
                Body::Alert(_) | Body::Action(_) | Body::Decision(_) | Body::Outcome(_) | Body::Loss(_)
            )
        })
        .collect();
    for record in &mut records {
        match &mut record.body {
            Body::Alert(alert) => leaking(&mut alert.process),
            Body::Action(act) => leaking(&mut act.process),
            _ => {}
        }
    }
    let message = "the log's disk is full\u{1b}[2J".to_owned();
    records.push(samples::record(Body::Health(HealthRecord { topic: HealthTopic::Degraded, message })));
    records
}

/// A machine on which a program of aimgr's explodes.
pub(super) fn exploding() -> Model {
    let mut model = Model::new(viewer());
    for (second, leaked) in [(0, 30), (1, 60), (2, 200), (3, 412)] {
        model.look(picture(second, processes(leaked)));
    }
    for record in records() {
        model.tell(&record);
    }
    model
}
