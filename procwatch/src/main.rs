//! The binary `procwatch`.

use std::process::ExitCode;

use clap::Parser;
use procwatch::{
    agent::AgentError,
    cli::{Cli, Command},
    commands,
};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(2)
        }
    }
}

/// The agent's own log, apart from the records: warnings, or what `PROCWATCH_LOG` asks for.
fn log_to_stderr() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter.with_env_var("PROCWATCH_LOG").from_env_lossy())
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
}

fn dispatch(command: Command) -> Result<ExitCode, AgentError> {
    match command {
        Command::Watch(args) => in_runtime(commands::watch::run(&args)),
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
        Command::Replay(args) => commands::replay::run(&args),
        Command::Schema => {
            commands::schema::run().map_err(AgentError::io("standard output"))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Keep(args) => commands::keep::run(&args),
    }
}

/// One thread does all the work; another may wait for standard output, and is not waited for at the end.
fn in_runtime(work: impl Future<Output = Result<(), AgentError>>) -> Result<ExitCode, AgentError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AgentError::io("the runtime"))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "the one place that tells why the program ends")]
fn complain(error: &str) {
    for line in error.lines() {
        eprintln!("procwatch: {line}");
    }
}
