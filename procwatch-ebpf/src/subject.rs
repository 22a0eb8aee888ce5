//! The header of a record: who it is about.

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_probe_read_kernel};
use procwatch_common::wire::{COMM_LEN, Header, Kind};

use crate::{
    emit,
    kernel::{Cgroup, Ids, Task},
};

/// Whom a record is about.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) tid: u32,
    pub(crate) leader: Task,
    pub(crate) uids: Ids,
    pub(crate) cgroup: Cgroup,
}

impl Subject {
    /// A task with uids that were read already.
    #[inline(always)]
    pub(crate) fn new(task: Task, uids: Ids) -> Self {
        Self { tid: task.tid(), leader: task.process().leader(), uids, cgroup: task.cgroup() }
    }

    #[inline(always)]
    pub(crate) fn of(task: Task) -> Self {
        Self::new(task, task.uids())
    }
}

/// Describes it as it is now. `seq` and `cpu` are left to [`emit`].
#[inline(always)]
pub(crate) fn describe(header: *mut Header, kind: Kind, time_ns: u64, subject: Subject, threads: u32) {
    let Subject { tid, leader, uids, cgroup } = subject;
    // SAFETY: the caller's header lies in memory of its record; places are written, none is read.
    unsafe {
        (*header).time_ns = time_ns;
        (*header).start_ns = leader.start_ns();
        (*header).cgroup_id = cgroup.id();
        (*header).kind = kind as u32;
        (*header).tgid = leader.tgid();
        (*header).tid = tid;
        (*header).ppid = leader.parent().tgid();
        (*header).uid = uids.real;
        (*header).euid = uids.effective;
        (*header).threads = threads;
        current_comm(&raw mut (*header).comm);
    }
}

/// The name of the task that this program runs on behalf of.
#[inline(always)]
pub(crate) fn current_comm(comm: *mut [u8; COMM_LEN]) {
    // SAFETY: the helper writes `COMM_LEN` bytes, all of them, whatever it returns.
    if unsafe { bpf_get_current_comm(comm.cast(), COMM_LEN as u32) } != 0 {
        emit::count_kernel_read_failed();
    }
}

/// The name of a task that need not be the current one.
#[inline(always)]
pub(crate) fn comm_of(task: Task, comm: *mut [u8; COMM_LEN]) {
    // SAFETY: the helper writes `COMM_LEN` bytes, zeros when it cannot read.
    if unsafe { bpf_probe_read_kernel(comm.cast(), COMM_LEN as u32, task.comm_ptr().cast()) } != 0 {
        emit::count_kernel_read_failed();
    }
}
