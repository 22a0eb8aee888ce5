//! `cargo xtask bench place`: the same `su` sessions under different movers, each in a fresh virtual machine.
//!
//! [`guest`] is the part that runs in it, [`mover`] who moves, [`witness`] who counts: for all of them the same.

pub(crate) mod guest;
mod measured;
mod mover;
mod witness;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use self::{
    measured::{Comparison, Measured},
    mover::Mover,
};
use crate::{
    build::{self, Profile},
    caller,
    vm::{self, Content, Job, Lab},
    workspace::Workspace,
};

/// What is compared, and on what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Number of `su` sessions for each mover
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// Number of virtual CPUs
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Debian's kernel: a version such as 6.1, a whole release, or `newest`
    #[arg(long, value_name = "V", default_value = vm::DEFAULT_KERNEL)]
    kernel: String,
    /// Who moves; all of them when nothing else is said
    #[arg(long = "mover", value_name = "MOVER", value_enum, value_delimiter = ',', default_values_t = ALL)]
    movers: Vec<Mover>,
}

/// All movers, in the order of the table.
const ALL: [Mover; 7] = [
    Mover::Nothing,
    Mover::Hold,
    Mover::HoldFavordynmods,
    Mover::Sweep,
    Mover::NoLsm,
    Mover::NoLsmFavordynmods,
    Mover::Cgrulesengd,
];

/// How long a session may take on an emulated machine, at most.
const PER_SESSION: Duration = Duration::from_secs(2);

/// What else there is to be done in a guest.
const BESIDES: Duration = Duration::from_mins(2);

/// Builds, measures under each mover, and writes what came out.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let agent = build::run(workspace, Profile::Release)?;
    let programs = vm::compiled_programs(workspace)?;
    let burst =
        programs.into_iter().find(|(name, _)| name == "burst").context("tests/programs has no burst.c")?;
    let lab = Lab::prepare(workspace)?;
    let kernel = lab.kernel(&options.kernel)?;
    let mut comparison = Comparison {
        machine: format!("Linux {}, {} CPUs ({})", kernel.release, options.cpus, lab.accelerator(&kernel)?),
        command: options.command(),
        movers: Vec::new(),
        missing: Vec::new(),
    };
    for &mover in &options.movers {
        eprintln!("bench: {}, {} sessions", mover.name(), options.sessions);
        let job = options.job(mover, &agent, &burst.1)?;
        match lab.run(&kernel, &job).and_then(|report| read(&report)) {
            Ok(measured) => comparison.movers.push(measured),
            Err(error) => comparison.missing.push(format!("{}: {error:#}", mover.name())),
        }
    }
    let folder = workspace.target.join("bench");
    comparison.save(&folder)?;
    caller::hand_over(&workspace.target)?;
    io::stdout().write_all(comparison.markdown().as_bytes())?;
    eprintln!("bench: written to {}/place.{{json,md}}", folder.display());
    if !comparison.missing.is_empty() {
        bail!("not all could be measured");
    }
    Ok(())
}

impl Options {
    /// As it would be typed again.
    fn command(&self) -> String {
        let mut command = format!(
            "cargo xtask bench place --sessions {} --cpus {} --kernel {}",
            self.sessions, self.cpus, self.kernel
        );
        if self.movers != ALL {
            let names: Vec<&str> = self.movers.iter().map(|mover| mover.name()).collect();
            command += " --mover ";
            command += &names.join(",");
        }
        command
    }

    /// The job of measuring one mover.
    fn job(&self, mover: Mover, agent: &Path, burst: &Path) -> Result<Job> {
        let this: PathBuf = std::env::current_exe().context("cannot find this program")?;
        let files = [("procwatch", agent), ("burst", burst), (guest::NAME, &this)];
        let files = files.map(|(name, path)| (name.to_owned(), Content::Copy(path.to_owned())));
        Ok(Job {
            name: mover.name(),
            files: files.into(),
            command: format!(
                "#!/bin/sh\nexec /job/{} measure {} {}\n",
                guest::NAME,
                mover.name(),
                self.sessions
            ),
            cpus: self.cpus,
            kernel_options: mover.kernel_options(),
            shown: false,
            timeout: BESIDES + PER_SESSION * self.sessions,
            boots: 1,
        })
    }
}

/// What a guest measured.
fn read(report: &vm::Report) -> Result<Measured> {
    let line = report.output.lines().find_map(|line| line.strip_prefix(guest::RESULT));
    let Some(line) = line else {
        bail!("the guest measured nothing (exit code {}): {}", report.exit_code, report.output.trim());
    };
    serde_json::from_str(line).context("the guest's figures cannot be read")
}
