//! Thread levels: one record when a process rises to one, one when it has fallen below four fifths of it.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use procwatch_common::{
    policy::{Control, MAX_LEVELS},
    wire::{ALERT_ARGV_MAX, Kind, Level},
};

use crate::{
    emit,
    kernel::Task,
    maps::{CROSSED, CrossedKey, is_agent},
    subject,
};

const BPF_NOEXIST: u64 = 1;
const EEXIST: i32 = -17;

/// The first "no": below the lowest level nothing is looked up.
#[inline(always)]
pub(crate) fn may_cross(control: &Control, threads: u32) -> bool {
    control.urgent != 0 && control.level_count != 0 && threads >= control.levels[0]
}

/// A process grew to `threads`, at least the lowest level.
#[inline(always)]
pub(crate) fn rose(control: &Control, task: Task, threads: u32) {
    if is_agent(task.tgid()) {
        return;
    }
    // Levels are crossed in their order, so if the highest one reached is known, all below are.
    let mut index = MAX_LEVELS;
    while index > 0 {
        index -= 1;
        if (index as u32) < control.level_count && threads >= control.levels[index] {
            if is_crossed(task, index as u32) {
                return;
            }
            break;
        }
    }
    for index in 0..MAX_LEVELS {
        if index as u32 >= control.level_count || threads < control.levels[index] {
            return;
        }
        cross(control, task, threads, index);
    }
}

/// Of all CPUs that see the crossing, the one whose insertion succeeds reports it.
#[inline(always)]
fn cross(control: &Control, task: Task, threads: u32, index: usize) {
    match CROSSED.insert(key(task, index as u32), 0, BPF_NOEXIST) {
        Ok(()) => report(Kind::LevelCrossed, task, threads, control.levels[index], index as u32),
        Err(EEXIST) => {}
        Err(_) => emit::count_state_full(),
    }
}

/// A thread ended and `live` are left.
#[inline(always)]
pub(crate) fn fell(control: &Control, task: Task, live: u32) {
    for index in 0..MAX_LEVELS {
        if index as u32 >= control.level_count {
            return;
        }
        let level = control.levels[index];
        // Each exit lowers the count by one, so a level is left somewhere just below its bound: a process that
        // never came near one is not looked up.
        if live * 5 < level * 4 && live * 5 >= level * 2 {
            clear(task, live, level, index as u32);
        }
    }
}

/// The process ended: with it all its alerts.
#[inline(always)]
pub(crate) fn ended(control: &Control, task: Task) {
    if control.level_count == 0 || !is_crossed(task, 0) {
        return;
    }
    // The highest first, as in a fall.
    for below in 1..=MAX_LEVELS {
        let index = MAX_LEVELS - below;
        clear(task, 0, control.levels[index], index as u32);
    }
}

#[inline(always)]
fn clear(task: Task, live: u32, level: u32, index: u32) {
    if CROSSED.remove(key(task, index)).is_ok() {
        report(Kind::LevelCleared, task, live, level, index);
    }
}

#[inline(always)]
fn is_crossed(task: Task, index: u32) -> bool {
    // SAFETY: the value is not used.
    unsafe { CROSSED.get(key(task, index)) }.is_some()
}

#[inline(always)]
fn key(task: Task, index: u32) -> CrossedKey {
    CrossedKey { start_ns: task.process_start_ns(), tgid: task.tgid(), index }
}

#[inline(always)]
fn report(kind: Kind, task: Task, threads: u32, level: u32, index: u32) {
    let Some(mut slot) = emit::urgent::<Level>() else {
        return;
    };
    let record = slot.record();
    // SAFETY: the record's own memory in the ring.
    unsafe {
        subject::describe(&raw mut (*record).header, kind, emit::now_ns(), task, task.uids(), threads);
        (*record).level = level;
        (*record).index = index;
    }
    read_argv(task, record);
    slot.send_now();
}

#[inline(always)]
fn read_argv(task: Task, record: *mut Level) {
    let Some(range) = task.arg_range() else {
        // SAFETY: the record's own memory in the ring.
        unsafe { ((*record).argv_len, (*record).argv_total) = (0, 0) };
        return;
    };
    let total = range.end.wrapping_sub(range.start);
    let mut len = if total < ALERT_ARGV_MAX as u64 { total as u32 } else { ALERT_ARGV_MAX as u32 };
    // SAFETY: the buffer has `ALERT_ARGV_MAX` bytes, and `len` is at most that; the helper checks the source. The
    // creator shares the address space of the process, so these are the process' arguments.
    if unsafe { bpf_probe_read_user((&raw mut (*record).argv).cast(), len, range.start as *const _) } != 0 {
        emit::count_user_read_failed();
        len = 0;
    }
    // SAFETY: as above.
    unsafe { ((*record).argv_len, (*record).argv_total) = (len, total as u32) };
}
