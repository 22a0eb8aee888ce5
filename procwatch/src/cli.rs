//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    check::CheckArgs, keep::KeepArgs, layout::LayoutCommand, orphans::OrphansArgs, place::PlaceArgs,
    replay::ReplayArgs, run::RunArgs, watch::WatchArgs,
};

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
    /// List what su sessions that have ended left running, and zombies with the parents that do not reap them
    ///
    /// One look at /proc, no history: a process is listed when it was adopted by pid 1 or another subreaper, stems from
    /// an su or sudo (its login uid, its cgroup), no session that it may belong to lives, and neither it nor anything
    /// below it has a live terminal. Services, containers, root's processes, display servers, sshd, systemd and dbus
    /// are never terminated.
    ///
    /// Exit code 0: none found, or all terminated; 1: some found, or left; 2: it could not be done, or bad input. What
    /// is doubtful does not count.
    Orphans(OrphansArgs),
    /// Compare the CPUs of slices with the configuration's [[layout]], or set them
    #[command(subcommand)]
    Layout(LayoutCommand),
    /// Tell which alerts a recorded stream would have raised under a configuration; no kernel is asked
    ///
    /// Exit code 0: done; 1: --diff found a difference; 2: it could not be done, or bad input.
    Replay(ReplayArgs),
    /// Print the JSON Schema of the lines that --json writes
    Schema,
    /// Wait, and do nothing else: what a unit that keeps a slice runs
    #[command(hide = true)]
    Keep(KeepArgs),
}
