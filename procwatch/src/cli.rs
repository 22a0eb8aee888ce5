//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    check::CheckArgs, contain::ContainArgs, diagnose::DiagnoseArgs, events::EventsArgs, history::HistoryArgs,
    install::InstallArgs, keep::KeepArgs, layout::LayoutCommand, orphans::OrphansArgs, outlet::OutletCommand,
    place::PlaceArgs, recover::RecoverArgs, replay::ReplayArgs, report::ReportArgs, run::RunArgs,
    schema::SchemaArgs, stage::StageArgs, status::StatusArgs, stop::StopArgs, top::TopArgs, undo::UndoArgs,
    uninstall::UninstallArgs, watch::WatchArgs,
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
    ///
    /// Exit code 0: ended as ordered; 2: the kernel refuses, not root, or bad input.
    Watch(WatchArgs),
    /// Run the agent: thread alerts, and placement of su'ed processes where the configuration says so
    Run(RunArgs),
    /// Show what the running agent tells: alerts, decisions, actions, its health; with --kind every fork, exec, exit too
    ///
    /// The same filters and forms as of `watch`, from the agent's socket: for root, and for the members of the group
    /// procwatch. Exit code 0: ended as ordered; 1: the agent let go of us, because we read too slowly; 2: no agent
    /// runs, it is gone, or bad input.
    Events(EventsArgs),
    /// Show how the running agent is: health, rules, losses, memory, outputs, the last alerts
    ///
    /// From the agent's socket: for root, and for the members of the group procwatch. Exit code, fit for monitoring: 0:
    /// all is well; 1: degraded, and it says why; 2: the agent cannot do its work, none runs, or bad input.
    Status(StatusArgs),
    /// End the running agent, and wait for that
    ///
    /// What it has pinned in the kernel stays and goes on without it, for the next agent. With --detach nothing stays; then it
    /// need not run.
    ///
    /// Exit code 0: done, or nothing to do; 1: something is still in the kernel; 2: it could not be done, or not root.
    Stop(StopArgs),
    /// Show what this kernel gives, what each absence costs, and whether the configuration is good
    ///
    /// Exit code 0: all that is needed is there; 1: procwatch runs with loss of function; 2: it cannot run, or the
    /// configuration is bad.
    Check(CheckArgs),
    /// Tell which code creates the threads of a process, or list the processes with more than is normal
    ///
    /// The process is read as it runs and is never stopped. Exit code 0: a cause was found; 1: none was found; 2: it
    /// could not be looked at. With --all 0: it was listed; 2: it could not be.
    Diagnose(DiagnoseArgs),
    /// Tell which rule places a process, or why it is left alone; nothing is touched
    ///
    /// Exit code 0: it was told; 2: it could not be, or bad input.
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
    /// Do one thing to a process by hand: throttle, freeze, cap, stop, terminate, restart, kill
    ///
    /// The same actions, and the same protection, as those of rules: pid 1, kernel threads, procwatch, sshd, systemd,
    /// dbus, display servers, and shells that lead a session with a terminal are never touched. What is done is
    /// measured and told; throttle, freeze, cap and stop are taken back by `procwatch undo PID`, exactly. What was
    /// done by hand an agent leaves alone when it ends.
    ///
    /// Exit code 0: done, and measured; 1: not done, or not seen to be; 2: bad input, or no such process.
    Contain(ContainArgs),
    /// Take back what was done to contain a process, or all of them
    ///
    /// Exit code 0: done, or nothing to do; 1: something could not be taken back; 2: bad input, or not root.
    Undo(UndoArgs),
    /// Take back what an agent that died has left in force, frozen processes above all
    ///
    /// What was done by hand is not touched. Exit code 0: done, or nothing to do; 1: something could not be taken
    /// back; 2: an agent runs, or not root.
    Recover(RecoverArgs),
    /// Compare the CPUs of slices with the configuration's [[layout]], or set them
    #[command(subcommand)]
    Layout(LayoutCommand),
    /// Try an outlet of the configuration: a web server, mail, a program or terminals that are told of alerts
    #[command(subcommand)]
    Outlet(OutletCommand),
    /// Show processes by their threads on a terminal, with alerts, placements and slices; ? tells the keys
    ///
    /// It asks the running agent. Root, and the group procwatch, may look; freezing a process and finding out who creates
    /// its threads need root. Exit code 0: the person has seen enough, or a signal came; 2: no agent, no terminal, or bad
    /// input.
    Top(TopArgs),
    /// Tell which alerts a recorded stream would have raised under a configuration; no kernel is asked
    ///
    /// Exit code 0: done; 1: --diff found a difference; 2: it could not be done, or bad input.
    Replay(ReplayArgs),
    /// Show what happened, from the agent's history; no agent needs to run
    ///
    /// Exit code 0: done; 1: rows of the database are damaged and were left out; 2: it could not be done, or bad input.
    History(HistoryArgs),
    /// Tell what happened in the last day, for people: alerts, placements, actions, losses, restarts
    ///
    /// Exit code 0: done; 2: it could not be done, or bad input.
    Report(ReportArgs),
    /// Print the JSON Schema of the lines that --json writes
    Schema(SchemaArgs),
    /// Make this binary a service of the machine: unit, configuration, group, man pages, completions
    ///
    /// Says what it does, never overwrites what it has not written itself, and leaves a configuration as it is. Where
    /// systemd does not run only the files are put there. Not for machines with the Debian package.
    ///
    /// Exit code 0: done; 2: it could not be done, or was refused.
    Install(InstallArgs),
    /// Take away what `install` has put there, after stopping the service and letting go of all that it holds
    ///
    /// Files that were changed since stay, and are named. So do configuration, history and logs without --purge.
    ///
    /// Exit code 0: done; 2: it could not be done, or was refused.
    Uninstall(UninstallArgs),
    /// Write the files of a package below a folder
    #[command(hide = true)]
    Stage(StageArgs),
    /// Wait, and do nothing else: what a unit that keeps a slice runs
    #[command(hide = true)]
    Keep(KeepArgs),
}
