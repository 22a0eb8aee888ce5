//! Policy cells: what the agent tells the kernel programs.

use bytemuck::{Pod, Zeroable};

use crate::place::ELSEWHERE;

/// Most levels a process can cross.
pub const MAX_LEVELS: usize = 4;

/// Threads below which a process costs no state and no level may be set.
pub const FLOOR_THREADS: u32 = 32;

/// Most rules about threads, that for all others among them.
pub const MAX_THREAD_RULES: usize = 1024;

/// Most processes that can have a rule of their own.
pub const MAX_PROCESS_CELLS: usize = 32_768;

/// Most uids, and most names, whose execs are told. Where rules name more, every exec is.
pub const MAX_PROGRAMS: usize = 4096;

/// [`Control::programs`]: execs by uids in the map `PROGRAM_UIDS` are told.
pub const PROGRAM_UID: u32 = 1 << 0;
/// [`Control::programs`]: execs of a program whose comm is in the map `PROGRAM_COMMS` are told.
pub const PROGRAM_COMM: u32 = 1 << 1;
/// [`Control::programs`]: every exec is told.
pub const PROGRAM_ANY: u32 = 1 << 2;

/// Most uids, and most names, that the stream can be limited to.
pub const MAX_FILTER_VALUES: usize = 64;

/// Most processes that the stream can be limited to, with their children.
pub const MAX_FILTER_PIDS: usize = 32_768;

/// [`Control::filters`]: only events of the uids in the map `FILTER_UIDS`.
pub const FILTER_UID: u32 = 1 << 0;
/// [`Control::filters`]: only events of the comms in the map `FILTER_COMMS`.
pub const FILTER_COMM: u32 = 1 << 1;
/// [`Control::filters`]: only events of the processes in the map `FILTER_PIDS`.
pub const FILTER_PID: u32 = 1 << 2;
/// [`Control::filters`]: children of a process in `FILTER_PIDS` join it.
pub const FILTER_CHILDREN: u32 = 1 << 3;
/// [`Control::filters`]: only events of tasks in or below [`Control::cgroup`].
pub const FILTER_CGROUP: u32 = 1 << 4;

/// A cgroup as the kernel programs know one: its id and its depth below the root of the v2 hierarchy (root: 0).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct CgroupCell {
    /// The cgroup id; 0 is none.
    pub id: u64,
    /// Depth below the root.
    pub depth: u32,
    /// Zero.
    pub pad: u32,
}

/// The one cell that steers all programs. All zero (before the agent's start gate opens): nothing is sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Control {
    /// Bit per [`crate::wire::Kind`] that the stream wants; 0 when nobody listens.
    pub stream_kinds: u32,
    /// 1 when levels and placements are to be reported on the urgent ring.
    pub urgent: u32,
    /// Set of `FILTER_*` for the stream.
    pub filters: u32,
    /// Threads from which a process is looked at when it grows: the floor, or the lowest bound when nothing but levels
    /// matters.
    pub floor: u32,
    /// 1 when some processes have a rule of their own, in the map `THREAD_CELLS`.
    pub thread_rules: u32,
    /// Which execs are told, so that a rule can be chosen: `PROGRAM_*`.
    pub programs: u32,
    /// 1 when creations of threads above the floor are counted by user stack, and sampled.
    pub stacks: u32,
    /// How many placement rules there are, by user and by group.
    pub place_rules: u32,
    /// How many of them are by group.
    pub place_groups: u32,
    /// Shortest time between two wake-ups by the stream ring, ns.
    pub stream_wake_ns: u32,
    /// Fill of the stream ring, in bytes, from which every record wakes the agent.
    pub stream_wake_bytes: u64,
    /// For [`FILTER_CGROUP`].
    pub cgroup: CgroupCell,
    /// Where the subtrees of [`ELSEWHERE`] are; id 0 for one that is not there.
    pub elsewhere: [CgroupCell; ELSEWHERE.len()],
    /// 1 when a program on `commit_creds` sees credential changes; else they are noticed at a task's next event.
    pub cred_hook: u32,
    /// Process id of the agent, whose own events are not reported; 0 when there is none. Programs that are pinned outlive
    /// their agent: at its end they set this to 0, and `hold` and `stream_kinds` with it.
    pub agent: u32,
    /// 1 while the agent answers held execs.
    pub hold: u32,
    /// 1 when the kernel programs may refuse threads and stop processes; else they only tell that they would.
    pub enforce: u32,
    /// Records that found the urgent ring full, as far as an agent has told of them. For the next agent.
    pub lost_told: u64,
    /// Which rules about threads are in force: for the agent that comes after.
    pub thread_policy: u64,
    /// Which rules about placement are in force.
    pub place_policy: u64,
}

/// What a rule wants to know about the threads of its processes. All zero: nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ThreadCell {
    /// Rising thread counts; each crossing raises one record.
    pub levels: [u32; MAX_LEVELS],
    /// How many of them are set.
    pub level_count: u32,
    /// Net growth that is a burst, threads; 0: none is.
    pub burst_threads: u32,
    /// Within this time, ns.
    pub burst_ns: u64,
    /// Shortest time between two marks of a leak, ns.
    pub leak_gap_ns: u64,
    /// How many marks are a leak; 0: none is.
    pub leak_marks: u32,
    /// Most threads: one more is refused; 0: no bound.
    pub cap: u32,
    /// The process is stopped at this many threads; 0: it is not.
    pub stop_at: u32,
    /// Zero.
    pub pad: u32,
}

/// Which rule a process has, when it is not the first one of the map `THREAD_RULES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ProcessCell {
    /// `CLOCK_BOOTTIME` of the process' start, ns: whoever bears the pid next is another.
    pub start_ns: u64,
    /// Index of the rule in the map `THREAD_RULES`.
    pub rule: u32,
    /// Most threads of this very process, in place of the rule's; 0: what the rule says; [`PROTECTED`]: it is neither
    /// refused threads nor stopped, whatever the rule says.
    pub cap: u32,
}

/// [`ProcessCell::cap`] of a process that is never contained.
pub const PROTECTED: u32 = u32::MAX;

#[cfg(feature = "user")]
// SAFETY: `Control` is `repr(C)` and `bytemuck::Pod` (no padding, any bit pattern is valid).
unsafe impl aya::Pod for Control {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for ThreadCell {}

#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for ProcessCell {}
