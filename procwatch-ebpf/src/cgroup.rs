//! A process is moved to another cgroup.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_kernel_str},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use procwatch_common::{
    policy::Control,
    wire::{Attach, Kind, PATH_MAX},
};

use crate::{
    emit, filter,
    kernel::{Cgroup, Task},
    maps::control,
    place,
    subject::{self, Subject},
};

/// `cgroup_attach_task(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup)`, seen
/// on 6.18. The current task is the mover; `task` is there already. It fires for v1 hierarchies as well.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub(crate) fn cgroup_attach_task(ctx: BtfTracePointContext) -> i32 {
    if let Some(control) = control() {
        let destination = Cgroup(ctx.arg(0));
        let task = Task(ctx.arg(2));
        if task.cgroup() == destination {
            attached(control, task, destination, ctx.arg(1));
        }
    }
    0
}

#[inline(always)]
fn attached(control: &Control, task: Task, destination: Cgroup, path: *const u8) {
    let leader = task.process().leader();
    let subject = Subject { tid: task.tid(), leader, uids: leader.uids(), cgroup: destination };
    if control.agent != 0
        && place::has_rule(control, leader)
        && let Some(mut slot) = emit::urgent()
    {
        fill(Kind::Moved, emit::now_ns(), task, subject, path, slot.record());
        slot.send_now();
    }
    if filter::wants(control, Kind::Cgroup, leader, subject.uids)
        && let Some(mut slot) = emit::stream()
    {
        let time_ns = emit::now_ns();
        fill(Kind::Cgroup, time_ns, task, subject, path, slot.record());
        slot.send_batched(control, time_ns);
    }
}

#[inline(always)]
fn fill(kind: Kind, time_ns: u64, task: Task, subject: Subject, path: *const u8, record: *mut Attach) {
    // SAFETY: the record's own memory in the ring; the helper bounds its copy by the buffer and checks the source.
    unsafe {
        let header = &raw mut (*record).header;
        subject::describe(header, kind, time_ns, subject, task.process().live_threads());
        subject::current_comm(&raw mut (*record).mover_comm);
        subject::comm_of(task, &raw mut (*header).comm);
        (*record).mover_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        (*record).pad = 0;
        if bpf_probe_read_kernel_str((&raw mut (*record).path).cast(), PATH_MAX as u32, path.cast()) < 0 {
            (*record).path[0] = 0;
            emit::count_kernel_read_failed();
        }
    }
}
