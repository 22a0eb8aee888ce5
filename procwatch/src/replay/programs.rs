//! What the kernel programs would have told of a recorded stream.
//!
//! The same steps in the same order as procwatch-ebpf/src/threads.rs and rules.rs, on the same [`Growth`]: so a replay
//! says what the kernel says. There the state is in maps that several CPUs write; here one process is one entry.

use std::collections::HashMap;

use procwatch_common::{
    growth::{BURST, Grown, Growth, LEAK, STOP, fell_from},
    policy::{MAX_LEVELS, ThreadCell},
    wire::ALERT_ARGV_MAX,
};

use super::read::Recorded;
use crate::{
    cgroup::CgroupPath,
    config::Program,
    event::{self, Argv, Body, BootTime, Creator, Event, LevelChange, Subject, Way},
    rulebook::RuleBook,
    text::Text,
};

/// The programs, armed with one policy.
pub(super) struct Programs {
    book: RuleBook,
    cells: Vec<ThreadCell>,
    /// As in the programs' control cell.
    floor: u32,
    enforce: bool,
    processes: HashMap<u32, Process>,
    unseen: u64,
}

/// What is known of a process.
struct Process {
    start: BootTime,
    /// Number of its rule.
    rule: u32,
    /// Its arguments, as far as an alert carries them.
    argv: Option<Argv>,
    /// What is remembered of its growth, once it was at the floor.
    growth: Option<Box<Growth>>,
    /// The latest time that was told of it: records of two CPUs may be written in another order than they happened.
    latest: BootTime,
}

impl Programs {
    pub(super) fn new(book: RuleBook, enforce: bool) -> Self {
        let (cells, floor) = (book.cells(), book.floor().unwrap_or(u32::MAX));
        Self { book, cells, floor, enforce, processes: HashMap::new(), unseen: 0 }
    }

    pub(super) const fn book(&self) -> &RuleBook {
        &self.book
    }

    /// Processes whose program was not seen to begin.
    pub(super) const fn unseen(&self) -> u64 {
        self.unseen
    }

    /// The crossings that an event leads to, in the order in which they are told.
    pub(super) fn on(&mut self, recorded: &Recorded) -> Vec<Event> {
        let event = &recorded.event;
        let subject = &event.subject;
        match &event.body {
            Body::Fork(creator) => {
                self.inherit(*creator, recorded);
                Vec::new()
            }
            Body::Exec(exec) => {
                self.runs(exec, recorded);
                Vec::new()
            }
            Body::Thread(creator) => self.rose(*creator, recorded),
            Body::ThreadExit(exit) if !exit.process_ends => self.fell(recorded),
            Body::Exit(_) => {
                let known = self.processes.get(&subject.pid).is_some_and(|it| it.start == subject.start);
                let process = if known { self.processes.remove(&subject.pid) } else { None };
                process.map_or_else(Vec::new, |process| self.ended(event, &process))
            }
            _ => {
                self.known(recorded);
                Vec::new()
            }
        }
    }

    /// The process, taken in as it is now if it was there before the recording.
    fn known(&mut self, recorded: &Recorded) -> &mut Process {
        let (subject, time) = (&recorded.event.subject, recorded.event.time);
        let Self { book, processes, unseen, .. } = self;
        let taken_in = || {
            *unseen += 1;
            let rule = book.choose(&program(recorded, None, None));
            Process { start: subject.start, rule, argv: None, growth: None, latest: time }
        };
        if processes.get(&subject.pid).is_some_and(|it| it.start != subject.start) {
            // Who bore this pid before has ended, unseen.
            processes.remove(&subject.pid);
        }
        let process = processes.entry(subject.pid).or_insert_with(taken_in);
        process.latest = process.latest.max(time);
        process
    }

    /// The process, and what its rule wants to know.
    fn known_with_cell(&mut self, recorded: &Recorded) -> (&mut Process, ThreadCell) {
        let rule = self.known(recorded).rule;
        let cell = self.cells.get(rule as usize).copied().unwrap_or_default();
        (self.known(recorded), cell)
    }

    /// A child has its creator's rule until it runs a program.
    fn inherit(&mut self, creator: Creator, recorded: &Recorded) {
        let (subject, time) = (&recorded.event.subject, recorded.event.time);
        let Some(parent) = self.processes.get(&creator.pid) else {
            self.known(recorded);
            return;
        };
        let (rule, argv) = (parent.rule, parent.argv.clone());
        let child = Process { start: subject.start, rule, argv, growth: None, latest: time };
        self.processes.insert(subject.pid, child);
    }

    /// The process runs a program: its rule is chosen anew. What is remembered of its growth stays.
    fn runs(&mut self, exec: &event::Exec, recorded: &Recorded) {
        // The file that exec was given, where that is a whole path. Of a script it is the script's.
        let exe = exec.file.as_bytes().starts_with(b"/").then(|| exec.file.clone());
        let argv = exec.argv.as_ref().map(|argv| argv.args.clone());
        let rule = self.book.choose(&program(recorded, exe, argv));
        let subject = &recorded.event.subject;
        let is_new = self.processes.get(&subject.pid).is_none_or(|it| it.start != subject.start);
        let process = self.known(recorded);
        process.rule = rule;
        process.argv = exec.argv.as_ref().map(of_alert);
        if is_new {
            // It was there before, but all that matters of it is seen now.
            self.unseen -= 1;
        }
    }

    fn rose(&mut self, creator: Creator, recorded: &Recorded) -> Vec<Event> {
        let (event, threads) = (&recorded.event, recorded.event.subject.threads);
        let (floor, enforce) = (self.floor, self.enforce);
        let (process, cell) = self.known_with_cell(recorded);
        if threads < floor {
            return Vec::new();
        }
        let now = process.latest.0;
        let growth = process.growth.get_or_insert_with(|| Box::new(Growth::NEW));
        let mut crossed = Vec::new();
        for (index, level) in levels(&cell) {
            if threads < level {
                break;
            }
            if growth.told[index] == 0 {
                growth.told[index] = 1;
                crossed.push((Way::Level(index as u32), level, None));
            }
        }
        if let Some(grown) = growth.burst(threads, now, &cell)
            && !growth.burst_goes_on(now, &cell)
        {
            growth.told[BURST as usize] = 1;
            growth.burst_threads = threads;
            growth.bursts += 1;
            crossed.push((Way::Burst, cell.burst_threads, Some(grown)));
        }
        if let Some(grown) = growth.leak(threads, now, &cell)
            && growth.told[LEAK as usize] == 0
        {
            growth.told[LEAK as usize] = 1;
            crossed.push((Way::Leak, cell.leak_marks, Some(grown)));
        }
        if cell.stop_at != 0 && threads >= cell.stop_at && growth.told[STOP as usize] == 0 {
            growth.told[STOP as usize] = 1;
            crossed.push((Way::Stop { stopped: enforce }, cell.stop_at, None));
        }
        growth.creations += 1;
        let (rule, argv) = (process.rule, &process.argv);
        let changes = crossed.into_iter().map(|(way, level, grown)| LevelChange {
            way,
            level,
            rule,
            growth: grown.map(|Grown { from, since_ns }| event::Grown { from, since: BootTime(since_ns) }),
            creator_tid: creator.tid,
            argv: argv.clone(),
        });
        changes.map(|change| told(event, event.subject.clone(), Body::LevelCrossed(change))).collect()
    }

    /// A thread ended, and its process lives on.
    fn fell(&mut self, recorded: &Recorded) -> Vec<Event> {
        let (event, live) = (&recorded.event, recorded.event.subject.threads);
        if u64::from(live) * 2 < u64::from(self.floor) {
            return Vec::new();
        }
        let (process, cell) = self.known_with_cell(recorded);
        let rule = process.rule;
        let Some(growth) = &mut process.growth else { return Vec::new() };
        let mut cleared = Vec::new();
        for index in (0..MAX_LEVELS).rev() {
            if growth.told[index] != 0 && fell_from(cell.levels[index], live) {
                growth.told[index] = 0;
                cleared.push((Way::Level(index as u32), cell.levels[index]));
            }
        }
        if growth.told[BURST as usize] != 0 && growth.burst_fell(live) {
            growth.told[BURST as usize] = 0;
            cleared.push((Way::Burst, cell.burst_threads));
        }
        if growth.leak_fell(live) && growth.told[LEAK as usize] != 0 {
            growth.told[LEAK as usize] = 0;
            cleared.push((Way::Leak, cell.leak_marks));
        }
        if growth.told[STOP as usize] != 0 && fell_from(cell.stop_at, live) {
            growth.told[STOP as usize] = 0;
        }
        all_cleared(event, &event.subject, rule, cleared)
    }

    /// The process ended, and with it all its alerts.
    fn ended(&self, event: &Event, process: &Process) -> Vec<Event> {
        let Some(growth) = &process.growth else { return Vec::new() };
        let cell = self.cells.get(process.rule as usize).copied().unwrap_or_default();
        let ways = (0..MAX_LEVELS).rev().map(|index| (index, Way::Level(index as u32), cell.levels[index]));
        let ways = ways.chain([
            (BURST as usize, Way::Burst, cell.burst_threads),
            (LEAK as usize, Way::Leak, cell.leak_marks),
        ]);
        let cleared =
            ways.filter(|(way, ..)| growth.told[*way] != 0).map(|(_, way, bound)| (way, bound)).collect();
        all_cleared(event, &Subject { threads: 0, ..event.subject.clone() }, process.rule, cleared)
    }
}

/// The levels of a rule with their places.
fn levels(cell: &ThreadCell) -> impl Iterator<Item = (usize, u32)> {
    cell.levels.into_iter().take(cell.level_count as usize).enumerate()
}

fn all_cleared(event: &Event, subject: &Subject, rule: u32, cleared: Vec<(Way, u32)>) -> Vec<Event> {
    let change = |(way, level)| LevelChange { way, level, rule, growth: None, creator_tid: 0, argv: None };
    let bodies = cleared.into_iter().map(|it| Body::LevelCleared(change(it)));
    bodies.map(|body| told(event, subject.clone(), body)).collect()
}

fn told(event: &Event, subject: Subject, body: Body) -> Event {
    Event { time: event.time, cpu: event.cpu, seq: event.seq, subject, body }
}

/// The process as rules look at it.
fn program(recorded: &Recorded, exe: Option<Text>, argv: Option<Vec<Text>>) -> Program {
    let Subject { uid, comm, .. } = recorded.event.subject;
    let path = recorded.cgroup.as_ref().and_then(|path| std::str::from_utf8(path.as_bytes()).ok());
    Program { uid, comm, exe, argv, cgroup: path.and_then(|path| CgroupPath::parse(path).ok()) }
}

/// As much of the arguments as an alert carries.
fn of_alert(argv: &Argv) -> Argv {
    let mut left = ALERT_ARGV_MAX;
    let mut short = Argv { args: Vec::new(), cut_bytes: argv.cut_bytes };
    for arg in &argv.args {
        let bytes = arg.as_bytes();
        // Each has its zero.
        let len = bytes.len() + 1;
        if left > 0 {
            short.args.push(Text::new(&bytes[..bytes.len().min(left)]));
        }
        short.cut_bytes = short.cut_bytes.saturating_add(len.saturating_sub(left) as u32);
        left = left.saturating_sub(len);
    }
    short
}
