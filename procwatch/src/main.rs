//! The binary `procwatch`.

use std::process::ExitCode;

use clap::Parser;
use procwatch::{
    agent::{AgentError, workers},
    cli::{Cli, Command},
    commands,
    service::{journal, log},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::begin();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode, AgentError> {
    match command {
        Command::Watch(args) => in_runtime(commands::watch::run(&args)),
        Command::Events(args) => in_runtime_for(commands::events::run(&args)),
        Command::Status(args) => in_runtime_for(commands::status::run(&args)),
        Command::Run(args) => in_runtime(commands::run::run(&args)),
        Command::Stop(args) => commands::stop::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Diagnose(args) => commands::diagnose::run(&args),
        Command::Place(args) => commands::place::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Orphans(args) => commands::orphans::run(&args),
        Command::Contain(args) => commands::contain::run(&args),
        Command::Undo(args) => commands::undo::run(&args),
        Command::Recover(args) => commands::recover::run(&args),
        Command::Layout(command) => Ok(commands::layout::run(&command)?),
        Command::Outlet(command) => commands::outlet::run(&command),
        Command::Top(args) => commands::top::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Replay(args) => commands::replay::run(&args),
        Command::History(args) => commands::history::run(&args),
        Command::Report(args) => commands::report::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Schema(args) => {
            commands::schema::run(&args).map_err(AgentError::io("standard output"))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Install(args) => commands::install::run(&args),
        Command::Uninstall(args) => commands::uninstall::run(&args),
        Command::Stage(args) => commands::stage::run(&args),
        Command::Keep(args) => commands::keep::run(&args),
    }
}

fn in_runtime(work: impl Future<Output = Result<(), AgentError>>) -> Result<ExitCode, AgentError> {
    in_runtime_for(async { work.await.map(|()| ExitCode::SUCCESS) })
}

/// One thread does all the work; another may wait for standard output, and is not waited for at the end.
fn in_runtime_for(work: impl Future<Output = Result<ExitCode, AgentError>>) -> Result<ExitCode, AgentError> {
    let runtime = workers::runtime().build().map_err(AgentError::io("the runtime"))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

#[expect(clippy::print_stderr, reason = "the one place that tells why the program ends")]
fn complain(error: &str) {
    // The journal's mark of an error at the beginning of a line.
    let mark = if journal::is_stderr() { "<3>" } else { "" };
    for line in error.lines() {
        eprintln!("{mark}procwatch: {line}");
    }
}
