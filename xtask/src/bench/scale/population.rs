//! Start, memory and cost of an agent on a machine with many live threads or processes.

use std::{process::Child, thread};

use anyhow::Result;

use super::{drawn, limit::Room, ns_since, wait_until_ready};
use crate::{
    agent::{Ending, read},
    bench::{
        Bench,
        account::{self, Account},
        idle,
        report::Figure,
    },
    exec, interrupt, load,
};

/// A population: what it is called, its processes, and the threads in each of them.
type Population = (&'static str, usize, usize);

const POPULATIONS: [Population; 4] = [
    ("10 live threads", 1, 9),
    ("1,000 live threads", 1, 999),
    ("30,000 live threads", 6, 4_999),
    ("10,000 live processes", 10_000, 0),
];
const QUICK: [Population; 3] =
    [("10 live threads", 1, 9), ("1,000 live threads", 1, 999), ("500 live processes", 500, 0)];

/// Threads created and ended for the account.
const THREADS: u32 = 20_000;

pub(super) fn commands() -> Vec<String> {
    let hold = |(_, processes, threads)| format!("{} hold {processes} {threads}", load::NAME);
    let mut commands: Vec<String> = POPULATIONS.map(hold).into();
    commands.push(format!("{} time thread {THREADS}", load::NAME));
    commands
}

/// What was seen of one population, a value a round.
#[derive(Default)]
struct Seen {
    armed_ms: Vec<f64>,
    resident_mb: Vec<f64>,
    peak_mb: Vec<f64>,
    ns: Vec<f64>,
}

pub(super) fn figures(bench: &Bench) -> Result<Vec<Figure>> {
    let populations = bench.pick(&QUICK[..], &POPULATIONS[..]);
    let mut all = Vec::new();
    let mut missing = Vec::new();
    for &(name, processes, threads) in populations {
        match look(bench, processes, threads) {
            Ok(seen) => all.push((name, seen)),
            Err(error) => missing.push(Figure::missing(name, format!("{error:#}"))),
        }
        interrupt::check()?;
    }
    let series = |what: &str, unit: &'static str, of: fn(&Seen) -> &Vec<f64>| {
        let row = |(name, seen): &(&str, Seen)| (format!("{name}: {what}"), unit, of(seen).clone());
        drawn(all.iter().map(row).collect())
    };
    let mut figures = series("start to armed", "ms", |seen| &seen.armed_ms);
    figures.extend(series("resident", "MB", |seen| &seen.resident_mb));
    figures.extend(series("resident at its peak", "MB", |seen| &seen.peak_mb));
    figures.extend(series("in the programs for a thread created and ended", "ns", |seen| &seen.ns));
    figures.extend(missing);
    Ok(figures)
}

fn look(bench: &Bench, processes: usize, threads: usize) -> Result<Seen> {
    let _room = Room::make((processes * (threads + 1)) as u64)?;
    let _population = hold(processes, threads)?;
    let mut seen = Seen::default();
    for _ in 0..bench.pick(1, 3) {
        interrupt::check()?;
        let (agent, armed) = idle::start(bench)?;
        thread::sleep(idle::SETTLED);
        let status = read(&agent.proc().join("status"))?;
        let mb = |name| idle::field(&status, name).map(|kb| kb as f64 / 1024.0);
        seen.armed_ms.push(armed.told_ms);
        seen.resident_mb.push(mb("VmRSS")?);
        seen.peak_mb.push(mb("VmHWM")?);
        let account = Account::open()?;
        let before = account::programs(&agent.proc())?;
        let count = bench.pick(THREADS / 5, THREADS);
        exec::read(&mut load::command(&["time", "thread", &count.to_string()])?)?;
        // The load does a tenth more, before it looks at the clock.
        seen.ns.push(ns_since(&agent, &before)? / f64::from(count + count / 10));
        drop(account);
        agent.stop(|_| {})?;
    }
    Ok(seen)
}

/// Processes and threads that sleep, all there when this returns.
fn hold(processes: usize, threads: usize) -> Result<Ending> {
    let child: Child = load::command(&["hold", &processes.to_string(), &threads.to_string()])?.spawn()?;
    let mut ending = Ending(child);
    wait_until_ready(&mut ending.0)?;
    Ok(ending)
}
