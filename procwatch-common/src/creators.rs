//! Who creates the threads of a process: counts by user stack, and samples of the creating thread.

use bytemuck::{Pod, Zeroable};

use crate::wire::COMM_LEN;

/// Most addresses of a user stack.
pub const MAX_FRAMES: usize = 24;

/// Most stacks that are kept of one process. Code without frame pointers makes a new one of nearly every creation; those
/// must not take the place of others.
pub const MAX_STACKS: u32 = 64;

/// Bytes of the creating thread's stack in a sample.
pub const SAMPLE_BYTES: usize = 4096;

/// Samples of one process.
pub const MAX_SAMPLES: u32 = 16;

/// The first creations above the floor are sampled, and after them each of so many.
pub const SAMPLE_EACH: u64 = 16;

/// Names the stack of a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct StackKey {
    /// `CLOCK_BOOTTIME` of the process' start, ns.
    pub start_ns: u64,
    /// Of the addresses.
    pub hash: u64,
    /// Process id.
    pub tgid: u32,
    /// Zero.
    pub pad: u32,
}

/// What is known of one stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct StackCell {
    /// Threads created by it.
    pub count: u64,
    /// Threads refused to it.
    pub refused: u64,
    /// How many of [`Self::frames`] are set.
    pub depth: u32,
    /// Zero.
    pub pad: u32,
    /// Addresses, innermost first, walked by frame pointers.
    pub frames: [u64; MAX_FRAMES],
}

/// Names a sample.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct SampleKey {
    /// `CLOCK_BOOTTIME` of the process' start, ns.
    pub start_ns: u64,
    /// Process id.
    pub tgid: u32,
    /// From 0 to [`MAX_SAMPLES`]; used again by later ones.
    pub slot: u32,
}

/// The creating thread at the moment of a creation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct SampleCell {
    /// When, `CLOCK_BOOTTIME` ns.
    pub time_ns: u64,
    /// Of the addresses of its stack.
    pub hash: u64,
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer register.
    pub bp: u64,
    /// Its thread id.
    pub tid: u32,
    /// Bytes of [`Self::stack`] that are set.
    pub len: u32,
    /// Its name, padded with zero.
    pub comm: [u8; COMM_LEN],
    /// Memory from the stack pointer upwards.
    pub stack: [u8; SAMPLE_BYTES],
}

/// Threads that were refused to a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RefusalCell {
    /// How many.
    pub refused: u64,
    /// When that was last told, `CLOCK_BOOTTIME` ns.
    pub told_ns: u64,
}

#[cfg(feature = "user")]
mod user {
    use super::{RefusalCell, SampleCell, SampleKey, StackCell, StackKey};

    // SAFETY: all are `repr(C)` and `bytemuck::Pod` (no padding, any bit pattern is valid).
    unsafe impl aya::Pod for StackKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for StackCell {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SampleKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SampleCell {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RefusalCell {}
}
