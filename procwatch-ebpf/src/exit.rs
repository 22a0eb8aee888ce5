//! A thread ends, and with the last one its process.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use procwatch_common::{
    policy::Control,
    wire::{Exit, Kind, Trigger},
};

use crate::{
    cred, emit, filter,
    kernel::{Ids, Process, Task},
    maps::{CONTROL, GONE, control, exit_tells_group_dead, is_agent},
    subject::{self, Subject},
    threads,
};

const BPF_NOEXIST: u64 = 1;

/// `sched_process_exit(struct task_struct *p)`, from 6.16 on with `bool group_dead`. It fires for each thread, after
/// `signal->live` was lowered and `exit_code` set.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    if let Some(control) = control() {
        let task = Task(ctx.arg(0));
        let process = task.process();
        let live = process.live_threads();
        let process_gone = if exit_tells_group_dead() {
            ctx.arg::<u64>(1) & 0xff != 0
        } else {
            live == 0 && is_first_to_say_gone(process)
        };
        if process_gone {
            process_ended(control, process);
        } else {
            thread_ended(control, task, process, live);
        }
    }
    0
}

/// Two last threads may both find `live` at 0: without `group_dead` the first one here speaks for the process.
#[inline(always)]
fn is_first_to_say_gone(process: Process) -> bool {
    let leader = process.leader();
    let key = [u64::from(leader.tgid()), leader.start_ns()];
    process.threads() <= 1 || GONE.insert(key, 0, BPF_NOEXIST).is_ok()
}

#[inline(always)]
fn process_ended(control: &Control, process: Process) {
    let leader = process.leader();
    agent_may_have_ended(control, leader);
    threads::ended(control, leader);
    cred::notice(control, leader, Trigger::Exit);
    cred::forget(control, leader);
    let uids = leader.uids();
    if filter::wants(control, Kind::Exit, leader, uids) {
        stream(control, Kind::Exit, leader, uids, process.exit_status(), 0);
    }
    filter::forget(control, leader.tgid());
}

/// Programs and rings may outlive the agent: nobody answers held execs any more, and nobody takes the stream out of its
/// ring. What is urgent waits for the next agent. Whoever bears the pid next is another.
#[inline(always)]
fn agent_may_have_ended(control: &Control, task: Task) {
    if is_agent(control, task.tgid())
        && let Some(control) = CONTROL.get_ptr_mut(0)
    {
        // SAFETY: the agent, the only other one who writes the cell, is at its end.
        unsafe {
            (*control).hold = 0;
            (*control).stream_kinds = 0;
            (*control).agent = 0;
        }
    }
}

#[inline(always)]
fn thread_ended(control: &Control, task: Task, process: Process, live: u32) {
    // A process that ends as a whole has not become smaller: its alerts end with it.
    if !process.ends() {
        threads::fell(control, task, process, live);
    }
    let uids = task.uids();
    if filter::wants(control, Kind::ThreadExit, task, uids) {
        stream(control, Kind::ThreadExit, task, uids, task.exit_status(), live);
    }
}

#[inline(always)]
fn stream(control: &Control, kind: Kind, task: Task, uids: Ids, status: u32, live: u32) {
    let Some(mut slot) = emit::stream::<Exit>() else {
        return;
    };
    let time_ns = emit::now_ns();
    let record = slot.record();
    // SAFETY: the record's own memory in the ring.
    unsafe {
        let header = &raw mut (*record).header;
        subject::describe(header, kind, time_ns, Subject::new(task, uids), live);
        if matches!(kind, Kind::Exit) {
            // The process goes by its own name, not by that of the thread that happened to be the last.
            subject::comm_of(task, &raw mut (*header).comm);
        }
        (*record).thread_start_ns = task.start_ns();
        (*record).status = status;
        (*record).process_ends = u32::from(task.process().ends());
    }
    slot.send_batched(control, time_ns);
}
