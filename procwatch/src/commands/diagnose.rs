//! `procwatch diagnose`: which code creates the threads of a process, and which processes have more than is normal.

mod all;
mod patch;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use crate::{
    agent::AgentError,
    config::{self, threads::choose},
    creators::Creators,
    diagnose::{self, creators_json, human, report::Diagnosis},
    host, inspect,
    kernel::{KernelError, creators},
    lock::{AGENT_LOCK, running_agent},
};

/// Arguments of `procwatch diagnose`.
#[derive(Debug, Args)]
pub struct DiagnoseArgs {
    /// The process that is asked about
    #[arg(required_unless_present = "all", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,

    /// List every process that has more threads than its rule calls normal
    #[arg(long, conflicts_with_all = ["pid", "creators"])]
    all: bool,

    /// Configuration that says what is normal; without it /etc/procwatch/procwatch.toml and procwatch.d
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where to read what the kernel saw of the creations, as JSON: - for standard input
    ///
    /// Without it a running agent's kernel programs are asked.
    #[arg(long, value_name = "-", value_parser = ["-"])]
    creators: Option<String>,

    /// Propose a change of the Python source for each known pattern that was proved
    ///
    /// No proof, no patch: then the reason is told. Exit code 0: a change is proposed (with --apply: made); 1: none is.
    #[arg(long, conflicts_with = "all")]
    patch: bool,

    /// Make the change: after a backup beside the file, in one step, if it still compiles and is the process' own file
    #[arg(long, requires = "patch")]
    apply: bool,

    /// Write one JSON object; with --all one a line
    #[arg(long)]
    json: bool,
}

/// Looks, and tells. The exit code: 0 for a cause, 1 for none.
///
/// # Errors
/// When it could not be looked, or standard output fails.
pub fn run(args: &DiagnoseArgs) -> Result<ExitCode, AgentError> {
    if !host::is_root() {
        let what =
            "it reads the memory of other processes and must run as root; use: sudo procwatch diagnose …";
        return Err(AgentError::Usage(format!("diagnose: {what}")));
    }
    let Some(pid) = args.pid else {
        all::run(args.config.as_deref(), args.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    let creators = match &args.creators {
        Some(_) => {
            let read = creators_json::read(io::stdin().lock());
            Some(read.map_err(|error| AgentError::Usage(format!("--creators: standard input: {error}")))?)
        }
        None => creators_of_running_agent(pid)?,
    };
    let mut diagnosis = diagnose::diagnose(pid, creators.as_ref())?;
    diagnosis.process.rule = rule_of(pid, args.config.as_deref())?;
    let patches = args.patch.then(|| patch::patches(&diagnosis, args.apply));
    let found = match &patches {
        Some(patches) => patch::is_done(patches, args.apply),
        None => diagnosis.cause.is_some(),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if args.json {
        let told = Told { diagnosis: &diagnosis, patches };
        serde_json::to_writer(&mut out, &told).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        let patches = |out: &mut _| patches.map_or(Ok(()), |patches| patch::write(out, &patches));
        human::write(&mut out, &diagnosis).and_then(|()| patches(&mut out))
    };
    match written.and_then(|()| out.flush()) {
        // A reader that has enough is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(AgentError::io("standard output")(error))
        }
        _ => Ok(ExitCode::from(u8::from(!found))),
    }
}

/// The rule that holds for a process, in words. A configuration that nobody asked for may be bad: then there is none.
fn rule_of(pid: u32, config: Option<&Path>) -> Result<Option<String>, AgentError> {
    let loaded = match config::load(config) {
        Err(error) if config.is_some() => return Err(error.into()),
        loaded => loaded.ok(),
    };
    let program = inspect::program_by_pid(pid.cast_signed()).ok();
    let rule = loaded.zip(program).and_then(|(config, program)| {
        config.threads.get(choose(&config.threads, &program)).map(|rule| rule.described.clone())
    });
    Ok(rule)
}

/// A diagnosis with what came of its patterns, if that was asked.
#[derive(Serialize)]
struct Told<'d> {
    #[serde(flatten)]
    diagnosis: &'d Diagnosis,
    #[serde(skip_serializing_if = "Option::is_none")]
    patches: Option<Vec<patch::Patch>>,
}

/// What the kernel programs of a running agent saw of a process' creations; `None` without an agent, and for a process
/// that never rose above the floor.
fn creators_of_running_agent(pid: u32) -> Result<Option<Creators>, KernelError> {
    let Some(agent) = running_agent(AGENT_LOCK.as_ref()) else {
        return Ok(None);
    };
    match creators::key_of(agent, pid)? {
        Some(process) => creators::read(agent, process),
        None => Ok(None),
    }
}
