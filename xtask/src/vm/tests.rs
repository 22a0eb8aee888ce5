//! The tests that need a machine of their own: compiled here, run in a guest.

use std::{path::Path, process::Command, time::Duration};

use super::{
    job::{Content, Job},
    machine::Report,
};
use crate::{
    exec,
    report::{Counts, Skip},
    setup::Refusal,
    test::TestProgram,
};

/// The program that runs them in the guest.
const RUN: &str = include_str!("guest/run-tests");

/// The start of a line that tells of a test that could not run in the guest.
const SKIP: &str = "vm-skip: ";

/// How the names of test programs begin that run in guests.
const PREFIX: &str = "vm_";

/// Whether a program's tests want a machine of their own.
pub(crate) fn is_for_guest(program: &TestProgram) -> bool {
    program.name.starts_with(PREFIX)
}

/// Whether one of the tests for guests has `filter` in its name. The programs themselves are asked, here.
pub(crate) fn any_matches(programs: &[TestProgram], filter: Option<&str>) -> bool {
    let lists = |program: &TestProgram| {
        let listed = exec::read(Command::new(&program.path).arg("--list").args(filter));
        listed.is_ok_and(|list| list.lines().any(|line| line.ends_with(": test")))
    };
    programs.iter().filter(|program| is_for_guest(program)).any(lists)
}

/// The job of running `programs` with `agent` in a guest.
pub(crate) fn job(programs: &[TestProgram], agent: &Path, filter: Option<&str>, cpus: u32) -> Job {
    let mut files = vec![
        ("procwatch".to_owned(), Content::Copy(agent.to_owned())),
        ("filter".to_owned(), Content::Text(filter.unwrap_or_default().to_owned())),
    ];
    for program in programs.iter().filter(|program| is_for_guest(program)) {
        files.push((format!("tests/{}", program.name), Content::Copy(program.path.clone())));
    }
    Job { files, command: RUN.to_owned(), cpus, timeout: Duration::from_mins(5) }
}

/// What came out of the tests in one guest.
#[derive(Default)]
pub(crate) struct Outcome {
    /// How many ended how.
    pub(crate) counts: Counts,
    /// Which could not run.
    pub(crate) skips: Vec<Skip>,
    /// Why the whole is no success.
    pub(crate) failure: Option<String>,
}

impl Outcome {
    /// Reads a guest's report.
    pub(crate) fn read(report: &Report) -> Self {
        let mut counts = Counts::default();
        counts.add(&report.output);
        let skips: Vec<&str> = report.output.lines().filter_map(|line| line.strip_prefix(SKIP)).collect();
        let failure = match report.exit_code {
            0 => None,
            124 | 137 => Some("the tests took too long".to_owned()),
            1 => Some("tests failed".to_owned()),
            code => Some(format!("the tests ended with {code}; on the console:\n{}", report.console_tail)),
        };
        Self { counts, skips: Skip::parse_log(&skips.join("\n")), failure }
    }

    /// The row of a table.
    pub(crate) fn row(&self) -> String {
        let counts = self.counts.short(self.skips.len());
        let failure = self.failure.as_deref().and_then(|failure| failure.lines().next());
        match failure {
            Some(failure) => {
                let failure = failure.strip_suffix("; on the console:").unwrap_or(failure);
                format!("{counts}; {failure}")
            }
            None => counts,
        }
    }

    /// That of programs for which there is no machine.
    pub(crate) fn skipped(programs: &[TestProgram], refusal: &Refusal) -> Self {
        let reason = format!("[needs-vm] {}; {}", refusal.missing, refusal.command);
        let skip = |program: &TestProgram| Skip::program(&program.name, reason.clone());
        let mut counts = Counts::default();
        // A skipped test is one that passed in the eyes of its harness, and is taken off again in the summary.
        counts.add_passed(programs.len());
        Self { counts, skips: programs.iter().map(skip).collect(), failure: None }
    }

    /// That of a guest that never got to its tests.
    pub(crate) fn without_tests(error: &anyhow::Error) -> Self {
        Self { failure: Some(format!("{error:#}")), ..Self::default() }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn only_programs_for_guests_are_packed() {
        let program = |name: &str| TestProgram { name: name.to_owned(), path: format!("/t/{name}-1").into() };
        let job = job(&[program("vm_basics"), program("stream")], Path::new("/p"), None, 2);
        let names: Vec<&str> = job.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["procwatch", "filter", "tests/vm_basics"]);
    }

    #[test]
    fn skips_and_failures_are_read_from_a_report() {
        let report = Report {
            exit_code: 124,
            output: "test result: ok. 2 passed; 0 failed;\nvm-skip: hold: [needs-lsm] none\n".to_owned(),
            console_tail: String::new(),
            took: Duration::ZERO,
        };
        let outcome = Outcome::read(&report);
        assert_eq!(outcome.skips, Skip::parse_log("hold: [needs-lsm] none"));
        assert_eq!(outcome.failure.as_deref(), Some("the tests took too long"));
    }
}
