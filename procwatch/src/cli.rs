//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{check::CheckArgs, place::PlaceArgs, run::RunArgs, watch::WatchArgs};

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
    /// Show what this kernel gives, what each absence costs, and whether the configuration is good
    ///
    /// Exit code 0: all that is needed is there; 1: procwatch runs with loss of function; 2: it cannot run, or the
    /// configuration is bad.
    Check(CheckArgs),
    /// Tell which rule places a process, or why it is left alone; nothing is touched
    Place(PlaceArgs),
    /// Print the JSON Schema of the lines that --json writes
    Schema,
}
