//! The tests that need a machine of their own: compiled here, run in a guest.

use std::{path::PathBuf, process::Command};

use super::{
    guests::{self, GUESTS, Guest},
    job::{Content, Job},
    kernel::Kernel,
    lab::Lab,
    machine::Report,
    programs::Program,
};
use crate::{
    exec,
    report::{Counts, Skip},
    setup::{Refusal, say},
    test::TestProgram,
};

/// The program that runs them in the guest.
const RUN: &str = include_str!("guest/run-tests");

/// The start of a line that tells of a test that could not run in the guest.
const SKIP: &str = "vm-skip: ";

/// Whether one of a program's tests has a word of `filter` in its name. The program itself is asked, here.
fn matches(program: &TestProgram, filter: Option<&str>) -> bool {
    let listed = exec::read(
        Command::new(&program.path).arg("--list").args(filter.into_iter().flat_map(str::split_whitespace)),
    );
    listed.is_ok_and(|list| list.lines().any(|line| line.ends_with(": test")))
}

/// What all guests get besides the tests.
pub(crate) struct Luggage {
    /// The agent.
    pub(crate) agent: PathBuf,
    /// The small programs that tests start.
    pub(crate) programs: Vec<Program>,
    /// The agent as a package, for guests that want it.
    pub(crate) package: Option<PathBuf>,
}

/// The part of a test's name that says that it is about two boots of its guest: it is an ignored one, and run before the
/// first end of the machine or after that.
const REBOOT: &str = "reboot";

/// Whether one of the tests that match wants the agent as a package.
pub(crate) fn want_package(programs: &[TestProgram], filter: Option<&str>) -> bool {
    let is_packaged = |program: &&TestProgram| guests::of(&program.name).is_some_and(|guest| guest.packaged);
    programs.iter().filter(is_packaged).any(|program| matches(program, filter))
}

/// The jobs of running those of `programs` that are for guests and have a test that matches: one for each kind of
/// guest. `cpus` is for those that do not ask for a number.
pub(crate) fn jobs(programs: &[TestProgram], luggage: &Luggage, filter: Option<&str>, cpus: u32) -> Vec<Job> {
    let of = |guest: &'static Guest| {
        let is_its =
            |program: &&TestProgram| guests::of(&program.name).is_some_and(|asked| asked.name == guest.name);
        let its: Vec<_> = programs.iter().filter(is_its).filter(|program| matches(program, filter)).collect();
        (!its.is_empty()).then(|| job(guest, &its, luggage, filter, cpus))
    };
    GUESTS.iter().filter_map(of).collect()
}

/// The job of running `programs` in a guest.
fn job(guest: &Guest, programs: &[&TestProgram], luggage: &Luggage, filter: Option<&str>, cpus: u32) -> Job {
    let mut files = vec![
        ("procwatch".to_owned(), Content::Copy(luggage.agent.clone())),
        ("filter".to_owned(), Content::Text(filter.unwrap_or_default().to_owned())),
    ];
    if let Some(package) = luggage.package.as_ref().filter(|_| guest.packaged) {
        files.push(("procwatch.deb".to_owned(), Content::Copy(package.clone())));
    }
    for (name, path) in &luggage.programs {
        // Where the tests would compile them to.
        files.push((format!("tests/programs/{name}"), Content::Copy(path.clone())));
    }
    for program in programs {
        files.push((format!("tests/{}", program.name), Content::Copy(program.path.clone())));
    }
    Job {
        name: guest.name,
        files,
        command: RUN.to_owned(),
        cpus: guest.cpus.unwrap_or(cpus),
        kernel_options: guest.kernel_options,
        shown: true,
        timeout: guest.timeout,
        boots: if guest.packaged && filter.is_none_or(|filter| filter.contains(REBOOT)) { 2 } else { 1 },
    }
}

/// Does the jobs on a kernel, one after the other.
pub(crate) fn run<'j>(lab: &Lab, kernel: &Kernel, jobs: impl IntoIterator<Item = &'j Job>) -> Outcome {
    let mut all = Outcome::default();
    for job in jobs {
        let outcome = match lab.run(kernel, job) {
            Ok(report) => Outcome::read(&report),
            Err(error) => Outcome::without_tests(&error),
        };
        if let Some(failure) = &outcome.failure {
            say(&format!("{}, {}: {failure}", kernel.release, job.name));
        }
        all.add(outcome);
    }
    all
}

/// What came out of the tests in guests.
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

    /// Adds what came out of another guest.
    fn add(&mut self, other: Self) {
        self.counts.merge(&other.counts);
        self.skips.extend(other.skips);
        self.failure = match (self.failure.take(), other.failure) {
            (Some(one), Some(two)) => Some(format!("{one}; {two}")),
            (one, two) => one.or(two),
        };
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
    use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

    use super::*;

    #[test]
    fn each_kind_of_guest_has_one_job_with_its_programs() {
        let dir = tempfile::tempdir().unwrap();
        let program = |name: &str, tests: &str| {
            let path = dir.path().join(name);
            fs::write(&path, format!("#!/bin/sh\necho '{tests}'\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            TestProgram { name: name.to_owned(), path }
        };
        let programs = [
            program("vm_basics", "one: test"),
            program("vm20_layout", "two: test"),
            program("vm_none", "0 tests, 0 benchmarks"),
            program("vmpkg_service", "four: test"),
            program("stream", "three: test"),
        ];
        let luggage = Luggage {
            agent: "/p".into(),
            programs: vec![("burst".to_owned(), "/b".into())],
            package: Some("/d".into()),
        };
        let jobs = jobs(&programs, &luggage, None, 2);
        let told = |job: &Job| -> (&str, u32, Vec<String>, u32) {
            (job.name, job.cpus, job.files.iter().map(|(name, _)| name.clone()).collect(), job.boots)
        };
        let told: Vec<_> = jobs.iter().map(told).collect();
        let files = |names: &[&str]| {
            let all = ["procwatch", "filter"].iter().chain(names);
            all.map(|name| (*name).to_owned()).collect::<Vec<_>>()
        };
        let burst = "tests/programs/burst";
        assert_eq!(
            told,
            [
                ("vm", 2, files(&[burst, "tests/vm_basics"]), 1),
                ("vm20", 20, files(&[burst, "tests/vm20_layout"]), 1),
                ("vmpkg", 2, files(&["procwatch.deb", burst, "tests/vmpkg_service"]), 2),
            ]
        );
        assert!(want_package(&programs, None) && !want_package(&programs[..2], None));
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
