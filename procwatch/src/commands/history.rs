//! `procwatch history`: what happened, from the agent's history.

use std::{
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use jiff::{civil::Date, tz::TimeZone};

use crate::{
    agent::AgentError,
    config::{self, Accounts as _, SystemAccounts},
    history::{
        HistoryError,
        read::{self, Account, Border, Kept, Query, User},
        when,
    },
    record::Kind,
    sink::{Format, Sink},
    text::escape,
};

/// Where the history is.
#[derive(Debug, Args)]
pub struct Source {
    /// Configuration that names the history; without it /etc/procwatch/procwatch.toml and procwatch.d
    #[arg(long, value_name = "FILE", conflicts_with = "db")]
    config: Option<PathBuf>,

    /// The database itself, such as one that was set aside or copied
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

impl Source {
    /// The database's file.
    ///
    /// # Errors
    /// When the configuration is bad, or wants no history.
    pub fn path(&self) -> Result<PathBuf, AgentError> {
        if let Some(db) = &self.db {
            return Ok(db.clone());
        }
        let config = config::load(self.config.as_deref())?;
        let wanted = config.history.map(|history| history.path);
        wanted.ok_or_else(|| {
            AgentError::Usage("the configuration says history = false; --db FILE names one".to_owned())
        })
    }
}

/// Arguments of `procwatch history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// From so long ago, or from this time on: 2h, 03:00, "2026-11-25 03:00", today, yesterday
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    since: Option<Border>,

    /// Until so long ago, or until this time
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    until: Option<Border>,

    /// Only these kinds of records
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<Kind>,

    /// Only processes of these users
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    user: Vec<String>,

    /// Only processes of these real or effective uids; adds to --user
    #[arg(long, value_name = "UID", value_delimiter = ',')]
    uid: Vec<u32>,

    /// Only processes of these names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    comm: Vec<String>,

    /// Only these processes
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,

    /// Only the last N records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Write the records as JSON lines, as they were told (see `procwatch schema`)
    #[arg(long)]
    json: bool,

    /// Do not cut long command lines and paths
    #[arg(long)]
    wide: bool,

    #[command(flatten)]
    source: Source,
}

/// Tells the records. The exit code: 0, or 1 when rows of the database are damaged.
///
/// # Errors
/// When the history cannot be read, or standard output fails.
pub fn run(args: &HistoryArgs) -> Result<ExitCode, AgentError> {
    let query = query(args)?;
    let path = args.source.path()?;
    let account = if args.json { tell_json(&path, &query) } else { tell(&path, &query, args.wide) }?;
    if account.damaged > 0 {
        tracing::warn!("{} rows of the history are damaged and were left out", account.damaged);
    }
    Ok(ExitCode::from(u8::from(account.damaged > 0)))
}

fn query(args: &HistoryArgs) -> Result<Query, AgentError> {
    let named = args.user.iter().map(|name| {
        // One who has left keeps the name under which it was told of.
        let uid = SystemAccounts.uid(name).map_err(AgentError::Usage)?;
        Ok(User { uid, name: Some(escape(name.as_bytes()).into_owned()) })
    });
    let numbered = args.uid.iter().map(|uid| Ok(User { uid: Some(*uid), name: None }));
    Ok(Query {
        since: args.since,
        until: args.until,
        kinds: args.kind.clone(),
        users: named.chain(numbered).collect::<Result<_, AgentError>>()?,
        pids: args.pid.clone(),
        comms: args.comm.iter().map(|name| escape(name.as_bytes()).into_owned()).collect(),
        limit: args.limit,
    })
}

/// Whether to go on: a reader who has had enough is no error.
fn go_on(written: io::Result<()>) -> Result<ControlFlow<()>, HistoryError> {
    match written {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error.into()),
    }
}

fn tell_json(path: &Path, query: &Query) -> Result<Account, HistoryError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let account = read::records(path, query, |kept: Kept<'_>| {
        go_on(out.write_all(kept.line.as_bytes()).and_then(|()| out.write_all(b"\n")))
    })?;
    go_on(out.flush()).map(|_| account)
}

/// The lines of `watch`; they tell the time of day, so each day has a line of its own.
fn tell(path: &Path, query: &Query, wide: bool) -> Result<Account, HistoryError> {
    let zone = TimeZone::system();
    let mut sink = Format::of(false, wide).sink(io::stdout());
    let mut day = None;
    read::records(path, query, |kept: Kept<'_>| {
        let date = zone.to_datetime(kept.record.time).date();
        let headed = if day.replace(date) == Some(date) { Ok(()) } else { head(&mut *sink, date) };
        go_on(headed.and_then(|()| sink.write(kept.record)))
    })
}

fn head(sink: &mut dyn Sink, date: Date) -> io::Result<()> {
    writeln!(io::stdout(), "{date}")?;
    sink.begin()
}
