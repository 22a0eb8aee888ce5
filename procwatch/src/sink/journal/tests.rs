use std::{os::unix::net::UnixDatagram, path::Path};

use super::*;
use crate::{
    record::{Exec, Record},
    samples::{self, comm, command, record},
    sink::listener::Listener,
};

fn shown(record: Record) -> String {
    let told = Told::new(record).unwrap();
    let mut lines = Human::new(io::sink(), Style::default());
    String::from_utf8(entry(&told, &mut lines).as_bytes().to_vec()).unwrap()
}

fn of_kind(wanted: &str) -> Record {
    samples::all().into_iter().find(|record| record.body.kind().name() == wanted).unwrap()
}

/// The value of a field, and that there is no second one.
fn value<'t>(entry: &'t str, name: &str) -> Option<&'t str> {
    let mut values = entry.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next();
    assert_eq!(values.next(), None, "{entry}");
    value
}

#[test]
fn an_alert_can_be_asked_for_by_everything_that_matters() {
    let entry = shown(of_kind("alert"));
    for (name, wanted) in [
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "procwatch"),
        ("PROCWATCH_KIND", "alert"),
        ("PROCWATCH_PID", "4242"),
        ("PROCWATCH_START_NS", "1000"),
        ("PROCWATCH_UID", "1000"),
        ("PROCWATCH_USER", "alice"),
        ("PROCWATCH_COMM", "python3"),
        ("PROCWATCH_CGROUP", "/user.slice/user-1000.slice/session-2.scope"),
        ("PROCWATCH_SEVERITY", "warning"),
        ("PROCWATCH_BOUND", "level"),
    ] {
        assert_eq!(value(&entry, name), Some(wanted), "{name} in {entry}");
    }
    let message = value(&entry, "MESSAGE").unwrap();
    assert!(
        message
            .starts_with("alert          4242    4341     100 alice    python3         WARNING 100 threads")
    );
    let json: Record = serde_json::from_str(value(&entry, "PROCWATCH_JSON").unwrap()).unwrap();
    assert_eq!(json.body.kind().name(), "alert");
}

#[test]
fn every_kind_of_record_has_an_entry() {
    for record in samples::all() {
        let name = record.body.kind().name();
        let has_process = record.body.process().is_some();
        let entry = shown(record);
        assert_eq!(value(&entry, "PROCWATCH_KIND"), Some(name));
        assert!(value(&entry, "MESSAGE").unwrap().starts_with(name), "{entry}");
        assert_eq!(value(&entry, "PROCWATCH_PID").is_some(), has_process, "{entry}");
    }
    assert_eq!(value(&shown(of_kind("health")), "PROCWATCH_PID"), None);
    assert_eq!(value(&shown(of_kind("action")), "PROCWATCH_ACTION"), Some("throttle"));
    assert_eq!(value(&shown(of_kind("decision")), "PROCWATCH_RULE"), Some("place[1] user=aimgr"));
}

#[test]
fn hostile_text_makes_no_fields() {
    let mut body = Exec { process: samples::process(), file: "/x\nPRIORITY=0".into(), command: command() };
    body.process.comm = comm("a\nPRIORITY=0");
    body.process.user = Some("u\n\x1b[2J".into());
    let entry = shown(record(Body::Exec(body)));
    assert_eq!(value(&entry, "PRIORITY"), Some("6"));
    assert_eq!(value(&entry, "PROCWATCH_COMM"), Some("a\\nPRIORITY=0"));
    assert_eq!(value(&entry, "PROCWATCH_USER"), Some("u\\n\\x1b[2J"));
}

#[test]
fn gravity_follows_the_severity() {
    let graded = |severity| {
        let mut record = of_kind("alert");
        if let Body::Alert(alert) = &mut record.body {
            alert.severity = severity;
        }
        priority(&record.body)
    };
    let severities = Severity::ALL;
    assert_eq!(
        severities.map(graded),
        [Priority::Notice, Priority::Warning, Priority::Critical, Priority::Alert]
    );
}

fn journal_at(path: &Path) -> (Box<Queued>, tokio::sync::mpsc::Receiver<String>) {
    let (complaints, made) = Complaints::channel();
    let socket = Socket::to(path, Some(Duration::from_millis(10))).unwrap();
    (Box::new(over(socket, complaints).unwrap()), made)
}

#[test]
fn what_is_told_is_written_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let listening = UnixDatagram::bind(&path).unwrap();
    let (mut journal, _complaints) = journal_at(&path);
    for record in [of_kind("alert"), of_kind("health")] {
        journal.on(&Told::new(record).unwrap());
    }
    journal.finish();
    let kinds = [(); 2].map(|()| {
        let mut buffer = vec![0; 1 << 16];
        let length = listening.recv(&mut buffer).unwrap();
        let entry = String::from_utf8(buffer[..length].to_vec()).unwrap();
        value(&entry, "PROCWATCH_KIND").unwrap().to_owned()
    });
    assert_eq!(kinds, ["alert", "health"]);
}

#[test]
fn a_journal_that_is_not_there_is_told_once_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut complaints) = journal_at(&folder.path().join("nobody"));
    for _ in 0..3 {
        journal.on(&Told::new(of_kind("alert")).unwrap());
    }
    let begun = Instant::now();
    while journal.status().failed < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", journal.status());
        std::thread::yield_now();
    }
    let status = journal.status();
    assert_eq!((status.taken, status.dropped, status.failed), (0, 3, 3));
    assert!(status.error.unwrap().starts_with("No such file"));
    journal.finish();
    let made = complaints.try_recv().unwrap();
    assert!(made.starts_with("the journal: No such file"), "{made}");
    assert!(complaints.try_recv().is_err(), "once");
}

#[test]
fn a_journal_that_takes_nothing_costs_records_and_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let _deaf = UnixDatagram::bind(&path).unwrap();
    let (complaints, _made) = Complaints::channel();
    let socket = Socket::to(&path, Some(Duration::from_mins(1))).unwrap();
    let mut journal = over(socket, complaints).unwrap();
    let told = Told::new(of_kind("alert")).unwrap();
    let begun = Instant::now();
    while journal.status().dropped == 0 {
        journal.on(&told);
        assert!(begun.elapsed() < Duration::from_secs(30), "its queue has an end");
    }
    let before = journal.status();
    journal.on(&told);
    assert_eq!(journal.status().dropped, before.dropped + 1);
}
