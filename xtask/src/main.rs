//! Development tasks of procwatch: set up, build, run, test, lint.
//!
//! A new task is one file with a `run` function, one variant of [`Task`] and one arm in [`dispatch`].
#![expect(
    clippy::print_stderr,
    reason = "a task talks to the person who started it; stdout stays free for what it starts"
)]

mod agent;
mod bench;
mod build;
mod caller;
mod compiler;
mod demo;
mod exec;
mod interrupt;
mod lint;
mod llvm;
mod load;
mod package;
mod packages;
mod report;
mod run;
mod setup;
mod soak;
mod test;
mod toolchain;
mod tools;
mod tree;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{build::Profile, setup::Refusal, workspace::Workspace};

/// Development tasks of procwatch.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// What can be asked for.
#[derive(Subcommand)]
enum Task {
    /// Find or install what building the kernel programs needs
    Setup,
    /// Build the kernel programs and the agent that contains them
    Build {
        /// Build the agent with optimizations, as it is shipped
        #[arg(long)]
        release: bool,
    },
    /// Build all and run the agent as root on this machine
    Run {
        /// What comes after `procwatch run`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Build all and show, as root, what happens on this machine
    Watch {
        /// What comes after `procwatch watch`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Show on this machine, harmlessly, how an explosion of threads and a stray of `su` are caught
    Demo(demo::Options),
    /// Measure what procwatch costs, how fast it is and what it loses
    Bench(bench::Options),
    /// Keep the agent under stress for half an hour: its memory must stay flat, and losses must be told
    Soak(soak::Options),
    /// Run every test that can run on this machine
    Test(test::Options),
    /// Run the tests that need a machine of their own, in virtual ones with stock kernels
    Vm(vm::Options),
    /// Make a Debian package of the agent
    Package(package::Options),
    /// Check the format, run clippy on both sides, hold dependencies against deny.toml
    Lint,
}

fn main() -> ExitCode {
    let other = load::requested().or_else(bench::place::guest::requested).or_else(bench::verifier::requested);
    let result = other.unwrap_or_else(|| dispatch(&Cli::parse().task));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(if error.is::<Refusal>() { 2 } else { 1 })
        }
    }
}

/// Runs one task.
fn dispatch(task: &Task) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Setup => setup::bpf(&workspace).map(drop),
        Task::Build { release } => build::run(&workspace, Profile::new(*release)).map(drop),
        Task::Run { arguments } => match run::run(&workspace, "run", arguments)? {},
        Task::Watch { arguments } => match run::run(&workspace, "watch", arguments)? {},
        Task::Demo(options) => demo::run(&workspace, options),
        Task::Bench(options) => bench::run(&workspace, options),
        Task::Soak(options) => soak::run(&workspace, options),
        Task::Test(options) => test::run(&workspace, options),
        Task::Vm(options) => vm::run(&workspace, options),
        Task::Package(options) => package::run(&workspace, options),
        Task::Lint => lint::run(&workspace),
    }
}
