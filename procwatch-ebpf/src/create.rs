//! A thread or a process is created.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::btf_tracepoint, programs::BtfTracePointContext};
use procwatch_common::{
    policy::Control,
    wire::{Created, Kind, Trigger},
};

use crate::{
    cred, emit, filter,
    kernel::Task,
    maps::control,
    place, rules,
    subject::{self, Subject},
    threads,
};

pub(crate) const CLONE_THREAD: u64 = 0x1_0000;

/// `task_newtask(struct task_struct *task, u64 clone_flags)` (`unsigned long` before 6.18). The new task does not run
/// yet, the current one is its creator, and `nr_threads` counts the new one already. It fires for threads and
/// processes alike, so `sched_process_fork` is not needed.
#[btf_tracepoint(function = "task_newtask")]
pub(crate) fn task_newtask(ctx: BtfTracePointContext) -> i32 {
    if let Some(control) = control() {
        let task = Task(ctx.arg(0));
        let clone_flags: u64 = ctx.arg(1);
        if clone_flags & CLONE_THREAD != 0 {
            thread_created(&ctx, control, task, clone_flags);
        } else {
            // Itself, by a way that costs the verifier nothing: see `Process::leader`.
            process_created(control, task.process().leader(), clone_flags);
        }
    }
    0
}

#[inline(always)]
fn thread_created(ctx: &BtfTracePointContext, control: &Control, task: Task, clone_flags: u64) {
    let process = task.process();
    let threads = process.threads();
    if threads::may_matter(control, threads) {
        threads::rose(ctx, control, task, process.leader(), threads);
    }
    if filter::listening(control, Kind::Thread) {
        stream(control, Kind::Thread, task, clone_flags, threads);
    }
}

#[inline(always)]
fn process_created(control: &Control, task: Task, clone_flags: u64) {
    let creator = (bpf_get_current_pid_tgid() >> 32) as u32;
    filter::follow_child(control, creator, task.tgid());
    rules::inherit(control, creator, task);
    place::check(control, task, Trigger::Fork, core::ptr::null());
    let parent = task.parent();
    // With CLONE_PARENT the parent is not the creator, and does nothing here.
    if parent.tgid() == creator {
        cred::notice(control, parent, Trigger::Fork);
    }
    cred::inherit(control, task);
    if filter::listening(control, Kind::Fork) {
        stream(control, Kind::Fork, task, clone_flags, 1);
    }
}

#[inline(always)]
fn stream(control: &Control, kind: Kind, task: Task, clone_flags: u64, threads: u32) {
    let uids = task.uids();
    if !filter::wants(control, kind, task, uids) {
        return;
    }
    let Some(mut slot) = emit::stream::<Created>() else {
        return;
    };
    let time_ns = emit::now_ns();
    let creator = bpf_get_current_pid_tgid();
    let record = slot.record();
    // SAFETY: the record's own memory in the ring.
    unsafe {
        let subject = Subject::new(task, uids);
        subject::describe(&raw mut (*record).header, kind, time_ns, subject, threads);
        (*record).clone_flags = clone_flags;
        (*record).creator_tgid = (creator >> 32) as u32;
        (*record).creator_tid = creator as u32;
    }
    slot.send_batched(control, time_ns);
}
