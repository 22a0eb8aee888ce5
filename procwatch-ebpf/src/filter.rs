//! Does the listener want this event? Answered in the kernel, so that what nobody wants never leaves it.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use procwatch_common::{
    policy::{CgroupCell, Control, FILTER_CGROUP, FILTER_CHILDREN, FILTER_COMM, FILTER_PID, FILTER_UID},
    wire::{COMM_LEN, Kind},
};

use crate::{
    kernel::{self, Ids, Task},
    maps::{FILTER_COMMS, FILTER_PIDS, FILTER_UIDS, is_agent},
};

/// Whether anyone listens to events of this kind at all.
#[inline(always)]
pub(crate) fn listening(control: &Control, kind: Kind) -> bool {
    control.stream_kinds & kind.bit() != 0
}

/// Whether an event of this kind about `task` goes to the stream.
#[inline(always)]
pub(crate) fn wants(control: &Control, kind: Kind, task: Task, uids: Ids) -> bool {
    if !listening(control, kind) || is_agent(control, task.tgid()) {
        return false;
    }
    // A move has two names and two cgroups, and its cause is neither's owner: the agent decides about those.
    let ignored = if matches!(kind, Kind::Cgroup) { FILTER_COMM | FILTER_CGROUP } else { 0 };
    let filters = control.filters & !ignored;
    filters == 0 || passes(control, filters, task, uids)
}

#[inline(always)]
fn passes(control: &Control, filters: u32, task: Task, uids: Ids) -> bool {
    if filters & FILTER_UID != 0 && !has_uid(uids.real) && !has_uid(uids.effective) {
        return false;
    }
    // The process an event is about, or the one that caused it: a creator, or a mover.
    if filters & FILTER_PID != 0
        && !has_pid(task.tgid())
        && !has_pid((bpf_get_current_pid_tgid() >> 32) as u32)
    {
        return false;
    }
    if filters & FILTER_COMM != 0 && !bpf_get_current_comm().is_ok_and(has_comm) {
        return false;
    }
    filters & FILTER_CGROUP == 0 || current_is_below(control.cgroup)
}

#[inline(always)]
fn has_uid(uid: u32) -> bool {
    // SAFETY: the value is not used.
    unsafe { FILTER_UIDS.get(uid) }.is_some()
}

#[inline(always)]
fn has_pid(tgid: u32) -> bool {
    // SAFETY: the value is not used.
    unsafe { FILTER_PIDS.get(tgid) }.is_some()
}

#[inline(always)]
fn has_comm(comm: [u8; COMM_LEN]) -> bool {
    // SAFETY: the value is not used.
    unsafe { FILTER_COMMS.get(comm) }.is_some()
}

/// Whether the current task is in or below `cgroup`.
#[inline(always)]
pub(crate) fn current_is_below(cgroup: CgroupCell) -> bool {
    cgroup.id != 0 && kernel::current_ancestor(cgroup.depth) == cgroup.id
}

/// A child of a watched process is watched too, whether or not anyone listens yet.
#[inline(always)]
pub(crate) fn follow_child(control: &Control, creator_tgid: u32, child_tgid: u32) {
    if control.filters & FILTER_CHILDREN == 0 {
        return;
    }
    if has_pid(creator_tgid) && FILTER_PIDS.insert(child_tgid, 0, 0).is_err() {
        crate::emit::count_state_full();
    }
}

/// Pids are used again: one that ended is no longer watched.
#[inline(always)]
pub(crate) fn forget(control: &Control, tgid: u32) {
    if control.filters & FILTER_CHILDREN != 0 {
        // Not there is what most are.
        let _ = FILTER_PIDS.remove(tgid);
    }
}
