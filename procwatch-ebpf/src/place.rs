//! Is this process in the slice its uid belongs in? One that is costs a look-up and wakes nobody.

use procwatch_common::{
    policy::{Control, MAX_FROM, PlaceCell},
    wire::{Kind, Stray, Trigger},
};

use crate::{
    emit, filter,
    kernel::{Task, Uids},
    maps::PLACE_UIDS,
    subject,
};

/// Reports `task` if it is a stray. For a new task the creator's cgroup is looked at, which it has inherited.
#[inline(always)]
pub(crate) fn check(control: &Control, task: Task, trigger: Trigger) {
    if control.place_rules != 0 {
        check_uids(control, task, task.uids(), trigger);
    }
}

/// The same with uids that the task is about to take on.
#[inline(always)]
pub(crate) fn check_uids(control: &Control, task: Task, uids: Uids, trigger: Trigger) {
    if control.urgent == 0 || control.place_rules == 0 {
        return;
    }
    if let Some(cell) = rule(uids)
        && !filter::current_is_below(cell.target)
        && comes_from(cell)
    {
        report(task, uids, cell, trigger);
    }
}

/// Whether a placement rule speaks of this task's uid.
#[inline(always)]
pub(crate) fn has_rule(control: &Control, task: Task) -> bool {
    control.urgent != 0 && control.place_rules != 0 && rule(task.uids()).is_some()
}

/// Real and effective uid must agree: a service that is someone else for a moment is not an `su`.
#[inline(always)]
fn rule(uids: Uids) -> Option<&'static PlaceCell> {
    if uids.real != uids.effective {
        return None;
    }
    // SAFETY: the agent replaces cells whole, and only before the gate opens.
    unsafe { PLACE_UIDS.get(uids.real) }
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
fn report(task: Task, uids: Uids, cell: &PlaceCell, trigger: Trigger) {
    let Some(mut slot) = emit::urgent::<Stray>() else {
        return;
    };
    let record = slot.record();
    // SAFETY: the record's own memory in the ring.
    unsafe {
        let header = &raw mut (*record).header;
        subject::describe(header, Kind::Stray, emit::now_ns(), task, uids, task.live_threads());
        (*record).target_id = cell.target.id;
        (*record).trigger = trigger as u32;
        (*record).loginuid = task.loginuid();
        (*record).sessionid = task.sessionid();
        (*record).pad = 0;
    }
    slot.send_now();
}
