//! From an [`Event`] to the [`Record`] that shows it.

use crate::{
    clock::Clock,
    event::{Argv, Body, BootTime, Event, ExitStatus, LevelChange, Subject, Way},
    record::{
        self, Alert, Ancestor, Cgroup, Cleared, Command, Exec, Exit, Fork, Growth, Process, Record, Refused,
        Thread, Uid,
    },
    text::Text,
    users::UserNames,
};

/// Who knows the paths of cgroups.
pub trait CgroupPaths {
    /// Path of the cgroup with this id below the root of the v2 hierarchy; `None` when it is gone or unknown.
    fn path(&mut self, cgroup_id: u64) -> Option<Text>;
}

/// What an event does not tell by itself and only the caller knows.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Ancestors of the process, nearest first, when they are wanted.
    pub lineage: Option<Vec<Ancestor>>,
    /// For a bound that was crossed or cleared.
    pub alert: AlertExtra,
}

/// What the agent knows about a process that crossed a bound.
#[derive(Clone, Debug, Default)]
pub struct AlertExtra {
    /// Its executable; `None` when it was gone before it could be asked.
    pub exe: Option<Text>,
    /// From the kernel's stamp to the agent, ns.
    pub latency_ns: Option<u64>,
    /// It was above the level before the agent started.
    pub at_start: bool,
    /// The rule that sets the bound, in words.
    pub rule: String,
    /// The first level of that rule above its threads.
    pub next_level: Option<u32>,
}

/// Makes records: it knows the time of day, the names of users and the paths of cgroups.
#[derive(Debug)]
pub struct Converter<P> {
    /// Times of day.
    pub clock: Clock,
    /// Names of users.
    pub users: UserNames,
    /// Paths of cgroups.
    pub cgroups: P,
}

impl<P: CgroupPaths> Converter<P> {
    /// The record that shows `event`. `None` for `Stray`, `Moved` and `Program`: these become decisions
    /// and outcomes.
    pub fn record(&mut self, event: Event, extra: Extra) -> Option<Record> {
        let Event { time, subject, body, .. } = event;
        let body = self.body(time, &subject, body, extra)?;
        Some(self.at(time, body))
    }

    /// A record of what happened at `time`.
    pub fn at(&mut self, time: BootTime, body: record::Body) -> Record {
        self.clock.follow(time);
        Record { time: self.clock.timestamp(time), boot_ns: time.0, body }
    }

    /// The process part of a record, as `subject` was at the event; the path of its cgroup is looked up.
    pub fn process(&mut self, subject: &Subject, lineage: Option<Vec<Ancestor>>) -> Process {
        let cgroup = self.cgroups.path(subject.cgroup_id);
        self.process_in(cgroup, subject, lineage)
    }

    fn process_in(
        &mut self,
        cgroup: Option<Text>,
        subject: &Subject,
        lineage: Option<Vec<Ancestor>>,
    ) -> Process {
        Process {
            pid: subject.pid,
            tid: subject.tid,
            ppid: subject.ppid,
            uid: subject.uid,
            euid: subject.euid,
            user: self.users.name(subject.uid).cloned(),
            comm: subject.comm,
            threads: subject.threads,
            start_ns: subject.start.0,
            cgroup_id: subject.cgroup_id,
            cgroup,
            lineage,
        }
    }

    fn body(
        &mut self,
        time: BootTime,
        subject: &Subject,
        body: Body,
        Extra { lineage, alert }: Extra,
    ) -> Option<record::Body> {
        Some(match body {
            Body::Fork(creator) => record::Body::Fork(Fork {
                process: self.process(subject, lineage),
                creator_pid: creator.pid,
                creator_tid: creator.tid,
            }),
            Body::Thread(creator) => record::Body::Thread(Thread {
                process: self.process(subject, lineage),
                creator_tid: creator.tid,
            }),
            Body::Exec(exec) => record::Body::Exec(Exec {
                process: self.process(subject, lineage),
                file: exec.file,
                command: command(exec.argv),
            }),
            Body::Exit(exit) => record::Body::Exit(ended(whole(self.process(subject, lineage)), exit)),
            Body::ThreadExit(exit) => record::Body::ThreadExit(ended(self.process(subject, lineage), exit)),
            Body::Uid(change) => record::Body::Uid(Uid {
                process: self.process(subject, lineage),
                old_uid: change.old_uid,
                old_euid: change.old_euid,
                seen_at: change.trigger.into(),
            }),
            Body::Cgroup(attach) => record::Body::Cgroup(Cgroup {
                process: self.process_in(Some(attach.path), subject, lineage),
                mover_pid: attach.mover_pid,
                mover_comm: attach.mover_comm,
            }),
            Body::LevelCrossed(change) => {
                let process = self.process(subject, lineage);
                record::Body::Alert(crossed(time, process, change, alert))
            }
            Body::LevelCleared(change) => {
                record::Body::Cleared(cleared(self.process(subject, lineage), &change, alert))
            }
            Body::Refused(refusal) => record::Body::Refused(Refused {
                process: whole(self.process(subject, lineage)),
                refused: refusal.refused,
                cap: Some(refusal.cap).filter(|cap| *cap != 0),
                enforced: refusal.enforced,
            }),
            Body::Held(held) => record::Body::Hold(record::Hold {
                process: self.process(subject, lineage),
                file: held.file,
                result: held.end.into(),
                held_ns: held.held_ns,
            }),
            Body::Stray(_) | Body::Moved(_) | Body::Program(_) => return None,
        })
    }
}

/// What concerns a process as a whole bears its own id, not that of the thread that happened to be the last.
fn whole(process: Process) -> Process {
    Process { tid: process.pid, ..process }
}

fn command(argv: Option<Argv>) -> Command {
    match argv {
        Some(argv) => Command { argv: Some(argv.args), argv_cut_bytes: argv.cut_bytes },
        None => Command::default(),
    }
}

fn ended(process: Process, exit: crate::event::Exit) -> Exit {
    let (lived_ns, process_ends) = (exit.lived_ns, exit.process_ends);
    match exit.status {
        ExitStatus::Code(code) => {
            Exit { process, code: Some(code), signal: None, core: false, lived_ns, process_ends }
        }
        ExitStatus::Signal { number, core } => {
            Exit { process, code: None, signal: Some(number.get()), core, lived_ns, process_ends }
        }
    }
}

fn crossed(time: BootTime, process: Process, change: LevelChange, extra: AlertExtra) -> Alert {
    let growth = change
        .growth
        .map(|growth| Growth::new(growth.from, growth.since.0, process.threads, time.0, extra.next_level));
    Alert {
        severity: change.way.into(),
        bound: change.way.into(),
        level: change.level,
        rule: extra.rule,
        growth,
        stopped: if let Way::Stop { stopped } = change.way { Some(stopped) } else { None },
        creator_tid: (!extra.at_start).then_some(change.creator_tid),
        exe: extra.exe,
        command: command(change.argv),
        age_ns: time.since(BootTime(process.start_ns)),
        latency_ns: extra.latency_ns,
        at_start: extra.at_start,
        process,
    }
}

fn cleared(process: Process, change: &LevelChange, extra: AlertExtra) -> Cleared {
    let ended = process.threads == 0;
    Cleared {
        process: if ended { whole(process) } else { process },
        severity: change.way.into(),
        bound: change.way.into(),
        level: change.level,
        rule: extra.rule,
        ended,
    }
}

#[cfg(test)]
mod tests;
