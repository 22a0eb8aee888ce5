//! `cargo xtask bench`: figures that anyone can repeat.
//!
//! A new part is one file with a `measure` function that returns a [`Section`], and one line in [`PARTS`]. Parts
//! compare by turns within the same minutes; a figure that cannot be taken is shown as such, with the reason.

pub(crate) mod account;
mod cost;
pub(crate) mod idle;
mod latency;
pub(crate) mod place;
pub(crate) mod report;
mod statistics;
mod stream;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    agent::read,
    build::{self, Profile},
    caller, exec, interrupt,
    workspace::Workspace,
};
use report::{Figure, Report, Section};

/// What is measured, and how.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// Something else than all that can be measured on this machine
    #[command(subcommand)]
    what: Option<What>,
    /// Fewer rounds: about a minute, to see that everything works
    #[arg(long)]
    quick: bool,
    /// The agent, built already: this is the part that runs as root
    #[arg(long, hide = true)]
    agent: Option<PathBuf>,
}

/// What is not measured on this machine.
#[derive(clap::Subcommand)]
enum What {
    /// The same `su` sessions under different movers, in virtual machines
    Place(place::Options),
}

/// What every part needs.
pub(crate) struct Bench {
    agent: PathBuf,
    quick: bool,
}

/// A part of the benchmark: its title and what takes its figures.
type Part = (&'static str, fn(&Bench) -> Result<Section>);

/// The parts, in the order of the report.
const PARTS: [Part; 4] = [
    ("Cost to others", cost::measure),
    ("Latency of alerts", latency::measure),
    ("Stream", stream::measure),
    ("Idle", idle::measure),
];

/// Builds, becomes root, measures, and writes what came out.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if let Some(What::Place(options)) = &options.what {
        return place::run(workspace, options);
    }
    if let Some(agent) = &options.agent {
        return measure(agent, options.quick);
    }
    let agent = build::run(workspace, Profile::Release)?;
    if caller::is_root() {
        return measure(&agent, options.quick);
    }
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = caller::as_root(&this)?;
    command.args(["bench", "--agent"]).arg(agent);
    command.args(options.quick.then_some("--quick"));
    Err(exec::replace(&mut command))
}

fn measure(agent: &Path, quick: bool) -> Result<()> {
    interrupt::catch()?;
    let target = agent.ancestors().nth(2).context("the agent is not in a target folder")?;
    let folder = target.join("bench");
    let machine = machine()?;
    let bench = Bench { agent: agent.to_owned(), quick };
    let mut sections = Vec::new();
    for (title, part) in PARTS {
        eprintln!("bench: {title}");
        let section = part(&bench);
        interrupt::check()?;
        sections.push(section.unwrap_or_else(|error| Section {
            title,
            commands: Vec::new(),
            figures: vec![Figure::missing("all of it", format!("{error:#}"))],
        }));
    }
    let report = Report {
        machine,
        command: format!("cargo xtask bench{}", if quick { " --quick" } else { "" }),
        sections,
    };
    report.save(&folder, "bench")?;
    caller::hand_over(&folder)?;
    io::stdout().write_all(report.table().as_bytes())?;
    eprintln!("bench: written to {}/bench.{{json,md}}", folder.display());
    Ok(())
}

/// Where it was measured.
pub(crate) fn machine() -> Result<String> {
    let kernel = read(Path::new("/proc/sys/kernel/osrelease"))?;
    let cpus = thread::available_parallelism()?;
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    // Other work on the machine is the noise in all that follows.
    let load = read(Path::new("/proc/loadavg"))?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("Linux {}, {cpus} CPUs, {model}; load {load} before the first figure", kernel.trim()))
}

impl Bench {
    /// `full`, or `quick` for a quick run.
    fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// `procwatch ARGUMENTS`. Waits until no other agent is in the way.
    fn procwatch(&self, arguments: &[&str]) -> Result<Command> {
        if arguments.first() == Some(&"run") {
            wait_for_lock()?;
        }
        let mut command = Command::new(&self.agent);
        command.args(arguments);
        Ok(command)
    }
}

/// There can be one agent only; a service may have it, or another test for a moment.
fn wait_for_lock() -> Result<()> {
    let end = Instant::now() + Duration::from_mins(1);
    let mut told = false;
    while let Some(pid) = holder() {
        interrupt::check()?;
        if Instant::now() > end {
            bail!("another procwatch agent runs (pid {pid}); stop it first");
        }
        if !told {
            eprintln!("bench: waits for another procwatch agent to end (pid {pid})");
            told = true;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The agent that the lock file names, if it lives.
fn holder() -> Option<u32> {
    let pid = fs::read_to_string("/run/procwatch/agent.lock").ok()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == "procwatch").then_some(pid)
}
