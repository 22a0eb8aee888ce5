//! A recorded stream, through another policy: what it would have told.
//!
//! Pure: no kernel, no clock but the stream's.

mod programs;
pub mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use self::{
    programs::Programs,
    read::{Line, Recorded},
};
use crate::{
    agent::report::of_rule,
    clock::Clock,
    config::Config,
    convert::{CgroupPaths, Converter, Extra},
    detect::{Alert, Decision, Detector as _, threads::Threads},
    record::{Body, Bound, Mode, Process, Record, Severity},
    rulebook::RuleBook,
    table::ProcessTable,
    text::Text,
    users::UserNames,
};

/// The agent as far as a recorded stream can drive it, with one policy.
pub struct Replay {
    programs: Programs,
    converter: Converter<OfRecord>,
    account: Account,
    /// By rule and severity.
    alerts: BTreeMap<(String, Severity), u64>,
}

/// What a replay comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Events of the kernel that were read.
    pub events: u64,
    /// Records that say nothing about how threads grow.
    pub others: u64,
    /// Records of kinds that this version does not know.
    pub unknown: u64,
    /// Events that the recorded stream had lost.
    pub lost: u64,
    /// Processes that ran before the recording: of their programs no more is known than name, user and cgroup.
    pub unseen: u64,
    /// Alerts by rule and severity.
    pub alerts: Vec<Alerts>,
    /// Alerts that were cleared.
    pub cleared: u64,
}

/// Alerts of one rule and severity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alerts {
    /// The rule, as written.
    pub rule: String,
    /// How grave.
    pub severity: Severity,
    /// How many.
    pub count: u64,
}

impl Replay {
    /// Begins with the rules of a configuration.
    pub fn new(config: &Config) -> Self {
        let converter = Converter {
            clock: Clock::with_offset(0),
            users: UserNames::with_look_up(|_| None),
            cgroups: OfRecord::default(),
        };
        let programs = Programs::new(RuleBook::new(config), config.mode == Mode::Enforce);
        Self { programs, converter, account: Account::default(), alerts: BTreeMap::new() }
    }

    /// The alerts, and ends of alerts, that a line leads to.
    pub fn on(&mut self, line: &Line) -> Vec<Record> {
        let recorded = match line {
            Line::Event(recorded) => recorded,
            Line::Lost(lost) => {
                self.account.lost = self.account.lost.saturating_add(*lost);
                return Vec::new();
            }
            Line::Other => {
                self.account.others += 1;
                return Vec::new();
            }
            Line::Unknown => {
                self.account.unknown += 1;
                return Vec::new();
            }
        };
        self.account.events += 1;
        let crossings = self.programs.on(recorded);
        let table = ProcessTable::new();
        let decisions = crossings.iter().flat_map(|event| Threads.on(event, &table));
        let records: Vec<_> = decisions.filter_map(|it| self.record(recorded, it)).collect();
        for record in &records {
            self.count(record);
        }
        records
    }

    /// What it comes to so far.
    pub fn account(&self) -> Account {
        let alerts = self.alerts.iter().map(|((rule, severity), count)| Alerts {
            rule: rule.clone(),
            severity: *severity,
            count: *count,
        });
        Account { unseen: self.programs.unseen(), alerts: alerts.collect(), ..self.account.clone() }
    }

    /// Whether a rule looks at the path of a program, of which the stream has only what exec was given.
    pub fn looks_at_exe(&self) -> bool {
        self.programs.book().looks_at_exe()
    }

    fn record(&mut self, recorded: &Recorded, decision: Decision) -> Option<Record> {
        let event = match decision {
            Decision::Alert(Alert { event, .. }) | Decision::Cleared(event) => event,
            Decision::Place(_) => return None,
        };
        let alert = of_rule(&event, self.programs.book());
        // The stream's own words: another machine may have other names, and another time.
        self.converter.clock = Clock::with_offset(recorded.time.as_nanosecond() - i128::from(event.time.0));
        self.converter.cgroups = OfRecord(recorded.cgroup.clone());
        let mut record = self.converter.record(event, Extra { lineage: None, alert })?;
        if let Some(process) = process(&mut record) {
            process.user.clone_from(&recorded.user);
        }
        Some(record)
    }

    fn count(&mut self, record: &Record) {
        match &record.body {
            Body::Alert(alert) => {
                *self.alerts.entry((alert.rule.clone(), alert.severity)).or_default() += 1;
            }
            Body::Cleared(_) => self.account.cleared += 1,
            _ => {}
        }
    }
}

/// The path of the cgroup that the record at hand is about.
#[derive(Debug, Default)]
struct OfRecord(Option<Text>);

impl CgroupPaths for OfRecord {
    fn path(&mut self, _cgroup_id: u64) -> Option<Text> {
        self.0.clone()
    }
}

const fn process(record: &mut Record) -> Option<&mut Process> {
    match &mut record.body {
        Body::Alert(alert) => Some(&mut alert.process),
        Body::Cleared(cleared) => Some(&mut cleared.process),
        _ => None,
    }
}

/// What only one of two policies tells of the same event: of the first, and of the second. The name of the rule is no
/// difference, and neither is the level that comes next.
pub fn differences<'r>(old: &'r [Record], new: &'r [Record]) -> (Vec<&'r Record>, Vec<&'r Record>) {
    (only_in(old, new), only_in(new, old))
}

fn only_in<'r>(these: &'r [Record], those: &[Record]) -> Vec<&'r Record> {
    let mut left: BTreeMap<_, usize> = BTreeMap::new();
    for record in those {
        *left.entry(what_is_told(record)).or_default() += 1;
    }
    let is_alone = |record: &&Record| match left.get_mut(&what_is_told(record)) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    these.iter().filter(is_alone).collect()
}

fn what_is_told(record: &Record) -> Option<(bool, Bound, u32, Severity, Option<bool>)> {
    match &record.body {
        Body::Alert(alert) => Some((true, alert.bound, alert.level, alert.severity, alert.stopped)),
        Body::Cleared(cleared) => Some((false, cleared.bound, cleared.level, cleared.severity, None)),
        _ => None,
    }
}
