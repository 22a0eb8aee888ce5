//! `procwatch stop`: ends the agent, and takes what is pinned out of the kernel if that is wanted.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use rustix::process::Signal;

use super::act::Output;
use crate::{
    agent::AgentError,
    kernel::{
        detach::{Detached, Removal},
        pins::PinFolder,
    },
    lock::{AGENT_LOCK, AgentLock, RunningAgent},
};

/// How long the agent may take to end: it waits a little for actions under way.
const LIMIT: Duration = Duration::from_mins(1);

/// Arguments of `procwatch stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Leave nothing in the kernel: links, programs and maps that are pinned are removed
    #[arg(long)]
    detach: bool,
}

/// Ends the agent and waits for that. The exit code: 0 for done or nothing to do, 1 when something is still in the kernel.
///
/// # Errors
/// When the caller is not root, the agent does not end, or there is something in the folder that is not ours.
pub fn run(args: &StopArgs) -> Result<ExitCode, AgentError> {
    super::act::require_root("stop")?;
    let mut output = Output::new(false)?;
    let removal = if args.detach { PinFolder::find_mounted().map(Removal::begin).transpose()? } else { None };
    let agent = RunningAgent::find(AGENT_LOCK.as_ref()).map_err(AgentError::io("the running agent"))?;
    match &agent {
        Some(agent) => {
            end(agent, if args.detach { Signal::TERM } else { Signal::USR1 })?;
            output.remark(&format!("the agent, pid {}, has ended", agent.pid()))?;
        }
        None => output.remark("no agent runs")?,
    }
    if !args.detach {
        output.remark(&stays())?;
        return Ok(ExitCode::SUCCESS);
    }
    // So that no agent takes over what is about to be removed.
    let _lock = AgentLock::take(AGENT_LOCK.as_ref())?;
    let removed = removal.map(Removal::finish).transpose()?;
    let Detached { was_pinned, left } = removed.unwrap_or(Detached { was_pinned: false, left: Vec::new() });
    if left.is_empty() {
        output.remark(if was_pinned {
            "what was pinned is removed; nothing of procwatch is left in the kernel"
        } else {
            "nothing of procwatch is pinned in the kernel"
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let left = left.join(", ");
    output.remark(&format!(
        "no longer pinned, but still in the kernel, because another process has it open: {left}"
    ))?;
    Ok(ExitCode::from(1))
}

fn end(agent: &RunningAgent, signal: Signal) -> Result<(), AgentError> {
    agent.send(signal).map_err(AgentError::io("telling the agent to end"))?;
    if agent.ends_within(LIMIT).map_err(AgentError::io("waiting for the agent's end"))? {
        return Ok(());
    }
    let (pid, limit) = (agent.pid(), LIMIT.as_secs());
    Err(AgentError::Usage(format!(
        "the agent, pid {pid}, has not ended within {limit} s; it was told to, see its log"
    )))
}

/// What is left.
fn stays() -> String {
    let folder = PinFolder::find_mounted().filter(|folder| folder.states().is_ok_and(|it| !it.is_empty()));
    match folder {
        Some(folder) => format!(
            "its kernel part stays in {} and goes on: levels, bursts, leaks, caps; remove it by: procwatch stop --detach",
            folder.path().display()
        ),
        None => "nothing of procwatch is pinned in the kernel".to_owned(),
    }
}
