//! The one way out: sequence numbers, sent/lost counts and wake-ups around every record.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    maps::RingBuf,
};
use procwatch_common::{
    policy::Control,
    stats::{RingCount, Stats},
    wire::{Attach, Created, Exit, Header, Level, Stray, UidChange},
};

use crate::maps::{NEXT_WAKE, STATS, STREAM, URGENT};

/// A wire record: `repr(C)` with a [`Header`] first.
///
/// # Safety
/// The header must be at offset 0.
pub(crate) unsafe trait Record: 'static {}

// SAFETY: all `repr(C)` with `header: Header` first.
unsafe impl Record for Created {}
// SAFETY: as above.
unsafe impl Record for Exit {}
// SAFETY: as above.
unsafe impl Record for UidChange {}
// SAFETY: as above.
unsafe impl Record for Attach {}
// SAFETY: as above.
unsafe impl Record for Level {}
// SAFETY: as above.
unsafe impl Record for Stray {}

/// `CLOCK_BOOTTIME`, ns.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// This CPU's counters. Tracepoint programs run without preemption, so a plain increment is exact.
#[inline(always)]
pub(crate) fn stats() -> Option<&'static mut Stats> {
    // SAFETY: the cell belongs to this CPU alone.
    STATS.get_ptr_mut(0).map(|stats| unsafe { &mut *stats })
}

/// Puts one record on the stream. `fill` writes the whole record but for the header's `seq` and `cpu`.
#[inline(always)]
pub(crate) fn stream<T: Record>(control: &Control, time_ns: u64, fill: impl FnOnce(*mut T)) {
    if let Some(stats) = stats() {
        put(&STREAM, &mut stats.stream, || stream_wakeup(control, time_ns), fill);
    }
}

/// Puts one record on the urgent ring and wakes the agent.
#[inline(always)]
pub(crate) fn urgent<T: Record>(fill: impl FnOnce(*mut T)) {
    if let Some(stats) = stats() {
        put(&URGENT, &mut stats.urgent, || u64::from(BPF_RB_FORCE_WAKEUP), fill);
    }
}

#[inline(always)]
fn put<T: Record>(
    ring: &RingBuf,
    count: &mut RingCount,
    wakeup: impl FnOnce() -> u64,
    fill: impl FnOnce(*mut T),
) {
    let seq = count.sent + count.lost;
    let Some(mut slot) = ring.reserve::<T>(0) else {
        count.lost += 1;
        return;
    };
    fill(slot.as_mut_ptr());
    stamp(slot.as_mut_ptr().cast(), seq);
    slot.submit(wakeup());
    count.sent += 1;
}

/// Puts `len` bytes that begin with a header on the stream: for records of varying length.
#[inline(always)]
pub(crate) fn stream_bytes(control: &Control, time_ns: u64, header: *mut Header, len: usize) {
    let Some(stats) = stats() else { return };
    let count = &mut stats.stream;
    stamp(header, count.sent + count.lost);
    // SAFETY: the caller's buffer starts with the header and holds `len` bytes, which the verifier checks.
    let bytes = unsafe { core::slice::from_raw_parts(header.cast::<u8>(), len) };
    if STREAM.output::<[u8]>(bytes, stream_wakeup(control, time_ns)).is_ok() {
        count.sent += 1;
    } else {
        count.lost += 1;
    }
}

#[inline(always)]
fn stamp(header: *mut Header, seq: u64) {
    // SAFETY: the header lies in the record's own memory.
    let header = unsafe { &mut *header };
    header.seq = seq;
    // SAFETY: a helper without arguments.
    header.cpu = unsafe { bpf_get_smp_processor_id() };
}

/// Wakes the agent at most once in `stream_wake_ns`, or when the ring fills. The agent looks again by itself that
/// long after a wake-up, so the last record before silence is not left lying.
#[inline(always)]
fn stream_wakeup(control: &Control, time_ns: u64) -> u64 {
    let Some(next) = NEXT_WAKE.get_ptr_mut(0) else {
        return u64::from(BPF_RB_FORCE_WAKEUP);
    };
    // SAFETY: a cell of an array map; CPUs may race here, and then both wake the agent.
    let next = unsafe { &mut *next };
    if time_ns < *next && STREAM.query(u64::from(BPF_RB_AVAIL_DATA)) < control.stream_wake_bytes {
        return u64::from(BPF_RB_NO_WAKEUP);
    }
    *next = time_ns + u64::from(control.stream_wake_ns);
    u64::from(BPF_RB_FORCE_WAKEUP)
}

/// A bounded state map was full: the agent reports the count.
#[inline(always)]
pub(crate) fn count_state_full() {
    if let Some(stats) = stats() {
        stats.state_full += 1;
    }
}

/// Memory of a process could not be read.
#[inline(always)]
pub(crate) fn count_user_read_failed() {
    if let Some(stats) = stats() {
        stats.user_reads_failed += 1;
    }
}

/// Kernel memory could not be read.
#[inline(always)]
pub(crate) fn count_kernel_read_failed() {
    if let Some(stats) = stats() {
        stats.kernel_reads_failed += 1;
    }
}
