//! The header of a record: who it is about.

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_probe_read_kernel};
use procwatch_common::wire::{COMM_LEN, Header, Kind};

use crate::{
    emit,
    kernel::{Ids, Task},
};

/// Describes `task` as it is now. `seq` and `cpu` are left to [`emit`].
#[inline(always)]
pub(crate) fn describe(header: *mut Header, kind: Kind, time_ns: u64, task: Task, uids: Ids, threads: u32) {
    // SAFETY: the caller's header lies in memory of its record; places are written, none is read.
    unsafe {
        (*header).time_ns = time_ns;
        (*header).start_ns = task.process_start_ns();
        (*header).cgroup_id = task.cgroup().id();
        (*header).kind = kind as u32;
        (*header).tgid = task.tgid();
        (*header).tid = task.tid();
        (*header).ppid = task.parent().tgid();
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
