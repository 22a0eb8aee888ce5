//! `procwatch layout`: which CPUs which slice has.

mod apply;
mod check;
mod measure;
mod table;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    cgroup::{Mount, SliceRef, resolve::systemd_runs},
    config::{self, LayoutRule},
    layout::{
        LayoutError,
        change::Targets,
        facts::{CPU_FOLDER, Facts, Sources, UnitFacts},
        plan::Setter,
    },
    systemd::{Manager, Waits},
};

const UNITS: &str = "/etc/systemd/system";

/// What to do with the layout.
#[derive(Debug, Subcommand)]
pub enum LayoutCommand {
    /// Compare the CPUs that slices have with those that they are to have, and say what stands in the way
    ///
    /// Shows also which processes of a user live outside of the user's slice, and how busy the CPUs are; that does not
    /// change the exit code.
    ///
    /// Exit code 0: all slices are as wanted; 1: one is not; 2: it cannot be told, or the configuration is bad.
    Check(CheckArgs),
    /// Give slices their CPUs, after showing what would change; or take that back
    ///
    /// Where systemd runs, by drop-ins in /etc/systemd/system, which last. Elsewhere by writing to cgroupfs, which lasts
    /// until the next boot. All or nothing: when one change fails, those before it are taken back. What was there before
    /// is kept in /var/lib/procwatch/layout.json for --undo.
    ///
    /// Exit code 0: all is as wanted now; 1: a slice is not, as the output says; 2: it was refused or has failed, and
    /// nothing is changed unless the message says otherwise.
    Apply(ApplyArgs),
}

/// Arguments of `procwatch layout check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration; without it /etc/procwatch/procwatch.toml and procwatch.d
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Look for N seconds how busy the CPUs are; 0 does not look
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=3600))]
    seconds: u64,

    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `procwatch layout apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Configuration; without it /etc/procwatch/procwatch.toml and procwatch.d
    #[arg(long, value_name = "FILE", conflicts_with = "undo")]
    config: Option<PathBuf>,

    /// Restore exactly what was there before the first apply
    #[arg(long)]
    undo: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Overwrite what others have changed since
    #[arg(long)]
    force: bool,

    /// Write one JSON object; what would change is shown on standard error then
    #[arg(long)]
    json: bool,
}

/// Does it. The exit code is told in the help of each.
///
/// # Errors
/// When it cannot be done; nothing is changed then.
pub fn run(command: &LayoutCommand) -> Result<ExitCode, LayoutError> {
    match command {
        LayoutCommand::Check(args) => check::run(args),
        LayoutCommand::Apply(args) => apply::run(args),
    }
}

/// The machine whose layout it is.
struct Machine {
    sources: Sources,
    targets: Targets,
    /// Absent where systemd is not the first process.
    manager: Option<Manager>,
}

impl Machine {
    fn here() -> Result<Self, LayoutError> {
        let mount = Mount::find()?;
        if !mount.whole {
            let what = format!(
                "the cgroup2 mount {} shows only a part of the hierarchy; run procwatch outside of containers",
                mount.shown()
            );
            return Err(LayoutError::Refused(what));
        }
        Ok(Self {
            sources: Sources { hierarchy: mount.point.clone(), cpus: CPU_FOLDER.into() },
            targets: Targets { units: UNITS.into(), hierarchy: mount.point },
            manager: systemd_runs().then(|| Manager::connect(Waits::Here)).transpose()?,
        })
    }

    const fn setter(&self) -> Setter {
        if self.manager.is_some() { Setter::Systemd } else { Setter::Cgroupfs }
    }

    fn facts(&self, rules: &[LayoutRule]) -> Result<Facts, LayoutError> {
        let slices: Vec<SliceRef> = rules.iter().map(|rule| rule.slice.clone()).collect();
        let Some(manager) = &self.manager else {
            return Facts::gather(&self.sources, &slices, None);
        };
        let mut ask = |unit: &str| {
            let state: String = manager.unit_property(unit, "ActiveState")?;
            Ok(UnitFacts { active: matches!(&*state, "active" | "reloading") })
        };
        Facts::gather(&self.sources, &slices, Some(&mut ask))
    }

    fn reload(&self) -> Result<(), LayoutError> {
        self.manager.as_ref().map_or(Ok(()), |manager| Ok(manager.reload()?))
    }
}

/// The layout that is wanted, and the files it was read from.
fn wanted(file: Option<&Path>) -> Result<Vec<LayoutRule>, LayoutError> {
    let config = config::load(file)?;
    if !config.layout.is_empty() {
        return Ok(config.layout);
    }
    let place = file.unwrap_or(Path::new(config::DEFAULT_FOLDER));
    let what =
        "has no [[layout]]; right is e.g. [[layout]] with slice = \"user-1003.slice\" and cpus = \"4-19\"";
    Err(LayoutError::at(place, what))
}

/// Writes a report to standard output. A reader that has enough, such as `head`, is no failure.
fn write<T: Serialize>(
    json: bool,
    report: &T,
    table: impl FnOnce(&mut dyn Write, &T) -> io::Result<()>,
) -> Result<(), LayoutError> {
    let mut out = io::stdout().lock();
    let written = if json {
        serde_json::to_writer_pretty(&mut out, report).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        table(&mut out, report)
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
