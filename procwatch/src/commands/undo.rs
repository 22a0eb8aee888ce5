//! `procwatch undo`: takes back what was done to contain processes.

use std::process::ExitCode;

use clap::Args;

use super::act::Output;
use crate::{
    agent::AgentError,
    cgroup::Mount,
    config::Protect,
    execute::contain::{Warden, Which, taken_back, target::Target},
    kernel::agent_maps,
    lock::{AGENT_LOCK, running_agent},
    record::{Act, ActResult, Deed, Occasion},
    users::UserNames,
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
    let lifted = lift_caps(&warden, args.pid)?;
    let mut output = Output::new(args.json)?;
    let is_empty = undone.acts.is_empty() && lifted.is_empty() && undone.complaint.is_none();
    if let Some(complaint) = undone.complaint {
        output.note(complaint)?;
    }
    for act in undone.acts.into_iter().chain(lifted) {
        output.act(act)?;
    }
    match args.pid {
        _ if !is_empty => {}
        Some(pid) => output.remark(&format!("procwatch holds nothing of process {pid}"))?,
        None => output.remark("procwatch holds nobody")?,
    }
    Ok(ExitCode::from(u8::from(is_incomplete)))
}

/// Caps that the kernel programs keep: one act for each.
fn lift_caps(warden: &Warden, pid: Option<u32>) -> Result<Vec<Act>, AgentError> {
    let mut users = UserNames::new();
    let lifted = agent_maps::lift_caps(running_agent(AGENT_LOCK.as_ref()), pid)?.into_iter();
    let acts = lifted.filter_map(|(key, cap)| {
        let target = Target::of_key(key)?;
        let detail = format!("the kernel refuses no thread for having {cap} any more");
        let process = target.record(&mut users, warden.mount());
        Some(taken_back(Deed::Cap, ActResult::Verified, detail, process, Occasion::Hand))
    });
    Ok(acts.collect())
}
