//! Does the listener want this event? Answered in the kernel, so that what nobody wants never leaves it.

use aya_ebpf::helpers::{bpf_get_current_comm, generated::bpf_get_current_ancestor_cgroup_id};
use procwatch_common::{
    policy::{CgroupCell, Control, FILTER_CGROUP, FILTER_CHILDREN, FILTER_COMM, FILTER_PID, FILTER_UID},
    wire::Kind,
};

use crate::{
    kernel::{Task, Uids},
    maps::{FILTER_COMMS, FILTER_PIDS, FILTER_UIDS, is_agent},
};

/// Whether anyone listens to events of this kind at all.
#[inline(always)]
pub(crate) fn listening(control: &Control, kind: Kind) -> bool {
    control.stream_kinds & kind.bit() != 0
}

/// Whether an event of this kind about `task` goes to the stream.
#[inline(always)]
pub(crate) fn wants(control: &Control, kind: Kind, task: Task, uids: Uids) -> bool {
    listening(control, kind) && !is_agent(task.tgid()) && matches(control, task, uids)
}

#[inline(always)]
fn matches(control: &Control, task: Task, uids: Uids) -> bool {
    let filters = control.filters;
    if filters == 0 {
        return true;
    }
    // SAFETY: the maps' values are not used, only whether they are there.
    unsafe {
        if filters & FILTER_UID != 0
            && FILTER_UIDS.get(uids.real).is_none()
            && FILTER_UIDS.get(uids.effective).is_none()
        {
            return false;
        }
        if filters & FILTER_PID != 0 && FILTER_PIDS.get(task.tgid()).is_none() {
            return false;
        }
        if filters & FILTER_COMM != 0
            && !bpf_get_current_comm().is_ok_and(|comm| FILTER_COMMS.get(comm).is_some())
        {
            return false;
        }
    }
    filters & FILTER_CGROUP == 0 || current_is_below(control.cgroup)
}

/// Whether the current task is in or below `cgroup`.
#[inline(always)]
pub(crate) fn current_is_below(cgroup: CgroupCell) -> bool {
    // SAFETY: a helper that takes a depth, any depth.
    cgroup.id != 0 && unsafe { bpf_get_current_ancestor_cgroup_id(cgroup.depth as i32) } == cgroup.id
}

/// A child of a watched process is watched too, whether or not anyone listens yet.
#[inline(always)]
pub(crate) fn follow_child(control: &Control, creator_tgid: u32, child_tgid: u32) {
    if control.filters & FILTER_CHILDREN == 0 {
        return;
    }
    // SAFETY: the value is not used.
    if unsafe { FILTER_PIDS.get(creator_tgid) }.is_some() && FILTER_PIDS.insert(child_tgid, 0, 0).is_err() {
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
