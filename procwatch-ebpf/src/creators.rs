//! Who creates threads: creations above the floor are counted by user stack, and some are sampled for an unwinder.
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a copy of a value as large as these does not fit the stack"
)]

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_USER_STACK,
    helpers::generated::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_stack, bpf_probe_read_user,
    },
};
use procwatch_common::{
    creators::{
        MAX_FRAMES, MAX_SAMPLES, SAMPLE_BYTES, SAMPLE_EACH, SampleCell, SampleKey, StackCell, StackKey,
    },
    wire::COMM_LEN,
};

use crate::{
    atomic, emit,
    kernel::Registers,
    maps::{ProcessName, SAMPLE_SCRATCH, SAMPLES, STACKS},
};

const BPF_NOEXIST: u64 = 1;

/// Counts one creation, the one after `earlier` others.
#[inline(always)]
pub(crate) fn count(ctx: &impl EbpfContext, name: ProcessName, earlier: u64) {
    let Some(hash) = count_stack(ctx.as_ptr(), &name, false) else {
        return;
    };
    if earlier < u64::from(MAX_SAMPLES) {
        sample(name, earlier as u32, hash);
    } else if earlier.is_multiple_of(SAMPLE_EACH) {
        sample(name, (earlier / SAMPLE_EACH) as u32 % MAX_SAMPLES, hash);
    }
}

/// Counts one thread that was refused.
#[inline(always)]
pub(crate) fn count_refused(ctx: &impl EbpfContext, name: ProcessName) {
    // A stack that cannot be walked is counted there.
    let _ = count_stack(ctx.as_ptr(), &name, true);
}

/// Counts the current user stack, and returns its number. A function of its own, because it needs half of the stack that
/// a program has.
#[inline(never)]
fn count_stack(ctx: *mut c_void, name: &ProcessName, refused: bool) -> Option<u64> {
    let mut cell = StackCell { count: 0, refused: 0, depth: 0, pad: 0, frames: [0; MAX_FRAMES] };
    let size = size_of_val(&cell.frames) as u32;
    // SAFETY: the buffer has `size` bytes.
    let len =
        unsafe { bpf_get_stack(ctx, cell.frames.as_mut_ptr().cast(), size, u64::from(BPF_F_USER_STACK)) };
    if len < 0 {
        emit::count_user_read_failed();
        return None;
    }
    cell.depth = len as u32 / size_of::<u64>() as u32;
    let hash = hash(&cell.frames);
    let key = StackKey { start_ns: name.start_ns, hash, tgid: name.tgid, pad: 0 };
    if !add(&key, refused) {
        *(if refused { &mut cell.refused } else { &mut cell.count }) = 1;
        // Another CPU may have been quicker. An LRU map makes room by itself.
        if STACKS.insert(key, &cell, BPF_NOEXIST).is_err() {
            add(&key, refused);
        }
    }
    Some(hash)
}

/// One more by a stack that is known. False when it is not.
#[inline(always)]
fn add(key: &StackKey, refused: bool) -> bool {
    let Some(cell) = STACKS.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: a live value of the map.
    unsafe { atomic::increment(if refused { &raw mut (*cell).refused } else { &raw mut (*cell).count }) };
    true
}

/// Unused frames are zero.
#[inline(always)]
fn hash(frames: &[u64; MAX_FRAMES]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for frame in frames {
        hash = (hash.rotate_left(5) ^ frame).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// Keeps registers and stack of the current thread.
#[inline(always)]
fn sample(name: ProcessName, slot: u32, hash: u64) {
    let (Some(registers), Some(scratch)) = (Registers::of_current(), SAMPLE_SCRATCH.get_ptr_mut(0)) else {
        return;
    };
    // SAFETY: this CPU's own scratch; tracepoint programs run without preemption and do not nest in themselves.
    let sample: &mut SampleCell = unsafe { &mut *scratch };
    sample.time_ns = emit::now_ns();
    sample.hash = hash;
    (sample.ip, sample.sp, sample.bp) = (registers.ip, registers.sp, registers.bp);
    // SAFETY: a helper without arguments, and one that writes `COMM_LEN` bytes.
    unsafe {
        sample.tid = bpf_get_current_pid_tgid() as u32;
        bpf_get_current_comm(sample.comm.as_mut_ptr().cast(), COMM_LEN as u32);
    }
    sample.len = read_stack(&mut sample.stack, registers.sp);
    // An LRU map makes room by itself.
    let _ = SAMPLES.insert(SampleKey { start_ns: name.start_ns, tgid: name.tgid, slot }, &*sample, 0);
}

/// A stack may end soon after its pointer, and a read that goes beyond fails as a whole.
#[inline(always)]
fn read_stack(buffer: &mut [u8; SAMPLE_BYTES], sp: u64) -> u32 {
    for halvings in 0..5 {
        let len = SAMPLE_BYTES as u32 >> halvings;
        // SAFETY: the buffer has more than `len` bytes; the helper checks the source.
        if unsafe { bpf_probe_read_user(buffer.as_mut_ptr().cast(), len, sp as *const _) } == 0 {
            return len;
        }
    }
    emit::count_user_read_failed();
    0
}
