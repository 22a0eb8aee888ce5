//! What the loop answers when it is asked how it is, and who lives. All is looked up at that moment, and nothing before.

use std::{collections::BTreeMap, fs, process, time::Duration};

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use procwatch_common::{
    growth::{BURST, LEAK, WAYS},
    stats::Stats,
};

use super::{ask::Ask, guard::Guard, placing::wants_hold};
use crate::{
    config::Config,
    event::BootTime,
    kernel::{Kernel, KernelError, picture::Pictured},
    record::Severity,
    rulebook::RuleBook,
    status::{
        KernelCounts, OutputStatus, ProcessRow, Status, ThreadRuleStatus,
        verdict::{Findings, judge},
    },
};

/// What a status tells that no other part of the loop knows.
#[derive(Debug)]
pub(super) struct Standing {
    since: Timestamp,
    armed_ms: u64,
    /// How often a state map was full, and when that was last seen to have risen.
    state_full: (u64, Option<BootTime>),
}

impl Standing {
    /// Not armed yet.
    pub(super) fn new() -> Self {
        Self { since: Timestamp::now(), armed_ms: 0, state_full: (0, None) }
    }

    fn note_state_full(&mut self, count: u64, now: BootTime) {
        if count > self.state_full.0 {
            self.state_full = (count, Some(now));
        }
    }
}

impl Guard {
    /// The agent is armed, so long after its start.
    pub fn armed(&mut self, took: Duration) {
        (self.standing.since, self.standing.armed_ms) = (Timestamp::now(), took.as_millis() as u64);
    }

    /// Answers a client, with what can be said.
    pub(super) fn answer(&mut self, ask: Ask) {
        // One who has left meanwhile needs no answer.
        match ask {
            Ask::Status(who) => drop(who.send(Box::new(self.status()))),
            Ask::Processes(who) => match self.processes() {
                Ok(processes) => drop(who.send(processes)),
                // Who asked is let go of without an answer: none is better than that nobody lives.
                Err(error) => tracing::warn!("{error}; a question who lives was not answered"),
            },
        }
    }

    /// The whole agent, now.
    fn status(&mut self) -> Status {
        let mut errors = Vec::new();
        let picture = known(people(&mut self.kernel), &mut errors);
        let stats = known(self.kernel.stats(), &mut errors);
        let rings = known(self.kernel.rings_status(&stats), &mut errors);
        // Their pins may have been taken away by hand, and they run on.
        let programs = self.kernel.programs_status().unwrap_or_default();
        self.standing.note_state_full(stats.state_full, self.report.now());
        let outputs = self.report.outputs().map(|outputs| outputs.status()).unwrap_or_default();
        let (health, reasons) = judge(&self.findings(&stats, errors.into_iter().next(), outputs.clone()));
        let (told, recent) = self
            .report
            .outputs()
            .map_or_else(Default::default, |outputs| (outputs.tally().told(), outputs.tally().recent()));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            time: Timestamp::now(),
            since: self.standing.since,
            armed_ms: self.standing.armed_ms,
            mode: self.config.mode,
            health,
            reasons,
            config: self.config_status.clone(),
            thread_rules: thread_rules(self.rules.book(), &mut self.kernel),
            place_rules: self.placer.rows(),
            unavailable: self.unavailable(),
            rings,
            programs,
            kernel: counts(&stats),
            pinned: self.kernel.pinned(),
            resident_bytes: resident_bytes(),
            cpu_ns: cpu_ns(),
            processes: picture.len() as u32,
            threads: picture.iter().map(|process| u64::from(process.subject.threads)).sum(),
            told,
            placement: self.placer.account(&stats),
            outputs,
            clients: self.feed.audience().count() as u32,
            recent,
        }
    }

    fn findings(
        &mut self,
        stats: &Stats,
        kernel_error: Option<String>,
        outputs: Vec<OutputStatus>,
    ) -> Findings {
        let now = self.report.now();
        let urgent = self.report.outputs().and_then(|outputs| outputs.tally().last_loss());
        let ago = |at: BootTime, lost: u64| (now.since(at), lost);
        Findings {
            kernel_error,
            urgent_loss: urgent.map(|at| ago(at, stats.urgent.lost)),
            stream_loss: self.feed.last_loss().map(|at| ago(at, stats.stream.lost)),
            kernel: counts(stats),
            state_full_ns: self.standing.state_full.1.map(|at| now.since(at)),
            missing: missing(&self.config, &self.kernel),
            refused: self.config_status.refused.clone(),
            outputs,
        }
    }

    fn unavailable(&self) -> Vec<String> {
        let mut unavailable = self.kernel.unavailable().to_vec();
        unavailable.extend(self.placer.absent());
        unavailable.extend(self.feed.audience().note());
        unavailable
    }

    /// All live processes, now.
    fn processes(&mut self) -> Result<Vec<ProcessRow>, KernelError> {
        let picture = people(&mut self.kernel)?;
        Ok(picture.iter().map(|process| self.row(process)).collect())
    }

    fn row(&mut self, process: &Pictured) -> ProcessRow {
        let subject = &process.subject;
        let key = subject.key();
        let threads = self.kernel.threads();
        let rule = threads.rule_of(key).unwrap_or(0);
        let creations = threads.creations_of(key);
        let alert = creations.and_then(|_| gravest(threads.lasting_alerts(key)));
        let converter = &mut self.report.converter;
        ProcessRow {
            pid: subject.pid,
            start_ns: subject.start.0,
            ppid: subject.ppid,
            uid: subject.uid,
            user: converter.users.name(subject.uid).map(ToString::to_string),
            comm: subject.comm,
            cgroup: converter.cgroups.path(subject.cgroup_id),
            threads: subject.threads,
            creations,
            rule: self.rules.book().rule(rule).described.clone(),
            alert: alert.map(|severity| severity.name().to_owned()),
        }
    }
}

/// Functions that the configuration wants and this kernel cannot give.
fn missing(config: &Config, kernel: &Kernel) -> Vec<String> {
    let wants_cap = RuleBook::new(config).with_caps().next().is_some();
    let wanted = [
        (wants_hold(config) && !kernel.can_hold(), "holding execs"),
        (wants_cap && !kernel.can_cap(), "refusing threads"),
        (!config.place.is_empty(), "uid changes"),
    ];
    let is_missed =
        |what: &&String| wanted.iter().any(|(is_wanted, begin)| *is_wanted && what.starts_with(begin));
    kernel.unavailable().iter().filter(is_missed).cloned().collect()
}

/// The gravest of the alerts that last.
fn gravest(lasting: [bool; WAYS]) -> Option<Severity> {
    let severities = (0u32..).zip(lasting).filter(|(_, lasts)| *lasts).map(|(way, _)| match way {
        BURST | LEAK => Severity::Warning,
        way if way < BURST => Severity::of_level(way),
        // A stop.
        _ => Severity::Critical,
    });
    severities.max()
}

fn people(kernel: &mut Kernel) -> Result<Vec<Pictured>, KernelError> {
    let mut picture = kernel.picture()?;
    picture.retain(|process| !process.is_kernel_thread);
    Ok(picture)
}

/// As they are written, the one for all last.
fn thread_rules(book: &RuleBook, kernel: &mut Kernel) -> Vec<ThreadRuleStatus> {
    let processes: BTreeMap<u32, u32> = kernel.threads().processes_by_rule();
    let last = book.cells().len() as u32;
    let numbers = (1..last).chain([0]);
    let rows = numbers.map(|number| {
        let rule = book.rule(number);
        ThreadRuleStatus {
            rule: rule.described.clone(),
            levels: rule.levels.clone(),
            cap: rule.cap,
            processes: (number != 0).then(|| processes.get(&number).copied().unwrap_or(0)),
        }
    });
    rows.collect()
}

/// What the kernel side says; where it says nothing the reason is noted.
fn known<T: Default>(answer: Result<T, KernelError>, errors: &mut Vec<String>) -> T {
    answer.unwrap_or_else(|error| {
        errors.push(error.to_string());
        T::default()
    })
}

const fn counts(stats: &Stats) -> KernelCounts {
    KernelCounts {
        argv_unread: stats.user_reads_failed,
        names_unread: stats.kernel_reads_failed,
        state_full: stats.state_full,
    }
}

/// Of this process; 0 where the kernel does not tell.
fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * procfs::page_size()
}

/// Of all threads of this process; 0 where the kernel does not tell.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from);
    time.map_or(0, |time| time.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_alert_counts() {
        let told = |ways: &[usize]| {
            let mut lasting = [false; WAYS];
            for way in ways {
                lasting[*way] = true;
            }
            gravest(lasting)
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[0]), Some(Severity::Notice));
        assert_eq!(told(&[0, 1, 2, 3]), Some(Severity::Emergency));
        assert_eq!(told(&[0, BURST as usize]), Some(Severity::Warning));
        assert_eq!(told(&[LEAK as usize, 0, 1, 2]), Some(Severity::Critical));
        assert_eq!(told(&[procwatch_common::growth::STOP as usize]), Some(Severity::Critical));
    }

    #[test]
    fn this_process_has_memory_and_has_run() {
        assert!(resident_bytes() > 100_000, "{}", resident_bytes());
        assert!(cpu_ns() > 0);
    }

    #[test]
    fn a_full_map_is_noted_when_it_is_seen() {
        let mut standing = Standing::new();
        standing.note_state_full(0, BootTime(1));
        assert_eq!(standing.state_full, (0, None));
        standing.note_state_full(3, BootTime(5));
        standing.note_state_full(3, BootTime(9));
        assert_eq!(standing.state_full, (3, Some(BootTime(5))));
    }
}
