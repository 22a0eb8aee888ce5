//! `procwatch orphans`: what ended `su` sessions left behind.

mod ask;
mod output;
mod users;

use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args;
use procfs::process::Process;

use self::{ask::Answers, output::Output};
use crate::{
    agent::AgentError,
    orphans::{
        Finding, Findings, Table, Users, classify, facts,
        terminate::{BATCH, Ending, terminate},
    },
};

/// How long processes have to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(10);
/// A parent that reaps its children does so long before this is over.
const REAPED_WITHIN: Duration = Duration::from_millis(200);

/// Arguments of `procwatch orphans`.
#[derive(Debug, Args)]
pub struct OrphansArgs {
    /// Only processes of this user; without it those of people (`UID_MIN` to `UID_MAX` of /etc/login.defs)
    #[arg(long, value_name = "NAME", conflicts_with = "uid")]
    user: Option<String>,

    /// The same by number
    #[arg(long, value_name = "N")]
    uid: Option<u32>,

    /// List as well what cannot be decided; it is never terminated
    #[arg(long)]
    all: bool,

    /// Send SIGTERM to each orphan, after asking for each, and tell what came of it
    ///
    /// Each is held by a pidfd and compared with what was listed first. Nothing but SIGTERM is ever sent. At most ten
    /// seconds are waited. The parents of zombies are named, and left alone.
    #[arg(long)]
    terminate: bool,

    /// With --terminate: do not ask
    #[arg(long, requires = "terminate")]
    yes: bool,

    /// Write JSON lines: one for each orphan, zombie, doubtful process and termination
    #[arg(long)]
    json: bool,

    /// Do not cut long command lines
    #[arg(long)]
    wide: bool,
}

/// Looks, tells, and terminates where that is wanted. The exit code: 0 for nothing found or all terminated, 1 when some
/// were found, or are left.
///
/// # Errors
/// When the arguments cannot be meant, /proc cannot be read, or standard output fails.
pub fn run(args: &OrphansArgs) -> Result<ExitCode, AgentError> {
    let users = users::wanted(args.user.as_deref(), args.uid)?;
    refuse_impossible(args, &users)?;
    let table = Table::read(&users).map_err(|error| AgentError::io("/proc")(io::Error::other(error)))?;
    if table.get(1).is_none() {
        // With `hidepid` a living su of root looks as if it were gone.
        return Err(AgentError::Usage(
            "/proc hides the processes of others; use: sudo procwatch orphans".into(),
        ));
    }
    let mut findings = classify(&table, &users, std::process::id());
    drop(table);
    forget_reaped(&mut findings.zombies);
    let out = BufWriter::new(io::stdout().lock());
    let mut output = Output::new(out, args.json, args.wide)?;
    match tell(args, &findings, &mut output) {
        Ok(left) => Ok(ExitCode::from(u8::from(left))),
        // A reader that has enough, such as `head`, is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::from(1)),
        Err(error) => Err(AgentError::io("standard output")(error)),
    }
}

/// Says no before anything is done.
fn refuse_impossible(args: &OrphansArgs, users: &Users) -> Result<(), AgentError> {
    if !args.terminate {
        return Ok(());
    }
    if *users == Users::One(0) {
        return Err(AgentError::Usage("--terminate: processes of root are never terminated".into()));
    }
    let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !args.yes && !can_ask {
        return Err(AgentError::Usage(
            "--terminate asks for each process and there is no terminal to ask at; add --yes to go without"
                .into(),
        ));
    }
    Ok(())
}

/// Looks once more, after a while, and drops the zombies that are gone.
fn forget_reaped(zombies: &mut Vec<Finding>) {
    if zombies.is_empty() {
        return;
    }
    thread::sleep(REAPED_WITHIN);
    zombies.retain(|zombie| {
        let now = Process::new(zombie.facts.pid.cast_signed()).ok();
        let now = now.and_then(|process| facts::read(&process, |_| false));
        now.is_some_and(|now| now.is_same_process(&zombie.facts) && now.ppid == zombie.facts.ppid)
    });
}

/// Lists, terminates, and says whether anything is left.
fn tell<W: Write>(args: &OrphansArgs, findings: &Findings, output: &mut Output<W>) -> io::Result<bool> {
    output.findings(findings, args.all)?;
    if !args.terminate {
        return Ok(!findings.orphans.is_empty() || !findings.zombies.is_empty());
    }
    let mut answers = if args.yes { Answers::all() } else { Answers::asked() };
    let mut left = !findings.zombies.is_empty();
    for batch in findings.orphans.chunks(BATCH) {
        let mut chosen = Vec::with_capacity(batch.len());
        for finding in batch {
            if answers.terminate(finding)? {
                chosen.push(finding);
            } else {
                left = true;
            }
        }
        for (finding, ending) in chosen.iter().zip(terminate(&chosen, PATIENCE)) {
            left |= !matches!(ending, Ending::Ended(_) | Ending::Gone);
            output.ending(finding, &ending)?;
        }
    }
    Ok(left)
}
