//! `procwatch status`: how the running agent is.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use crate::{
    agent::AgentError,
    socket::{client::Client, protocol::AGENT_SOCKET},
    status::{Health, screen},
};

/// Arguments of `procwatch status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Write one JSON object (see `procwatch schema --of status`)
    #[arg(long)]
    json: bool,

    /// The agent's socket
    #[arg(long, value_name = "PATH", default_value = AGENT_SOCKET)]
    socket: PathBuf,
}

/// Asks, shows, and puts the health into the exit code.
///
/// # Errors
/// When no agent can be asked, or standard output fails.
pub async fn run(args: &StatusArgs) -> Result<ExitCode, AgentError> {
    let status = Client::connect(&args.socket).await?.status().await?;
    let text = if args.json {
        serde_json::to_string(&status).map_err(AgentError::io("encoding the status"))? + "\n"
    } else {
        screen::screen(&status).map_err(AgentError::io("encoding the status"))?
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Who looks at the first lines only has the answer all the same.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(AgentError::io("standard output")(error));
        }
        _ => {}
    }
    Ok(ExitCode::from(match status.health {
        Health::Ok => 0,
        Health::Degraded => 1,
        Health::Failed => 2,
    }))
}
