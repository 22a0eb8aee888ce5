//! One more thread is refused to a process that has as many as its rule allows.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use procwatch_common::{
    creators::RefusalCell,
    policy::Control,
    wire::{Kind, Refused},
};

use crate::{
    atomic,
    create::CLONE_THREAD,
    creators, emit,
    kernel::Task,
    maps::{ProcessName, REFUSALS, THREAD_RULES, control},
    rules,
    subject::{self, Subject},
};

const BPF_NOEXIST: u64 = 1;
const EAGAIN: i32 = -11;
/// A process is told of at most once in this time.
const TELL_EACH_NS: u64 = 1_000_000_000;

/// `int security_task_alloc(struct task_struct *task, unsigned long clone_flags)`, seen on 6.1 (`u64` from 6.18 on):
/// the current task is about to make a thread or child, which does not count yet.
#[lsm(hook = "task_alloc")]
pub(crate) fn task_alloc(ctx: LsmContext) -> i32 {
    let (clone_flags, before): (u64, i32) = (ctx.arg(1), ctx.arg(2));
    if before != 0 {
        return before;
    }
    match control() {
        Some(control) if clone_flags & CLONE_THREAD != 0 && control.thread_rules != 0 => {
            decide(&ctx, control)
        }
        _ => 0,
    }
}

#[inline(always)]
fn decide(ctx: &LsmContext, control: &Control) -> i32 {
    let process = Task::current().process();
    let Some(cell) = rules::cell_of(process.leader()) else { return 0 };
    let Some(rule) = THREAD_RULES.get(cell.rule) else { return 0 };
    let cap = if cell.cap == 0 { rule.cap } else { cell.cap };
    let threads = process.threads();
    if cap == 0 || threads < cap {
        return 0;
    }
    let name = ProcessName::of(process.leader());
    creators::count_refused(ctx, name);
    if let Some(cell) = refusals_of(name) {
        count(control, process.leader(), cell, cap, threads);
    }
    if control.enforce != 0 { EAGAIN } else { 0 }
}

#[inline(always)]
fn refusals_of(name: ProcessName) -> Option<*mut RefusalCell> {
    if let Some(cell) = REFUSALS.get_ptr_mut(name) {
        return Some(cell);
    }
    let _ = REFUSALS.insert(name, RefusalCell { refused: 0, told_ns: 0 }, BPF_NOEXIST);
    REFUSALS.get_ptr_mut(name)
}

#[inline(always)]
fn count(control: &Control, task: Task, cell: *mut RefusalCell, cap: u32, threads: u32) {
    // SAFETY: a live value of the map. Of two CPUs that race for the
    // time both tell, and neither is wrong.
    let told = unsafe {
        atomic::increment(&raw mut (*cell).refused);
        &mut (*cell).told_ns
    };
    let now = emit::now_ns();
    if *told != 0 && now - *told < TELL_EACH_NS {
        return;
    }
    *told = now;
    // Programs of this kind may be preempted.
    let Some(mut slot) = emit::urgent_unnumbered::<Refused>() else {
        return;
    };
    // SAFETY: as above.
    describe(slot.record(), control, task, unsafe { (*cell).refused }, cap, threads);
    slot.send_now();
}

/// The process ended: the whole count, which the last record may not have had.
#[inline(always)]
pub(crate) fn ended(control: &Control, name: ProcessName, task: Task) {
    if control.thread_rules == 0 {
        return;
    }
    let Some(cell) = REFUSALS.get_ptr_mut(name) else {
        return;
    };
    // SAFETY: a live value of the map.
    let refused = unsafe { (*cell).refused };
    let _ = REFUSALS.remove(name);
    let Some(mut slot) = emit::urgent::<Refused>() else {
        return;
    };
    describe(slot.record(), control, task, refused, 0, 0);
    slot.send_now();
}

#[inline(always)]
fn describe(record: *mut Refused, control: &Control, task: Task, refused: u64, cap: u32, threads: u32) {
    // SAFETY: the record's own memory in the ring.
    unsafe {
        subject::describe(
            &raw mut (*record).header,
            Kind::Refused,
            emit::now_ns(),
            Subject::of(task),
            threads,
        );
        (*record).refused = refused;
        (*record).cap = cap;
        (*record).enforced = control.enforce;
    }
}
