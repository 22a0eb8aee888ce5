//! How the threads of one process grow: levels, bursts and leaks.
//!
//! Pure and `no_std`: the kernel program keeps one [`Growth`] for each process above the floor, and a replay of a
//! recorded stream keeps the same, so both say the same.
#![expect(
    clippy::inline_always,
    reason = "for the verifier a function that is called takes stack, and forgets what is known of its arguments"
)]

use bytemuck::{Pod, Zeroable};

use crate::policy::{FLOOR_THREADS, MAX_LEVELS, ThreadCell};

/// Most threads that a burst can be defined by.
pub const MAX_BURST: u32 = 250;

/// Counts whose last rise is remembered: more than [`MAX_BURST`], and a power of two, so that the verifier sees that an
/// index is in bounds.
const REMEMBERED: usize = 256;

/// Bits of a remembered rise that hold its time, in units of 4.096 µs: two years of them. Above them stands the count.
const TIME_BITS: u32 = 44;
const TIME_SHIFT: u32 = 12;

/// Number of the burst among the ways to cross a bound, after those of the levels.
pub const BURST: u32 = MAX_LEVELS as u32;
/// Number of the leak.
pub const LEAK: u32 = BURST + 1;
/// Number of the stop.
pub const STOP: u32 = BURST + 2;
/// How many ways there are.
pub const WAYS: usize = MAX_LEVELS + 3;

/// What is remembered of a process' growth.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Growth {
    /// Threads created above the floor.
    pub creations: u64,
    /// When growth last was a burst, `CLOCK_BOOTTIME` ns; 0 when it never was.
    pub burst_ns: u64,
    /// When the newest mark of a leak was set, ns.
    pub mark_ns: u64,
    /// When the first mark was set, ns.
    pub since_ns: u64,
    /// Threads at the newest mark.
    pub mark: u32,
    /// Threads at the first mark.
    pub first: u32,
    /// How many marks there are.
    pub marks: u32,
    /// Threads when the burst was told.
    pub burst_threads: u32,
    /// How many bursts were told: part of the name under which each is told once.
    pub bursts: u32,
    /// User stacks by which it was seen to create threads, and that were kept.
    pub stacks: u32,
    /// A byte for each way: 1 when it was told and not yet cleared.
    pub told: [u8; 8],
    /// When each count was last risen to, with that count.
    rises: [u64; REMEMBERED],
}

/// A growth that is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Threads when it began.
    pub from: u32,
    /// When it began, `CLOCK_BOOTTIME` ns (of a burst: rounded down to 4 µs).
    pub since_ns: u64,
}

impl Growth {
    /// Nothing seen yet.
    pub const NEW: Self = Self {
        creations: 0,
        burst_ns: 0,
        mark_ns: 0,
        since_ns: 0,
        mark: 0,
        first: 0,
        marks: 0,
        burst_threads: 0,
        bursts: 0,
        stacks: 0,
        told: [0; 8],
        rises: [0; REMEMBERED],
    };

    /// Bursts of a process have to be that far apart to be told each, ns: ten times the time that defines one, and 10 s
    /// at the least.
    #[inline(always)]
    #[must_use]
    pub const fn quiet_ns(cell: &ThreadCell) -> u64 {
        let long = cell.burst_ns * 10;
        if long > 10_000_000_000 { long } else { 10_000_000_000 }
    }

    /// The process has risen to `threads`, at least the floor. The burst that this is, if it is one.
    ///
    /// The count moves by one, so the process was last below some count just before it last rose to it: the growth is
    /// net, and no end of a thread has to be noticed.
    #[inline(always)]
    pub fn burst(&mut self, threads: u32, now_ns: u64, cell: &ThreadCell) -> Option<Grown> {
        let now = now_ns >> TIME_SHIFT & TIME_MASK;
        if let Some(rise) = self.rises.get_mut(place(threads)) {
            *rise = tag(threads) | now;
        }
        let grown = cell.burst_threads;
        if grown == 0 || threads < FLOOR_THREADS + grown - 1 {
            return None;
        }
        let first = threads + 1 - grown;
        let rise = *self.rises.get(place(first))?;
        // Another count that shares its place, or one that was never risen to under our eyes.
        if rise & !TIME_MASK != tag(first) {
            return None;
        }
        let began = rise & TIME_MASK;
        if now.wrapping_sub(began) & TIME_MASK > cell.burst_ns >> TIME_SHIFT {
            return None;
        }
        Some(Grown { from: first - 1, since_ns: began << TIME_SHIFT })
    }

    /// Growth at `now_ns` was a burst. True when it is the one that was told already, and goes on; also when the process fell
    /// back meanwhile: a pool that breathes is told of once.
    ///
    /// CPUs come here in another order than that of their times: what is kept is the latest.
    #[inline(always)]
    pub const fn burst_goes_on(&mut self, now_ns: u64, cell: &ThreadCell) -> bool {
        let before = self.burst_ns;
        if now_ns > before {
            self.burst_ns = now_ns;
        }
        before != 0 && now_ns.saturating_sub(before) < Self::quiet_ns(cell)
    }

    /// The process has risen to `threads`. The leak that this completes, if it does.
    ///
    /// A mark is a new height, a quarter above the last one. Marks that follow each other sooner than the rule says are
    /// one growth, such as the start of a server: the mark rises with it, and its time stays.
    #[inline(always)]
    pub fn leak(&mut self, threads: u32, now_ns: u64, cell: &ThreadCell) -> Option<Grown> {
        if cell.leak_marks == 0 {
            return None;
        }
        if self.marks == 0 {
            (self.marks, self.mark, self.first) = (1, threads, threads);
            (self.mark_ns, self.since_ns) = (now_ns, now_ns);
            return None;
        }
        if threads * 4 < self.mark * 5 {
            return None;
        }
        self.mark = threads;
        // Another CPU may have set the mark, a little later than this one looked at the clock.
        if now_ns.saturating_sub(self.mark_ns) < cell.leak_gap_ns {
            if self.marks == 1 {
                self.first = threads;
            }
            return None;
        }
        self.marks += 1;
        self.mark_ns = now_ns;
        if self.marks < cell.leak_marks {
            return None;
        }
        Some(Grown { from: self.first, since_ns: self.since_ns })
    }

    /// A thread ended and `live` are left. True when they fell back below four fifths of the newest mark: what looked
    /// like a leak is none, and the marks begin anew.
    #[inline(always)]
    pub fn leak_fell(&mut self, live: u32) -> bool {
        if self.marks == 0 || live * 5 >= self.mark * 4 {
            return false;
        }
        self.marks = 0;
        true
    }

    /// Whether `live` threads are below four fifths of those with which the burst was told.
    #[inline(always)]
    #[must_use]
    pub const fn burst_fell(&self, live: u32) -> bool {
        live * 5 < self.burst_threads * 4
    }
}

const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

#[inline(always)]
const fn place(threads: u32) -> usize {
    threads as usize & (REMEMBERED - 1)
}

#[inline(always)]
const fn tag(threads: u32) -> u64 {
    // Twenty bits: counts that share a place and these are a million apart.
    (threads as u64) << TIME_BITS
}

/// Whether a process of `live` threads has fallen back from a bound: below four fifths of it.
#[inline(always)]
#[must_use]
pub const fn fell_from(bound: u32, live: u32) -> bool {
    live * 5 < bound * 4
}

#[cfg(feature = "user")]
// SAFETY: `Growth` is `repr(C)` and `bytemuck::Pod` (no padding, any bit pattern is valid).
unsafe impl aya::Pod for Growth {}

#[cfg(test)]
mod tests;
