//! `procwatch top`: processes by their threads, on a terminal.

use std::{env, path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    agent::AgentError,
    duration,
    socket::protocol::AGENT_SOCKET,
    top::run::{self, Options},
};

/// Asked more often the agent would do little else.
const MOST_OFTEN: Duration = Duration::from_millis(100);

/// Arguments of `procwatch top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// How often the agent is asked, at most every 100ms
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = every)]
    every: Duration,

    /// No colour; the same as a variable `NO_COLOR`
    #[arg(long, alias = "no-color")]
    no_colour: bool,

    /// The agent's socket
    #[arg(long, value_name = "PATH", default_value = AGENT_SOCKET)]
    socket: PathBuf,
}

/// Shows the running agent until the person has seen enough.
///
/// # Errors
/// When this is no terminal, when there is no agent, or when the terminal fails.
pub fn run(args: &TopArgs) -> Result<(), AgentError> {
    run::run(&Options {
        socket: args.socket.clone(),
        every: args.every,
        colour: !args.no_colour && env::var_os("NO_COLOR").is_none(),
    })
}

fn every(text: &str) -> Result<Duration, String> {
    let every = duration::parse(text)?;
    if every < MOST_OFTEN { Err("must be 100ms or more".to_owned()) } else { Ok(every) }
}
