//! The one way out: sequence numbers, sent/lost counts and wake-ups around every record.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    maps::ring_buf::{RingBuf, RingBufEntry},
};
use procwatch_common::{
    policy::Control,
    stats::{RingCount, Stats},
    wire::{Attach, Created, Exit, Header, Held, Level, Refused, Stray, UNNUMBERED, UidChange},
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
// SAFETY: as above.
unsafe impl Record for Held {}
// SAFETY: as above.
unsafe impl Record for Refused {}

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

/// A record under way: reserved in its ring and numbered, still to be filled and sent.
pub(crate) struct Slot<T: Record> {
    entry: RingBufEntry<T>,
    count: &'static mut RingCount,
    seq: u64,
}

impl<T: Record> Slot<T> {
    /// Where the record lies, for the caller to fill but for the header's `seq` and `cpu`.
    #[inline(always)]
    pub(crate) fn record(&mut self) -> *mut T {
        self.entry.as_mut_ptr()
    }

    /// Sends a record of the stream.
    #[inline(always)]
    pub(crate) fn send_batched(self, control: &Control, time_ns: u64) {
        self.send(stream_wakeup(control, time_ns));
    }

    /// Sends a record and wakes the agent.
    #[inline(always)]
    pub(crate) fn send_now(self) {
        self.send(u64::from(BPF_RB_FORCE_WAKEUP));
    }

    #[inline(always)]
    fn send(mut self, wakeup: u64) {
        stamp(self.entry.as_mut_ptr().cast(), self.seq);
        self.entry.submit(wakeup);
        self.count.sent += 1;
    }
}

/// Room on the stream. A full ring is counted.
#[inline(always)]
pub(crate) fn stream<T: Record>() -> Option<Slot<T>> {
    reserve(&STREAM, &mut stats()?.stream)
}

/// Room on the urgent ring. A full ring is counted.
#[inline(always)]
pub(crate) fn urgent<T: Record>() -> Option<Slot<T>> {
    reserve(&URGENT, &mut stats()?.urgent)
}

/// An urgent record from a program that may be preempted: such a one cannot count per CPU, so the record has no number,
/// and a tracepoint that follows must tell the same.
pub(crate) struct Unnumbered<T: Record>(RingBufEntry<T>);

impl<T: Record> Unnumbered<T> {
    /// Where the record lies, for the caller to fill but for the header's `seq` and `cpu`.
    #[inline(always)]
    pub(crate) fn record(&mut self) -> *mut T {
        self.0.as_mut_ptr()
    }

    /// Sends it and wakes the agent.
    #[inline(always)]
    pub(crate) fn send_now(mut self) {
        let header = self.0.as_mut_ptr().cast::<Header>();
        // SAFETY: the header lies in the record's own memory.
        unsafe { ((*header).seq, (*header).cpu) = (0, UNNUMBERED) };
        self.0.submit(u64::from(BPF_RB_FORCE_WAKEUP));
    }
}

/// Room on the urgent ring for a record without a number.
#[inline(always)]
pub(crate) fn urgent_unnumbered<T: Record>() -> Option<Unnumbered<T>> {
    let entry = URGENT.reserve::<T>(0);
    if entry.is_none()
        && let Some(stats) = stats()
    {
        stats.unnumbered_lost += 1;
    }
    entry.map(Unnumbered)
}

#[inline(always)]
fn reserve<T: Record>(ring: &RingBuf, count: &'static mut RingCount) -> Option<Slot<T>> {
    let seq = count.sent + count.lost;
    let Some(entry) = ring.reserve::<T>(0) else {
        count.lost += 1;
        return None;
    };
    Some(Slot { entry, count, seq })
}

/// Puts `len` bytes that begin with a header on the stream: for records of varying length.
#[inline(always)]
pub(crate) fn stream_bytes(control: &Control, time_ns: u64, header: *mut Header, len: usize) {
    if let Some(stats) = stats() {
        output(&STREAM, &mut stats.stream, header, len, stream_wakeup(control, time_ns));
    }
}

/// The same on the urgent ring, and wakes the agent.
#[inline(always)]
pub(crate) fn urgent_bytes(header: *mut Header, len: usize) {
    if let Some(stats) = stats() {
        output(&URGENT, &mut stats.urgent, header, len, u64::from(BPF_RB_FORCE_WAKEUP));
    }
}

#[inline(always)]
fn output(ring: &RingBuf, count: &mut RingCount, header: *mut Header, len: usize, wakeup: u64) {
    stamp(header, count.sent + count.lost);
    // SAFETY: the caller's buffer starts with the header and holds `len` bytes, which the verifier checks.
    let bytes = unsafe { core::slice::from_raw_parts(header.cast::<u8>(), len) };
    if ring.output::<[u8]>(bytes, wakeup).is_ok() {
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

/// A process with a placement rule was left alone, for the reason of that number.
#[inline(always)]
pub(crate) fn count_left_alone(leave: u32) {
    if let Some(stats) = stats()
        && let Some(count) = stats.left_alone.get_mut(leave as usize)
    {
        *count += 1;
    }
}

/// A stray is reported.
#[inline(always)]
pub(crate) fn count_stray(born_outside: bool) {
    if let Some(stats) = stats() {
        stats.strays += 1;
        if born_outside {
            stats.born_outside += 1;
        }
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
