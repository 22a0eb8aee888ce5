//! How much work the programs are for the kernel's verifier, held against a table that is kept in the project: it does
//! not depend on time, so a program that became heavier is an error, in CI too.
//!
//! The verifier's states are not told once a program is loaded; its instructions are.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Bench, account,
    report::{Figure, Section},
};
use crate::{
    agent::{Agent, read},
    caller,
    vm::{self, Content, Job, Lab},
    workspace::Workspace,
};

/// The table, below the root of the checkout.
const TABLE: &str = "xtask/src/bench/verifier.json";
/// A program may have so much more than in the table, in percent: compilers differ.
const SLACK_PERCENT: u64 = 15;
/// The name that tells a process of this program that it is in a guest, to look at the programs there.
const NAME: &str = "procwatch-verifier";
/// What the line with the figures begins with.
const RESULT: &str = "verifier: ";
/// A configuration that wants every program there is.
const EVERY_PROGRAM: &str = "mode = \"enforce\"\n\
    [[place]]\nuser = \"aimgr\"\nslice = \"user-1003.slice\"\nfrom = [\"user.slice\"]\n\
    [[threads]]\ncomm = \"nothing-has-it\"\ncap = 1000\n";

/// What is looked at, and whether it is written down.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write what is measured into the table
    #[arg(long)]
    renew: bool,
    /// Debian's kernels to look at in virtual machines, in place of this machine's: versions such as 6.1, or `newest`
    #[arg(long, value_name = "V", value_delimiter = ',')]
    kernel: Vec<String>,
    /// The agent, built already: this is the part that runs as root
    #[arg(long, hide = true)]
    pub(super) agent: Option<PathBuf>,
}

/// Instructions that the verifier looked at, by program.
type Instructions = BTreeMap<String, u64>;
/// The same by kernel, such as `6.18`.
type Table = BTreeMap<String, Instructions>;

/// The part of the benchmark.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    section(&Workspace::locate()?, &here(bench)?)
}

impl Options {
    /// As it would be typed again.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec!["verifier".to_owned()];
        words.extend(self.renew.then(|| "--renew".to_owned()));
        if !self.kernel.is_empty() {
            words.extend(["--kernel".to_owned(), self.kernel.join(",")]);
        }
        words
    }

    /// Whether this machine's own kernel is looked at, for which it takes root.
    pub(super) const fn is_here(&self) -> bool {
        self.kernel.is_empty()
    }

    /// Looks at the programs on each kernel, renews the table if that is wanted, and compares with it.
    pub(super) fn run(&self, bench: &Bench) -> Result<Section> {
        let workspace = Workspace::locate()?;
        let seen =
            if self.is_here() { here(bench)? } else { in_guests(&workspace, &bench.agent, &self.kernel)? };
        if self.renew {
            renew(&workspace, &seen)?;
        }
        section(&workspace, &seen)
    }
}

/// What was seen, next to what is stored.
fn section(workspace: &Workspace, seen: &Table) -> Result<Section> {
    let stored = table(workspace)?;
    let figures = seen.iter().flat_map(|(kernel, now)| compare(kernel, now, stored.get(kernel)));
    let states = Figure::missing(
        "states",
        "the kernel tells them in the log of a load alone, not of a program that is loaded",
    );
    Ok(Section {
        title: "Verifier",
        commands: vec![
            "procwatch run; bpftool prog show --json   # verified_insns".to_owned(),
            format!("cargo xtask bench verifier --renew   # writes {TABLE}"),
        ],
        figures: figures.chain([states]).collect(),
    })
}

/// The programs on this machine's own kernel.
fn here(bench: &Bench) -> Result<Table> {
    let agent = Agent::start_unheard(&mut bench.procwatch(&["run"])?)?;
    let now = loaded(&agent)?;
    agent.stop(|_| {})?;
    Ok([(short(&read(Path::new("/proc/sys/kernel/osrelease"))?), now)].into())
}

/// The programs of an agent, by their names.
fn loaded(agent: &Agent) -> Result<Instructions> {
    let programs = account::programs(&agent.proc())?;
    let named = programs.into_iter().map(|(id, program)| {
        // A tracepoint's program is named after it, and that name is not cut.
        let name = if program.hook.is_empty() { program.name } else { program.hook };
        (if name.is_empty() { format!("program {id}") } else { name }, program.verified_insns)
    });
    Ok(named.collect())
}

/// `6.18` of `6.18.44-cloud`.
fn short(release: &str) -> String {
    release.trim().split(['.', '-']).take(2).collect::<Vec<_>>().join(".")
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.root.join(TABLE)
}

/// What was stored. Nothing yet is no error.
fn table(workspace: &Workspace) -> Result<Table> {
    let path = path(workspace);
    if !path.exists() {
        return Ok(Table::new());
    }
    serde_json::from_str(&read(&path)?).with_context(|| format!("{} cannot be read", path.display()))
}

/// Stores what was seen on some kernels; what is stored of others stays.
fn renew(workspace: &Workspace, seen: &Table) -> Result<()> {
    let path = path(workspace);
    let mut table = table(workspace)?;
    table.extend(seen.clone());
    let text = serde_json::to_string_pretty(&table)? + "\n";
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    caller::hand_over(&path)?;
    eprintln!("bench: written to {}", path.display());
    Ok(())
}

/// Each program, and how that compares with what was stored of this kernel.
fn compare(kernel: &str, now: &Instructions, stored: Option<&Instructions>) -> Vec<Figure> {
    let mut figures: Vec<Figure> =
        now.iter().map(|(name, count)| one(kernel, name, *count, stored)).collect();
    let gone = stored.into_iter().flat_map(BTreeMap::keys).filter(|name| !now.contains_key(*name));
    figures.extend(
        gone.map(|name| Figure::missing(format!("{kernel} {name}"), "in the table, not loaded here")),
    );
    figures
}

fn one(kernel: &str, name: &str, count: u64, stored: Option<&Instructions>) -> Figure {
    if count == 0 {
        return Figure::missing(format!("{kernel} {name}"), "told by Linux 5.16 and later");
    }
    let figure = Figure::one(format!("{kernel} {name}"), "instructions", count as f64);
    let Some(stored) = stored else {
        return figure.note("no table for this kernel");
    };
    let Some(&before) = stored.get(name) else {
        return figure.note("not in the table: renew it");
    };
    let change = (count as f64 / before as f64 - 1.0) * 100.0;
    let note = match change {
        -1.0..=1.0 => "as stored".to_owned(),
        _ => format!("{change:+.0} % of the {before} stored"),
    };
    figure.at_most_or_fail((before * (100 + SLACK_PERCENT) / 100) as f64).note(note)
}

/// The programs on kernels of Debian, each in a virtual machine.
fn in_guests(workspace: &Workspace, agent: &Path, versions: &[String]) -> Result<Table> {
    let lab = Lab::prepare(workspace)?;
    let this = env::current_exe().context("cannot find this program")?;
    let job = Job {
        name: "verifier",
        files: vec![
            ("procwatch".to_owned(), Content::Copy(agent.to_owned())),
            (NAME.to_owned(), Content::Copy(this)),
            ("every.toml".to_owned(), Content::Text(EVERY_PROGRAM.to_owned())),
        ],
        command: format!("#!/bin/sh\nexec /job/{NAME}\n"),
        cpus: 2,
        kernel_options: "",
        shown: false,
        timeout: Duration::from_mins(2),
        boots: 1,
    };
    let mut seen = Table::new();
    for version in versions {
        let kernel = lab.kernel(version)?;
        let report = lab.run(&kernel, &job)?;
        seen.insert(short(&kernel.release), of_guest(&report)?);
    }
    caller::hand_over(&workspace.target)?;
    Ok(seen)
}

/// What a guest saw.
fn of_guest(report: &vm::Report) -> Result<Instructions> {
    let Some(line) = report.output.lines().find_map(|line| line.strip_prefix(RESULT)) else {
        bail!("the guest saw nothing (exit code {}): {}", report.exit_code, report.output.trim());
    };
    serde_json::from_str(line).context("what the guest saw cannot be read")
}

/// Does its part when this process was started in a guest.
pub(crate) fn requested() -> Option<Result<()>> {
    let name = env::args_os().next()?;
    (Path::new(&name).file_name() == Some(OsStr::new(NAME))).then(|| {
        let mut command = Command::new("/job/procwatch");
        let mut agent = Agent::start(command.args(["run", "--json", "--config", "/job/every.toml"]))?;
        let armed = agent.until(Duration::from_mins(1), |line| line.contains(r#""topic":"armed""#))?;
        ensure!(armed, "procwatch was not armed within a minute");
        let line = format!("{RESULT}{}\n", serde_json::to_string(&loaded(&agent)?)?);
        io::stdout().write_all(line.as_bytes())?;
        agent.stop(|_| {})
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instructions(pairs: &[(&str, u64)]) -> Instructions {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn broken(figures: Vec<Figure>) -> usize {
        let section = Section { title: "", commands: Vec::new(), figures };
        let report = super::super::report::Report {
            machine: String::new(),
            command: String::new(),
            sections: vec![section],
        };
        report.broken().len()
    }

    #[test]
    fn only_a_heavier_program_is_an_error() {
        let stored = instructions(&[("task_newtask", 3000), ("commit_creds", 500)]);
        let now = |count| instructions(&[("task_newtask", count), ("new_one", 9999)]);
        assert_eq!(broken(compare("6.18", &now(3450), Some(&stored))), 0);
        assert_eq!(broken(compare("6.18", &now(3451), Some(&stored))), 1);
        assert_eq!(broken(compare("6.18", &now(100), Some(&stored))), 0);
        assert_eq!(broken(compare("6.18", &now(9000), None)), 0, "nothing is stored of this kernel");
    }

    #[test]
    fn kernels_are_told_apart_by_their_first_two_numbers() {
        assert_eq!(short("6.18.44-fc\n"), "6.18");
        assert_eq!(short("7.2-cloud-amd64"), "7.2");
    }
}
