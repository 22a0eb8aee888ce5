//! `procwatch replay`: what a policy would have told of a recorded stream.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Stdout, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use crate::{
    agent::AgentError,
    config::{self, ConfigError, Location},
    record::Record,
    replay::{
        Account, Replay, differences,
        read::{ReadError, Reader},
    },
    sink::{Format, Sink},
};

/// Arguments of `procwatch replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// What `procwatch watch --json` wrote; - for standard input
    #[arg(value_name = "EVENTS.jsonl")]
    events: PathBuf,

    /// Configuration with the rules to try; without it /etc/procwatch/procwatch.toml and procwatch.d
    #[arg(long, value_name = "NEW.toml")]
    config: Option<PathBuf>,

    /// Show only where it differs from this configuration: - what only this one tells, + what only --config tells
    #[arg(long, value_name = "OLD.toml")]
    diff: Option<PathBuf>,

    /// Write JSON lines (see `procwatch schema`), and a last one of kind replay with the account
    #[arg(long)]
    json: bool,
}

/// Replays. Exit code 0, or 1 when `--diff` finds a difference.
///
/// # Errors
/// When a configuration or the stream is bad, or standard output fails.
pub fn run(args: &ReplayArgs) -> Result<ExitCode, AgentError> {
    let new = replay(args.config.as_deref())?;
    let old = args.diff.as_deref().map(|file| replay(Some(file))).transpose()?;
    let reader = Reader::new(open(&args.events)?, args.events.clone());
    let code = match old {
        None => all(reader, new, args.json),
        Some(old) => compared(reader, old, new, args.json),
    };
    match code {
        Ok(code) => Ok(code),
        Err(Stopped::Unreadable(error)) => Err(error.into()),
        // Who asked has seen enough.
        Err(Stopped::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Stopped::Output(error)) => Err(AgentError::io("standard output")(error)),
    }
}

/// Why a replay did not come to its end.
enum Stopped {
    Unreadable(ReadError),
    Output(io::Error),
}

impl From<ReadError> for Stopped {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn replay(file: Option<&Path>) -> Result<Replay, ConfigError> {
    Ok(Replay::new(&config::load(file)?))
}

fn open(file: &Path) -> Result<Box<dyn BufRead>, ReadError> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    match File::open(file) {
        Ok(file) => Ok(Box::new(BufReader::new(file))),
        Err(error) => {
            let what = match error.kind() {
                io::ErrorKind::NotFound => "there is no such file; check the name".to_owned(),
                _ => format!("cannot be read: {error}"),
            };
            Err(ReadError { at: Location::of_file(file), what })
        }
    }
}

/// Shows all that one policy tells.
fn all(mut reader: Reader<impl BufRead>, mut replay: Replay, json: bool) -> Result<ExitCode, Stopped> {
    let mut sink = Format::of(json, false).sink(io::stdout());
    sink.begin()?;
    while let Some(line) = reader.next_line()? {
        for record in replay.on(&line) {
            sink.write(&record)?;
        }
    }
    sink.flush()?;
    tell(&replay, None, json)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what only one of two policies tells.
fn compared(
    mut reader: Reader<impl BufRead>,
    mut old: Replay,
    mut new: Replay,
    json: bool,
) -> Result<ExitCode, Stopped> {
    let (mut minus, mut plus) = (Side::new("old", "- ", json), Side::new("new", "+ ", json));
    while let Some(line) = reader.next_line()? {
        let (by_old, by_new) = (old.on(&line), new.on(&line));
        let (only_old, only_new) = differences(&by_old, &by_new);
        for record in only_old {
            minus.write(record)?;
        }
        for record in only_new {
            plus.write(record)?;
        }
    }
    tell(&old, Some("old"), json)?;
    tell(&new, Some("new"), json)?;
    Ok(ExitCode::from(u8::from(minus.shown + plus.shown > 0)))
}

/// Where the records of one of two policies go.
struct Side {
    name: &'static str,
    sink: Option<Box<dyn Sink>>,
    shown: u64,
}

/// A record with its side.
#[derive(Serialize)]
struct Sided<'r> {
    side: &'static str,
    #[serde(flatten)]
    record: &'r Record,
}

impl Side {
    fn new(name: &'static str, sign: &'static str, json: bool) -> Self {
        let marked = Marked { sign, out: io::stdout() };
        Self { name, sink: (!json).then(|| Format::of(false, false).sink(marked)), shown: 0 }
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.shown += 1;
        match &mut self.sink {
            Some(sink) => sink.write(record),
            None => write_json(&Sided { side: self.name, record }),
        }
    }
}

/// Puts a sign before each line. A sink writes each line in one call.
struct Marked {
    sign: &'static str,
    out: Stdout,
}

impl Write for Marked {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut out = self.out.lock();
        out.write_all(self.sign.as_bytes())?;
        out.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The account as a line of JSON.
#[derive(Serialize)]
struct Told {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    #[serde(flatten)]
    account: Account,
}

fn tell(replay: &Replay, side: Option<&'static str>, json: bool) -> io::Result<()> {
    let account = replay.account();
    if json {
        return write_json(&Told { kind: "replay", side, account });
    }
    let mut out = io::stdout().lock();
    let name = side.map(|side| format!(" {side}")).unwrap_or_default();
    let alerts: u64 = account.alerts.iter().map(|it| it.count).sum();
    let Account { events, others, unknown, lost, unseen, cleared, .. } = account;
    writeln!(
        out,
        "replay{name}: {events} events, {lost} lost, {others} other records, {unknown} of unknown kinds: {alerts} \
         alerts, {cleared} cleared"
    )?;
    for it in &account.alerts {
        writeln!(out, "  {}  {} {}", it.rule, it.count, it.severity.name())?;
    }
    if unseen > 0 {
        writeln!(
            out,
            "  {unseen} of its processes ran before: of those rules see name, user and cgroup only"
        )?;
    }
    if replay.looks_at_exe() {
        writeln!(out, "  exe patterns see the path that exec was given: of a script the script's")?;
    }
    Ok(())
}

fn write_json(value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    io::stdout().write_all(&line)
}
