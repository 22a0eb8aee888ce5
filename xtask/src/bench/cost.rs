//! What the agent costs everyone else: by the clock, and by the kernel's own account.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::{
    Bench,
    account::{self, Account, Program},
    report::{Figure, Section},
    statistics::{Spread, percent_above},
};
use crate::{
    agent::Agent,
    exec, interrupt,
    load::{self, Operation},
};

/// The most that the programs of `run` may add to an operation, percent of its time.
const fn target_percent(operation: Operation) -> f64 {
    match operation {
        // Growth is followed, and creators are counted by their stacks.
        Operation::Crowded => 5.0,
        _ => 1.0,
    }
}

/// What is timed, with a count that takes about half a second.
const OPERATIONS: [(Operation, u32); 4] = [
    (Operation::Thread, 20_000),
    (Operation::Crowded, 20_000),
    (Operation::Fork, 3_000),
    (Operation::Exec, 600),
];

/// Who watches meanwhile; the first is nobody.
const WATCHERS: [&[&str]; 3] = [&[], &["run"], &["watch", "--json"]];

/// ns per operation, a value a round, by watcher and operation.
type Times = BTreeMap<(usize, &'static str), Vec<f64>>;

/// The kernel's account of one operation.
#[derive(Default)]
struct Charge {
    ns: Vec<f64>,
    runs: Vec<f64>,
}

/// Takes the figures.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let rounds = bench.pick(3, 10);
    let times = by_the_clock(bench, rounds)?;
    let mut figures = Vec::new();
    for (operation, _) in OPERATIONS {
        figures.extend(compare(operation.name(), &times));
    }
    for (watcher, arguments) in WATCHERS.iter().enumerate().skip(1) {
        match by_account(bench, arguments) {
            Ok(charges) => figures.extend(shares(watcher, &charges, &times)),
            Err(error) => {
                interrupt::check()?;
                figures.push(Figure::missing("the kernel's account", format!("{error:#}")));
            }
        }
    }
    let loads =
        OPERATIONS.map(|(operation, count)| format!("{} time {} {count}", load::NAME, operation.name()));
    let mut commands =
        vec!["procwatch run > /dev/null".to_owned(), "procwatch watch --json > /dev/null".to_owned()];
    commands.extend(loads);
    commands.push("sysctl kernel.bpf_stats_enabled=1; cat /proc/PID/fdinfo/*".to_owned());
    Ok(Section { title: "Cost to others", commands, figures })
}

/// All operations with every watcher, by turns, and each round begins with another one.
fn by_the_clock(bench: &Bench, rounds: usize) -> Result<Times> {
    let mut times = Times::new();
    for round in 0..rounds {
        for turn in 0..WATCHERS.len() {
            let watcher = (round + turn) % WATCHERS.len();
            let agent = start(bench, WATCHERS[watcher])?;
            for (operation, count) in OPERATIONS {
                let ns = time(operation, bench.pick(count / 2, count))?;
                times.entry((watcher, operation.name())).or_default().push(ns);
            }
            agent.map_or(Ok(()), |agent| agent.stop(|_| {}))?;
        }
    }
    Ok(times)
}

/// The watcher, with its output thrown away; none for nobody.
fn start(bench: &Bench, arguments: &[&str]) -> Result<Option<Agent>> {
    if arguments.is_empty() {
        return Ok(None);
    }
    Agent::start_unheard(&mut bench.procwatch(arguments)?).map(Some)
}

/// ns that one operation takes.
fn time(operation: Operation, count: u32) -> Result<f64> {
    interrupt::check()?;
    let ns = exec::read(&mut load::command(&["time", operation.name(), &count.to_string()])?)?;
    let ns: f64 = ns.trim().parse().context("the load gave no figure")?;
    Ok(ns / f64::from(count))
}

/// One operation with each watcher, and next to it what that is above nobody.
fn compare(operation: &'static str, times: &Times) -> Vec<Figure> {
    let of = |watcher| times.get(&(watcher, operation)).map_or(&[][..], Vec::as_slice);
    let mut figures = vec![Figure::median(format!("{operation}, nobody watches"), "ns", of(0))];
    for (watcher, arguments) in WATCHERS.iter().enumerate().skip(1) {
        let above = Spread::of(&percent_above(of(watcher), of(0)));
        let note = above.map_or_else(String::new, |above| {
            format!("{:+.1} % ({:+.1} to {:+.1}) by pairs", above.median, above.min, above.max)
        });
        let name = format!("{operation}, {}", arguments.join(" "));
        figures.push(Figure::median(name, "ns", of(watcher)).note(note));
    }
    figures
}

/// What the kernel says that the programs of a watcher take for each operation.
fn by_account(bench: &Bench, arguments: &[&str]) -> Result<BTreeMap<&'static str, Charge>> {
    let _account = Account::open()?;
    let agent = start(bench, arguments)?.context("nobody has no programs")?;
    let mut charges: BTreeMap<&'static str, Charge> = BTreeMap::new();
    for _ in 0..bench.pick(3, 7) {
        for (operation, count) in OPERATIONS {
            let before = total(&account::programs(&agent.proc())?);
            time(operation, count)?;
            let after = total(&account::programs(&agent.proc())?);
            // The load does a tenth more, before it looks at the clock.
            let done = f64::from(count + count / 10);
            let charge = charges.entry(operation.name()).or_default();
            charge.ns.push((after.run_time_ns - before.run_time_ns) as f64 / done);
            charge.runs.push((after.run_cnt - before.run_cnt) as f64 / done);
        }
    }
    agent.stop(|_| {})?;
    Ok(charges)
}

/// The sum over all programs.
fn total(programs: &BTreeMap<u64, Program>) -> Program {
    programs.values().fold(Program::default(), |sum, program| Program {
        run_time_ns: sum.run_time_ns + program.run_time_ns,
        run_cnt: sum.run_cnt + program.run_cnt,
        ..sum
    })
}

/// The account of each operation, and its share of the operation's time when nobody watches.
fn shares(watcher: usize, charges: &BTreeMap<&'static str, Charge>, times: &Times) -> Vec<Figure> {
    let who = WATCHERS[watcher].join(" ");
    let mut figures = Vec::new();
    for (operation, _) in OPERATIONS {
        let name = operation.name();
        let (Some(charge), Some(alone)) = (charges.get(name), times.get(&(0, name))) else {
            continue;
        };
        let runs = Spread::of(&charge.runs).map_or(0.0, |runs| runs.median);
        let note = format!("{runs:.2} program runs each, the whole machine's included");
        figures.push(Figure::median(format!("{name}, {who}: in its programs"), "ns", &charge.ns).note(note));
        let Some(alone) = Spread::of(alone) else { continue };
        // Other work makes an operation longer, and the share smaller than it is: the quickest round counts.
        let shares: Vec<f64> = charge.ns.iter().map(|ns| ns / alone.min * 100.0).collect();
        let share = Figure::median(format!("{name}, {who}: share of its time"), "%", &shares);
        figures.push(if watcher == 1 { share.at_most(target_percent(operation)) } else { share });
    }
    figures
}
