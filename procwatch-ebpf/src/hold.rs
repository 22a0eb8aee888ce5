//! Holds the exec of a process until it is in its slice, so that none of its instructions runs outside.
//!
//! Fail-open: without an agent, after the deadline, or when the agent leaves the process alone, the exec goes on.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_copy_from_user_task, bpf_loop},
    macros::lsm,
    programs::LsmContext,
};
use procwatch_common::{
    place::{HoldEnd, PlaceCell},
    wire::{Held, Kind, Trigger},
};

use crate::{
    emit, filter,
    kernel::{Task, binprm_filename},
    maps::{HOLDS, Hold, control},
    place,
    subject::{self, Subject},
};

/// Rounds of waiting that the kernel allows (`BPF_MAX_LOOPS`): the deadline comes long before.
const MAX_ROUNDS: u32 = 1 << 23;

/// What a round of waiting needs to know. Plain numbers: pointers would lose their type on the stack.
#[repr(C)]
struct Wait {
    deadline_ns: u64,
    end: u32,
}

/// `int bprm_creds_for_exec(struct linux_binprm *bprm)`, sleepable, seen on 6.1: the file is open, the process still runs
/// its old program.
#[lsm(hook = "bprm_creds_for_exec", sleepable)]
pub(crate) fn bprm_creds_for_exec(ctx: LsmContext) -> i32 {
    if let Some(control) = control()
        && control.hold != 0
    {
        let task = Task::current();
        if let Some(cell) = place::rule(control, task) {
            // What is left of an exec that failed is not said of this one.
            let _ = HOLDS.remove(place::key(task));
            if cell.hold_ns != 0 && place::known(control, cell, task, Trigger::Hold).is_none() {
                hold(cell, task, binprm_filename(ctx.arg(0)));
            }
        }
    }
    0
}

#[inline(always)]
fn hold(cell: &PlaceCell, task: Task, file: *const u8) {
    let begun_ns = emit::now_ns();
    place::announce(cell, task, Trigger::Hold, file);
    let mut wait = Wait { deadline_ns: begun_ns + cell.hold_ns, end: HoldEnd::Deadline as u32 };
    let round: extern "C" fn(u32, *mut Wait) -> i64 = round;
    // SAFETY: the callback has the form that the helper calls, and its context lives until the helper returns.
    unsafe { bpf_loop(MAX_ROUNDS, round as *mut c_void, (&raw mut wait).cast(), 0) };
    let note = Hold { held_ns: emit::now_ns() - begun_ns, rule: cell.rule, end: wait.end };
    // An LRU map makes room by itself.
    let _ = HOLDS.insert(place::key(task), note, 0);
}

/// One round of waiting; 1 ends it.
extern "C" fn round(_index: u32, wait: *mut Wait) -> i64 {
    // SAFETY: the context that `hold` passes.
    let wait = unsafe { &mut *wait };
    let task = Task::current();
    // Asked for anew each time: the slice may have become another cgroup of the same name meanwhile.
    let cell = control().filter(|control| control.hold != 0).and_then(|control| place::rule(control, task));
    let end = if cell.is_none() {
        HoldEnd::NoAgent
    } else if cell.is_some_and(|cell| filter::current_is_below(cell.target)) {
        HoldEnd::Inside
    } else if place::settled_as(place::key(task)).is_some() {
        HoldEnd::LeftAlone
    } else if emit::now_ns() >= wait.deadline_ns {
        HoldEnd::Deadline
    } else {
        give_way(task);
        return 0;
    };
    wait.end = end as u32;
    1
}

/// Takes a lock that may sleep, which lets others run: the move that is waited for waits for the end of a grace period,
/// and so for every CPU to pass through the scheduler.
#[inline(always)]
fn give_way(task: Task) {
    let mut byte = 0_u8;
    // SAFETY: one byte on the stack; the helper checks the source, and what it reads does not matter.
    unsafe {
        bpf_copy_from_user_task(
            (&raw mut byte).cast(),
            1,
            task.arg_start() as *const c_void,
            task.0.cast_mut().cast(),
            0,
        );
    }
}

/// At the exec itself: tells of the hold, if there was one. Whether it has settled where the process is.
#[inline(always)]
pub(crate) fn was_answered(task: Task, binprm: *const u8) -> bool {
    let key = place::key(task);
    // SAFETY: the value is copied at once; a process runs one program at a time.
    let Some(note) = unsafe { HOLDS.get(key) }.copied() else {
        return false;
    };
    let _ = HOLDS.remove(key);
    if let Some(mut slot) = emit::urgent::<Held>() {
        let record = slot.record();
        // SAFETY: the record's own memory in the ring.
        unsafe {
            let header = &raw mut (*record).header;
            subject::describe(header, Kind::Held, emit::now_ns(), Subject::of(task), 1);
            (*record).held_ns = note.held_ns;
            (*record).rule = note.rule;
            (*record).end = note.end;
            place::read_file(&raw mut (*record).file, binprm_filename(binprm));
        }
        slot.send_now();
    }
    note.end == HoldEnd::Inside as u32 || note.end == HoldEnd::LeftAlone as u32
}
