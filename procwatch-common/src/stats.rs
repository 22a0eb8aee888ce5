//! What the kernel programs count, per CPU.

use bytemuck::{Pod, Zeroable};

use crate::place::Leave;

/// One ring's account on one CPU. `sent + lost` is the sequence number of the next record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RingCount {
    /// Records that went into the ring.
    pub sent: u64,
    /// Records that found the ring full.
    pub lost: u64,
}

/// The counters of one CPU; only programs running on that CPU write them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Stats {
    /// The stream ring.
    pub stream: RingCount,
    /// The urgent ring.
    pub urgent: RingCount,
    /// Reads of user memory (argv) that failed; the record then says it has no argv.
    pub user_reads_failed: u64,
    /// Reads of kernel memory that failed; the record then has an empty text.
    pub kernel_reads_failed: u64,
    /// Insertions into a bounded state map that found it full.
    pub state_full: u64,
    /// Unnumbered records that found the urgent ring full. Each is followed by a numbered one that tells the same.
    pub unnumbered_lost: u64,
    /// Processes of placement rules that were looked at and left alone, by [`Leave`].
    pub left_alone: [u64; Leave::ALL.len()],
    /// Records of strays.
    pub strays: u64,
    /// Children that a stray made outside of its slice.
    pub born_outside: u64,
}

#[cfg(feature = "user")]
// SAFETY: `Stats` is `repr(C)` and `bytemuck::Pod` (no padding, any bit pattern is valid).
unsafe impl aya::Pod for Stats {}
