//! `procwatch check`: what this machine gives, and whether the configuration is good.

mod config;
mod explain;
mod line;
mod meaning;
mod table;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use crate::{
    agent::AgentError,
    feature::Feature,
    host::{self, Host},
    kernel,
};
use config::ConfigReport;
use explain::Explanation;

/// Arguments of `procwatch check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Check this file in place of those in /etc/procwatch
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Only tell whether the configuration is good; the kernel is not asked
    #[arg(long, conflicts_with_all = ["explain", "json"])]
    only_config: bool,

    /// Tell instead which [[threads]] rule holds for a process, why the rules before it do not, and what it means
    ///
    /// A PID is one that runs. Anything else is taken for a command line, e.g. "python3 /opt/x/watch.py".
    #[arg(long, value_name = "PID|ARGV")]
    explain: Option<String>,

    /// Whose process the command line would be; without it the caller's
    #[arg(long, value_name = "NAME", requires = "explain")]
    user: Option<String>,

    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All that is needed is there.
    Good,
    /// Procwatch runs and a function is lost.
    Loss,
    /// It cannot run, or the configuration is bad.
    Bad,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Good => Self::SUCCESS,
            Verdict::Loss => Self::from(1),
            Verdict::Bad => Self::from(2),
        }
    }
}

/// All that was seen.
#[derive(Debug, Serialize)]
struct Report {
    /// This program's version.
    version: &'static str,
    host: Host,
    features: Vec<Feature>,
    /// Absent when there is no file to check.
    config: Option<ConfigReport>,
    verdict: Verdict,
}

impl Report {
    fn new(host: Host, features: Vec<Feature>, config: Option<ConfigReport>) -> Self {
        let verdict = if features.iter().any(Feature::is_obstacle) {
            Verdict::Bad
        } else if features.iter().any(Feature::is_loss) {
            Verdict::Loss
        } else {
            Verdict::Good
        };
        let of_config = config.as_ref().map_or(Verdict::Good, ConfigReport::verdict);
        Self { version: env!("CARGO_PKG_VERSION"), host, features, config, verdict: verdict.max(of_config) }
    }
}

/// Looks, and writes what it saw to standard output. The exit code: 0 for all good, 1 for a lost function, 2 for a
/// machine that procwatch cannot run on or a bad configuration. When a process is to be explained, or only the
/// configuration checked: 0.
///
/// # Errors
/// When standard output fails; a reader that has enough, such as `head`, is no failure. When a process is to be
/// explained: when it is not there, or the configuration is bad. When only that is checked: when it is bad.
pub fn run(args: &CheckArgs) -> Result<ExitCode, AgentError> {
    if args.only_config {
        // What is wrong with it is an error, and told as one.
        return Ok(crate::config::load(args.config.as_deref()).map(|_| ExitCode::SUCCESS)?);
    }
    let mut out = io::stdout().lock();
    let (written, code) = if let Some(asked) = &args.explain {
        let config = crate::config::load(args.config.as_deref())?;
        let explanation = Explanation::of(asked, args.user.as_deref(), &config)?;
        (explanation.write(&mut out, args.json), ExitCode::SUCCESS)
    } else {
        let mut features = host::features();
        // What concerns the kernel comes before what concerns its set-up.
        features.splice(1..1, kernel::probe::features());
        let report = Report::new(Host::here(), features, ConfigReport::make(args.config.as_deref()));
        (write(&mut out, args.json, &report), report.verdict.into())
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(AgentError::io("standard output")(error))
        }
        _ => Ok(code),
    }
}

fn write(out: &mut impl Write, json: bool, report: &Report) -> io::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, report)?;
        writeln!(out)?;
    } else {
        table::write(out, report)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{Need, State};

    fn feature(need: Need, state: State) -> Feature {
        Feature { name: "x", need, state, detail: "seen".to_owned(), cost: "much" }
    }

    fn report(features: Vec<Feature>, config: Option<ConfigReport>) -> Report {
        Report::new(Host { kernel: "6.1".to_owned(), cpus: 2 }, features, config)
    }

    #[test]
    fn the_verdict_is_that_of_the_worst() {
        for (need, state, verdict) in [
            (Need::Required, State::Yes, Verdict::Good),
            (Need::Required, State::No, Verdict::Bad),
            (Need::Required, State::Unknown, Verdict::Good),
            (Need::Optional, State::No, Verdict::Loss),
            (Need::Optional, State::Partly, Verdict::Loss),
            (Need::Comfort, State::No, Verdict::Good),
        ] {
            assert_eq!(report(vec![feature(need, state)], None).verdict, verdict, "{need:?} {state:?}");
        }
        let bad = ConfigReport::make(Some("/no/such/file.toml".as_ref()));
        assert_eq!(report(vec![feature(Need::Optional, State::No)], bad).verdict, Verdict::Bad);
    }

    #[test]
    fn the_table_is_aligned_and_says_what_an_absence_costs() {
        let mut out = Vec::new();
        let lost = Feature { name: "trampolines", ..feature(Need::Optional, State::No) };
        table::write(&mut out, &report(vec![feature(Need::Required, State::Yes), lost], None)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1..5],
            [
                "feature      state  detail",
                "x            yes    seen",
                "trampolines  no     seen",
                "                    costs: much",
            ],
            "{text}"
        );
    }

    #[test]
    fn json_has_the_same() {
        let report = report(vec![feature(Need::Optional, State::Partly)], None);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["features"][0]["state"], "partly");
        assert_eq!(json["verdict"], "loss");
        assert_eq!(json["host"]["cpus"], 2);
    }
}
