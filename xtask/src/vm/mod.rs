//! `cargo xtask vm`: tests in virtual machines with stock kernels, systemd, and nobody whose work they could disturb.
//!
//! From the inside out: [`debian`] unpacks packages, [`qemu`] has the programs, [`kernel`] and [`image`] are what is
//! booted, [`machine`] does one [`job`] with them, [`tests`] is the job that this task has.

mod cpio;
mod debian;
mod folder;
mod image;
mod initramfs;
mod job;
mod kernel;
mod machine;
mod qemu;
mod tests;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use self::{
    debian::Suites,
    folder::Folder,
    job::Job,
    kernel::Kernel,
    machine::Machine,
    qemu::{Accelerator, Programs},
    tests::Outcome,
};
use crate::{
    build::{self, Profile},
    caller,
    setup::{Refusal, say},
    test::{self, TestProgram},
    workspace::Workspace,
};

/// Which tests to run, and on what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Kernels: versions such as 6.1, whole releases, or `newest`
    #[arg(long, value_name = "V", default_values_t = [kernel::DEFAULT.to_owned()], value_delimiter = ',')]
    kernel: Vec<String>,
    /// Number of virtual CPUs
    #[arg(long, value_name = "N", default_value_t = CPUS, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// On every kernel that procwatch knows of, from the oldest to the newest
    #[arg(long, conflicts_with = "kernel")]
    matrix: bool,
}

/// Virtual CPUs when nothing else is said.
const CPUS: u32 = 2;

/// Runs what `options` ask for.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    build::programs(workspace)?;
    let agent = build::agent(workspace, Profile::Release)?;
    let programs = test::test_programs(workspace)?;
    if !tests::any_matches(&programs, options.filter.as_deref()) {
        bail!("no test for virtual machines has that in its name");
    }
    let lab = Lab::prepare(workspace)?;
    let job = tests::job(&programs, &agent, options.filter.as_deref(), options.cpus);
    let matrix = kernel::MATRIX.map(str::to_owned);
    let versions = if options.matrix { &matrix[..] } else { &options.kernel };
    let mut table = String::from("\nkernel                          tests\n");
    let mut failed = Vec::new();
    for version in versions {
        let (name, outcome) = lab.run(version, &job);
        let _ = writeln!(table, "{name:<32}{}", outcome.row());
        if outcome.failure.is_some() {
            failed.push(name);
        }
    }
    caller::hand_over(&workspace.target)?;
    io::stdout().write_all(table.as_bytes())?;
    if !failed.is_empty() {
        bail!("tests in virtual machines failed on {}", failed.join(", "));
    }
    Ok(())
}

/// Whether a program's tests want a machine of their own.
pub(crate) fn is_for_guest(program: &TestProgram) -> bool {
    tests::is_for_guest(program)
}

/// Runs the programs that are for guests on the default kernel, as a part of all tests.
///
/// Where there is nothing to make virtual machines of, they are skipped.
pub(crate) fn run_default(
    workspace: &Workspace,
    programs: &[TestProgram],
    agent: &Path,
    filter: Option<&str>,
) -> Result<Outcome> {
    if !tests::any_matches(programs, filter) {
        return Ok(Outcome::default());
    }
    let job = tests::job(programs, agent, filter, CPUS);
    let lab = match Lab::prepare(workspace) {
        Ok(lab) => lab,
        Err(error) => match error.downcast::<Refusal>() {
            Ok(refusal) => return Ok(Outcome::skipped(programs, &refusal)),
            Err(error) => return Err(error),
        },
    };
    let (_, outcome) = lab.run(kernel::DEFAULT, &job);
    Ok(outcome)
}

/// All that machines are made of.
struct Lab {
    folder: Folder,
    suites: Suites,
    programs: Programs,
    image: PathBuf,
}

impl Lab {
    /// Fetches and makes what is not there yet.
    fn prepare(workspace: &Workspace) -> Result<Self> {
        caller::hand_over(&workspace.target)?;
        let folder = Folder::of(workspace)?;
        let programs = Programs::prepare(&folder)?;
        let suites = Suites::prepare(&folder)?;
        let image = image::prepare(&folder, &programs, &suites)?;
        caller::hand_over(&folder.path(""))?;
        Ok(Self { folder, suites, programs, image })
    }

    /// Does the job on one kernel; returns the release and what came of it.
    fn run(&self, version: &str, job: &Job) -> (String, Outcome) {
        let kernel = match Kernel::prepare(&self.folder, &self.programs, &self.suites, version) {
            Ok(kernel) => kernel,
            Err(error) => return (version.to_owned(), Outcome::without_tests(&error)),
        };
        let outcome = self.try_run(&kernel, job).unwrap_or_else(|error| Outcome::without_tests(&error));
        if let Some(failure) = &outcome.failure {
            say(&format!("{}: {failure}", kernel.release));
        }
        (kernel.release, outcome)
    }

    /// Does the job on one kernel.
    fn try_run(&self, kernel: &Kernel, job: &Job) -> Result<Outcome> {
        let accelerator = Accelerator::find(&self.folder, &self.programs, kernel)?;
        say(&format!("{} with {} CPUs by {}", kernel.release, job.cpus, accelerator.name()));
        let machine = Machine::new(&self.folder, &self.programs, accelerator);
        let report = machine.run(kernel, &self.image, job)?;
        say(&format!("{} took {:.1} s", kernel.release, report.took.as_secs_f32()));
        Ok(Outcome::read(&report))
    }
}
