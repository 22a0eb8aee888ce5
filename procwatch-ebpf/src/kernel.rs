//! The kernel's structures as the programs see them: typed accessors over offsets that the loader resolved.
//!
//! The pointers come from BTF-typed program arguments, so the verifier knows what they point to, checks each load
//! against that type, and makes a load from a stale pointer yield zero instead of a fault. No helper call is needed.

use aya_ebpf::helpers::{
    bpf_probe_read_kernel,
    generated::{
        bpf_get_current_ancestor_cgroup_id, bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs,
    },
};
use procwatch_common::fields::{ABSENT, Fields};

use crate::emit;

const PF_KTHREAD: u32 = 0x0020_0000;
const SIGNAL_GROUP_EXIT: u32 = 0x4;

/// Set by the loader from the running kernel's BTF.
#[unsafe(no_mangle)]
static FIELDS: Fields = Fields {
    task_pid: ABSENT,
    task_tgid: ABSENT,
    task_flags: ABSENT,
    task_comm: ABSENT,
    task_real_parent: ABSENT,
    task_group_leader: ABSENT,
    task_signal: ABSENT,
    task_real_cred: ABSENT,
    task_mm: ABSENT,
    task_cgroups: ABSENT,
    task_start_boottime: ABSENT,
    task_exit_code: ABSENT,
    task_loginuid: ABSENT,
    task_sessionid: ABSENT,
    task_nsproxy: ABSENT,
    task_thread_pid: ABSENT,
    signal_tty: ABSENT,
    signal_nr_threads: ABSENT,
    signal_live: ABSENT,
    signal_curr_target: ABSENT,
    signal_flags: ABSENT,
    signal_group_exit_code: ABSENT,
    cred_uid: ABSENT,
    cred_euid: ABSENT,
    cred_gid: ABSENT,
    cred_egid: ABSENT,
    nsproxy_cgroup_ns: ABSENT,
    cgroup_namespace_ns: ABSENT,
    ns_common_inum: ABSENT,
    pid_level: ABSENT,
    tty_name: ABSENT,
    mm_arg_start: ABSENT,
    mm_arg_end: ABSENT,
    css_set_dfl_cgrp: ABSENT,
    cgroup_kn: ABSENT,
    kernfs_node_id: ABSENT,
    binprm_filename: ABSENT,
    pt_regs_ip: ABSENT,
    pt_regs_sp: ABSENT,
    pt_regs_bp: ABSENT,
};

/// Where `struct cgroup` of kernels before 6.1 has its `level` and its `ancestor_ids`, set by the loader; [`ABSENT`] on
/// later ones. Those have a helper in their place, which 5.10 does not lend to programs of this kind.
#[unsafe(no_mangle)]
static OLD_CGROUP: [u32; 2] = [ABSENT; 2];

/// The offset of one kernel field. Volatile: the value in the object is not the one at run time.
macro_rules! offset {
    ($name:ident) => {{
        // SAFETY: a static of this object.
        unsafe { core::ptr::read_volatile(&raw const FIELDS.$name) }
    }};
}

/// Reads the field at `offset` of the structure at `base`.
#[inline(always)]
fn load<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: `base` descends from a BTF-typed program argument and `offset` is that type's field: the verifier
    // refuses the program otherwise. Volatile keeps the compiler from merging or widening loads of typed memory.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
}

/// Id of the cgroup at `depth` that the current task is in or below; 0 when it is not so deep.
#[inline(always)]
pub(crate) fn current_ancestor(depth: u32) -> u64 {
    // SAFETY: a static of this object.
    let ids_at = unsafe { core::ptr::read_volatile(&raw const OLD_CGROUP[1]) };
    if ids_at == ABSENT {
        // SAFETY: a helper that takes a depth, any depth.
        unsafe { bpf_get_current_ancestor_cgroup_id(depth as i32) }
    } else {
        old_current_ancestor(depth, ids_at).unwrap_or(0)
    }
}

/// The same without the helper. The pointers carry no type here: each read is checked by a helper.
#[inline(never)]
fn old_current_ancestor(depth: u32, ids_at: u32) -> Option<u64> {
    const ID: u32 = size_of::<u64>() as u32;
    // SAFETY: a static of this object.
    let level_at = unsafe { core::ptr::read_volatile(&raw const OLD_CGROUP[0]) };
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let css_set: *const u8 = fetch(task, offset!(task_cgroups))?;
    let cgroup: *const u8 = fetch(css_set, offset!(css_set_dfl_cgrp))?;
    let level: u32 = fetch(cgroup, level_at)?;
    if depth > level {
        return None;
    }
    fetch(cgroup, ids_at + depth * ID)
}

/// Reads what is at `offset` of an address that the verifier knows nothing of.
#[inline(always)]
fn fetch<T>(base: *const u8, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address.
    let read = unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast::<T>()) };
    if read.is_err() {
        emit::count_kernel_read_failed();
    }
    read.ok()
}

/// `struct task_struct`.
#[derive(Clone, Copy)]
pub(crate) struct Task(pub(crate) *const u8);

/// Ids of one sort in a `struct cred`, uids or gids: the part that matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) real: u32,
    pub(crate) effective: u32,
}

impl Ids {
    /// The one id that the task bears. Who is someone else only for a moment has two.
    #[inline(always)]
    pub(crate) fn agreed(self) -> Option<u32> {
        if self.real == self.effective { Some(self.real) } else { None }
    }
}

/// Where a process keeps its arguments, in its own address space.
#[derive(Clone, Copy)]
pub(crate) struct ArgRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Task {
    /// The task that this program runs on behalf of. Not for tracepoints on 5.10.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: a helper without arguments; the current task outlives the program.
        Self(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
    }

    #[inline(always)]
    pub(crate) fn tid(self) -> u32 {
        load(self.0, offset!(task_pid))
    }

    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        load(self.0, offset!(task_tgid))
    }

    #[inline(always)]
    pub(crate) fn parent(self) -> Self {
        Self(load(self.0, offset!(task_real_parent)))
    }

    #[inline(always)]
    pub(crate) fn is_kernel_thread(self) -> bool {
        load::<u32>(self.0, offset!(task_flags)) & PF_KTHREAD != 0
    }

    /// Address of the name, for a helper to copy from.
    #[inline(always)]
    pub(crate) fn comm_ptr(self) -> *const u8 {
        self.0.wrapping_add(offset!(task_comm) as usize)
    }

    #[inline(always)]
    pub(crate) fn start_ns(self) -> u64 {
        load(self.0, offset!(task_start_boottime))
    }

    /// Address of the process' arguments in its own memory; 0 for a kernel thread.
    #[inline(always)]
    pub(crate) fn arg_start(self) -> u64 {
        self.memory().arg_range().map_or(0, |range| range.start)
    }

    /// The thread whose name and id are those of the process.
    #[inline(always)]
    pub(crate) fn leader(self) -> Self {
        Self(load(self.0, offset!(task_group_leader)))
    }

    /// The process that it belongs to.
    #[inline(always)]
    pub(crate) fn process(self) -> Process {
        Process(load(self.0, offset!(task_signal)))
    }

    #[inline(always)]
    pub(crate) fn exit_status(self) -> u32 {
        load(self.0, offset!(task_exit_code))
    }

    #[inline(always)]
    pub(crate) fn uids(self) -> Ids {
        uids_of(load(self.0, offset!(task_real_cred)))
    }

    #[inline(always)]
    pub(crate) fn gids(self) -> Ids {
        let cred: *const u8 = load(self.0, offset!(task_real_cred));
        Ids { real: load(cred, offset!(cred_gid)), effective: load(cred, offset!(cred_egid)) }
    }

    /// Depth of its pid namespace below the initial one.
    #[inline(always)]
    pub(crate) fn pid_level(self) -> u32 {
        let pid: *const u8 = load(self.0, offset!(task_thread_pid));
        load(pid, offset!(pid_level))
    }

    /// Number of its cgroup namespace; 0 once it has begun to exit.
    #[inline(always)]
    pub(crate) fn cgroup_ns(self) -> u32 {
        let nsproxy: *const u8 = load(self.0, offset!(task_nsproxy));
        let ns: *const u8 = load(nsproxy, offset!(nsproxy_cgroup_ns));
        load(ns, offset!(cgroup_namespace_ns) + offset!(ns_common_inum))
    }

    /// Address of its controlling terminal's name, for a helper to copy from.
    #[inline(always)]
    pub(crate) fn tty_name(self) -> Option<*const u8> {
        if offset!(signal_tty) == ABSENT || offset!(tty_name) == ABSENT {
            return None;
        }
        let tty: *const u8 = load(self.process().0, offset!(signal_tty));
        if tty.is_null() { None } else { Some(tty.wrapping_add(offset!(tty_name) as usize)) }
    }

    /// The task's cgroup in the v2 hierarchy.
    #[inline(always)]
    pub(crate) fn cgroup(self) -> Cgroup {
        let css_set: *const u8 = load(self.0, offset!(task_cgroups));
        Cgroup(load(css_set, offset!(css_set_dfl_cgrp)))
    }

    #[inline(always)]
    pub(crate) fn memory(self) -> Memory {
        Memory(load(self.0, offset!(task_mm)))
    }

    /// Login uid, `u32::MAX` when unset or when this kernel keeps none.
    #[inline(always)]
    pub(crate) fn loginuid(self) -> u32 {
        load_or_max(self.0, offset!(task_loginuid))
    }

    /// Audit session, `u32::MAX` when unset or when this kernel keeps none.
    #[inline(always)]
    pub(crate) fn sessionid(self) -> u32 {
        load_or_max(self.0, offset!(task_sessionid))
    }
}

/// `struct mm_struct`, or null.
#[derive(Clone, Copy)]
pub(crate) struct Memory(*const u8);

impl Memory {
    pub(crate) const NONE: Self = Self(core::ptr::null());

    /// `None` for a kernel thread, and for what has ended.
    #[inline(always)]
    pub(crate) fn arg_range(self) -> Option<ArgRange> {
        if self.0.is_null() {
            return None;
        }
        Some(ArgRange { start: load(self.0, offset!(mm_arg_start)), end: load(self.0, offset!(mm_arg_end)) })
    }
}

/// `struct signal_struct`: what the threads of a process share.
#[derive(Clone, Copy)]
pub(crate) struct Process(*const u8);

impl Process {
    /// Threads not yet reaped.
    #[inline(always)]
    pub(crate) fn threads(self) -> u32 {
        load(self.0, offset!(signal_nr_threads))
    }

    /// Threads that have not begun to exit.
    #[inline(always)]
    pub(crate) fn live_threads(self) -> u32 {
        load(self.0, offset!(signal_live))
    }

    /// Whether all threads are about to end.
    #[inline(always)]
    pub(crate) fn ends(self) -> bool {
        load::<u32>(self.0, offset!(signal_flags)) & SIGNAL_GROUP_EXIT != 0
    }

    /// What `waitpid` will tell of it.
    #[inline(always)]
    pub(crate) fn exit_status(self) -> u32 {
        // Both are read, always: of a read in each branch the compiler makes one read at an address put together from
        // two choices, and the verifier of 6.1 does not see that the two choices agree.
        let of_group: u32 = load(self.0, offset!(signal_group_exit_code));
        let of_leader = self.leader().exit_status();
        if self.ends() { of_group } else { of_leader }
    }

    /// The thread whose name and id are those of the process.
    ///
    /// By way of a thread that the kernel keeps for signals, not by the `group_leader` of a program's argument: each pointer
    /// that is followed from an argument, which the verifier trusts, is looked up in lists of names, each name by a walk
    /// through all types of the kernel (6.4 to 6.18: some milliseconds for each place in a program that does it). Behind
    /// `signal` nothing is trusted, and nothing looked up.
    #[inline(always)]
    pub(crate) fn leader(self) -> Task {
        Task(load::<*const u8>(self.0, offset!(signal_curr_target))).leader()
    }
}

/// `struct cgroup`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cgroup(pub(crate) *const u8);

impl Cgroup {
    #[inline(always)]
    pub(crate) fn id(self) -> u64 {
        let kn: *const u8 = load(self.0, offset!(cgroup_kn));
        load(kn, offset!(kernfs_node_id))
    }
}

/// `struct pt_regs`: where the current task left user space.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) bp: u64,
}

/// 1 when the kernel lends `bpf_task_pt_regs` (Linux 5.15 and later), set by the loader.
#[unsafe(no_mangle)]
static TELLS_REGISTERS: u32 = 0;

impl Registers {
    #[inline(always)]
    pub(crate) fn of_current() -> Option<Self> {
        // SAFETY: a static of this object.
        let told = unsafe { core::ptr::read_volatile(&raw const TELLS_REGISTERS) } != 0;
        if !told || offset!(pt_regs_ip) == ABSENT {
            return None;
        }
        // SAFETY: the helper takes the current task, of which it gives the registers.
        let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const u8;
        Some(Self {
            ip: load(regs, offset!(pt_regs_ip)),
            sp: load(regs, offset!(pt_regs_sp)),
            bp: load(regs, offset!(pt_regs_bp)),
        })
    }
}

/// The uids in a `struct cred`.
#[inline(always)]
pub(crate) fn uids_of(cred: *const u8) -> Ids {
    Ids { real: load(cred, offset!(cred_uid)), effective: load(cred, offset!(cred_euid)) }
}

/// `linux_binprm.filename`: a string in kernel memory.
#[inline(always)]
pub(crate) fn binprm_filename(binprm: *const u8) -> *const u8 {
    load(binprm, offset!(binprm_filename))
}

/// An optional field: the branch is dead code to the verifier where the kernel lacks it.
#[inline(always)]
fn load_or_max(base: *const u8, offset: u32) -> u32 {
    if offset == ABSENT { u32::MAX } else { load(base, offset) }
}
