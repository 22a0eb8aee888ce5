//! What watching costs everyone else: by the clock, by the CPU time of who watches, and by the kernel's own account.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result};

use super::{
    Bench,
    account::{self, Account, Program},
    cpu,
    peers::Tracefs,
    report::{Figure, Section},
    statistics::{Spread, by_pairs},
    watchers::{self, RUN, WATCH, Watcher},
};
use crate::{
    exec, interrupt,
    load::{self, Operation},
};

/// What is timed, with a count that takes about half a second.
const OPERATIONS: [(Operation, u32); 4] = [
    (Operation::Thread, 20_000),
    (Operation::Crowded, 20_000),
    (Operation::Fork, 3_000),
    (Operation::Exec, 600),
];

/// What programs may take at most for an operation.
struct Targets {
    /// ns for a thread created and ended.
    thread_ns: f64,
    /// Percent of any operation's time.
    percent: f64,
    /// The same in a process whose growth is followed, and whose creators are counted by their stacks.
    crowded_percent: f64,
    /// Why a thread takes longer, and what was tried.
    why: &'static str,
}

const TARGETS_OF_RUN: Targets = Targets {
    thread_ns: 150.0,
    percent: 1.0,
    crowded_percent: 5.0,
    why: "most of it is the account's own price: two programs that do nothing are charged two thirds of it for looking at \
        the clock (see there); what is left is a map's value, four fields of the task and two comparisons",
};
const TARGETS_OF_WATCH: Targets = Targets {
    thread_ns: 600.0,
    percent: 5.0,
    crowded_percent: 5.0,
    why: "two records of 16 fields each; the account's own price is in it, as above. In a profile a third is the programs' own \
        code, the rest the way into them, the clock and the ring; rings from 64 KiB to 4 MiB cost the same. bpftrace takes \
        thirty times as much for fewer fields",
};

/// One watcher and one operation.
type Key = (usize, &'static str);

/// A value a round.
#[derive(Default)]
struct Clocked {
    /// ns an operation.
    times: BTreeMap<Key, Vec<f64>>,
    /// CPU time of who watches, ns an operation.
    observer: BTreeMap<Key, Vec<f64>>,
    /// Who could not watch, and why.
    failed: BTreeMap<usize, String>,
}

/// The kernel's account of one operation.
#[derive(Default)]
struct Charge {
    ns: Vec<f64>,
    runs: Vec<f64>,
}

/// Takes the figures.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let _tracefs = Tracefs::open();
    let (watchers, absent) = watchers::all(bench)?;
    let clocked = by_the_clock(bench, &watchers)?;
    let mut figures = Vec::new();
    for (operation, _) in OPERATIONS {
        figures.extend(compare(operation.name(), &watchers, &clocked));
    }
    for (index, watcher) in watchers.iter().enumerate() {
        if !watcher.has_programs() || clocked.failed.contains_key(&index) {
            continue;
        }
        match by_account(bench, watcher) {
            Ok(charges) => figures.extend(shares(watcher, &charges, &clocked)),
            Err(error) => {
                interrupt::check()?;
                let name = format!("{}, the kernel's account", watcher.name());
                figures.push(Figure::missing(name, format!("{error:#}")));
            }
        }
    }
    figures.extend(clocked.failed.iter().map(|(index, why)| Figure::missing(watchers[*index].name(), why)));
    figures.extend(absent);
    let mut commands: Vec<String> = watchers.iter().filter_map(Watcher::command).collect();
    commands.dedup();
    commands.extend(
        OPERATIONS.map(|(operation, count)| format!("{} time {} {count}", load::NAME, operation.name())),
    );
    commands.push("sysctl kernel.bpf_stats_enabled=1; bpftool prog show".to_owned());
    Ok(Section { title: "Cost to others", commands, figures })
}

/// All operations with every watcher, by turns, and each round begins with another one.
fn by_the_clock(bench: &Bench, watchers: &[Watcher]) -> Result<Clocked> {
    let mut clocked = Clocked::default();
    for round in 0..bench.pick(1, 6) {
        for turn in 0..watchers.len() {
            let index = (round + turn) % watchers.len();
            if clocked.failed.contains_key(&index) {
                continue;
            }
            if let Err(error) = a_turn(bench, index, &watchers[index], &mut clocked) {
                interrupt::check()?;
                // Without nobody, or without procwatch, there is nothing to be said.
                let Watcher::Peer(_) = watchers[index] else { return Err(error) };
                clocked.failed.insert(index, format!("{error:#}"));
            }
        }
    }
    Ok(clocked)
}

/// All operations while one watches.
fn a_turn(bench: &Bench, index: usize, watcher: &Watcher, clocked: &mut Clocked) -> Result<()> {
    let watching = watcher.start(bench)?;
    let spent = || watching.proc().map_or(Ok(0.0), |proc| cpu::spent_ns(&proc));
    for (operation, count) in OPERATIONS {
        let count = bench.pick(count / 10, count);
        let before = spent()?;
        let ns = time(operation, count)?;
        let observer = spent()? - before;
        let key = (index, operation.name());
        clocked.times.entry(key).or_default().push(ns);
        clocked.observer.entry(key).or_default().push(observer / done(count));
    }
    watching.stop()
}

/// ns that one operation takes.
fn time(operation: Operation, count: u32) -> Result<f64> {
    interrupt::check()?;
    let ns = exec::read(&mut load::command(&["time", operation.name(), &count.to_string()])?)?;
    let ns: f64 = ns.trim().parse().context("the load gave no figure")?;
    Ok(ns / f64::from(count))
}

/// How often it was done: the load does a tenth more, before it looks at the clock.
fn done(count: u32) -> f64 {
    f64::from(count + count / 10)
}

/// One operation with each watcher, what that is above nobody, and what it takes the watcher.
fn compare(operation: &'static str, watchers: &[Watcher], clocked: &Clocked) -> Vec<Figure> {
    let of = |index| clocked.times.get(&(index, operation)).map_or(&[][..], Vec::as_slice);
    let mut figures = vec![Figure::median(format!("{operation}, {}", watchers[0].name()), "ns", of(0))];
    for (index, watcher) in watchers.iter().enumerate().skip(1) {
        if clocked.failed.contains_key(&index) {
            continue;
        }
        let mut note = by_pairs(of(index), of(0));
        if let (Watcher::Procwatch(_) | Watcher::Peer(_), Some(cpu)) =
            (watcher, clocked.observer.get(&(index, operation)).and_then(|cpu| Spread::of(cpu)))
        {
            let _ = write!(note, "; itself {:.0} ns of CPU", cpu.median);
        }
        figures.push(Figure::median(format!("{operation}, {}", watcher.name()), "ns", of(index)).note(note));
    }
    figures
}

/// What the kernel says that the programs of a watcher take for each operation.
fn by_account(bench: &Bench, watcher: &Watcher) -> Result<BTreeMap<&'static str, Charge>> {
    let _account = Account::open()?;
    let watching = watcher.start(bench)?;
    let proc = watching.proc().context("nobody has no programs")?;
    let mut charges: BTreeMap<&'static str, Charge> = BTreeMap::new();
    for _ in 0..bench.pick(1, 5) {
        for (operation, count) in OPERATIONS {
            let count = bench.pick(count / 10, count);
            let before = total(&account::programs(&proc)?);
            time(operation, count)?;
            let after = total(&account::programs(&proc)?);
            let charge = charges.entry(operation.name()).or_default();
            charge.ns.push((after.run_time_ns - before.run_time_ns) as f64 / done(count));
            charge.runs.push((after.run_cnt - before.run_cnt) as f64 / done(count));
        }
    }
    watching.stop()?;
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
fn shares(watcher: &Watcher, charges: &BTreeMap<&'static str, Charge>, clocked: &Clocked) -> Vec<Figure> {
    let who = watcher.name();
    let targets = if who == RUN.name() {
        Some(TARGETS_OF_RUN)
    } else if who == WATCH.name() {
        Some(TARGETS_OF_WATCH)
    } else {
        None
    };
    let mut figures = Vec::new();
    for (operation, _) in OPERATIONS {
        let name = operation.name();
        let (Some(charge), Some(alone)) = (charges.get(name), clocked.times.get(&(0, name))) else {
            continue;
        };
        let runs = Spread::of(&charge.runs).map_or(0.0, |runs| runs.median);
        let note = format!("{runs:.2} program runs each, the whole machine's included");
        let own = Figure::median(format!("{name}, {who}: in its programs"), "ns", &charge.ns).note(note);
        let Some(alone) = Spread::of(alone) else { continue };
        // Other work makes an operation longer, and the share smaller than it is: the quickest round counts.
        let shares: Vec<f64> = charge.ns.iter().map(|ns| ns / alone.min * 100.0).collect();
        let share = Figure::median(format!("{name}, {who}: share of its time"), "%", &shares);
        figures.extend(match &targets {
            Some(targets) => [targets.hold(operation, own), share.at_most(targets.percent(operation))],
            None => [own, share],
        });
    }
    figures
}

impl Targets {
    /// The figure of an operation in ns, with its target where it has one.
    fn hold(&self, operation: Operation, figure: Figure) -> Figure {
        if operation == Operation::Thread {
            figure.at_most(self.thread_ns).when_missed(self.why)
        } else {
            figure
        }
    }

    const fn percent(&self, operation: Operation) -> f64 {
        match operation {
            Operation::Crowded => self.crowded_percent,
            _ => self.percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::watchers::NOBODY, *};

    #[test]
    fn who_fails_is_left_out_and_the_others_are_compared_by_pairs() {
        let watchers = [NOBODY, RUN, WATCH];
        let mut clocked = Clocked::default();
        clocked.times.insert((0, "thread"), vec![100.0, 200.0]);
        clocked.times.insert((1, "thread"), vec![101.0, 202.0]);
        clocked.observer.insert((1, "thread"), vec![7.0, 9.0]);
        clocked.failed.insert(2, "why".to_owned());
        let section =
            Section { title: "Cost", commands: Vec::new(), figures: compare("thread", &watchers, &clocked) };
        let text = section.markdown();
        let row =
            "| thread, run | 152 ns | 101–202, n=2 |  | +1.0 % (+1.0 to +1.0) by pairs; itself 8 ns of CPU |";
        assert!(text.contains(row), "{text}");
        assert_eq!(section.figures.len(), 2);
    }
}
