//! Adding to a counter that other CPUs add to as well.
//!
//! This target of the compiler has no read-modify-write of its own. The instruction is the one without a result, which
//! every kernel with BPF has.

use core::arch::asm;

/// Adds one.
///
/// # Safety
/// `count` must point to a counter in a live value of a map.
#[inline(always)]
pub(crate) unsafe fn increment(count: *mut u64) {
    // SAFETY: the instruction changes what `count` points to, and nothing else.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) count, in(reg) 1_u64, options(nostack)) };
}
