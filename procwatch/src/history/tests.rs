mod age;
mod damage;
mod tables;

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
    read::{Account, Border, Query, Reader, User},
    *,
};
use crate::{
    event::ProcessKey,
    files,
    record::{
        ActResult, Alert, Body, Bound, Cleared, Diagnosed, Health, HealthTopic, Kind, Mode, Outcome, Process,
        Record, Result as MoveResult, Severity,
    },
    samples,
    sink::listener::Told,
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

fn has_90(key: ProcessKey) -> Option<u32> {
    (key.pid > 0).then_some(90)
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
        self.writer.write(&batch, now)
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

fn read(path: &Path, query: &Query, boot: &str, now: Moment) -> Result<(Vec<String>, Account), HistoryError> {
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
    scene.writer.write(&batch, moment(10 * SECOND)).unwrap();
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
    assert_eq!(
        kinds(Query { kinds: vec![Kind::Alert, Kind::Health], ..Query::default() }),
        ["alert", "alert", "health"]
    );
    assert_eq!(kinds(Query { pids: vec![1], ..Query::default() }), ["alert", "cleared"]);
    assert_eq!(kinds(Query { comms: vec!["python3".into()], pids: vec![2], ..Query::default() }), ["alert"]);
    assert_eq!(kinds(user(Some(1003), None)), ["outcome"]);
    assert_eq!(kinds(user(None, Some("aimgr"))), ["outcome"]);
    assert_eq!(kinds(user(Some(4_000_000_000), Some("x' OR 1=1 --"))), [""; 0]);
    assert_eq!(
        kinds(Query { limit: Some(2), ..Query::default() }),
        ["outcome", "health"],
        "the last two, in order"
    );
    let ago = |seconds| Some(Border::Ago(Duration::from_secs(seconds)));
    assert_eq!(kinds(Query { since: ago(2), ..Query::default() }), ["outcome", "health"]);
    assert_eq!(kinds(Query { since: ago(4), until: ago(3), ..Query::default() }), ["alert", "cleared"]);
    let at = |second| Some(Border::At(moment(second * SECOND).wall));
    assert_eq!(kinds(Query { since: at(2), until: at(3), ..Query::default() }), ["alert", "cleared"]);
}

#[test]
fn a_slow_reader_is_told_what_was_there_when_it_began_and_holds_nothing_up() {
    let mut scene = Scene::new();
    let bodies = |second: u32| (0..100).map(|pid| alert(100 * second + pid, 80, Severity::Notice)).collect();
    for second in 0..12 {
        scene.try_write(bodies(second), moment(u64::from(second) * SECOND)).unwrap();
    }
    let path = scene.path().to_owned();
    let reader = Reader::open_at(&path, moment(HOUR), "boot-1").unwrap();
    for (limit, pids) in [(None, 0..1200), (Some(700), 500..1200), (Some(9999), 0..1200)] {
        let mut seen = Vec::new();
        let query = Query { limit, ..Query::default() };
        let told = reader.records::<()>(&query, |kept| {
            let Body::Alert(alert) = &kept.record.body else { panic!("{}", kept.line) };
            seen.push(alert.process.pid);
            // Much is written meanwhile.
            if seen.len() % 100 == 0 {
                scene.try_write(bodies(100), moment(100 * SECOND)).unwrap();
            }
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!(told.unwrap().records as usize, seen.len());
        assert_eq!(seen, pids.collect::<Vec<_>>());
        scene.sql("DELETE FROM records WHERE pid >= 1200; PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

#[test]
fn one_who_reads_without_end_does_not_fill_the_disk() {
    let mut scene = Scene::with(|config| config.max_size = 512 << 10);
    scene.write(alert(1, 80, Severity::Notice), moment(0));
    let shell = Connection::open(scene.path()).unwrap();
    shell.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
    let mut batch = |second| {
        let bodies = (0..100).map(|pid| alert(pid, 80, Severity::Notice)).collect();
        scene.try_write(bodies, moment(second * SECOND))
    };
    let refused = (1..100).find_map(|second| batch(second).err()).unwrap().to_string();
    assert!(refused.contains("somebody reads it without end"), "{refused}");
    assert!(batch(100).is_err());
    shell.execute_batch("COMMIT").unwrap();
    batch(101).unwrap();
    let log = fs::metadata(files::with_suffix(scene.path(), "-wal")).unwrap().len();
    assert!(log < 2 << 20, "{log}");
}

#[test]
fn each_breaks_off_when_it_likes() {
    let mut scene = Scene::new();
    (1..10).for_each(|second| scene.write(alert(1, 80, Severity::Notice), moment(second * SECOND)));
    let reader = Reader::open_at(scene.path(), moment(HOUR), "boot-1").unwrap();
    let account = reader.records(&Query::default(), |_| Ok(ControlFlow::Break(()))).unwrap();
    assert_eq!(account.records, 1);
}

#[test]
fn a_reader_sees_what_is_written_while_it_is_written() {
    let mut scene = Scene::new();
    for second in 1..50 {
        scene.write(alert(1, 80, Severity::Notice), moment(second * SECOND));
        assert_eq!(scene.read(&Query::default(), "boot-1", moment(HOUR)).1.records, second);
    }
}
