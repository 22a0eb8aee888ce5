//! What is particular to each kind of record.

use nix::sys::signal::Signal;

use super::{action, alert, line::Line, place};
use crate::{
    record::{
        Ancestor, Body, Cgroup, Command, Exec, Exit, Fork, HealthTopic, Loss, Ring, SeenAt, Summary, Uid,
    },
    sink::duration::Span,
    users::UserNames,
};

pub(super) fn add(body: &Body, users: &mut UserNames, line: &mut Line) {
    match body {
        Body::Fork(fork) => add_fork(fork, line),
        Body::Thread(thread) => line.add(format_args!("threads {}", thread.process.threads)),
        Body::Exec(exec) => add_exec(exec, line),
        Body::Exit(exit) => add_exit(exit, line),
        Body::ThreadExit(exit) => add_thread_exit(exit, line),
        Body::Uid(uid) => add_uid(uid, users, line),
        Body::Cgroup(cgroup) => add_cgroup(cgroup, line),
        Body::Alert(found) => alert::add_alert(found, line),
        Body::Cleared(cleared) => alert::add_cleared(cleared, line),
        Body::Diagnosis(diagnosed) => alert::add_diagnosis(diagnosed, line),
        Body::Refused(refused) => alert::add_refused(refused, line),
        Body::Decision(decision) => place::add_decision(decision, line),
        Body::Outcome(outcome) => place::add_outcome(outcome, line),
        Body::Hold(hold) => place::add_hold(hold, line),
        Body::Placement(account) => place::add_account(account, line),
        Body::Action(act) => action::add_act(act, line),
        Body::Loss(loss) => add_loss(loss, line),
        Body::Health(health) => {
            line.add(format_args!("{}: ", topic(health.topic)));
            line.words(&health.message);
        }
        Body::Summary(summary) => add_summary(summary, line),
    }
}

/// ` ← bash(12) ← su(11)`, nearest first.
pub(super) fn add_lineage(lineage: &[Ancestor], line: &mut Line) {
    let start = line.position();
    for ancestor in lineage {
        line.add(format_args!(" ← {}({})", ancestor.comm, ancestor.pid));
    }
    line.cut(start, line.columns());
}

fn add_fork(fork: &Fork, line: &mut Line) {
    if fork.creator_pid != fork.process.ppid {
        line.add(format_args!("by {}", fork.creator_pid));
    }
}

fn add_exec(exec: &Exec, line: &mut Line) {
    if exec.command.argv.as_ref().is_some_and(|argv| !argv.is_empty()) {
        add_command(&exec.command, line.columns(), line);
    } else {
        line.foreign(&exec.file, line.columns());
    }
}

/// The bytes that a cut leaves out are those the kernel did not capture; what only the line has no room for is in
/// the JSON form.
pub(super) fn add_command(command: &Command, columns: usize, line: &mut Line) {
    let start = line.position();
    line.arguments(command.argv.as_deref().unwrap_or_default());
    line.cut(start, columns);
    if command.argv_cut_bytes > 0 {
        let ellipsis = if line.ends_with('…') { "" } else { "…" };
        line.add(format_args!("{ellipsis}(+{} bytes)", command.argv_cut_bytes));
    }
}

fn add_exit(exit: &Exit, line: &mut Line) {
    add_status(exit, line);
    line.add(format_args!("  lived {}", Span(exit.lived_ns)));
}

fn add_thread_exit(exit: &Exit, line: &mut Line) {
    line.add(format_args!("threads {}", exit.process.threads));
    if exit.code != Some(0) {
        line.push("  ");
        add_status(exit, line);
    }
}

fn add_status(exit: &Exit, line: &mut Line) {
    if let Some(number) = exit.signal {
        line.add(format_args!("signal {number}"));
        if let Some(name) = signal_name(number) {
            line.add(format_args!(" {name}"));
        }
    }
    if let Some(code) = exit.code {
        line.add(format_args!("code {code}"));
    }
    if exit.core {
        line.push(" core dumped");
    }
}

/// `KILL` for 9; real-time signals have no names.
fn signal_name(number: u32) -> Option<&'static str> {
    let signal = Signal::try_from(i32::try_from(number).ok()?).ok()?;
    signal.as_str().strip_prefix("SIG")
}

fn add_uid(uid: &Uid, users: &mut UserNames, line: &mut Line) {
    let (new, new_effective) = (uid.process.uid, uid.process.euid);
    if uid.old_uid == uid.old_euid && new == new_effective {
        add_uids(uid.old_uid, new, users, line);
    } else {
        let mut separator = "";
        for (name, old, new) in [("real ", uid.old_uid, new), ("effective ", uid.old_euid, new_effective)] {
            if old != new {
                line.push(separator);
                line.push(name);
                add_uids(old, new, users, line);
                separator = "  ";
            }
        }
    }
    line.add(format_args!("  seen at {}", seen_at(uid.seen_at)));
}

/// `1000(alice)→1003(aimgr)`
fn add_uids(old: u32, new: u32, users: &mut UserNames, line: &mut Line) {
    add_uid_with_name(old, users, line);
    line.push("→");
    add_uid_with_name(new, users, line);
}

fn add_uid_with_name(uid: u32, users: &mut UserNames, line: &mut Line) {
    line.add(format_args!("{uid}"));
    if let Some(name) = users.name(uid) {
        line.add(format_args!("({name})"));
    }
}

fn add_cgroup(cgroup: &Cgroup, line: &mut Line) {
    if let Some(path) = &cgroup.process.cgroup {
        line.foreign(path, line.columns());
    }
    line.add(format_args!("  by {}({})", cgroup.mover_comm, cgroup.mover_pid));
}

fn add_loss(loss: &Loss, line: &mut Line) {
    let ring = match loss.ring {
        Ring::Stream => "stream",
        Ring::Urgent => "urgent",
    };
    line.add(format_args!("{ring} ring"));
    if let Some(cpu) = loss.cpu {
        line.add(format_args!(", CPU {cpu}"));
    }
    line.add(format_args!(": {} events lost, {} so far; ", loss.lost, loss.lost_total));
    line.words(&loss.hint);
}

fn add_summary(summary: &Summary, line: &mut Line) {
    let Summary { events, lost, seconds, per_second } = summary;
    line.add(format_args!("{events} events in {seconds:.1}s ({per_second:.0}/s), {lost} lost"));
}

const fn seen_at(seen_at: SeenAt) -> &'static str {
    match seen_at {
        SeenAt::CredentialChange => "change",
        SeenAt::Exec => "exec",
        SeenAt::Fork => "fork",
        SeenAt::Exit => "exit",
        SeenAt::Hold => "hold",
        SeenAt::Picture => "picture",
    }
}

const fn topic(topic: HealthTopic) -> &'static str {
    match topic {
        HealthTopic::Armed => "armed",
        HealthTopic::Unavailable => "unavailable",
        HealthTopic::Degraded => "degraded",
        HealthTopic::Reloaded => "reloaded",
        HealthTopic::Refused => "refused",
        HealthTopic::Stopped => "stopped",
    }
}
