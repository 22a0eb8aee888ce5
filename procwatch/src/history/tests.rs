use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rusqlite::Connection;

use super::{
    db::OpenError,
    read::{Account, Border, Query, Reader, User},
    *,
};
use crate::{
    event::ProcessKey,
    record::{
        ActResult, Alert, Body, Bound, Cleared, Diagnosed, Health, HealthTopic, Kind, Mode, Outcome, Process,
        Record, Result as MoveResult, Severity,
    },
    samples,
};

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const HOUR: u64 = 3600 * SECOND;

/// So long after boot, by a clock that is right.
pub(super) fn moment(boot_ns: u64) -> Moment {
    let boot = Timestamp::from_second(1_800_000_000).unwrap();
    Moment { boot_ns, wall: boot + SignedDuration::from_nanos(boot_ns as i64) }
}

fn ahead(moment: Moment, span: SignedDuration) -> Moment {
    Moment { wall: moment.wall + span, ..moment }
}

fn nobody(_: ProcessKey) -> Option<u32> {
    None
}

fn has_90(_: ProcessKey) -> Option<u32> {
    Some(90)
}

/// A history in a folder of its own.
pub(super) struct Scene {
    _folder: tempfile::TempDir,
    config: HistoryConfig,
    writer: Writer,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut HistoryConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config =
            HistoryConfig { path: folder.path().join("lib/history.db"), ..HistoryConfig::default() };
        change(&mut config);
        let writer = Writer::new(config.clone(), "boot-1".to_owned(), nobody);
        Self { _folder: folder, config, writer }
    }

    /// Another agent, in that boot. The one before has said nothing.
    pub(super) fn again(&mut self, boot: &str, look: health::Look) {
        self.writer = Writer::new(self.config.clone(), boot.to_owned(), look);
    }

    /// The last run was another process: pids differ between agents, but not within a test.
    pub(super) fn was_another_process(&self) {
        self.sql("UPDATE runs SET pid = 77 WHERE id = (SELECT max(id) FROM runs)");
    }

    pub(super) fn path(&self) -> &Path {
        &self.config.path
    }

    fn put(&self, content: &[u8]) {
        fs::create_dir_all(self.path().parent().unwrap()).unwrap();
        fs::write(self.path(), content).unwrap();
    }

    fn try_write(&mut self, bodies: Vec<Body>, now: Moment) -> Result<(), OpenError> {
        let told = |body| Told::new(Record { time: now.wall, boot_ns: now.boot_ns, body }).unwrap();
        let batch: Vec<_> = bodies.into_iter().map(told).collect();
        self.writer.write(&batch, None, now)
    }

    pub(super) fn write(&mut self, body: Body, now: Moment) {
        self.try_write(vec![body], now).unwrap();
    }

    pub(super) fn sql(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }

    /// The rows of a question, as text.
    fn ask(&self, sql: &str) -> Vec<Vec<String>> {
        ask(self.path(), sql)
    }

    fn count(&self, table: &str) -> usize {
        self.ask(&format!("SELECT count(*) FROM {table}"))[0][0].parse().unwrap()
    }

    fn read(&self, query: &Query, boot: &str, now: Moment) -> (Vec<String>, Account) {
        read(self.path(), query, boot, now).unwrap()
    }

    fn set_aside(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path().parent().unwrap()).unwrap();
        let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("history.db.")
        });
        found.sort();
        found
    }
}

fn ask(path: &Path, sql: &str) -> Vec<Vec<String>> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map((), |row| {
        (0..columns)
            .map(|at| {
                Ok(match row.get::<_, rusqlite::types::Value>(at)? {
                    rusqlite::types::Value::Text(text) => text,
                    rusqlite::types::Value::Null => "-".to_owned(),
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    other => format!("{other:?}"),
                })
            })
            .collect()
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn read(
    path: &Path,
    query: &Query,
    boot: &str,
    now: Moment,
) -> Result<(Vec<String>, Account), HistoryError> {
    let mut lines = Vec::new();
    let account = Reader::open_at(path, now, boot)?.records(query, |kept| {
        lines.push(kept.line.to_owned());
        Ok(ControlFlow::<()>::Continue(()))
    })?;
    Ok((lines, account))
}

pub(super) fn alert(pid: u32, level: u32, severity: Severity) -> Body {
    let Body::Alert(alert) = samples::all().remove(7).body else { unreachable!() };
    let process = Process { pid, tid: pid, threads: level, ..alert.process };
    Body::Alert(Alert { process, level, severity, bound: Bound::Level, ..alert })
}

pub(super) fn cleared(pid: u32, level: u32, ended: bool) -> Body {
    let Body::Cleared(cleared) = samples::all().remove(8).body else { unreachable!() };
    Body::Cleared(Cleared { process: Process { pid, ..cleared.process }, level, ended, ..cleared })
}

pub(super) fn health(topic: HealthTopic, message: &str) -> Body {
    Body::Health(Health { topic, message: message.to_owned() })
}

pub(super) fn samples_of(kind: Kind) -> Vec<Body> {
    samples::all().into_iter().map(|record| record.body).filter(|body| body.kind() == kind).collect()
}

#[test]
fn records_are_kept_as_they_were_told() {
    let mut scene = Scene::new();
    let batch: Vec<_> = samples::all().into_iter().map(|record| Told::new(record).unwrap()).collect();
    scene.writer.write(&batch, None, moment(10 * SECOND)).unwrap();
    let told: Vec<String> =
        batch.iter().map(|told| String::from_utf8_lossy(&told.line).trim_end().to_owned()).collect();
    let (lines, account) = scene.read(&Query::default(), "boot-1", moment(11 * SECOND));
    assert_eq!(lines, told);
    assert_eq!(account, Account { records: told.len() as u64, damaged: 0 });
    let mode = fs::metadata(scene.path()).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o640);
    // Each view has its rows.
    for (view, kind) in [
        ("alerts", Kind::Alert),
        ("decisions", Kind::Decision),
        ("outcomes", Kind::Outcome),
        ("placements", Kind::Placement),
        ("actions", Kind::Action),
        ("diagnoses", Kind::Diagnosis),
        ("losses", Kind::Loss),
    ] {
        assert_eq!(scene.count(view), samples_of(kind).len(), "{view}");
    }
    let actions = scene.ask("SELECT action, result, reason, threads_after FROM actions");
    assert_eq!(actions[0], ["throttle", "verified", "-", "512"]);
    assert_eq!(actions[1], ["kill", "refused", "session-leader", "-"]);
}

#[test]
fn what_is_wanted_is_found() {
    let mut scene = Scene::new();
    for (second, body) in [
        (1, alert(1, 80, Severity::Notice)),
        (2, alert(2, 100, Severity::Warning)),
        (3, cleared(1, 80, false)),
        (4, samples_of(Kind::Outcome).remove(0)),
        (5, health(HealthTopic::Armed, "armed")),
    ] {
        scene.write(body, moment(second * SECOND));
    }
    let now = moment(6 * SECOND);
    let kinds = |query: Query| {
        let lines = scene.read(&query, "boot-1", now).0;
        let kind = |line: &String| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["kind"].as_str().unwrap().to_owned()
        };
        lines.iter().map(kind).collect::<Vec<_>>()
    };
    let user = |uid, name: Option<&str>| Query {
        users: vec![User { uid, name: name.map(str::to_owned) }],
        ..Query::default()
    };
    assert_eq!(kinds(Query { kinds: vec![Kind::Alert, Kind::Health], ..Query::default() }), ["alert", "alert", "health"]);
    assert_eq!(kinds(Query { pids: vec![1], ..Query::default() }), ["alert", "cleared"]);
    assert_eq!(kinds(Query { comms: vec!["python3".into()], pids: vec![2], ..Query::default() }), ["alert"]);
    assert_eq!(kinds(user(Some(1003), None)), ["outcome"]);
    assert_eq!(kinds(user(None, Some("aimgr"))), ["outcome"]);
    assert_eq!(kinds(user(Some(4_000_000_000), Some("x' OR 1=1 --"))), [""; 0]);
    assert_eq!(kinds(Query { limit: Some(2), ..Query::default() }), ["outcome", "health"], "the last two, in order");
    let ago = |seconds| Some(Border::Ago(Duration::from_secs(seconds)));
    assert_eq!(kinds(Query { since: ago(2), ..Query::default() }), ["outcome", "health"]);
    assert_eq!(kinds(Query { since: ago(4), until: ago(3), ..Query::default() }), ["alert", "cleared"]);
    let at = |second| Some(Border::At(moment(second * SECOND).wall));
    assert_eq!(kinds(Query { since: at(2), until: at(3), ..Query::default() }), ["alert", "cleared"]);
}

#[test]
fn each_breaks_off_when_it_likes() {
    let mut scene = Scene::new();
    (1..10).for_each(|second| scene.write(alert(1, 80, Severity::Notice), moment(second * SECOND)));
    let reader = Reader::open_at(scene.path(), moment(HOUR), "boot-1").unwrap();
    let account = reader.records(&Query::default(), |_| Ok(ControlFlow::Break(()))).unwrap();
    assert_eq!(account.records, 1);
}

const ALERTS: &str = "SELECT severity, component, coalesce(action_taken, '-'), resolved, resolution FROM health_alerts";

#[test]
fn an_alert_is_open_until_it_is_cleared() {
    let mut scene = Scene::new();
    scene.write(alert(1, 100, Severity::Warning), moment(SECOND));
    scene.write(alert(1, 500, Severity::Critical), moment(2 * SECOND));
    scene.write(alert(2, 80, Severity::Notice), moment(3 * SECOND));
    assert_eq!(
        scene.ask(ALERTS),
        [
            ["WARNING", "process python3[1]", "-", "0", "-"],
            ["CRITICAL", "process python3[1]", "-", "0", "-"],
            ["INFO", "process python3[2]", "-", "0", "-"]
        ]
    );
    let message = &scene.ask("SELECT message FROM health_alerts WHERE pid = 2")[0][0];
    assert!(message.starts_with("python3[2] of alice: NOTICE 80 threads (level 80) python3 leak.py"), "{message}");
    scene.write(cleared(1, 500, false), moment(4 * SECOND));
    scene.write(cleared(2, 80, true), moment(5 * SECOND));
    let rows = scene.ask("SELECT level, resolved, resolution, resolved_time FROM health_alerts");
    assert_eq!(rows[0], ["100", "0", "-", "-"]);
    assert_eq!(rows[1], ["500", "1", "cleared", "2027-01-15T08:00:04.000Z"]);
    assert_eq!(rows[2], ["80", "1", "ended", "2027-01-15T08:00:05.000Z"]);
    // The same level is crossed again: a row of its own.
    scene.write(alert(1, 500, Severity::Critical), moment(6 * SECOND));
    assert_eq!(scene.count("health_alerts WHERE level = 500"), 2);
    assert_eq!(scene.ask("SELECT pid, threads FROM high_water ORDER BY pid"), [["1", "500"], ["2", "80"]]);
}

#[test]
fn what_was_done_stands_with_the_alert() {
    let mut scene = Scene::new();
    scene.write(alert(4242, 500, Severity::Critical), moment(SECOND));
    for body in samples_of(Kind::Action).into_iter().chain(samples_of(Kind::Diagnosis)) {
        scene.write(body, moment(2 * SECOND));
    }
    let taken = scene.ask("SELECT action_taken FROM health_alerts");
    assert_eq!(taken.len(), 1);
    let parts: Vec<&str> = taken[0][0].split("; ").collect();
    assert_eq!(parts.len(), 4, "{parts:?}");
    assert!(parts[0].starts_with("throttle to 50% of a CPU: verified, cpu.max 50000 100000"), "{parts:?}");
    assert!(parts[1].starts_with("kill: refused (session-leader)"), "{parts:?}");
    assert!(parts[2].starts_with("undo throttle: verified"), "{parts:?}");
    assert!(parts[3].starts_with("diagnosed: /opt/leak.py:12 in scan"), "{parts:?}");
    assert_eq!(scene.ask("SELECT threads FROM high_water"), [["512"]], "the action measured more");
    // One that nothing was said of, by hand.
    let Body::Action(act) = samples_of(Kind::Action).remove(0) else { unreachable!() };
    let process = Process { pid: 9, ..act.process.clone() };
    scene.write(
        Body::Action(crate::record::Act { process, result: ActResult::Failed, ..act.clone() }),
        moment(3 * SECOND),
    );
    let last = scene.ask(ALERTS).pop().unwrap();
    assert_eq!((&*last[0], &*last[3], &*last[4]), ("WARNING", "1", "at-once"));
    // A rule that acts for ever does not fill the row.
    (0..200).for_each(|_| scene.write(Body::Action(act.clone()), moment(4 * SECOND)));
    let longest = scene.ask("SELECT max(length(action_taken)) FROM health_alerts");
    assert!(longest[0][0].parse::<usize>().unwrap() < 2500, "{longest:?}");
}

#[test]
fn a_stray_is_open_until_it_is_moved() {
    let mut scene = Scene::new();
    let Body::Decision(decision) = samples_of(Kind::Decision).remove(0) else { unreachable!() };
    let Body::Outcome(outcome) = samples_of(Kind::Outcome).remove(0) else { unreachable!() };
    scene.write(Body::Decision(decision.clone()), moment(SECOND));
    assert_eq!(scene.ask(ALERTS), [["INFO", "placement", "none: mode observe", "0", "-"]]);
    let process = Process { pid: 5, ..decision.process.clone() };
    scene.write(
        Body::Decision(crate::record::Decision { process: process.clone(), mode: Mode::Enforce, ..decision }),
        moment(2 * SECOND),
    );
    let outcome = Outcome { process, ..outcome };
    let failed = Outcome { result: MoveResult::Failed, error: Some("EBUSY".into()), ..outcome.clone() };
    scene.write(Body::Outcome(failed), moment(3 * SECOND));
    let row = scene.ask(ALERTS).pop().unwrap();
    assert_eq!((&*row[0], &*row[3]), ("WARNING", "0"), "{row:?}");
    scene.write(Body::Outcome(outcome), moment(4 * SECOND));
    let row = scene.ask(ALERTS).pop().unwrap();
    assert_eq!((&*row[3], &*row[4]), ("1", "moved"), "{row:?}");
    assert!(row[2].contains("EBUSY") && row[2].contains("; moved, verified"), "{row:?}");
}

#[test]
fn refused_threads_are_one_row_until_the_process_ends() {
    let mut scene = Scene::new();
    let Body::Refused(refused) = samples_of(Kind::Refused).remove(0) else { unreachable!() };
    for (second, number, cap) in [(1, 1, Some(150)), (2, 500, Some(150)), (3, 777, None)] {
        let refused = crate::record::Refused { refused: number, cap, ..refused.clone() };
        scene.write(Body::Refused(refused), moment(second * SECOND));
    }
    let rows = scene.ask("SELECT message, resolved, resolution FROM health_alerts");
    assert_eq!(rows.len(), 1);
    assert!(rows[0][0].contains("777 threads refused"), "{rows:?}");
    assert_eq!(rows[0][1..], ["1", "ended"]);
}

#[test]
fn losses_and_faults_are_over_at_once() {
    let mut scene = Scene::new();
    scene.write(samples_of(Kind::Loss).remove(0), moment(SECOND));
    scene.write(health(HealthTopic::Degraded, "log x: no space"), moment(SECOND));
    scene.write(health(HealthTopic::Armed, "armed"), moment(SECOND));
    let expected = [
        ["WARNING", "stream ring", "-", "1", "at-once"],
        ["WARNING", "agent", "-", "1", "at-once"],
    ];
    assert_eq!(scene.ask(ALERTS), expected);
}

#[test]
fn an_agent_that_died_is_told_and_its_alerts_are_looked_after() {
    let mut scene = Scene::new();
    scene.write(alert(1, 100, Severity::Warning), moment(SECOND));
    scene.write(alert(2, 500, Severity::Critical), moment(2 * SECOND));
    scene.was_another_process();
    scene.again("boot-1", has_90);
    scene.write(health(HealthTopic::Armed, "armed"), moment(5 * SECOND));
    let runs = scene.ask("SELECT pid, how, ended_boot_ns FROM runs ORDER BY id");
    assert_eq!(runs[0], ["77", "died", "2000000000"]);
    assert_eq!(runs[1][1..], ["-", "-"]);
    let rows = scene.ask(ALERTS);
    assert_eq!(rows[0][3..], ["0", "-"], "90 threads are not below four fifths of 100");
    assert_eq!(rows[1][3..], ["1", "cleared"], "but of 500");
    assert_eq!(rows[2][..2], ["CRITICAL", "agent"]);
    let message = &scene.ask("SELECT message FROM health_alerts WHERE component = 'agent'")[0][0];
    assert!(message.contains("pid 77, ended without a word; last heard of at 2027-01-15T08:00:02.000Z"), "{message}");
    // It is told of once, and the open one is the new agent's now: its end closes it.
    scene.write(alert(1, 100, Severity::Warning), moment(6 * SECOND));
    assert_eq!(scene.count("health_alerts WHERE pid = 1"), 1, "seen at the start once more");
    scene.write(cleared(1, 100, true), moment(7 * SECOND));
    assert_eq!(scene.ask(ALERTS)[0][3..], ["1", "ended"]);
    assert_eq!(scene.count("health_alerts WHERE component = 'agent'"), 1);
}

#[test]
fn an_agent_that_stopped_is_no_trouble_and_a_boot_closes_all() {
    let mut scene = Scene::new();
    scene.write(alert(1, 100, Severity::Warning), moment(SECOND));
    scene.write(health(HealthTopic::Stopped, "stopped"), moment(2 * SECOND));
    scene.was_another_process();
    scene.again("boot-2", has_90);
    scene.write(health(HealthTopic::Armed, "armed"), moment(SECOND));
    assert_eq!(scene.ask(ALERTS), [["WARNING", "process python3[1]", "-", "1", "reboot"]]);
    assert_eq!(scene.ask("SELECT how FROM runs"), [["stopped"], ["-"]]);
    assert_eq!(scene.ask("SELECT boot_id FROM boots ORDER BY id"), [["boot-1"], ["boot-2"]]);
}

#[test]
fn a_history_that_is_closed_and_opened_again_is_one_run() {
    let mut scene = Scene::new();
    scene.write(health(HealthTopic::Armed, "armed"), moment(SECOND));
    let config = scene.config.clone();
    let old = std::mem::replace(&mut scene.writer, Writer::new(config, "boot-1".to_owned(), nobody));
    old.finish(moment(2 * SECOND));
    assert_eq!(scene.ask("SELECT how, ended_boot_ns FROM runs"), [["closed", "2000000000"]]);
    scene.write(health(HealthTopic::Degraded, "x"), moment(3 * SECOND));
    assert_eq!(scene.ask("SELECT id, how, ended_ns FROM runs"), [["1", "-", "-"]]);
}

#[test]
fn values_are_written_when_they_are_due() {
    let mut scene = Scene::new();
    scene.again("boot-1", has_90);
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    let metric = Metric { component: "agent".into(), metric: "resident_memory", value: 7.0, unit: "bytes" };
    let told = Told::new(samples::record(health(HealthTopic::Degraded, "x"))).unwrap();
    scene.writer.write(&[told], Some(&[metric]), moment(2 * SECOND)).unwrap();
    let rows = scene.ask("SELECT component, metric, CAST(value AS INTEGER), unit, time FROM health_metrics");
    assert_eq!(rows[0], ["process python3[1]", "threads", "80", "threads", "2027-01-15T08:00:01.000Z"]);
    assert_eq!(rows[1], ["agent", "resident_memory", "7", "bytes", "2027-01-15T08:00:02.000Z"]);
    assert_eq!(rows[2][..3], ["process python3[1]", "threads", "90"], "its alert is open, so it was looked at");
    assert_eq!(scene.ask("SELECT threads FROM high_water"), [["90"]]);
    let mut pace = Pace::default();
    let due: Vec<bool> = [0, 59, 60, 119, 121].map(|second| pace.is_due(moment(second * SECOND))).to_vec();
    assert_eq!(due, [true, false, true, false, true]);
}

#[test]
fn what_is_old_goes_by_the_kernels_clock() {
    let mut scene = Scene::with(|config| config.keep = Duration::from_hours(2));
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    scene.write(alert(2, 80, Severity::Notice), moment(2 * SECOND));
    scene.write(cleared(2, 80, true), moment(HOUR));
    // A clock that jumps ahead by a day, and back by one, makes nothing older.
    for day in [24, -24] {
        scene.write(health(HealthTopic::Degraded, "x"), ahead(moment(HOUR + 90 * SECOND), SignedDuration::from_hours(day)));
    }
    assert_eq!(scene.count("records"), 5);
    scene.write(health(HealthTopic::Degraded, "y"), moment(2 * HOUR + 3 * SECOND));
    assert_eq!(scene.ask("SELECT kind FROM records ORDER BY id"), [["cleared"], ["health"], ["health"], ["health"]]);
    assert_eq!(
        scene.ask("SELECT pid FROM health_alerts WHERE pid IS NOT NULL"),
        [["1"]],
        "that of 1 is open still"
    );
}

#[test]
fn a_jump_of_the_clock_deletes_nothing_of_earlier_boots() {
    let mut scene = Scene::with(|config| config.keep = Duration::from_hours(2));
    scene.write(alert(1, 80, Severity::Notice), moment(HOUR));
    scene.was_another_process();
    scene.again("boot-2", nobody);
    // The next boot begins half an hour later, with a clock that is a day ahead for its first minutes.
    let now = |boot_ns| ahead(moment(boot_ns), SignedDuration::from_mins(90));
    let wrong = |boot_ns| ahead(now(boot_ns), SignedDuration::from_hours(24));
    for minutes in [1, 3, 5] {
        scene.write(health(HealthTopic::Degraded, "x"), wrong(minutes * 60 * SECOND));
    }
    assert_eq!(scene.count("records WHERE boot = 1"), 1);
    scene.write(health(HealthTopic::Degraded, "x"), now(7 * 60 * SECOND));
    scene.write(health(HealthTopic::Degraded, "x"), now(80 * 60 * SECOND));
    assert_eq!(scene.count("records WHERE boot = 1"), 1, "110 minutes old");
    scene.write(health(HealthTopic::Degraded, "x"), now(100 * 60 * SECOND));
    assert_eq!(scene.count("records WHERE boot = 1"), 0, "130 minutes old");
    assert_eq!(scene.ask("SELECT boot_id FROM boots"), [["boot-2"]], "nothing is left of it");
}

#[test]
fn order_and_borders_survive_a_clock_that_is_set_back() {
    let mut scene = Scene::new();
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    scene.write(alert(2, 80, Severity::Notice), ahead(moment(2 * SECOND), SignedDuration::from_hours(-24)));
    scene.write(alert(3, 80, Severity::Notice), ahead(moment(3 * SECOND), SignedDuration::from_hours(24)));
    scene.write(alert(4, 80, Severity::Notice), moment(4 * SECOND));
    let pids = |query: &Query| {
        let lines = scene.read(query, "boot-1", moment(5 * SECOND)).0;
        let pid = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["pid"].as_u64().unwrap();
        lines.iter().map(pid).collect::<Vec<_>>()
    };
    assert_eq!(pids(&Query::default()), [1, 2, 3, 4]);
    assert_eq!(pids(&Query { since: Some(Border::Ago(Duration::from_secs(3))), ..Query::default() }), [2, 3, 4]);
}

#[test]
fn the_oldest_goes_when_it_is_too_much() {
    let mut scene = Scene::with(|config| config.max_size = 512 << 10);
    let mut largest = 0;
    for second in 0..40 {
        let bodies = (0..100).map(|pid| alert(pid, 80, Severity::Notice)).collect();
        scene.try_write(bodies, moment(second * SECOND)).unwrap();
        scene.sql("PRAGMA wal_checkpoint(TRUNCATE)");
        largest = largest.max(fs::metadata(scene.path()).unwrap().len());
    }
    assert!(largest <= 640 << 10, "{largest}");
    let kept = scene.count("records");
    assert!((100..1000).contains(&kept), "{kept}");
    let rows = scene.ask("SELECT min(boot_ns), max(boot_ns) FROM records");
    assert!(rows[0][0].parse::<u64>().unwrap() > 20 * SECOND, "the oldest went: {rows:?}");
    assert_eq!(rows[0][1], (39 * SECOND).to_string());
    assert_eq!(scene.ask("PRAGMA integrity_check"), [["ok"]]);
}

#[test]
fn a_file_that_is_no_history_is_set_aside() {
    let foreign = |scene: &Scene, sql: &str| {
        fs::create_dir_all(scene.path().parent().unwrap()).unwrap();
        scene.sql(sql);
    };
    type Make = fn(&Scene, &dyn Fn(&Scene, &str));
    let cases: [(&str, Make, &str); 5] = [
        ("corrupt", |scene, _| scene.put(&[b"no database at all ".as_slice(); 300].concat()), "not a database"),
        ("foreign", |scene, foreign| foreign(scene, "CREATE TABLE mine (x)"), "some other program"),
        ("foreign", |scene, foreign| foreign(scene, "PRAGMA application_id = 7; CREATE TABLE a (x)"), "some other program"),
        (
            "later",
            |scene, foreign| {
                foreign(scene, "PRAGMA application_id = 0x70776864; PRAGMA user_version = 99; CREATE TABLE a (x)");
            },
            "a later procwatch wrote it (form 99",
        ),
        ("corrupt", |scene, _| scene.put(&[b"SQLite format 3\0".as_slice(), &[0xa5; 8000]].concat()), ""),
    ];
    for (what, make, why) in cases {
        let mut scene = Scene::new();
        make(&scene, &foreign);
        let before = fs::read(scene.path()).unwrap();
        scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
        let aside = scene.set_aside();
        assert_eq!(aside.len(), 1, "{what} {why}: {aside:?}");
        let name = aside[0].file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(name, format!("history.db.{what}-20270115T080001Z"));
        assert_eq!(fs::read(&aside[0]).unwrap(), before, "nothing of it was changed");
        let notes = scene.writer.notes();
        assert!(notes.len() == 1 && notes[0].contains(why) && notes[0].contains(&name), "{notes:?}");
        assert_eq!(scene.count("records"), 1);
    }
}

#[test]
fn a_file_that_goes_bad_while_it_is_written_is_set_aside() {
    let mut scene = Scene::new();
    let bodies = |count| (0..count).map(|pid| alert(pid, 80, Severity::Notice)).collect::<Vec<_>>();
    scene.try_write(bodies(300), moment(SECOND)).unwrap();
    scene.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    // All but the first page is noise.
    let mut bytes = fs::read(scene.path()).unwrap();
    bytes[4096..].fill(0xa5);
    use std::os::unix::fs::FileExt as _;
    let file = fs::OpenOptions::new().write(true).open(scene.path()).unwrap();
    file.write_all_at(&bytes[4096..], 4096).unwrap();
    drop(file);
    scene.writer = Writer::new(scene.config.clone(), "boot-1".to_owned(), nobody);
    scene.try_write(bodies(3), moment(2 * SECOND)).unwrap();
    assert_eq!(scene.count("records"), 3, "the batch is in the new file, once");
    let notes = scene.writer.notes();
    assert!(notes.len() == 1 && notes[0].contains("history.db.corrupt-20270115T080002Z"), "{notes:?}");
    // A disk that goes on like that does not fill up with it.
    for second in 3..12 {
        scene.writer = Writer::new(scene.config.clone(), "boot-1".to_owned(), nobody);
        scene.put(b"bad");
        scene.write(alert(1, 80, Severity::Notice), moment(second * SECOND));
    }
    let mut corrupt = scene.set_aside();
    corrupt.retain(|path| path.extension().is_some_and(|it| it.to_string_lossy().ends_with('Z')));
    assert_eq!(corrupt.len(), 4, "{corrupt:?}");
}

#[test]
fn a_file_that_is_taken_away_is_made_again() {
    let mut scene = Scene::new();
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    fs::remove_dir_all(scene.path().parent().unwrap()).unwrap();
    scene.write(alert(2, 80, Severity::Notice), moment(2 * SECOND));
    assert_eq!(scene.ask("SELECT pid FROM records"), [["2"]]);
}

#[test]
fn a_file_that_cannot_be_written_costs_the_batch_and_no_more() {
    let mut scene = Scene::new();
    fs::create_dir_all(scene.path()).unwrap();
    let error = scene.try_write(vec![alert(1, 80, Severity::Notice)], moment(SECOND)).unwrap_err();
    assert!(matches!(error, OpenError::Io(_)), "{error}");
    fs::remove_dir(scene.path()).unwrap();
    scene.write(alert(2, 80, Severity::Notice), moment(2 * SECOND));
    assert_eq!(scene.ask("SELECT pid FROM records"), [["2"]]);
}

#[test]
fn hostile_text_is_text_in_every_column() {
    let mut scene = Scene::new();
    let evil = "'); DROP TABLE records; --\u{1b}[2J<script>\u{202e}\0\n";
    let body = |pid| {
        let Body::Alert(mut alert) = alert(pid, 80, Severity::Notice) else { unreachable!() };
        alert.process.comm = samples::comm("x'\u{1b}[2J\n<b>&");
        alert.process.user = Some(evil.into());
        alert.process.cgroup = Some(evil.into());
        alert.exe = Some(evil.into());
        alert.rule = evil.to_owned();
        alert.command.argv = Some(vec![evil.into()]);
        Body::Alert(alert)
    };
    let Body::Diagnosis(found) = samples_of(Kind::Diagnosis).remove(0) else { unreachable!() };
    let diagnosed = Diagnosed { headline: evil.to_owned(), ..*found };
    let bodies = vec![body(4242), Body::Diagnosis(Box::new(diagnosed)), health(HealthTopic::Degraded, evil)];
    scene.try_write(bodies, moment(SECOND)).unwrap();
    assert_eq!(scene.count("records"), 3);
    for table in ["records", "health_alerts", "health_metrics", "high_water"] {
        for row in scene.ask(&format!("SELECT * FROM {table}")) {
            for column in row {
                assert!(!column.chars().any(char::is_control), "{table}: {column:?}");
            }
        }
    }
    let (lines, account) = scene.read(&Query::default(), "boot-1", moment(2 * SECOND));
    assert_eq!((lines.len(), account.damaged), (3, 0));
}

#[test]
fn a_row_that_is_no_record_is_passed_over() {
    let mut scene = Scene::new();
    scene.write(alert(1, 80, Severity::Notice), moment(SECOND));
    scene.write(alert(2, 80, Severity::Notice), moment(2 * SECOND));
    for line in ["'{\"kind\":\"alert\"'", "x'00ff'", "17", "'{\"kind\":\"spoon\"}'"] {
        scene.sql(&format!("UPDATE records SET line = {line} WHERE id = 1"));
        let (lines, account) = scene.read(&Query::default(), "boot-1", moment(3 * SECOND));
        assert_eq!((lines.len(), account), (1, Account { records: 1, damaged: 1 }), "{line}");
    }
}

#[test]
fn what_is_no_history_is_not_read() {
    let scene = Scene::new();
    let why = |path: &Path| read(path, &Query::default(), "b", moment(0)).unwrap_err().to_string();
    assert!(why(scene.path()).contains("there is no history yet"), "{}", why(scene.path()));
    scene.put(b"hello, this is no database");
    assert!(why(scene.path()).contains("not a database"), "{}", why(scene.path()));
    let foreign = scene.path().with_file_name("f.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE a (x)").unwrap();
    assert!(why(&foreign).contains("is no history of procwatch"), "{}", why(&foreign));
    assert!(why(scene.path().parent().unwrap()).contains("history") || why(scene.path().parent().unwrap()).contains("lib"));
}

#[test]
fn a_reader_sees_what_is_written_while_it_is_written() {
    let mut scene = Scene::new();
    for second in 1..50 {
        scene.write(alert(1, 80, Severity::Notice), moment(second * SECOND));
        assert_eq!(scene.read(&Query::default(), "boot-1", moment(HOUR)).1.records, second);
    }
}

/// A good history of a few kilobytes.
fn good() -> &'static [u8] {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| {
        let mut scene = Scene::new();
        for second in 0..30 {
            scene.write(alert(1, 80, Severity::Notice), moment(second * SECOND));
        }
        let config = scene.config.clone();
        std::mem::replace(&mut scene.writer, Writer::new(config, String::new(), nobody)).finish(moment(HOUR));
        fs::read(scene.path()).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is damaged, reading ends with records or an error, and so does writing: with a new file if need be.
    #[test]
    fn damage_is_survived(
        at in proptest::collection::vec((0..60_000_usize, any::<u8>()), 1..40),
        cut in proptest::option::of(0..60_000_usize),
    ) {
        let mut bytes = good().to_vec();
        for (at, byte) in at {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut % bytes.len());
        }
        let mut scene = Scene::new();
        scene.put(&bytes);
        if let Ok((lines, account)) = read(scene.path(), &Query::default(), "boot-1", moment(HOUR)) {
            prop_assert_eq!(lines.len() as u64, account.records);
        }
        let written = scene.try_write(vec![alert(2, 100, Severity::Warning)], moment(2 * HOUR));
        prop_assert!(written.is_ok(), "{:?}", written);
    }
}
