//! Changes of the real or effective uid.
//!
//! The best hook is `commit_creds`, which needs BPF trampolines. Where the kernel refuses those, a change is noticed
//! when the process next makes a child, runs a program or ends.

use aya_ebpf::{helpers::generated::bpf_get_current_task_btf, macros::fentry, programs::FEntryContext};
use procwatch_common::{
    policy::Control,
    wire::{Kind, Trigger, UidChange},
};

use crate::{
    emit, filter,
    kernel::{Task, Uids, uids_of},
    maps::{UIDS, control},
    place, subject,
};

/// `int commit_creds(struct cred *new)`, seen on 6.1 and 6.18: the current task takes on `new`.
#[fentry(function = "commit_creds")]
pub(crate) fn commit_creds(ctx: FEntryContext) -> i32 {
    if let Some(control) = control() {
        // SAFETY: a helper without arguments; the current task outlives the program.
        let task = Task(unsafe { bpf_get_current_task_btf() }.cast_const().cast());
        let new = uids_of(ctx.arg(0));
        let old = task.uids();
        if new != old {
            place::check_uids(control, task, new, Trigger::Uid);
            report(control, task, old, new, Trigger::Uid);
        }
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
        let old = Uids { real, effective };
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
fn report(control: &Control, task: Task, old: Uids, new: Uids, trigger: Trigger) {
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
        subject::describe(&raw mut (*record).header, Kind::Uid, time_ns, task, new, task.live_threads());
        (*record).old_uid = old.real;
        (*record).old_euid = old.effective;
        (*record).trigger = trigger as u32;
        (*record).pad = 0;
    }
    slot.send_batched(control, time_ns);
}
