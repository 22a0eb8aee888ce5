//! All maps of the object, and the globals that the loader sets.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use procwatch_common::{
    creators::{RefusalCell, SampleCell, SampleKey, StackCell, StackKey},
    growth::Growth,
    place::{LeftKey, MAX_PLACE_RULES, PlaceCell, SettledKey},
    policy::{
        Control, MAX_FILTER_PIDS, MAX_FILTER_VALUES, MAX_PROCESS_CELLS, MAX_PROGRAMS, MAX_THREAD_RULES,
        ProcessCell, ThreadCell,
    },
    stats::Stats,
    wire::{COMM_LEN, Exec},
};

use crate::kernel::Task;

/// 1 when `sched_process_exit` has its argument `group_dead` (Linux 6.16 and later).
#[unsafe(no_mangle)]
static EXIT_TELLS_GROUP_DEAD: u32 = 0;

/// Alerts and placements: few, and each wakes the agent.
#[map]
pub(crate) static URGENT: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Everything, when someone listens. The loader sets its size.
#[map]
pub(crate) static STREAM: RingBuf = RingBuf::with_byte_size(1 << 23, 0);

/// One cell: [`Control`].
#[map]
pub(crate) static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// One cell: when the stream may wake the agent again, `CLOCK_BOOTTIME` ns.
#[map]
pub(crate) static NEXT_WAKE: Array<u64> = Array::with_max_entries(1, 0);

/// One cell per CPU: [`Stats`].
#[map]
pub(crate) static STATS: PerCpuArray<Stats> = PerCpuArray::with_max_entries(1, 0);

/// Room to put an exec record together; too large for the stack.
#[map]
pub(crate) static EXEC_SCRATCH: PerCpuArray<Exec> = PerCpuArray::with_max_entries(1, 0);

/// Uids the stream is limited to.
#[map]
pub(crate) static FILTER_UIDS: HashMap<u32, u8> = HashMap::with_max_entries(MAX_FILTER_VALUES as u32, 0);

/// Names the stream is limited to.
#[map]
pub(crate) static FILTER_COMMS: HashMap<[u8; COMM_LEN], u8> =
    HashMap::with_max_entries(MAX_FILTER_VALUES as u32, 0);

/// Processes the stream is limited to.
#[map]
pub(crate) static FILTER_PIDS: HashMap<u32, u8> = HashMap::with_max_entries(MAX_FILTER_PIDS as u32, 0);

/// A process for ever: whoever bears the pid next is another.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ProcessName {
    pub(crate) start_ns: u64,
    pub(crate) tgid: u32,
    pub(crate) pad: u32,
}

impl ProcessName {
    /// That of a process by its leader.
    #[inline(always)]
    pub(crate) fn of(leader: Task) -> Self {
        Self { start_ns: leader.start_ns(), tgid: leader.tgid(), pad: 0 }
    }
}

/// A bound that a process has crossed and not yet fallen back from.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct CrossedKey {
    start_ns: u64,
    tgid: u32,
    /// Low half: which bound. High half: which time, for what can be crossed again without falling back.
    way: u32,
}

impl CrossedKey {
    #[inline(always)]
    pub(crate) const fn of(process: ProcessName, way: u32, count: u32) -> Self {
        Self { start_ns: process.start_ns, tgid: process.tgid, way: count << 16 | way }
    }
}

/// A set. Insertion with `BPF_NOEXIST` is what makes an alert unique: of all CPUs that see the crossing one succeeds, on
/// every kernel and without atomic instructions.
#[map]
pub(crate) static CROSSED: HashMap<CrossedKey, u8> = HashMap::with_max_entries(8192, 0);

/// The rules about threads. The first one is that of all processes that have no other.
#[map]
pub(crate) static THREAD_RULES: Array<ThreadCell> = Array::with_max_entries(MAX_THREAD_RULES as u32, 0);

/// Processes whose rule is not the first, by process id.
#[map]
pub(crate) static THREAD_CELLS: HashMap<u32, ProcessCell> =
    HashMap::with_max_entries(MAX_PROCESS_CELLS as u32, BPF_F_NO_PREALLOC);

/// How processes above the floor grow. Memory is taken for those that are there.
#[map]
pub(crate) static GROWTH: HashMap<ProcessName, Growth> = HashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);

/// What a process begins with in [`GROWTH`]; too large for the stack.
pub(crate) static NEW_GROWTH: Growth = Growth::NEW;

/// Uids whose execs are told.
#[map]
pub(crate) static PROGRAM_UIDS: HashMap<u32, u8> =
    HashMap::with_max_entries(MAX_PROGRAMS as u32, BPF_F_NO_PREALLOC);

/// Programs, by comm, whose execs are told.
#[map]
pub(crate) static PROGRAM_COMMS: HashMap<[u8; COMM_LEN], u8> =
    HashMap::with_max_entries(MAX_PROGRAMS as u32, BPF_F_NO_PREALLOC);

/// Creations of threads by user stack. Bounded: the least recently used go.
#[map]
pub(crate) static STACKS: LruHashMap<StackKey, StackCell> = LruHashMap::with_max_entries(4096, 0);

/// Samples of creating threads. Bounded as above: as many as 32 processes fill.
#[map]
pub(crate) static SAMPLES: LruHashMap<SampleKey, SampleCell> = LruHashMap::with_max_entries(512, 0);

/// Room to put a sample together; too large for the stack.
#[map]
pub(crate) static SAMPLE_SCRATCH: PerCpuArray<SampleCell> = PerCpuArray::with_max_entries(1, 0);

/// Room to put a stack together.
#[map]
pub(crate) static STACK_SCRATCH: PerCpuArray<StackCell> = PerCpuArray::with_max_entries(1, 0);

/// Threads refused, by process.
#[map]
pub(crate) static REFUSALS: HashMap<ProcessName, RefusalCell> = HashMap::with_max_entries(1024, 0);

/// Last known (real, effective) uid per process, where no hook tells of changes. Bounded: the least recently used go.
#[map]
pub(crate) static UIDS: LruHashMap<u32, [u32; 2]> = LruHashMap::with_max_entries(32_768, 0);

/// Processes whose end has been reported: (tgid, start). Only for those that ended with several threads at once.
#[map]
pub(crate) static GONE: LruHashMap<[u64; 2], u8> = LruHashMap::with_max_entries(1024, 0);

/// Where the processes of a uid belong.
#[map]
pub(crate) static PLACE_UIDS: HashMap<u32, PlaceCell> = HashMap::with_max_entries(MAX_PLACE_RULES as u32, 0);

/// Where the processes of a gid belong, unless there is a rule for their uid.
#[map]
pub(crate) static PLACE_GIDS: HashMap<u32, PlaceCell> = HashMap::with_max_entries(MAX_PLACE_RULES as u32, 0);

/// Cgroups whose processes are left alone, with the reason: the agent's answers, so that it is asked once for each.
#[map]
pub(crate) static LEFT_CGROUPS: LruHashMap<LeftKey, u32> = LruHashMap::with_max_entries(4096, 0);

/// Processes that are left alone, with the reason.
#[map]
pub(crate) static SETTLED: LruHashMap<SettledKey, u32> = LruHashMap::with_max_entries(16_384, 0);

/// Processes that are about to take on other uids.
#[map]
pub(crate) static CHANGING: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1024, 0);

/// Execs that were held, by process, until they are told of. One that failed in the end is not: its process may never run
/// another program, and its pid become another's.
#[map]
pub(crate) static HOLDS: LruHashMap<SettledKey, Hold> = LruHashMap::with_max_entries(1024, 0);

/// How an exec was held.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Hold {
    pub(crate) held_ns: u64,
    pub(crate) rule: u32,
    /// A [`procwatch_common::place::HoldEnd`].
    pub(crate) end: u32,
}

/// The policy cell; `None` never happens, but the verifier asks.
#[inline(always)]
pub(crate) fn control() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// Whether this is the process id of the agent.
#[inline(always)]
pub(crate) const fn is_agent(control: &Control, tgid: u32) -> bool {
    control.agent == tgid
}

#[inline(always)]
pub(crate) fn exit_tells_group_dead() -> bool {
    // SAFETY: a static of this object; volatile because the loader, not the compiler, knows its value.
    unsafe { core::ptr::read_volatile(&raw const EXIT_TELLS_GROUP_DEAD) != 0 }
}
