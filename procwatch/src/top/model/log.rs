//! What the agent told, as lines.

use std::collections::VecDeque;

use jiff::tz::TimeZone;

use crate::{
    event::{BootTime, ProcessKey},
    record::{Body, HealthTopic, Record, Severity},
    sink::human,
    text::escape,
};

/// Lines of each topic that are kept.
const KEPT: usize = 300;
/// Columns that a foreign text may take in a line.
const COLUMNS: usize = 160;

/// Which page a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Alerts, actions, diagnoses, losses, health.
    Alerts,
    /// Placement.
    Placements,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Time of day.
    pub time: String,
    /// Kind of record.
    pub kind: &'static str,
    /// How grave; null for what is no alert.
    pub severity: Option<Severity>,
    /// Whom it is about; `None` when it is about procwatch itself.
    pub process: Option<ProcessKey>,
    /// The process' name, escaped.
    pub comm: String,
    /// The rest, escaped.
    pub text: String,
    boot_ns: u64,
}

/// All lines, oldest first.
#[derive(Debug)]
pub struct Log {
    zone: TimeZone,
    alerts: VecDeque<Entry>,
    placements: VecDeque<Entry>,
}

impl Log {
    /// Times of day are those of `zone`.
    pub const fn new(zone: TimeZone) -> Self {
        Self { zone, alerts: VecDeque::new(), placements: VecDeque::new() }
    }

    /// Takes a record in, in its place by time; one that is there already, or of another kind, is left out.
    pub fn add(&mut self, record: &Record) {
        let Some(topic) = topic(&record.body) else { return };
        let entry = self.entry(record);
        let lines = match topic {
            Topic::Alerts => &mut self.alerts,
            Topic::Placements => &mut self.placements,
        };
        let after = lines.iter().rposition(|line| line.boot_ns <= entry.boot_ns).map_or(0, |at| at + 1);
        let is_there = lines
            .iter()
            .take(after)
            .rev()
            .take_while(|line| line.boot_ns == entry.boot_ns)
            .any(|line| *line == entry);
        let is_too_old = after == 0 && lines.len() == KEPT;
        if is_there || is_too_old {
            return;
        }
        lines.insert(after, entry);
        if lines.len() > KEPT {
            lines.pop_front();
        }
    }

    /// The lines of a topic, oldest first.
    pub const fn lines(&self, topic: Topic) -> &VecDeque<Entry> {
        match topic {
            Topic::Alerts => &self.alerts,
            Topic::Placements => &self.placements,
        }
    }

    /// All lines about a process, oldest first.
    pub fn about(&self, process: ProcessKey) -> Vec<&Entry> {
        let all = self.alerts.iter().chain(&self.placements);
        let mut lines: Vec<&Entry> = all.filter(|line| line.process == Some(process)).collect();
        lines.sort_by_key(|line| line.boot_ns);
        lines
    }

    fn entry(&self, record: &Record) -> Entry {
        let process = record.body.process();
        let local = self.zone.to_datetime(record.time);
        Entry {
            time: local.strftime("%H:%M:%S").to_string(),
            kind: record.body.kind().name(),
            severity: severity(&record.body),
            process: process.map(|it| ProcessKey { pid: it.pid, start: BootTime(it.start_ns) }),
            comm: process.map(|it| it.comm.to_string()).unwrap_or_default(),
            text: text(&record.body),
            boot_ns: record.boot_ns,
        }
    }
}

const fn topic(body: &Body) -> Option<Topic> {
    match body {
        // It is the first that whoever listens is told, and says no more than that.
        Body::Health(health) if matches!(health.topic, HealthTopic::Armed) => None,
        Body::Alert(_)
        | Body::Cleared(_)
        | Body::Refused(_)
        | Body::Action(_)
        | Body::Diagnosis(_)
        | Body::Loss(_)
        | Body::Health(_) => Some(Topic::Alerts),
        Body::Decision(_) | Body::Outcome(_) | Body::Hold(_) | Body::Placement(_) => Some(Topic::Placements),
        Body::Fork(_)
        | Body::Thread(_)
        | Body::Exec(_)
        | Body::Exit(_)
        | Body::ThreadExit(_)
        | Body::Uid(_)
        | Body::Cgroup(_)
        | Body::Summary(_) => None,
    }
}

const fn severity(body: &Body) -> Option<Severity> {
    match body {
        Body::Alert(alert) => Some(alert.severity),
        Body::Refused(_) | Body::Loss(_) => Some(Severity::Warning),
        Body::Health(health) if matches!(health.topic, HealthTopic::Degraded | HealthTopic::Refused) => {
            Some(Severity::Warning)
        }
        _ => None,
    }
}

/// What is particular to a record, in one line.
fn text(body: &Body) -> String {
    let line = human::detail_line(body, COLUMNS);
    if line.contains(char::is_control) { escape(line.as_bytes()).into_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::Health, samples};

    fn log() -> Log {
        Log::new(TimeZone::UTC)
    }

    fn stamped(boot_ns: u64, record: &Record) -> Record {
        Record { boot_ns, ..record.clone() }
    }

    fn alert() -> Record {
        samples::all().into_iter().find(|record| matches!(record.body, Body::Alert(_))).unwrap()
    }

    #[test]
    fn every_kind_has_its_page_or_none() {
        let mut log = log();
        for record in samples::all() {
            log.add(&record);
        }
        let message = "the log fails".to_owned();
        log.add(&samples::record(Body::Health(Health { topic: HealthTopic::Degraded, message })));
        let health = log.lines(Topic::Alerts).iter().filter(|line| line.kind == "health").count();
        assert_eq!(health, 1, "that it is armed is no news");
        let kinds = |topic| log.lines(topic).iter().map(|line| line.kind).collect::<Vec<_>>();
        let alerts = kinds(Topic::Alerts);
        for kind in ["alert", "cleared", "refused", "action", "diagnosis", "loss", "health"] {
            assert!(alerts.contains(&kind), "{kind} in {alerts:?}");
        }
        let placements = kinds(Topic::Placements);
        assert!(placements.iter().all(|kind| ["decision", "outcome", "hold", "placement"].contains(kind)));
        let lines = log.lines(Topic::Alerts).iter().chain(log.lines(Topic::Placements));
        for line in lines {
            assert_eq!(line.time, "15:04:05");
            assert!(!line.text.is_empty() && !line.text.contains(char::is_control), "{line:?}");
        }
    }

    #[test]
    fn what_is_told_twice_is_one_line_in_its_place() {
        let (mut log, alert) = (log(), alert());
        for boot_ns in [20, 10, 20, 30, 10, 20] {
            log.add(&stamped(boot_ns, &alert));
        }
        let times: Vec<u64> = log.lines(Topic::Alerts).iter().map(|line| line.boot_ns).collect();
        assert_eq!(times, [10, 20, 30]);
    }

    #[test]
    fn old_lines_go_and_do_not_come_back() {
        let (mut log, alert) = (log(), alert());
        for boot_ns in 1..=1000 {
            log.add(&stamped(boot_ns, &alert));
        }
        log.add(&stamped(5, &alert));
        let lines = log.lines(Topic::Alerts);
        assert_eq!((lines.len(), lines[0].boot_ns, lines[KEPT - 1].boot_ns), (KEPT, 701, 1000));
        let key = lines[0].process.unwrap();
        assert_eq!(log.about(key).len(), KEPT);
        assert_eq!(log.about(ProcessKey { pid: key.pid, start: BootTime(77) }).len(), 0);
    }
}
