//! The rules about threads as agent and kernel programs share them.
//!
//! The programs know a rule by its number. Number 0 is the rule of all processes that no other fits, which needs no cell
//! of its own for a process; in the configuration it stands last.

use std::time::Duration;

use procwatch_common::{
    policy::{FLOOR_THREADS, MAX_LEVELS, MAX_PROGRAMS, PROGRAM_ANY, PROGRAM_COMM, PROGRAM_UID, ThreadCell},
    wire::COMM_LEN,
};

use crate::config::{
    Config, Containment, Program, ThreadRule,
    threads::{Prefilter, choose},
};

/// All rules about threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBook {
    /// The catch-all stands last.
    rules: Vec<ThreadRule>,
}

/// The execs that the kernel programs have to tell of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedPrograms {
    /// Set of `procwatch_common::policy::PROGRAM_*`.
    pub flags: u32,
    /// By real uid.
    pub uids: Vec<u32>,
    /// By name.
    pub comms: Vec<[u8; COMM_LEN]>,
}

impl RuleBook {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        let mut rules = config.threads.clone();
        if rules.is_empty() {
            rules.push(ThreadRule::built_in());
        }
        Self { rules }
    }

    /// The same rules, wherever they are written: one that has moved to another line is the same.
    #[must_use]
    pub fn without_locations(&self) -> Self {
        let without = |rule: &ThreadRule| ThreadRule { location: None, ..rule.clone() };
        Self { rules: self.rules.iter().map(without).collect() }
    }

    /// The number of the rule for that process.
    pub fn choose(&self, program: &Program) -> u32 {
        self.number(choose(&self.rules, program))
    }

    fn number(&self, index: usize) -> u32 {
        if index + 1 == self.rules.len() { 0 } else { index as u32 + 1 }
    }

    /// The rule of that number; that for all where there is no such number.
    pub fn rule(&self, number: u32) -> &ThreadRule {
        let last = self.rules.len() - 1;
        let index = (number as usize).checked_sub(1).filter(|index| *index < last);
        &self.rules[index.unwrap_or(last)]
    }

    /// Whether some processes may have a rule of their own.
    pub fn has_others(&self) -> bool {
        self.rules.len() > 1
    }

    /// Whether a rule looks at the path of a program.
    pub fn looks_at_exe(&self) -> bool {
        self.rules.iter().any(|rule| !rule.matches.exes.is_empty())
    }

    /// Whether a rule looks at arguments.
    pub fn looks_at_argv(&self) -> bool {
        self.rules.iter().any(|rule| !rule.matches.argvs.is_empty())
    }

    /// The rules that want threads to be refused, by themselves or at an alert.
    pub fn with_caps(&self) -> impl Iterator<Item = &ThreadRule> {
        let is_cap = |action: Containment| matches!(action, Containment::Cap { .. });
        self.rules.iter().filter(move |rule| {
            let mut steps = rule.actions.ladders().into_iter().flat_map(|(_, steps)| steps);
            rule.cap.is_some() || steps.any(|step| is_cap(step.action))
        })
    }

    /// The cells of all rules, by number.
    pub fn cells(&self) -> Vec<ThreadCell> {
        (0..self.rules.len() as u32).map(|number| cell(self.rule(number))).collect()
    }

    /// Threads from which a process is looked at: the floor when growth matters to a rule, else the lowest bound. `None`
    /// when nothing matters.
    pub fn floor(&self) -> Option<u32> {
        self.cells().iter().filter_map(floor).min()
    }

    /// Which execs may choose another rule than that for all.
    pub fn wanted_programs(&self) -> WantedPrograms {
        let mut wanted = WantedPrograms::default();
        for rule in &self.rules {
            match rule.needs() {
                Prefilter::Uids(uids) => {
                    wanted.flags |= PROGRAM_UID;
                    wanted.uids.extend(uids);
                }
                Prefilter::Comms(comms) => {
                    wanted.flags |= PROGRAM_COMM;
                    wanted.comms.extend(comms);
                }
                Prefilter::Any => wanted.flags |= PROGRAM_ANY,
                Prefilter::Nothing => {}
            }
        }
        wanted.uids.sort_unstable();
        wanted.uids.dedup();
        wanted.comms.sort_unstable();
        wanted.comms.dedup();
        if wanted.uids.len().max(wanted.comms.len()) > MAX_PROGRAMS {
            return WantedPrograms { flags: PROGRAM_ANY, ..WantedPrograms::default() };
        }
        wanted
    }
}

fn cell(rule: &ThreadRule) -> ThreadCell {
    let mut cell = ThreadCell {
        level_count: rule.levels.len().min(MAX_LEVELS) as u32,
        cap: rule.cap.unwrap_or(0),
        stop_at: rule.stop_at.unwrap_or(0),
        ..ThreadCell::default()
    };
    for (place, level) in cell.levels.iter_mut().zip(&rule.levels) {
        *place = *level;
    }
    if let Some(burst) = rule.burst {
        (cell.burst_threads, cell.burst_ns) = (burst.threads, ns(burst.within));
    }
    if let Some(leak) = rule.leak {
        cell.leak_marks = leak.marks;
        cell.leak_gap_ns = ns(leak.over) / u64::from(leak.marks.saturating_sub(1).max(1));
    }
    cell
}

fn floor(cell: &ThreadCell) -> Option<u32> {
    if cell.burst_threads != 0 || cell.leak_marks != 0 || cell.cap != 0 {
        return Some(FLOOR_THREADS);
    }
    let level = (cell.level_count != 0).then_some(cell.levels[0]);
    let stop = (cell.stop_at != 0).then_some(cell.stop_at);
    level.into_iter().chain(stop).min()
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Match, samples, text::Text};

    fn book(rules: Vec<ThreadRule>) -> RuleBook {
        RuleBook::new(&Config { threads: rules, ..Config::default() })
    }

    fn python() -> ThreadRule {
        ThreadRule {
            matches: Match { comms: vec![Text::from("python3")], ..Match::default() },
            levels: vec![40],
            burst: None,
            leak: None,
            stop_at: Some(300),
            described: "threads[1] comm=python3".to_owned(),
            ..ThreadRule::built_in()
        }
    }

    #[test]
    fn the_rule_for_all_has_number_zero() {
        let book = book(vec![python(), ThreadRule::built_in()]);
        let program =
            |name| Program { uid: 0, comm: samples::comm(name), exe: None, argv: None, cgroup: None };
        assert_eq!((book.choose(&program("python3")), book.choose(&program("bash"))), (1, 0));
        assert_eq!(book.rule(1).described, "threads[1] comm=python3");
        for number in [0, 2, 99] {
            assert_eq!(book.rule(number).described, "default");
        }
    }

    #[test]
    fn cells_say_what_rules_say() {
        let cells = book(vec![python(), ThreadRule::built_in()]).cells();
        let [all, python] = &cells[..] else { panic!("{cells:?}") };
        assert_eq!((all.levels, all.level_count), ([80, 100, 500, 1000], 4));
        assert_eq!((all.burst_threads, all.burst_ns), (50, 1_000_000_000));
        assert_eq!((all.leak_marks, all.leak_gap_ns), (4, 1_200_000_000_000));
        assert_eq!((python.levels, python.level_count, python.stop_at), ([40, 0, 0, 0], 1, 300));
        assert_eq!((floor(all), floor(python)), (Some(32), Some(40)));
    }

    #[test]
    fn only_what_may_matter_is_asked_for() {
        let of_alice = Match { uids: vec![1000], comms: vec![Text::from("x")], ..Match::default() };
        let alice = ThreadRule { matches: of_alice, ..python() };
        let wanted = book(vec![alice, python(), ThreadRule::built_in()]).wanted_programs();
        assert_eq!((wanted.flags, wanted.uids), (PROGRAM_UID | PROGRAM_COMM, vec![1000]));
        assert_eq!(wanted.comms, [*b"python3\0\0\0\0\0\0\0\0\0"]);
        let named = |count: usize| {
            let comms = (0..count).map(|number| Text::from(&*format!("c{}", number / 2))).collect();
            let rule = ThreadRule { matches: Match { comms, ..Match::default() }, ..python() };
            book(vec![rule, ThreadRule::built_in()]).wanted_programs()
        };
        let most = named(2 * MAX_PROGRAMS);
        assert_eq!((most.flags, most.comms.len()), (PROGRAM_COMM, MAX_PROGRAMS), "each once");
        let all = WantedPrograms { flags: PROGRAM_ANY, ..WantedPrograms::default() };
        assert_eq!(named(2 * MAX_PROGRAMS + 1), all, "more than the kernel is told");
        let silent = ThreadRule { levels: vec![], burst: None, leak: None, ..ThreadRule::built_in() };
        assert_eq!(book(vec![silent.clone()]).wanted_programs(), WantedPrograms::default());
        assert_eq!(book(vec![silent]).floor(), None);
    }
}
