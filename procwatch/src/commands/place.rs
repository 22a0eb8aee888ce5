//! `procwatch place`: what placement decides about a process, and why.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use serde_json::json;

use crate::{
    agent::AgentError,
    cgroup::Mount,
    config::{self, Config, PlaceRule},
    detect::judge::{lineage_to_su, session_leader},
    execute::SessionName,
    explain::{Explained, Verdict},
    record::{Mode, Verdict as Decided},
    sink::duration::Span,
    users::UserNames,
};

/// Arguments of `procwatch place`.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The process that is asked about
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    explain: u32,

    /// Configuration; without it /etc/procwatch/procwatch.toml and procwatch.d
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

/// Tells what the configuration would do with a process. Nothing is touched.
///
/// # Errors
/// When the configuration is bad, the process is not there, or standard output fails.
pub fn run(args: &PlaceArgs) -> Result<(), AgentError> {
    let config = config::load(args.config.as_deref())?;
    let explained = Explained::read(args.explain, &Mount::find()?)?;
    let verdict = explained.judged(&config.place);
    let mut out = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &object(&explained, &verdict, &config))
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        write(&mut out, &explained, &verdict, &config)
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(AgentError::io("standard output")(error))
        }
        _ => Ok(()),
    }
}

fn write(
    out: &mut impl Write,
    explained: &Explained,
    verdict: &Verdict<'_>,
    config: &Config,
) -> io::Result<()> {
    let mut users = UserNames::new();
    let subject = &explained.subject;
    let judgement = &verdict.judgement;
    let does = match (judgement.reason.verdict(), config.mode) {
        (Decided::Move, Mode::Enforce) => "is moved",
        (Decided::Move, Mode::Observe) => "would be moved, but mode is observe",
        (Decided::Leave, _) => "is left alone",
    };
    let evidence = judgement.evidence.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
    let user = users.name(subject.uid).map_or_else(|| subject.uid.to_string(), ToString::to_string);
    writeln!(
        out,
        "{} {} of {user} {does} ({}{evidence})",
        subject.pid,
        subject.comm,
        judgement.reason.name()
    )?;
    if let Some(cgroup) = &explained.cgroup {
        writeln!(out, "cgroup   {cgroup}")?;
    }
    match verdict.rule {
        Some(rule) => writeln!(out, "rule     {}", described(rule))?,
        None => writeln!(out, "rule     none of {} speaks of it", config.place.len())?,
    }
    let lineage = lineage_to_su(subject, &explained.provenance.ancestors);
    if !lineage.is_empty() {
        let steps: Vec<String> =
            lineage.iter().map(|it| format!("{}({}, uid {})", it.comm, it.key.pid, it.uid)).collect();
        writeln!(out, "lineage  {}", steps.join(" ← "))?;
    }
    let from = [
        explained.provenance.loginuid.map(|uid| format!("login uid {uid}")),
        explained.provenance.tty.as_ref().map(|tty| format!("terminal {tty}")),
    ];
    let session = format!("session  {}", session(explained));
    let parts: Vec<String> = [Some(session)].into_iter().chain(from).flatten().collect();
    writeln!(out, "{}", parts.join(", "))
}

fn session(explained: &Explained) -> SessionName {
    SessionName::of(session_leader(&explained.subject, &explained.provenance.ancestors))
}

fn described(rule: &PlaceRule) -> String {
    let from: Vec<String> = rule.from.iter().map(ToString::to_string).collect();
    let hold = match rule.hold.as_nanos() as u64 {
        0 => "no hold".to_owned(),
        hold_ns => format!("hold {}", Span(hold_ns)),
    };
    format!("{} ({}): {} from {}, {hold}", rule.described, rule.location, rule.slice, from.join(", "))
}

fn object(explained: &Explained, verdict: &Verdict<'_>, config: &Config) -> serde_json::Value {
    let subject = &explained.subject;
    let lineage: Vec<_> = lineage_to_su(subject, &explained.provenance.ancestors)
        .iter()
        .map(|it| json!({ "pid": it.key.pid, "uid": it.uid, "comm": it.comm }))
        .collect();
    json!({
        "pid": subject.pid,
        "comm": subject.comm,
        "uid": subject.uid,
        "euid": subject.euid,
        "exe": explained.exe,
        "cgroup": explained.cgroup.as_ref().map(ToString::to_string),
        "verdict": verdict.judgement.reason.verdict(),
        "reason": verdict.judgement.reason,
        "evidence": verdict.judgement.evidence,
        "mode": config.mode,
        "rule": verdict.rule.map(|rule| &rule.described),
        "target": verdict.rule.map(|rule| rule.slice.path().to_string()),
        "session": session(explained).as_str(),
        "lineage": lineage,
        "loginuid": explained.provenance.loginuid,
        "tty": explained.provenance.tty,
    })
}
