//! `procwatch undo`: takes back what was done to contain processes.

use std::process::ExitCode;

use clap::Args;

use super::act::Output;
use crate::{
    agent::AgentError,
    cgroup::Mount,
    config::Protect,
    execute::contain::{Warden, Which},
    record::Occasion,
};

/// Arguments of `procwatch undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The process that is released
    #[arg(
        value_name = "PID",
        value_parser = clap::value_parser!(u32).range(1..),
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pid: Option<u32>,

    /// Release all
    #[arg(long)]
    all: bool,

    /// Write JSON lines: one for each thing taken back (see `procwatch schema`)
    #[arg(long)]
    json: bool,
}

/// Takes it back, and tells what came of it. The exit code: 0 for done or nothing to do, 1 when something could not be
/// taken back.
///
/// # Errors
/// When the caller is not root, the notes cannot be read or written, or standard output fails.
pub fn run(args: &UndoArgs) -> Result<ExitCode, AgentError> {
    super::act::require_root("undo")?;
    let warden = Warden::new(&Mount::find()?, Protect::default());
    let undone = warden.undo(args.pid.map_or(Which::All, Which::Pid), Occasion::Hand)?;
    let is_incomplete = undone.is_incomplete();
    let mut output = Output::new(args.json)?;
    let is_empty = undone.acts.is_empty() && undone.complaint.is_none();
    if let Some(complaint) = undone.complaint {
        output.note(complaint)?;
    }
    for act in undone.acts {
        output.act(act)?;
    }
    match args.pid {
        _ if !is_empty => {}
        Some(pid) => output.remark(&format!("procwatch holds nothing of process {pid}"))?,
        None => output.remark("procwatch holds nobody")?,
    }
    Ok(ExitCode::from(u8::from(is_incomplete)))
}
