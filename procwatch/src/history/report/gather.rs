//! One pass over the records, and a few questions to the other tables.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use rusqlite::params;

use super::{
    super::{
        HistoryError,
        moment::{before, ns},
        read::{Border, Query, Reader},
        writer::timestamp,
    },
    Acted, Curve, Growing, Height, Lasting, MOST_ROWS, PARTS, Placed, Program, Report, Run,
};
use crate::{
    record::{
        Act, Alert, Body, Bound, Cleared, Decision, DiagnosisResult, HealthTopic, Hold, Mode, Outcome,
        Process, Quantiles, Record, Result as MoveResult, Ring, Severity, Verdict,
    },
    text::escape,
};

/// Curves in one plot.
const MOST_CURVES: usize = 5;

pub(super) fn gather(
    reader: &Reader<'_>,
    since: Border,
    until: Option<Border>,
) -> Result<Report, HistoryError> {
    let wall = reader.wall();
    let time = |border| match border {
        Border::Ago(span) => before(wall, span),
        Border::At(time) => time,
    };
    let (begin, end) = (time(since), until.map_or(wall, time));
    let mut pass = Pass { begin, end, ..Pass::default() };
    let query = Query { since: Some(since), until, ..Query::default() };
    let account = reader.records(&query, |kept| {
        pass.on(kept.record, kept.run);
        Ok(ControlFlow::<()>::Continue(()))
    })?;
    let tables = Tables { reader, begin, end };
    let heights = tables.heights().map_err(|error| reader.bad(&error))?;
    let curves = tables.curves(&heights).map_err(|error| reader.bad(&error))?;
    let mut report = pass.report();
    report.runs = tables.runs().map_err(|error| reader.bad(&error))?;
    report.memory = tables.memory().map_err(|error| reader.bad(&error))?;
    (report.records, report.damaged) = (account.records, account.damaged);
    (report.heights, report.curves) = (heights, curves);
    report.host = host();
    Ok(report)
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    escape(name.trim_end().as_bytes()).into_owned()
}

/// An alert for ever: pids are used again, a pid with a start is not.
type AlertKey = (u32, u64, Bound, u32);

/// What the records say, as they pass by.
#[derive(Default)]
struct Pass {
    begin: Timestamp,
    end: Timestamp,
    alerts: BTreeMap<Severity, u64>,
    parts: Vec<[u64; 4]>,
    programs: HashMap<(String, String), Seen>,
    open: HashMap<AlertKey, (u64, i64)>,
    /// The last run seen: alerts of those before are not open any more.
    run: i64,
    longest: Option<Lasting>,
    fastest: Option<Growing>,
    slowest_ns: Option<u64>,
    placed: BTreeMap<(String, String), Moves>,
    holds: BTreeMap<&'static str, u64>,
    held: Times,
    actions: BTreeMap<Acted, u64>,
    causes: HashMap<String, u64>,
    lost: BTreeMap<&'static str, u64>,
    faults: HashMap<String, (u64, Timestamp)>,
}

#[derive(Default)]
struct Seen {
    program: Program,
    processes: HashSet<(u32, u64)>,
}

#[derive(Default)]
struct Moves {
    placed: Placed,
    sessions: HashSet<String>,
    outside: Times,
}

/// Times of which the quantiles are wanted, within one percent.
struct Times(Option<Histogram<u64>>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(2).ok())
    }
}

impl Times {
    fn add(&mut self, ns: u64) {
        if let Some(times) = &mut self.0 {
            times.saturating_record(ns);
        }
    }

    fn quantiles(&self) -> Quantiles {
        self.0.as_ref().filter(|times| !times.is_empty()).map_or_else(Quantiles::default, |times| Quantiles {
            count: times.len(),
            p50_ns: times.value_at_quantile(0.5),
            p99_ns: times.value_at_quantile(0.99),
            max_ns: times.max(),
        })
    }
}

fn shown(process: &Process) -> String {
    format!("{}[{}]", process.comm, process.pid)
}

fn user(process: &Process) -> String {
    process.user.as_ref().map_or_else(|| process.uid.to_string(), ToString::to_string)
}

impl Pass {
    fn on(&mut self, record: &Record, run: i64) {
        self.run = run;
        match &record.body {
            Body::Alert(alert) => self.alert(record, alert),
            Body::Cleared(cleared) => self.cleared(record, cleared),
            Body::Decision(decision) if decision.verdict == Verdict::Move => self.decision(decision),
            Body::Outcome(outcome) => self.outcome(outcome),
            Body::Hold(hold) => self.hold(hold),
            Body::Action(act) => self.action(act),
            Body::Diagnosis(found) if found.result == DiagnosisResult::Cause => {
                *self.causes.entry(found.headline.clone()).or_default() += 1;
            }
            Body::Loss(loss) => {
                let ring = if loss.ring == Ring::Stream { "stream" } else { "urgent" };
                *self.lost.entry(ring).or_default() += loss.lost;
            }
            Body::Health(health) if health.topic == HealthTopic::Degraded => {
                let fault = self.faults.entry(health.message.clone()).or_insert((0, record.time));
                *fault = (fault.0 + 1, fault.1.max(record.time));
            }
            _ => {}
        }
    }

    fn alert(&mut self, record: &Record, alert: &Alert) {
        *self.alerts.entry(alert.severity).or_default() += 1;
        let process = &alert.process;
        if let Some(part) = part_of(record.time, self.begin, self.end) {
            self.parts.resize(PARTS, [0; 4]);
            self.parts[part][alert.severity as usize] += 1;
        }
        let seen = self.programs.entry((process.comm.to_string(), user(process))).or_default();
        seen.processes.insert((process.pid, process.start_ns));
        seen.program.alerts[alert.severity as usize] += 1;
        seen.program.most = seen.program.most.max(process.threads);
        let key = (process.pid, process.start_ns, alert.bound, alert.level);
        self.open.insert(key, (record.boot_ns, self.run));
        self.slowest_ns = self.slowest_ns.max(alert.latency_ns);
        if let (Bound::Burst, Some(growth)) = (alert.bound, &alert.growth) {
            self.growth(process, process.threads.saturating_sub(growth.from), growth.took_ns);
        }
    }

    fn growth(&mut self, process: &Process, threads: u32, took_ns: u64) {
        let pace = |threads: u32, took_ns: u64| f64::from(threads) / took_ns.max(1) as f64;
        let fastest = self.fastest.as_ref().map_or(0.0, |it| pace(it.threads, it.took_ns));
        if pace(threads, took_ns) > fastest {
            self.fastest = Some(Growing { process: shown(process), threads, took_ns });
        }
    }

    fn cleared(&mut self, record: &Record, cleared: &Cleared) {
        let process = &cleared.process;
        let key = (process.pid, process.start_ns, cleared.bound, cleared.level);
        let Some((begun, _)) = self.open.remove(&key) else {
            return;
        };
        let lasted_ns = record.boot_ns.saturating_sub(begun);
        if let Some(seen) = self.programs.get_mut(&(process.comm.to_string(), user(process))) {
            seen.program.longest_ns = seen.program.longest_ns.max(Some(lasted_ns));
        }
        if self.longest.as_ref().is_none_or(|longest| longest.lasted_ns < lasted_ns) {
            let what = format!("{} {} {}", cleared.severity.name(), cleared.bound.name(), cleared.level);
            self.longest = Some(Lasting { process: shown(process), what, lasted_ns });
        }
    }

    fn moves(&mut self, process: &Process, target: &str) -> &mut Moves {
        self.placed.entry((user(process), target.to_owned())).or_default()
    }

    /// A decision names the slice, an outcome the leaf in it: what is moved is counted by outcomes.
    fn decision(&mut self, decision: &Decision) {
        let moves = self.moves(&decision.process, &decision.target);
        moves.sessions.extend(decision.session.clone());
        if decision.mode == Mode::Observe {
            moves.placed.observed += 1;
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        let user = user(&outcome.process);
        let target = self.placed.keys().find(|(whose, target)| {
            *whose == user
                && outcome
                    .to
                    .strip_prefix(&**target)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let target = target.map_or_else(|| outcome.to.clone(), |(_, target)| target.clone());
        let moves = self.moves(&outcome.process, &target);
        moves.sessions.insert(outcome.session.clone());
        match outcome.result {
            MoveResult::Verified | MoveResult::Unverified => moves.placed.moved += 1,
            MoveResult::Failed => moves.placed.failed += 1,
            MoveResult::Gone => moves.placed.gone += 1,
        }
        if let Some(ns) = outcome.outside_ns {
            moves.outside.add(ns);
        }
    }

    fn hold(&mut self, hold: &Hold) {
        *self.holds.entry(hold.result.name()).or_default() += 1;
        self.held.add(hold.held_ns);
    }

    fn action(&mut self, act: &Act) {
        let Act { action, undo, result, .. } = *act;
        let reason = act.reason.map(crate::record::RefusedFor::name);
        *self.actions.entry(Acted { action, undo, result, reason, count: 0 }).or_default() += 1;
    }

    fn report(self) -> Report {
        let mut programs: Vec<Program> = self
            .programs
            .into_iter()
            .map(|((comm, user), seen)| Program {
                comm,
                user,
                processes: seen.processes.len() as u64,
                ..seen.program
            })
            .collect();
        // The worst: what was gravest, then most often, then highest.
        programs.sort_by_key(|it| {
            (
                Reverse([it.alerts[3], it.alerts[2], it.alerts[1], it.alerts[0]]),
                Reverse(it.most),
                it.comm.clone(),
                it.user.clone(),
            )
        });
        programs.truncate(MOST_ROWS);
        let placed = self.placed.into_iter().map(|((user, target), moves)| Placed {
            user,
            target,
            sessions: moves.sessions.len() as u64,
            outside: moves.outside.quantiles(),
            ..moves.placed
        });
        let mut causes: Vec<(String, u64)> = self.causes.into_iter().collect();
        causes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        causes.truncate(MOST_ROWS);
        let mut faults: Vec<_> =
            self.faults.into_iter().map(|(what, (count, last))| (what, count, last)).collect();
        faults.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
        faults.truncate(MOST_ROWS);
        let last = self.run;
        Report {
            since: self.begin,
            until: self.end,
            host: String::new(),
            records: 0,
            damaged: 0,
            runs: Vec::new(),
            alerts: self.alerts,
            open_alerts: self.open.values().filter(|(_, run)| *run == last).count() as u64,
            programs,
            parts: self.parts,
            placed: placed.collect(),
            holds: self.holds,
            held: self.held.quantiles(),
            actions: self.actions.into_iter().map(|(acted, count)| Acted { count, ..acted }).collect(),
            causes,
            lost: self.lost,
            faults,
            heights: Vec::new(),
            longest: self.longest,
            fastest: self.fastest,
            slowest_ns: self.slowest_ns,
            curves: Vec::new(),
            memory: Vec::new(),
        }
    }
}

/// Which part of the span a time is in.
fn part_of(time: Timestamp, begin: Timestamp, end: Timestamp) -> Option<usize> {
    let span = (end.as_nanosecond() - begin.as_nanosecond()).max(1);
    let at = time.as_nanosecond() - begin.as_nanosecond();
    let part = usize::try_from(at.max(0) * PARTS as i128 / span).unwrap_or(usize::MAX);
    // A clock that was set may put a record of the span beside it.
    (at >= 0 && part <= PARTS).then_some(part.min(PARTS - 1))
}

/// The other tables.
struct Tables<'r> {
    reader: &'r Reader<'r>,
    begin: Timestamp,
    end: Timestamp,
}

impl Tables<'_> {
    /// Those that lived in the span.
    fn runs(&self) -> rusqlite::Result<Vec<Run>> {
        let mut statement = self.reader.connection.prepare(
            "SELECT pid, version, time_ns, ended_ns, how FROM runs
             WHERE time_ns <= ?2 AND coalesce(ended_ns, ?2) >= ?1 ORDER BY boot, boot_ns, id",
        )?;
        let rows = statement.query_map(params![ns(self.begin), ns(self.end)], |row| {
            let how: Option<String> = row.get(4)?;
            let version: String = row.get(1)?;
            Ok(Run {
                pid: row.get(0)?,
                version: escape(version.as_bytes()).into_owned(),
                begun: timestamp(row.get(2)?),
                ended: row.get::<_, Option<i64>>(3)?.map(timestamp),
                died: how.as_deref() == Some("died"),
            })
        })?;
        rows.collect()
    }

    fn heights(&self) -> rusqlite::Result<Vec<Height>> {
        let mut statement = self.reader.connection.prepare(
            "SELECT comm, pid, user, threads, time_ns FROM high_water WHERE time_ns BETWEEN ? AND ?
             ORDER BY threads DESC, time_ns LIMIT ?",
        )?;
        let rows = statement.query_map(params![ns(self.begin), ns(self.end), MOST_ROWS as i64], |row| {
            let (comm, pid): (String, u32) = (row.get(0)?, row.get(1)?);
            Ok(Height {
                process: format!("{comm}[{pid}]"),
                user: row.get(2)?,
                threads: row.get(3)?,
                time: timestamp(row.get(4)?),
            })
        })?;
        rows.collect()
    }

    fn curves(&self, heights: &[Height]) -> rusqlite::Result<Vec<Curve>> {
        let mut curves = Vec::new();
        for height in heights.iter().take(MOST_CURVES) {
            let points = self.values(&format!("process {}", height.process), "threads")?;
            if points.len() > 1 {
                curves.push(Curve { process: height.process.clone(), points });
            }
        }
        Ok(curves)
    }

    fn memory(&self) -> rusqlite::Result<Vec<(Timestamp, f64)>> {
        self.values("agent", "resident_memory")
    }

    fn values(&self, component: &str, metric: &str) -> rusqlite::Result<Vec<(Timestamp, f64)>> {
        let mut statement = self.reader.connection.prepare(
            "SELECT time_ns, value FROM health_metrics
             WHERE component = ? AND metric = ? AND time_ns BETWEEN ? AND ? ORDER BY boot, boot_ns, id",
        )?;
        let rows = statement.query_map(params![component, metric, ns(self.begin), ns(self.end)], |row| {
            Ok((timestamp(row.get(0)?), row.get(1)?))
        })?;
        rows.collect()
    }
}
