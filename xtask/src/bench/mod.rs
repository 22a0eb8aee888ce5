//! `cargo xtask bench`: figures that anyone can repeat.
//!
//! A new part is one file with a `measure` function that returns a [`Section`], and one line in [`PARTS`]. Parts
//! compare by turns within the same minutes; a figure that cannot be taken is shown as such, with the reason.

pub(crate) mod account;
mod cost;
mod cpu;
mod formats;
pub(crate) mod idle;
mod latency;
mod page;
mod peers;
pub(crate) mod place;
pub(crate) mod report;
mod rings;
mod scale;
mod statistics;
mod stream;
pub(crate) mod verifier;
mod watchers;
mod work;

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;

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
    /// Only these parts
    #[arg(long = "part", value_name = "PART", value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Write the page to this file too, such as docs/FIGURES.md
    #[arg(long, value_name = "FILE", conflicts_with = "parts")]
    page: Option<PathBuf>,
    /// The agent, built already: this is the part that runs as root
    #[arg(long, hide = true)]
    agent: Option<PathBuf>,
}

/// What is not the whole.
#[derive(clap::Subcommand)]
enum What {
    /// The same `su` sessions under different movers, in virtual machines
    Place(place::Options),
    /// How heavy the programs are for the kernel's verifier, held against the stored table
    Verifier(verifier::Options),
}

/// What every part needs.
pub(crate) struct Bench {
    agent: PathBuf,
    quick: bool,
}

/// A part of the benchmark, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What everyone else pays
    Cost,
    /// The same of real work
    Work,
    /// From the kernel's stamp to the alert, to the stop, and to a poller's sight
    Latency,
    /// Throughput and loss, against what the generators did
    Stream,
    /// The first loss for each size of the ring
    Rings,
    /// What an event costs the agent
    Formats,
    /// What the agent takes when nothing happens
    Idle,
    /// With many threads, many processes and many rules
    Scale,
    /// How heavy the programs are for the verifier
    Verifier,
}

impl Part {
    const fn title(self) -> &'static str {
        match self {
            Self::Cost => "Cost to others",
            Self::Work => "Real work",
            Self::Latency => "Latency",
            Self::Stream => "Stream",
            Self::Rings => "Rings",
            Self::Formats => "Cost of an event",
            Self::Idle => "Idle",
            Self::Scale => "Scale",
            Self::Verifier => "Verifier",
        }
    }

    fn measure(self, bench: &Bench) -> Result<Section> {
        match self {
            Self::Cost => cost::measure(bench),
            Self::Work => work::measure(bench),
            Self::Latency => latency::measure(bench),
            Self::Stream => stream::measure(bench),
            Self::Rings => rings::measure(bench),
            Self::Formats => formats::measure(bench),
            Self::Scale => scale::measure(bench),
            Self::Idle => idle::measure(bench),
            Self::Verifier => verifier::measure(bench),
        }
    }
}

/// Builds, becomes root, measures, and writes what came out.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if let Some(What::Place(options)) = &options.what {
        return place::run(workspace, options);
    }
    if let Some(agent) = options.agent() {
        return options.measure(agent);
    }
    let agent = build::run(workspace, Profile::Release)?;
    if caller::is_root() || !options.needs_root() {
        return options.measure(&agent);
    }
    let this = env::current_exe().context("cannot find this program")?;
    let mut command = caller::as_root(&this)?;
    command.arg("bench").args(options.words()).arg("--agent").arg(agent);
    Err(exec::replace(&mut command))
}

impl Options {
    fn agent(&self) -> Option<&Path> {
        let given = match &self.what {
            Some(What::Verifier(options)) => &options.agent,
            _ => &self.agent,
        };
        given.as_deref()
    }

    /// Virtual machines do without.
    const fn needs_root(&self) -> bool {
        match &self.what {
            Some(What::Verifier(options)) => options.is_here(),
            _ => true,
        }
    }

    /// As it would be typed again.
    fn words(&self) -> Vec<String> {
        if let Some(What::Verifier(options)) = &self.what {
            return options.words();
        }
        let mut words = Vec::new();
        words.extend(self.quick.then(|| "--quick".to_owned()));
        let parts =
            self.parts.iter().filter_map(|part| Some(part.to_possible_value()?.get_name().to_owned()));
        words.extend(parts.flat_map(|part| ["--part".to_owned(), part]));
        words.extend(self.page.iter().flat_map(|page| ["--page".to_owned(), page.display().to_string()]));
        words
    }

    fn measure(&self, agent: &Path) -> Result<()> {
        interrupt::catch()?;
        let target = agent.ancestors().nth(2).context("the agent is not in a target folder")?;
        let folder = target.join("bench");
        let bench = Bench { agent: agent.to_owned(), quick: self.quick };
        let machine = machine()?;
        let sections = match &self.what {
            Some(What::Verifier(options)) => vec![options.run(&bench)?],
            _ => self.sections(&bench)?,
        };
        let command = format!("cargo xtask bench {}", self.words().join(" ")).trim_end().to_owned();
        let report = Report { machine, command, sections };
        self.save(&report, &folder)?;
        io::stdout().write_all(report.table().as_bytes())?;
        let broken = report.broken();
        if !broken.is_empty() {
            bail!("heavier for the verifier than the stored table allows: {}", broken.join(", "));
        }
        Ok(())
    }

    /// Takes all figures. A part that fails does not take the others with it.
    fn sections(&self, bench: &Bench) -> Result<Vec<Section>> {
        let parts = if self.parts.is_empty() { Part::value_variants() } else { &self.parts };
        let mut sections = Vec::new();
        for part in parts {
            let title = part.title();
            eprintln!("bench: {title}");
            let section = part.measure(bench);
            interrupt::check()?;
            sections.push(section.unwrap_or_else(|error| Section {
                title,
                commands: Vec::new(),
                figures: vec![Figure::missing("all of it", format!("{error:#}"))],
            }));
        }
        Ok(sections)
    }

    fn save(&self, report: &Report, folder: &Path) -> Result<()> {
        if let Some(What::Verifier(_)) = &self.what {
            report.save(folder, "verifier")?;
            return caller::hand_over(folder);
        }
        let placement = fs::read_to_string(folder.join("place.md")).ok();
        let page = page::of(report, placement.as_deref());
        report.save(folder, "bench")?;
        let mut files = vec![folder.join("bench.md")];
        files.extend(self.page.clone());
        for file in &files {
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            }
            fs::write(file, &page).with_context(|| format!("cannot write {}", file.display()))?;
            caller::hand_over(file)?;
        }
        caller::hand_over(folder)?;
        eprintln!("bench: written to {}/bench.{{json,md}}", folder.display());
        Ok(())
    }
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
    Ok(format!("Linux {}, {cpus} CPUs, {model}; load {load} before the first figure", public(kernel.trim())))
}

/// A kernel's release without the suffix that whoever built it gave it, unless that was Debian.
fn public(release: &str) -> &str {
    let is_debian = release.ends_with("-amd64") || release.ends_with("-arm64");
    if is_debian { release } else { release.split(['-', '+']).next().unwrap_or(release) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_debians_or_goes() {
        assert_eq!(public("6.1.0-57-cloud-amd64"), "6.1.0-57-cloud-amd64");
        assert_eq!(public("6.18.44-of-somebody"), "6.18.44");
        assert_eq!(public("6.18.44+"), "6.18.44");
        assert_eq!(public("6.18.44"), "6.18.44");
    }
}
