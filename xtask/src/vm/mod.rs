//! `cargo xtask vm`: tests in virtual machines with stock kernels, systemd, and nobody whose work they could disturb.
//!
//! From the inside out: [`debian`] unpacks packages, [`qemu`] has the programs, [`kernel`] and [`image`] are what is
//! booted, [`machine`] does one [`job`] with them, [`lab`] has all of these, [`tests`] makes jobs of tests, each in the
//! [`guests`] that it asks for.

mod cpio;
mod debian;
mod folder;
mod guests;
mod image;
mod initramfs;
mod job;
mod kernel;
mod lab;
mod machine;
mod programs;
mod qemu;
mod tests;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use self::tests::{Luggage, Outcome};
pub(crate) use self::{
    job::{Content, Job},
    kernel::DEFAULT as DEFAULT_KERNEL,
    lab::Lab,
    machine::Report,
    programs::compiled as compiled_programs,
};
use crate::{
    build::{self, Profile},
    caller, package,
    setup::{Refusal, say},
    test::{self, TestProgram},
    workspace::Workspace,
};

/// Which tests to run, and on what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains one of these
    filter: Vec<String>,
    /// Kernels: versions such as 6.1, whole releases, or `newest`
    #[arg(long, value_name = "V", default_values_t = [DEFAULT_KERNEL.to_owned()], value_delimiter = ',')]
    kernel: Vec<String>,
    /// Number of virtual CPUs, for tests that do not ask for a number themselves
    #[arg(long, value_name = "N", default_value_t = CPUS, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// On every kernel that procwatch knows of, from the oldest to the newest; the package on the default one alone
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
    let filter = (!options.filter.is_empty()).then(|| options.filter.join(" "));
    let luggage = luggage(workspace, agent, &programs, filter.as_deref())?;
    let jobs = tests::jobs(&programs, &luggage, filter.as_deref(), options.cpus);
    if jobs.is_empty() {
        bail!("no test for virtual machines has that in its name");
    }
    let lab = Lab::prepare(workspace)?;
    let matrix = kernel::MATRIX.map(str::to_owned);
    let versions = if options.matrix { &matrix[..] } else { &options.kernel };
    let mut table = String::from("\nkernel                          tests\n");
    let mut failed = Vec::new();
    for version in versions {
        // A package's life is a matter between it and systemd, whatever the kernel.
        let is_wanted =
            |job: &&Job| !options.matrix || version == DEFAULT_KERNEL || !guests::is_packaged(job.name);
        let jobs = jobs.iter().filter(is_wanted);
        let (name, outcome) = match lab.kernel(version) {
            Ok(kernel) => (kernel.release.clone(), tests::run(&lab, &kernel, jobs)),
            Err(error) if options.matrix && error.is::<kernel::Missing>() => {
                say(&format!("left out: {error}"));
                continue;
            }
            Err(error) => (version.clone(), Outcome::without_tests(&error)),
        };
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

/// What guests get besides the tests.
fn luggage(
    workspace: &Workspace,
    agent: PathBuf,
    programs: &[TestProgram],
    filter: Option<&str>,
) -> Result<Luggage> {
    let wanted = tests::want_package(programs, filter);
    let package = wanted.then(|| package::make(workspace, &agent, 1)).transpose()?;
    Ok(Luggage { agent, programs: compiled_programs(workspace)?, package })
}

/// Whether a program's tests want a machine of their own.
pub(crate) fn is_for_guest(program: &TestProgram) -> bool {
    guests::of(&program.name).is_some()
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
    let luggage = luggage(workspace, agent.to_owned(), programs, filter)?;
    let jobs = tests::jobs(programs, &luggage, filter, CPUS);
    if jobs.is_empty() {
        return Ok(Outcome::default());
    }
    let lab = match Lab::prepare(workspace) {
        Ok(lab) => lab,
        Err(error) => match error.downcast::<Refusal>() {
            Ok(refusal) => return Ok(Outcome::skipped(programs, &refusal)),
            Err(error) => return Err(error),
        },
    };
    Ok(match lab.kernel(DEFAULT_KERNEL) {
        Ok(kernel) => tests::run(&lab, &kernel, &jobs),
        Err(error) => Outcome::without_tests(&error),
    })
}
