//! `procwatch diagnose --all`.

use std::{
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use crate::{
    agent::AgentError,
    clock::Clock,
    config::{self, NormalRange, Program, ThreadRule, threads::choose},
    event::Subject,
    inspect,
    kernel::{Kernel, Setup},
    sink::duration::Span,
    text::{Comm, Text},
    users::UserNames,
};

/// What is normal where no rule says so.
const NORMAL: NormalRange = NormalRange { low: 1, high: 60 };
/// Smallest ring: nobody listens.
const RING_BYTES: u32 = 4096;

/// A listed process.
#[derive(Debug, Serialize)]
struct Listed {
    pid: u32,
    threads: u32,
    normal_low: u32,
    normal_high: u32,
    age_ns: u64,
    uid: u32,
    user: Option<Text>,
    comm: Comm,
    command: Text,
    rule: String,
}

/// The account below the list.
#[derive(Debug, Serialize)]
struct Total {
    processes: usize,
    threads: u64,
    above_normal: usize,
}

pub(super) fn run(config: Option<&Path>, json: bool) -> Result<(), AgentError> {
    let config = config::load(config)?;
    let mut kernel = Kernel::load(Setup { stream_bytes: RING_BYTES, hold: false, cap: false, pin: false })?;
    let picture = kernel.picture()?;
    drop(kernel);
    let clock = Clock::new().map_err(AgentError::io("the boot clock"))?;
    let mut users = UserNames::new();
    let own = std::process::id();
    let processes: Vec<&Subject> = picture
        .iter()
        .filter(|it| !it.is_kernel_thread)
        .map(|it| &it.subject)
        .filter(|it| it.pid != own)
        .collect();
    let mut listed = Vec::new();
    // Below the end of every range nobody has to be looked at.
    let ranges = config.threads.iter().map(|rule| rule.normal.unwrap_or(NORMAL).high);
    let lowest = ranges.min().unwrap_or(NORMAL.high);
    for subject in processes.iter().filter(|it| it.threads > lowest) {
        // It may have ended since the picture.
        let Some(program) = inspect::program(subject.key()) else {
            continue;
        };
        let Some((rule, normal)) = normal_of(&config.threads, &program) else {
            continue;
        };
        if subject.threads > normal.high {
            listed.push(Listed {
                pid: subject.pid,
                threads: subject.threads,
                normal_low: normal.low,
                normal_high: normal.high,
                age_ns: clock.now().since(subject.start),
                uid: subject.uid,
                user: users.name(subject.uid).cloned(),
                comm: subject.comm,
                command: command(&program),
                rule: rule.described.clone(),
            });
        }
    }
    listed.sort_by_key(|it| (std::cmp::Reverse(it.threads), it.pid));
    let total = Total {
        processes: processes.len(),
        threads: processes.iter().map(|it| u64::from(it.threads)).sum(),
        above_normal: listed.len(),
    };
    match write(&mut io::BufWriter::new(io::stdout().lock()), &listed, &total, json) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(AgentError::io("standard output")(error))
        }
        _ => Ok(()),
    }
}

/// The rule that holds for a process, and what it calls normal; `None` for one that is ignored.
fn normal_of<'a>(rules: &'a [ThreadRule], program: &Program) -> Option<(&'a ThreadRule, NormalRange)> {
    let rule = rules.get(choose(rules, program)).filter(|rule| !rule.ignore)?;
    Some((rule, rule.normal.unwrap_or(NORMAL)))
}

fn command(program: &Program) -> Text {
    let words: Vec<&[u8]> = program.argv.iter().flatten().map(Text::as_bytes).collect();
    if words.is_empty() { Text::new(program.comm.as_bytes()) } else { Text::new(words.join(&b' ')) }
}

fn write(out: &mut impl Write, listed: &[Listed], total: &Total, json: bool) -> io::Result<()> {
    if json {
        for one in listed {
            serde_json::to_writer(&mut *out, one)?;
            writeln!(out)?;
        }
        serde_json::to_writer(&mut *out, total)?;
        return writeln!(out).and_then(|()| out.flush());
    }
    if !listed.is_empty() {
        writeln!(out, "{:>7} {:>7} {:>7} {:>7} {:8} command", "pid", "threads", "normal", "age", "user")?;
    }
    for one in listed {
        let user = one.user.as_ref().map_or_else(|| one.uid.to_string(), ToString::to_string);
        let normal = format!("{}-{}", one.normal_low, one.normal_high);
        let age = Span(one.age_ns).to_string();
        let command: String = one.command.to_string().chars().take(80).collect();
        writeln!(
            out,
            "{:>7} {:>7} {normal:>7} {age:>7} {user:8} {command} (rule {})",
            one.pid, one.threads, one.rule
        )?;
    }
    let Total { processes, threads, above_normal } = total;
    writeln!(out, "{above_normal} of {processes} processes above normal; {threads} threads in all")?;
    out.flush()
}
