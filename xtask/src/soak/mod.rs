//! `cargo xtask soak`: the agent with everything enabled under forks, threads and execs for half an hour. Its memory and
//! its descriptors must stay as they are, and every lost record must have been told.

mod verdict;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    agent::{Agent, Ending, read},
    bench::{idle, report::Report},
    build::{self, Profile},
    caller, exec, interrupt, tools,
    workspace::Workspace,
};
use verdict::{Sample, Verdict};

/// For how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long the stress goes on
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// The agent, built already: this is the part that runs as root
    #[arg(long, hide = true)]
    agent: Option<PathBuf>,
}

/// What stresses: processes, threads by the library and by the system call, and programs. Each of the four fills a core
/// where it has one.
const STRESSORS: [&str; 14] = [
    "--fork",
    "1",
    "--clone",
    "1",
    "--clone-max",
    "64",
    "--pthread",
    "1",
    "--pthread-max",
    "120",
    "--exec",
    "1",
    "--exec-max",
    "16",
];

/// How long stress-ng runs before it is started anew: of the processes that its clone stressor makes, it does not collect
/// some before its end, and in a quarter of an hour they are as many as a kernel has pids.
const ROUND: Duration = Duration::from_mins(1);

/// Address space of each of its processes, bytes: without a pid left, its pthread stressor takes ever more.
const ADDRESS_SPACE: u64 = 4 << 30;

/// Samples of one run.
const SAMPLES: u32 = 120;

/// Builds, becomes root, and soaks.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if let Some(agent) = &options.agent {
        return soak(agent, options.minutes);
    }
    tools::stressor()?;
    let agent = build::run(workspace, Profile::Release)?;
    if caller::is_root() {
        return soak(&agent, options.minutes);
    }
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = caller::as_root(&this)?;
    command.args(["soak", "--minutes", &options.minutes.to_string(), "--agent"]).arg(agent);
    Err(exec::replace(&mut command))
}

fn soak(procwatch: &Path, minutes: u64) -> Result<()> {
    interrupt::catch()?;
    let target = procwatch.ancestors().nth(2).context("the agent is not in a target folder")?;
    let folder = tempfile::tempdir_in(target).context("cannot make a folder for logs")?;
    let config = folder.path().join("soak.toml");
    fs::write(&config, everything(folder.path())).context("cannot write the configuration")?;
    let mut command = Command::new(procwatch);
    command.args(["run", "--json", "--config"]).arg(&config);
    let mut agent = Agent::start(&mut command)?;
    let armed = agent.until(Duration::from_secs(30), |line| line.contains(r#""topic":"armed""#))?;
    anyhow::ensure!(armed, "the agent was not armed within 30 s");

    let time = Duration::from_secs(minutes * 60);
    let mut verdict = Verdict::default();
    let begun = Instant::now();
    while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| *left >= Duration::from_secs(1)) {
        let mut stress = stress(left.min(ROUND), folder.path())?;
        let status = loop {
            hear(&mut agent, time / SAMPLES, &mut verdict)?;
            verdict.samples.push(sample(&agent)?);
            if let Some(status) = stress.0.try_wait()? {
                break status;
            }
        };
        // 1 is of stress-ng, the others of what should have run it. Further codes tell that a stressor had to do without
        // something, which is no wonder here.
        anyhow::ensure!(!matches!(status.code(), Some(1 | 126 | 127)), "stress-ng did not run: {status}");
    }
    // What the last processes left behind is told by now; the agent is asked while it lives.
    hear(&mut agent, Duration::from_secs(2), &mut verdict)?;
    verdict.status = status(procwatch)?;
    verdict.cpu_s = idle::cpu_seconds(&agent.proc())?;
    verdict.took = begun.elapsed();
    agent.stop(|line| verdict.hear(line))?;
    report(target, minutes, &verdict)
}

/// A configuration in which nothing is left out. It observes.
fn everything(folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    format!(
        "[log]\npath = \"{}\"\nkinds = [\"alert\", \"cleared\", \"exec\"]\nmax-size = \"8M\"\ndisk-limit = \"64M\"\n\
         [history]\npath = \"{}\"\nevents = [\"exec\"]\n\
         [metrics]\nlisten = \"127.0.0.1:19464\"\n\
         [[outlet]]\nname = \"soak\"\nkind = \"command\"\ncommand = [\"/bin/true\"]\non = [\"alert\"]\n\
         [[threads]]\nlevels = [60, 100, 500, 1000]\n",
        path("soak.jsonl"),
        path("history.db"),
    )
}

fn stress(time: Duration, folder: &Path) -> Result<Ending> {
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={ADDRESS_SPACE}")).arg("stress-ng").args(STRESSORS);
    command.args(["--timeout", &format!("{}s", time.as_secs()), "--temp-path"]).arg(folder);
    command.args(["--metrics-brief", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().with_context(|| format!("cannot start {}", exec::show(&command)))?;
    Ok(Ending(child))
}

/// Takes in what the agent tells for a while.
fn hear(agent: &mut Agent, time: Duration, verdict: &mut Verdict) -> Result<()> {
    let end = Instant::now() + time;
    while let Some(line) = agent.line_before(end)? {
        verdict.hear(&line);
    }
    Ok(())
}

fn sample(agent: &Agent) -> Result<Sample> {
    let proc = agent.proc();
    let status = read(&proc.join("status"))?;
    Ok(Sample {
        resident_kb: idle::field(&status, "VmRSS")?,
        own_kb: idle::field(&status, "RssAnon")?,
        threads: idle::field(&status, "Threads")?,
        descriptors: fs::read_dir(proc.join("fd"))?.count() as u64,
    })
}

/// What the agent says of itself. A scrape and a client at the same time, as on a machine that is watched.
fn status(procwatch: &Path) -> Result<Value> {
    let output =
        Command::new(procwatch).args(["status", "--json"]).output().context("cannot ask the agent")?;
    match serde_json::from_slice(&output.stdout) {
        Ok(status) => Ok(status),
        Err(error) => bail!("procwatch status: {error}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn report(target: &Path, minutes: u64, verdict: &Verdict) -> Result<()> {
    let folder = target.join("bench");
    let report = Report {
        machine: crate::bench::machine()?,
        command: format!("cargo xtask soak --minutes {minutes}"),
        sections: vec![verdict.section()],
    };
    report.save(&folder, "soak")?;
    caller::hand_over(&folder)?;
    io::stdout().write_all(report.table().as_bytes())?;
    let failings = verdict.failings();
    if failings.is_empty() {
        return Ok(());
    }
    bail!("{}", failings.join("; "))
}
