//! `procwatch recover`: takes back what an agent that died has left in force.

use std::process::ExitCode;

use clap::Args;

use super::act::Output;
use crate::{
    agent::AgentError,
    cgroup::Mount,
    config::Protect,
    execute::contain::Warden,
    lock::{AGENT_LOCK, AgentLock},
    service::journal,
};

/// Arguments of `procwatch recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Only tell what is left over
    #[arg(long)]
    keep: bool,

    /// Write JSON lines (see `procwatch schema`)
    #[arg(long)]
    json: bool,
}

/// Finds it, takes it back unless it is to be kept, and tells. The exit code: 0 for done or nothing to do, 1 when something
/// could not be taken back.
///
/// # Errors
/// When the caller is not root, an agent runs, the notes cannot be read or written, or standard output fails.
pub fn run(args: &RecoverArgs) -> Result<ExitCode, AgentError> {
    super::act::require_root("recover")?;
    // What a running agent holds is not left over.
    let _lock = AgentLock::take(AGENT_LOCK.as_ref())?;
    let warden = Warden::new(&Mount::find()?, Protect::default());
    let recovered = warden.recover(args.keep)?;
    let is_incomplete = recovered.is_incomplete();
    let is_empty = recovered.acts.is_empty() && recovered.notes.is_empty();
    let mut output = Output::new(args.json)?;
    for note in recovered.notes {
        output.note(note)?;
    }
    for act in recovered.acts {
        output.act(act)?;
    }
    // Not at each stop of the service.
    if is_empty && !journal::is_stdout() {
        output.remark("nothing is left over")?;
    }
    Ok(ExitCode::from(u8::from(is_incomplete)))
}
