//! Changes of the real or effective uid.
//!
//! The best hook is `commit_creds`, which needs BPF trampolines. Where the kernel refuses those, a change is noticed
//! when the process next makes a child, runs a program or ends.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use procwatch_common::{
    policy::Control,
    wire::{Kind, Trigger, UidChange},
};

use crate::{
    emit, filter,
    kernel::{Ids, Task, uids_of},
    maps::{CHANGING, UIDS, control},
    place,
    subject::{self, Subject},
};

/// `int commit_creds(struct cred *new)`, seen on 6.1 and 6.18: the current task takes on `new`.
#[fentry(function = "commit_creds")]
pub(crate) fn commit_creds(ctx: FEntryContext) -> i32 {
    if let Some(control) = control() {
        let task = Task::current();
        let new = uids_of(ctx.arg(0));
        let old = task.uids();
        if new != old {
            if control.place_rules != 0 {
                // An LRU map makes room by itself.
                let _ = CHANGING.insert(bpf_get_current_pid_tgid(), 0, 0);
            }
            report(control, task, old, new, Trigger::Uid);
        }
    }
    0
}

/// The same at its end: the task has its new uids, and anyone who looks sees them.
#[fexit(function = "commit_creds")]
pub(crate) fn commit_creds_done(_ctx: FExitContext) -> i32 {
    if let Some(control) = control()
        && control.place_rules != 0
        && CHANGING.remove(bpf_get_current_pid_tgid()).is_ok()
    {
        place::uids_changed(control, Task::current());
    }
    0
}

#[inline(always)]
fn tracks(control: &Control) -> bool {
    control.cred_hook == 0 && filter::listening(control, Kind::Uid)
}

/// A child begins with its creator's uids; the creator's own may have changed meanwhile.
#[inline(always)]
pub(crate) fn inherit(control: &Control, child: Task) {
    if !tracks(control) {
        return;
    }
    let uids = child.uids();
    // An LRU map makes room by itself.
    let _ = UIDS.insert(child.tgid(), [uids.real, uids.effective], 0);
}

/// Compares with what was last known of the process.
#[inline(always)]
pub(crate) fn notice(control: &Control, task: Task, trigger: Trigger) {
    if !tracks(control) {
        return;
    }
    let tgid = task.tgid();
    let new = task.uids();
    // SAFETY: the value is copied at once; another CPU may write it, and then either is right.
    if let Some([real, effective]) = unsafe { UIDS.get(tgid) }.copied() {
        let old = Ids { real, effective };
        if new == old {
            return;
        }
        report(control, task, old, new, trigger);
    }
    let _ = UIDS.insert(tgid, [new.real, new.effective], 0);
}

/// Pids are used again.
#[inline(always)]
pub(crate) fn forget(control: &Control, task: Task) {
    if tracks(control) {
        // Not there is what one is that was never seen.
        let _ = UIDS.remove(task.tgid());
    }
}

#[inline(always)]
fn report(control: &Control, task: Task, old: Ids, new: Ids, trigger: Trigger) {
    if !filter::wants(control, Kind::Uid, task, new) {
        return;
    }
    let Some(mut slot) = emit::stream::<UidChange>() else {
        return;
    };
    let time_ns = emit::now_ns();
    let record = slot.record();
    // SAFETY: the record's own memory in the ring.
    unsafe {
        subject::describe(
            &raw mut (*record).header,
            Kind::Uid,
            time_ns,
            Subject::new(task, new),
            task.process().live_threads(),
        );
        (*record).old_uid = old.real;
        (*record).old_euid = old.effective;
        (*record).trigger = trigger as u32;
        (*record).pad = 0;
    }
    slot.send_batched(control, time_ns);
}
