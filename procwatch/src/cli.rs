//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{check::CheckArgs, run::RunArgs, watch::WatchArgs};

/// Watches, guards and places the processes of a Linux machine, from kernel events.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every fork, exec, exit, thread and uid change as it happens
    Watch(WatchArgs),
    /// Run the agent: thread alerts, and placement of su'ed processes where the configuration says so
    Run(RunArgs),
    /// Tell what this kernel gives, what each absence costs, and whether a configuration is right
    Check(CheckArgs),
    /// Print the JSON Schema of the lines that --json writes
    Schema,
}
