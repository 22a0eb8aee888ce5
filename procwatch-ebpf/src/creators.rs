//! Who creates threads: creations above the floor are counted by user stack, and some are sampled for an unwinder.
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a copy of a value as large as these does not fit the stack"
)]

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_USER_STACK,
    helpers::generated::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_stack, bpf_probe_read_user,
    },
};
use procwatch_common::{
    creators::{
        MAX_FRAMES, MAX_SAMPLES, MAX_STACKS, SAMPLE_BYTES, SAMPLE_EACH, SampleCell, SampleKey, StackCell,
        StackKey,
    },
    growth::Growth,
    wire::COMM_LEN,
};

use crate::{
    atomic, emit,
    kernel::Registers,
    maps::{ProcessName, SAMPLE_SCRATCH, SAMPLES, STACK_SCRATCH, STACKS},
};

const BPF_NOEXIST: u64 = 1;
/// Larger frames are taken for none.
const MAX_FRAME_BYTES: u64 = 1 << 20;

/// Counts one creation.
#[inline(always)]
pub(crate) fn count(ctx: &impl EbpfContext, name: ProcessName, growth: &mut Growth) {
    let earlier = growth.creations;
    let Some(hash) = count_created(ctx, &name, growth) else {
        return;
    };
    if earlier < u64::from(MAX_SAMPLES) {
        sample(name, earlier as u32, hash);
    } else if earlier.is_multiple_of(SAMPLE_EACH) {
        sample(name, (earlier / SAMPLE_EACH) as u32 % MAX_SAMPLES, hash);
    }
}

/// Counts the current user stack, and returns its number.
#[inline(always)]
fn count_created(ctx: &impl EbpfContext, name: &ProcessName, growth: &mut Growth) -> Option<u64> {
    let scratch = STACK_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's own scratch; tracepoint programs run without preemption and do not nest in themselves.
    let cell: &mut StackCell = unsafe { &mut *scratch };
    cell.frames = [0; MAX_FRAMES];
    cell.depth = walk(ctx, &mut cell.frames)?;
    (cell.count, cell.refused) = (1, 0);
    let hash = hash(&cell.frames);
    let key = key(name, hash);
    if !add(&key, false) && growth.stacks < MAX_STACKS {
        growth.stacks += 1;
        // Another CPU may be quicker. An LRU map makes room by itself.
        if STACKS.insert(key, &*cell, BPF_NOEXIST).is_err() {
            add(&key, false);
        }
    }
    Some(hash)
}

/// Counts one thread that was refused, by a stack that has created others. This may be preempted, so there is no scratch
/// to put a new stack together in.
#[inline(always)]
pub(crate) fn count_refused(ctx: &impl EbpfContext, name: ProcessName) {
    let mut frames = [0; MAX_FRAMES];
    if walk(ctx, &mut frames).is_some() {
        add(&key(&name, hash(&frames)), true);
    }
}

/// Walks the current user stack by frame pointers, and returns how deep it is.
///
/// The kernel's helper follows whatever the register holds: in code without frame pointers that is junk, a stack of its own
/// for each creation, and a fault that takes longer than all the rest. A frame lies above the one before it, and near.
#[inline(always)]
fn walk(ctx: &impl EbpfContext, frames: &mut [u64; MAX_FRAMES]) -> Option<u32> {
    let Some(registers) = Registers::of_current() else {
        return walk_by_helper(ctx, frames);
    };
    frames[0] = registers.ip;
    let (mut below, mut frame) = (registers.sp, registers.bp);
    for (depth, address) in frames.iter_mut().enumerate().skip(1) {
        if frame < below || frame - below > MAX_FRAME_BYTES || frame % size_of::<u64>() as u64 != 0 {
            return Some(depth as u32);
        }
        // What the frame begins with: the frame above it, and where that goes on.
        let mut above = [0_u64; 2];
        let len = size_of_val(&above) as u32;
        // SAFETY: the buffer has `len` bytes; the helper checks the source.
        if unsafe { bpf_probe_read_user(above.as_mut_ptr().cast(), len, frame as *const _) } != 0
            || above[1] == 0
        {
            return Some(depth as u32);
        }
        *address = above[1];
        below = frame + u64::from(len);
        frame = above[0];
    }
    Some(MAX_FRAMES as u32)
}

/// The same where the kernel does not tell the registers.
#[inline(always)]
fn walk_by_helper(ctx: &impl EbpfContext, frames: &mut [u64; MAX_FRAMES]) -> Option<u32> {
    let (size, flags) = (size_of_val(frames) as u32, u64::from(BPF_F_USER_STACK));
    // SAFETY: the buffer has `size` bytes.
    let len = unsafe { bpf_get_stack(ctx.as_ptr(), frames.as_mut_ptr().cast(), size, flags) };
    if len < 0 {
        emit::count_user_read_failed();
        return None;
    }
    Some(len as u32 / size_of::<u64>() as u32)
}

#[inline(always)]
fn key(name: &ProcessName, hash: u64) -> StackKey {
    StackKey { start_ns: name.start_ns, hash, tgid: name.tgid, pad: 0 }
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
