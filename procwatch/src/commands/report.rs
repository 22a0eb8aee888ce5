//! `procwatch report`: what happened in the last day, for people.

use std::{
    io::{self, BufWriter, Write as _},
    path::PathBuf,
};

use clap::Args;
use jiff::tz::TimeZone;

use super::history::Source;
use crate::{
    agent::AgentError,
    history::{
        read::Border,
        report::{Report, html, text},
        when,
    },
    text::shown,
};

/// Arguments of `procwatch report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// From so long ago, or from this time on: 2h, 03:00, "2026-11-25 03:00", today, yesterday
    #[arg(long, value_name = "WHEN", default_value = "24h", value_parser = when::parse)]
    since: Border,

    /// Until so long ago, or until this time
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    until: Option<Border>,

    /// Write a page with plots to FILE instead; it needs no other files and no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Do not cut long cells
    #[arg(long)]
    wide: bool,

    #[command(flatten)]
    source: Source,
}

/// Tells the report, or writes the page.
///
/// # Errors
/// When the history cannot be read, or the output cannot be written.
pub fn run(args: &ReportArgs) -> Result<(), AgentError> {
    let report = Report::gather(&args.source.path()?, args.since, args.until)?;
    let zone = TimeZone::system();
    if let Some(path) = &args.html {
        let failed = |source| AgentError::Output { what: shown(path), source };
        return html::write(&report, &zone, path).map_err(failed);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match text::write(&report, &zone, args.wide, &mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(AgentError::io("standard output")),
    }
}
