//! Is this process in the slice where it belongs? One that is costs a look-up and wakes nobody.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use procwatch_common::{
    place::{
        CGROUP_NS_INIT, ELSEWHERE, Leave, LeftKey, MAX_ANCESTORS, MAX_FROM, PLACE_AT_EXEC_ONLY, PlaceCell,
        SettledKey, TTY_LEN,
    },
    policy::Control,
    wire::{Ancestor, Kind, PATH_MAX, Stray, Trigger},
};

use crate::{
    emit, filter,
    kernel::Task,
    maps::{LEFT_CGROUPS, PLACE_GIDS, PLACE_UIDS, SETTLED},
    subject::{self, Subject},
};

/// Reports `task` if it is a stray. For a new task the creator's cgroup is looked at, which it has inherited. `file` is
/// the program that it runs now, null when it runs none.
#[inline(always)]
pub(crate) fn check(control: &Control, task: Task, trigger: Trigger, file: *const u8) {
    let Some(cell) = rule(control, task) else { return };
    if let Some(leave) = known(control, cell, task, trigger) {
        emit::count_left_alone(leave);
        return;
    }
    emit::count_stray(matches!(trigger, Trigger::Fork));
    // Without an agent nobody moves it. The next one looks for those who are outside.
    if control.agent != 0
        && let Some(mut slot) = emit::urgent::<Stray>()
    {
        describe(slot.record(), cell, task, trigger, file);
        slot.send_now();
    }
}

/// The same for programs that may be preempted: they count nothing. The next exec or fork tells it again.
#[inline(always)]
pub(crate) fn announce(cell: &PlaceCell, task: Task, trigger: Trigger, file: *const u8) {
    if let Some(mut slot) = emit::urgent_unnumbered::<Stray>() {
        describe(slot.record(), cell, task, trigger, file);
        slot.send_now();
    }
}

/// A process has taken on other uids.
#[inline(always)]
pub(crate) fn uids_changed(control: &Control, task: Task) {
    if let Some(cell) = rule(control, task)
        && cell.flags & PLACE_AT_EXEC_ONLY == 0
        && control.agent != 0
        && known(control, cell, task, Trigger::Uid).is_none()
    {
        announce(cell, task, Trigger::Uid, core::ptr::null());
    }
}

/// Whether a placement rule speaks of this task.
#[inline(always)]
pub(crate) fn has_rule(control: &Control, task: Task) -> bool {
    rule(control, task).is_some()
}

/// The rule for a task, by its uid and else by its gid. Real and effective id must agree: a service that is someone else
/// for a moment is not an `su`.
#[inline(always)]
pub(crate) fn rule(control: &Control, task: Task) -> Option<&'static PlaceCell> {
    if control.urgent == 0 || control.place_rules == 0 {
        return None;
    }
    let uid = task.uids().agreed()?;
    // SAFETY: the agent replaces cells whole; one that is read in between has a slice's id of before or after.
    let cell = unsafe { PLACE_UIDS.get(uid) };
    if cell.is_some() || control.place_groups == 0 || uid == 0 {
        return cell;
    }
    // SAFETY: as above.
    unsafe { PLACE_GIDS.get(task.gids().agreed()?) }
}

/// The reason for which a task is left alone, as far as it is known here; `None` for a stray.
#[inline(always)]
pub(crate) fn known(control: &Control, cell: &PlaceCell, task: Task, trigger: Trigger) -> Option<u32> {
    if filter::current_is_below(cell.target) {
        return Some(Leave::AlreadyInside as u32);
    }
    if !comes_from(cell) {
        return Some(elsewhere(control));
    }
    if is_in_other_namespace(task) {
        return Some(Leave::OtherNamespace as u32);
    }
    let left = LeftKey { cgroup_id: task.cgroup().id(), uid: task.uids().real, rule: cell.rule };
    // SAFETY: the value is copied at once.
    if let Some(leave) = unsafe { LEFT_CGROUPS.get(left) } {
        return Some(*leave);
    }
    settled(task, trigger)
}

#[inline(always)]
fn comes_from(cell: &PlaceCell) -> bool {
    for index in 0..MAX_FROM {
        if filter::current_is_below(cell.from[index]) {
            return true;
        }
    }
    false
}

#[inline(always)]
fn elsewhere(control: &Control) -> u32 {
    for (cgroup, (_, leave)) in control.elsewhere.iter().zip(ELSEWHERE) {
        if filter::current_is_below(*cgroup) {
            return leave as u32;
        }
    }
    Leave::NotInFrom as u32
}

#[inline(always)]
fn is_in_other_namespace(task: Task) -> bool {
    let cgroup_ns = task.cgroup_ns();
    task.pid_level() != 0 || (cgroup_ns != CGROUP_NS_INIT && cgroup_ns != 0)
}

/// What the agent has said of a process. That it ignores its program holds for the children, until they run another; that
/// it could not be moved just now holds for itself until then.
#[inline(always)]
fn settled(task: Task, trigger: Trigger) -> Option<u32> {
    const IGNORED: u32 = Leave::Ignored as u32;
    const FOR_NOW: u32 = Leave::StrayForNow as u32;
    let key = key(task);
    match trigger {
        Trigger::Fork => {
            if settled_as(self::key(task.parent())) != Some(IGNORED) {
                return None;
            }
            // An LRU map makes room by itself.
            let _ = SETTLED.insert(key, IGNORED, 0);
            Some(IGNORED)
        }
        Trigger::Exec | Trigger::Hold if matches!(settled_as(key), Some(IGNORED | FOR_NOW)) => {
            let _ = SETTLED.remove(key);
            None
        }
        _ => settled_as(key),
    }
}

#[inline(always)]
pub(crate) fn settled_as(key: SettledKey) -> Option<u32> {
    // SAFETY: the value is copied at once.
    unsafe { SETTLED.get(key) }.copied()
}

#[inline(always)]
pub(crate) fn key(task: Task) -> SettledKey {
    SettledKey { start_ns: task.process().leader().start_ns(), tgid: task.tgid(), pad: 0 }
}

#[inline(always)]
fn describe(record: *mut Stray, cell: &PlaceCell, task: Task, trigger: Trigger, file: *const u8) {
    // SAFETY: the record's own memory in the ring; the helpers bound their copies by the buffers and check the sources.
    unsafe {
        let header = &raw mut (*record).header;
        let live = task.process().live_threads();
        subject::describe(header, Kind::Stray, emit::now_ns(), Subject::of(task), live);
        (*record).rule = cell.rule;
        (*record).trigger = trigger as u32;
        (*record).loginuid = task.loginuid();
        (*record).sessionid = task.sessionid();
        (*record).tty[0] = 0;
        if let Some(name) = task.tty_name()
            && bpf_probe_read_kernel_str((&raw mut (*record).tty).cast(), TTY_LEN as u32, name.cast()) < 0
        {
            (*record).tty[0] = 0;
            emit::count_kernel_read_failed();
        }
        read_file(&raw mut (*record).file, file);
        lineage(&raw mut (*record).ancestors, task);
    }
}

/// The name of a file in kernel memory; empty when there is none.
#[inline(always)]
pub(crate) fn read_file(target: *mut [u8; PATH_MAX], file: *const u8) {
    // SAFETY: the caller's buffer; the helper bounds its copy by it and checks the source.
    unsafe {
        (*target)[0] = 0;
        if !file.is_null() && bpf_probe_read_kernel_str(target.cast(), PATH_MAX as u32, file.cast()) < 0 {
            (*target)[0] = 0;
            emit::count_kernel_read_failed();
        }
    }
}

/// The ancestors of a task, nearest first, up to the first process.
#[inline(always)]
fn lineage(ancestors: *mut [Ancestor; MAX_ANCESTORS], task: Task) {
    let mut parent = task.process().leader().parent();
    for index in 0..MAX_ANCESTORS {
        let leader = parent.leader();
        let tgid = leader.tgid();
        // SAFETY: the record's own memory.
        unsafe {
            let ancestor = &raw mut (*ancestors)[index];
            (*ancestor).start_ns = leader.start_ns();
            (*ancestor).tgid = tgid;
            (*ancestor).uid = leader.uids().real;
            subject::comm_of(leader, &raw mut (*ancestor).comm);
        }
        parent = leader.parent();
        if tgid <= 1 {
            // What follows is not set: the agent stops at the first process, too.
            return;
        }
    }
}
