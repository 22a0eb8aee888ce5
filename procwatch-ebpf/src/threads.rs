//! The threads of a process cross bounds: levels, a burst, a leak, a stop. One record when it rises to one, one when it
//! has fallen below four fifths of it.
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a copy of a value as large as a Growth does not fit the stack"
)]

use aya_ebpf::{
    helpers::generated::{bpf_get_current_pid_tgid, bpf_probe_read_user, bpf_send_signal},
    programs::BtfTracePointContext,
};
use procwatch_common::{
    growth::{BURST, Grown, Growth, LEAK, STOP, fell_from},
    policy::{Control, MAX_LEVELS},
    wire::{ALERT_ARGV_MAX, Kind, Level},
};

use crate::{
    creators, emit,
    kernel::{Memory, Process, Task},
    maps::{CROSSED, CrossedKey, GROWTH, NEW_GROWTH, ProcessName, is_agent},
    refuse,
    rules::{self, Rule},
    subject::{self, Subject},
};

const BPF_NOEXIST: u64 = 1;
const EEXIST: i32 = -17;
const SIGSTOP: u32 = 19;

/// The process whose threads are counted, at one of them.
#[derive(Clone, Copy)]
struct Counted {
    name: ProcessName,
    leader: Task,
    /// Where its arguments are, when they are wanted.
    memory: Memory,
}

/// A bound that was crossed, or is crossed no more.
#[derive(Clone, Copy)]
struct Crossing {
    /// The thread that crossed it.
    tid: u32,
    rule: u32,
    way: u32,
    bound: u32,
    grown: Grown,
}

impl Crossing {
    #[inline(always)]
    const fn of(tid: u32, rule: Rule, way: u32, bound: u32) -> Self {
        Self { tid, rule: rule.index, way, bound, grown: Grown { from: 0, since_ns: 0 } }
    }
}

/// The first "no": below the floor nothing is looked up.
#[inline(always)]
pub(crate) fn may_matter(control: &Control, threads: u32) -> bool {
    control.urgent != 0 && threads >= control.floor
}

/// A process grew to `threads`, at least the floor.
#[inline(always)]
pub(crate) fn rose(ctx: &BtfTracePointContext, control: &Control, task: Task, leader: Task, threads: u32) {
    if is_agent(control, leader.tgid()) {
        return;
    }
    let name = ProcessName::of(leader);
    let (who, tid) = (Counted { name, leader, memory: task.memory() }, task.tid());
    let (Some(rule), Some(growth)) = (rules::of(control, leader), growth_of(name)) else {
        return;
    };
    let now = emit::now_ns();
    for index in 0..MAX_LEVELS {
        let level = rule.cell.levels[index];
        if index as u32 >= rule.cell.level_count || threads < level {
            break;
        }
        if growth.told[index] == 0 {
            growth.told[index] = 1;
            cross(who, threads, Crossing::of(tid, rule, index as u32, level), 0);
        }
    }
    if let Some(grown) = growth.burst(threads, now, rule.cell) {
        let crossing = Crossing { grown, ..Crossing::of(tid, rule, BURST, rule.cell.burst_threads) };
        burst(who, threads, rule, growth, crossing, now);
    }
    if let Some(grown) = growth.leak(threads, now, rule.cell)
        && growth.told[LEAK as usize] == 0
    {
        growth.told[LEAK as usize] = 1;
        cross(who, threads, Crossing { grown, ..Crossing::of(tid, rule, LEAK, rule.cell.leak_marks) }, 0);
    }
    if rule.cell.stop_at != 0
        && threads >= rule.cell.stop_at
        && !rule.is_protected
        && growth.told[STOP as usize] == 0
    {
        growth.told[STOP as usize] = 1;
        if !stop(control, who, threads, Crossing::of(tid, rule, STOP, rule.cell.stop_at)) {
            // The next thread tries again.
            growth.told[STOP as usize] = 0;
        }
    }
    if control.stacks != 0 {
        creators::count(ctx, name, growth);
    }
    growth.creations += 1;
}

/// What is remembered of the process' growth; begun if there is nothing yet.
#[inline(always)]
fn growth_of(name: ProcessName) -> Option<&'static mut Growth> {
    if let Some(growth) = GROWTH.get_ptr_mut(name) {
        // SAFETY: a live value of the map. CPUs may race in its counters; what is told once is decided by `CROSSED`.
        return Some(unsafe { &mut *growth });
    }
    if GROWTH.insert(name, &NEW_GROWTH, BPF_NOEXIST).is_err_and(|error| error != EEXIST) {
        emit::count_state_full();
    }
    // SAFETY: as above.
    GROWTH.get_ptr_mut(name).map(|growth| unsafe { &mut *growth })
}

/// Growth that is a burst. Each is told once: while it goes on it only keeps the memory of it fresh.
#[inline(always)]
fn burst(who: Counted, threads: u32, rule: Rule, growth: &mut Growth, crossing: Crossing, now: u64) {
    let bursts = growth.bursts;
    if growth.burst_goes_on(now, rule.cell) {
        return;
    }
    growth.told[BURST as usize] = 1;
    growth.burst_threads = threads;
    if cross(who, threads, crossing, bursts + 1) {
        growth.bursts = bursts + 1;
        // The one before was never cleared, and is not any more.
        let _ = CROSSED.remove(CrossedKey::of(who.name, BURST, bursts));
    }
}

/// Stops the process, at the very thread that crossed the bound. False when nobody could be told, and it was not stopped:
/// nobody would let it go on.
#[inline(always)]
fn stop(control: &Control, who: Counted, threads: u32, crossing: Crossing) -> bool {
    let grown = Grown { from: u32::from(control.enforce != 0), since_ns: 0 };
    let key = CrossedKey::of(who.name, STOP, 0);
    if CROSSED.insert(key, 0, BPF_NOEXIST).is_err()
        || report(Kind::LevelCrossed, who.leader, who.memory, threads, &Crossing { grown, ..crossing })
    {
        return true;
    }
    let _ = CROSSED.remove(key);
    false
}

/// Of all CPUs that see the crossing, the one whose insertion succeeds reports it.
#[inline(always)]
fn cross(who: Counted, threads: u32, crossing: Crossing, count: u32) -> bool {
    match CROSSED.insert(CrossedKey::of(who.name, crossing.way, count), 0, BPF_NOEXIST) {
        Ok(()) if report(Kind::LevelCrossed, who.leader, who.memory, threads, &crossing) => true,
        Ok(()) => {
            // The ring is full. The agent that finds it out looks at all processes, and tells of those it can claim.
            let _ = CROSSED.remove(CrossedKey::of(who.name, crossing.way, count));
            false
        }
        Err(EEXIST) => false,
        Err(_) => {
            emit::count_state_full();
            false
        }
    }
}

/// A thread ended and `live` are left.
#[inline(always)]
pub(crate) fn fell(control: &Control, task: Task, process: Process, live: u32) {
    // Many may leave the count of the living before the first of them comes here: all wait for the lock of their memory in
    // between. But each is counted as a thread until it has been here.
    let most = if process.threads() > live { process.threads() } else { live };
    if control.floor == 0 || most * 2 < control.floor {
        return;
    }
    let leader = process.leader();
    let name = ProcessName::of(leader);
    let (who, tid) = (Counted { name, leader, memory: Memory::NONE }, task.tid());
    let (Some(rule), Some(growth)) = (rules::of(control, leader), GROWTH.get_ptr_mut(name)) else {
        return;
    };
    // SAFETY: as in `growth_of`.
    let growth = unsafe { &mut *growth };
    // The highest first.
    for below in 1..=MAX_LEVELS {
        let index = MAX_LEVELS - below;
        let level = rule.cell.levels[index];
        if growth.told[index] != 0 && fell_from(level, live) {
            growth.told[index] = 0;
            clear(who, live, Crossing::of(tid, rule, index as u32, level), 0);
        }
    }
    if growth.told[BURST as usize] != 0 && growth.burst_fell(live) {
        growth.told[BURST as usize] = 0;
        clear(who, live, Crossing::of(tid, rule, BURST, rule.cell.burst_threads), growth.bursts);
    }
    if growth.leak_fell(live) && growth.told[LEAK as usize] != 0 {
        growth.told[LEAK as usize] = 0;
        clear(who, live, Crossing::of(tid, rule, LEAK, rule.cell.leak_marks), 0);
    }
    if growth.told[STOP as usize] != 0 && fell_from(rule.cell.stop_at, live) {
        growth.told[STOP as usize] = 0;
        let _ = CROSSED.remove(CrossedKey::of(name, STOP, 0));
    }
}

/// The process ended: with it all its alerts.
#[inline(always)]
pub(crate) fn ended(control: &Control, leader: Task) {
    if control.floor == 0 {
        return;
    }
    let name = ProcessName::of(leader);
    if let Some(growth) = GROWTH.get_ptr_mut(name) {
        // SAFETY: as in `growth_of`.
        let bursts = unsafe { (*growth).bursts };
        let _ = GROWTH.remove(name);
        if let Some(rule) = rules::of(control, leader) {
            all_end(Counted { name, leader, memory: Memory::NONE }, rule, bursts);
        }
    }
    // One below the floor may have a cap, too, and one that grew while counting rested.
    refuse::ended(control, name, leader);
    rules::forget(control, leader);
}

#[inline(always)]
fn all_end(who: Counted, rule: Rule, bursts: u32) {
    let tid = who.leader.tid();
    // The highest first, as in a fall.
    for below in 1..=MAX_LEVELS {
        let index = MAX_LEVELS - below;
        clear(who, 0, Crossing::of(tid, rule, index as u32, rule.cell.levels[index]), 0);
    }
    clear(who, 0, Crossing::of(tid, rule, BURST, rule.cell.burst_threads), bursts);
    clear(who, 0, Crossing::of(tid, rule, LEAK, rule.cell.leak_marks), 0);
    let _ = CROSSED.remove(CrossedKey::of(who.name, STOP, 0));
}

#[inline(always)]
fn clear(who: Counted, live: u32, crossing: Crossing, count: u32) {
    if CROSSED.remove(CrossedKey::of(who.name, crossing.way, count)).is_ok() {
        report(Kind::LevelCleared, who.leader, who.memory, live, &crossing);
    }
}

/// A function of its own: there are many ways here, and the verifier walks each copy. False when the ring is full. There is
/// room before a process is stopped.
#[inline(never)]
fn report(kind: Kind, leader: Task, memory: Memory, threads: u32, crossing: &Crossing) -> bool {
    let Some(mut slot) = emit::urgent::<Level>() else {
        return false;
    };
    let record = slot.record();
    let from = match crossing.way {
        // SAFETY: a helper that takes a number; the current process is the creator's, which is this one.
        STOP if crossing.grown.from != 0 => u32::from(unsafe { bpf_send_signal(SIGSTOP) } == 0),
        _ => crossing.grown.from,
    };
    // SAFETY: the record's own memory in the ring.
    unsafe {
        let subject = Subject { tid: crossing.tid, ..Subject::of(leader) };
        subject::describe(&raw mut (*record).header, kind, emit::now_ns(), subject, threads);
        (*record).since_ns = crossing.grown.since_ns;
        (*record).level = crossing.bound;
        (*record).way = crossing.way;
        (*record).rule = crossing.rule;
        (*record).from = from;
        (*record).creator_tid = bpf_get_current_pid_tgid() as u32;
        (*record).pad = 0;
    }
    read_argv(memory, record);
    slot.send_now();
    true
}

#[inline(always)]
fn read_argv(memory: Memory, record: *mut Level) {
    let Some(range) = memory.arg_range() else {
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
