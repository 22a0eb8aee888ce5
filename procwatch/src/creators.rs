//! Who creates the threads of a process, as the kernel program counted and sampled it.

use crate::{event::BootTime, text::Comm};

/// All that the kernel side knows about the creators of one process' threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Creators {
    /// Creations by user stack, most first.
    pub stacks: Vec<CreatorStack>,
    /// Samples of creations, oldest first: the first ones above the floor, then each sixteenth.
    pub samples: Vec<StackSample>,
    /// Creations that were seen above the floor.
    pub creations: u64,
    /// Creations whose stack was not kept, because the table was full.
    pub unkept: u64,
    /// Threads that were refused.
    pub refused: u64,
}

/// Creations by one user stack. Walked by frame pointers: of code built without them only the first entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatorStack {
    /// The kernel program's number for it, the same as in [`StackSample::stack_hash`].
    pub hash: u64,
    /// Threads created.
    pub count: u64,
    /// Threads refused.
    pub refused: u64,
    /// Addresses, innermost first.
    pub frames: Vec<u64>,
}

/// The creating thread at the moment of a creation: what an unwinder needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackSample {
    /// When.
    pub time: BootTime,
    /// The creating thread.
    pub tid: u32,
    /// Its name.
    pub comm: Comm,
    /// Which [`CreatorStack`] it belongs to.
    pub stack_hash: u64,
    /// Instruction pointer (after the `clone` system call).
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer register, whatever the code uses it for.
    pub bp: u64,
    /// Memory from `sp` upwards, at most 4 KiB; empty when it could not be read.
    pub stack: Vec<u8>,
}
