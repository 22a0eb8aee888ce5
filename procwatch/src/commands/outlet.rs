//! `procwatch outlet test`: whether an outlet of the configuration works.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use clap::{Args, Subcommand};

use crate::{
    agent::AgentError,
    config::{self, Config, outlet::OutletConfig},
    outlets::{Carrier, obstacles, sample},
    sink::duration::Span,
    text::escape,
};

/// What to do with outlets.
#[derive(Debug, Subcommand)]
pub enum OutletCommand {
    /// Send a sample alert through one, and tell what came of it
    ///
    /// It is sent once, whatever the outlet's `on`, `severity` and rate are, and says that it is a trial. Exit code 0: it
    /// was delivered; 1: it was not; 2: bad input.
    Test(TestArgs),
}

/// Arguments of `procwatch outlet test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The outlet's name
    #[arg(value_name = "NAME")]
    name: String,

    /// Take it from this file in place of those in /etc/procwatch
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Does it.
///
/// # Errors
/// When the configuration is wrong or has no such outlet, or standard output fails.
pub fn run(command: &OutletCommand) -> Result<ExitCode, AgentError> {
    let OutletCommand::Test(args) = command;
    let config = config::load(args.config.as_deref())?;
    let outlet = find(&config, &args.name)?;
    let message = sample(outlet.wants.severity).map_err(AgentError::io("the system's clocks"))?;
    let begun = Instant::now();
    let delivered = Carrier::new(outlet).deliver(&message, outlet.timeout);
    let took = Span(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let name = format!("{} {}", outlet.kind.name(), outlet.name);
    let mut out = io::stdout().lock();
    let told = match &delivered {
        Ok(()) => writeln!(out, "{name}: delivered in {took}"),
        Err(undelivered) => writeln!(out, "{name}: not delivered after {took}: {}", undelivered.why),
    };
    // What was told as the reason need not be told again.
    let others =
        obstacles(outlet).into_iter().filter(|it| delivered.as_ref().err().is_none_or(|why| why.why != *it));
    told.and_then(|()| others.into_iter().try_for_each(|obstacle| writeln!(out, "{name}: {obstacle}")))
        .map_err(AgentError::io("standard output"))?;
    Ok(ExitCode::from(u8::from(delivered.is_err())))
}

fn find<'c>(config: &'c Config, name: &str) -> Result<&'c OutletConfig, AgentError> {
    let outlets = config.outlets.iter().map(|rule| &rule.outlet);
    outlets.clone().find(|outlet| outlet.name == name).ok_or_else(|| {
        let known: Vec<&str> = outlets.map(|outlet| outlet.name.as_str()).collect();
        let known = if known.is_empty() {
            "there is none".to_owned()
        } else {
            format!("known: {}", known.join(", "))
        };
        AgentError::Usage(format!(
            "the configuration has no outlet \"{}\" ({known})",
            escape(name.as_bytes())
        ))
    })
}
