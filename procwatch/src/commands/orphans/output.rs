//! Findings and endings as lines.

use std::{
    io::{self, Write},
    time::Duration,
};

use procfs::process::Process;
use serde::Serialize;

use crate::{
    agent::AgentError,
    clock::Clock,
    orphans::{Facts, Finding, Findings, facts, terminate::Ending},
    sink::{
        duration::Span,
        human::{DETAIL_COLUMNS, line::Line},
    },
    text::{Comm, Text},
    users::UserNames,
};

const SECOND: u64 = 1_000_000_000;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Orphan,
    Zombie,
    Doubtful,
    Termination,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Zombie => "zombie",
            Self::Doubtful => "doubtful",
            Self::Termination => "termination",
        }
    }
}

/// A listed process as JSON.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    kind: Kind,
    pid: u32,
    ppid: u32,
    uid: u32,
    user: Option<&'a Text>,
    comm: Comm,
    argv: &'a [Text],
    age_ns: u64,
    cpu_ns: u64,
    threads: u32,
    /// Null where it was not looked at.
    cgroup: Option<&'a Text>,
    why: &'a str,
}

/// What came of a termination as JSON.
#[derive(Debug, Serialize)]
struct Ended<'a> {
    kind: Kind,
    pid: u32,
    uid: u32,
    comm: Comm,
    signal: Option<&'static str>,
    result: &'static str,
    after_ns: Option<u64>,
    error: Option<&'a str>,
}

/// Writes lines for people or for programs.
#[derive(Debug)]
pub(super) struct Output<W> {
    out: W,
    json: bool,
    line: Line,
    users: UserNames,
    now_ns: u64,
}

impl<W: Write> Output<W> {
    /// # Errors
    /// When the kernel has no boot clock.
    pub(super) fn new(out: W, json: bool, wide: bool) -> Result<Self, AgentError> {
        let clock = Clock::new().map_err(AgentError::io("the boot clock"))?;
        let columns = if wide { usize::MAX } else { DETAIL_COLUMNS };
        Ok(Self {
            out,
            json,
            line: Line::new(columns, false),
            users: UserNames::new(),
            now_ns: clock.now().0,
        })
    }

    /// Lists them; what is doubtful only with `all`.
    pub(super) fn findings(&mut self, findings: &Findings, all: bool) -> io::Result<()> {
        let doubtful: &[Finding] = if all { &findings.doubtful } else { &[] };
        let groups = [
            (Kind::Orphan, &findings.orphans[..]),
            (Kind::Zombie, &findings.zombies),
            (Kind::Doubtful, doubtful),
        ];
        let is_any = groups.iter().any(|(_, found)| !found.is_empty());
        if !self.json && is_any {
            writeln!(
                self.out,
                "{:9} {:>7}  {:8} {:>7} {:>7} {:>4}  command",
                "kind", "pid", "user", "age", "cpu", "thr"
            )?;
        }
        for (kind, found) in groups {
            for finding in found {
                self.finding(kind, finding)?;
            }
        }
        if !self.json {
            let counts = groups.map(|(_, found)| found.len());
            let more = findings.doubtful.len() - counts[2];
            let (orphans, zombies) = (counted(counts[0], "orphan"), counted(counts[1], "zombie"));
            writeln!(self.out, "{orphans}, {zombies}{}", doubt(counts[2], more))?;
        }
        self.out.flush()
    }

    /// Tells what was measured after a signal.
    pub(super) fn ending(&mut self, finding: &Finding, ending: &Ending) -> io::Result<()> {
        let (result, after) = measured(ending);
        let error = match ending {
            Ending::Changed(why) => Some((*why).to_owned()),
            Ending::Refused(error) => Some(error.to_string()),
            Ending::Ended(_) | Ending::StillThere(_) | Ending::Gone => None,
        };
        let facts = &finding.facts;
        if self.json {
            self.json(&Ended {
                kind: Kind::Termination,
                pid: facts.pid,
                uid: facts.uid,
                comm: facts.comm,
                signal: after.map(|_| "SIGTERM"),
                result,
                after_ns: after.map(nanos),
                error: error.as_deref(),
            })?;
        } else {
            let after =
                after.map_or_else(String::new, |after| format!(" {} after SIGTERM", Span(nanos(after))));
            let error = error.map_or_else(String::new, |error| format!(": {error}"));
            let name = Kind::Termination.name();
            writeln!(self.out, "{name} {} ({}): {result}{after}{error}", facts.pid, facts.comm)?;
        }
        self.out.flush()
    }

    fn finding(&mut self, kind: Kind, finding: &Finding) -> io::Result<()> {
        let facts = &finding.facts;
        // Read one by one as they are written: there may be as many as processes.
        let argv = arguments(facts);
        let cgroup = facts.origin.as_ref().map(|origin| &origin.cgroup);
        let (age_ns, cpu_ns) = (self.now_ns.saturating_sub(ticks(facts.start_ticks)), ticks(facts.cpu_ticks));
        if self.json {
            let user = self.users.name(facts.uid).cloned();
            return self.json(&Listed {
                kind,
                pid: facts.pid,
                ppid: facts.ppid,
                uid: facts.uid,
                user: user.as_ref(),
                comm: facts.comm,
                argv: &argv,
                age_ns,
                cpu_ns,
                threads: facts.threads,
                cgroup,
                why: &finding.why,
            });
        }
        self.line.clear();
        self.columns(kind, facts, age_ns, cpu_ns);
        self.command(facts, &argv);
        self.line.end();
        self.line.add(format_args!("{:9} why: {}", "", finding.why));
        self.line.end();
        if let Some(cgroup) = cgroup {
            self.line.add(format_args!("{:9} in: ", ""));
            self.line.foreign(cgroup, self.line.columns());
            self.line.end();
        }
        self.out.write_all(self.line.as_bytes())
    }

    fn columns(&mut self, kind: Kind, facts: &Facts, age_ns: u64, cpu_ns: u64) {
        let user = self.users.name(facts.uid).map_or_else(|| facts.uid.to_string(), ToString::to_string);
        let (age, cpu) = (Span(age_ns).to_string(), Span(cpu_ns).to_string());
        let (kind, pid, threads) = (kind.name(), facts.pid, facts.threads);
        self.line.add(format_args!("{kind:9} {pid:>7}  {user:8} {age:>7} {cpu:>7} {threads:>4}  "));
    }

    /// The dead have no arguments any more.
    fn command(&mut self, facts: &Facts, argv: &[Text]) {
        let start = self.line.position();
        if argv.is_empty() {
            self.line.add(format_args!("({})", facts.comm));
        } else {
            self.line.arguments(argv);
        }
        self.line.cut(start, self.line.columns());
    }

    fn json(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

/// What came of it in a word, and how long after the signal.
const fn measured(ending: &Ending) -> (&'static str, Option<Duration>) {
    match ending {
        Ending::Ended(after) => ("ended", Some(*after)),
        Ending::StillThere(after) => ("still-there", Some(*after)),
        Ending::Gone => ("gone", None),
        Ending::Changed(_) => ("left-alone", None),
        Ending::Refused(_) => ("failed", None),
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn doubt(shown: usize, hidden: usize) -> String {
    match (shown, hidden) {
        (0, 0) => String::new(),
        (shown, 0) => format!(", {shown} doubtful"),
        (_, hidden) => format!("; {hidden} doubtful, which --all lists"),
    }
}

/// Those of the process that was seen, not of another one that has its pid by now.
fn arguments(facts: &Facts) -> Vec<Text> {
    let process = Process::new(facts.pid.cast_signed()).ok();
    let same = |process: &Process| {
        facts::read(process, |_| false).is_some_and(|now| now.is_same_process(facts) && now.uid == facts.uid)
    };
    process.filter(same).map_or_else(Vec::new, |process| facts::arguments(&process))
}

fn ticks(ticks: u64) -> u64 {
    let ns = u128::from(ticks) * u128::from(SECOND) / u128::from(procfs::ticks_per_second().max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::comm;

    /// A process that is no more, so that it has no arguments.
    fn finding() -> Finding {
        let process = Process::myself().unwrap();
        let facts = facts::read(&process, |_| true).unwrap();
        let facts = Facts { start_ticks: 0, cpu_ticks: 0, threads: 3, comm: comm("a\x1b[2Jb"), ..facts };
        Finding { facts, why: "left over".to_owned() }
    }

    fn shown(json: bool, all: bool) -> String {
        let mut output = Output::new(Vec::new(), json, false).unwrap();
        let found = || vec![finding()];
        output.findings(&Findings { orphans: found(), doubtful: found(), zombies: Vec::new() }, all).unwrap();
        output.ending(&finding(), &Ending::Ended(Duration::from_millis(2))).unwrap();
        output.ending(&finding(), &Ending::Changed("it has a terminal now")).unwrap();
        String::from_utf8(output.out).unwrap()
    }

    #[test]
    fn people_get_aligned_lines_and_hostile_names_escaped() {
        let text = shown(false, false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("thr  command") && lines[1].ends_with("   3  (a\\x1b[2Jb)"), "{text}");
        assert_eq!(lines[0].find("command"), lines[1].find("(a"), "{text}");
        assert_eq!(lines[2].trim_start(), "why: left over");
        assert_eq!(lines[4], "1 orphan, 0 zombies; 1 doubtful, which --all lists");
        assert!(lines[5].ends_with("(a\\x1b[2Jb): ended 2.00ms after SIGTERM"), "{text}");
        assert!(lines[6].ends_with(": left-alone: it has a terminal now"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn programs_get_a_line_for_each() {
        let text = shown(true, true);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["orphan", "doubtful", "termination", "termination"]);
        assert_eq!((&lines[0]["threads"], &lines[0]["why"]), (&3.into(), &"left over".into()));
        assert_eq!((&lines[2]["result"], &lines[2]["after_ns"]), (&"ended".into(), &2_000_000.into()));
        assert_eq!((&lines[3]["result"], &lines[3]["signal"]), (&"left-alone".into(), &().into()));
    }
}
