//! The header of a record: who it is about.

use aya_ebpf::helpers::bpf_get_current_comm;
use procwatch_common::wire::{COMM_LEN, Header, Kind};

use crate::kernel::{Task, Uids};

/// Describes `task` as it is now. `seq` and `cpu` are left to [`crate::emit`].
#[inline(always)]
pub(crate) fn header(kind: Kind, time_ns: u64, task: Task, uids: Uids, threads: u32) -> Header {
    Header {
        time_ns,
        seq: 0,
        start_ns: task.process_start_ns(),
        cgroup_id: task.cgroup().id(),
        kind: kind as u32,
        cpu: 0,
        tgid: task.tgid(),
        tid: task.tid(),
        ppid: task.parent_tgid(),
        uid: uids.real,
        euid: uids.effective,
        threads,
        comm: current_comm(),
    }
}

/// The name of the task that this program runs on behalf of.
#[inline(always)]
pub(crate) fn current_comm() -> [u8; COMM_LEN] {
    // The helper fails only without a current task, which tracepoints of the life cycle always have.
    bpf_get_current_comm().unwrap_or([0; COMM_LEN])
}
