//! A process is moved to another cgroup.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, bpf_probe_read_kernel_str_bytes},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use procwatch_common::{
    policy::Control,
    wire::{Attach, COMM_LEN, Kind},
};

use crate::{
    emit, filter,
    kernel::{Cgroup, Task},
    maps::control,
    place, subject,
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
    if place::has_rule(control, task) {
        emit::urgent(|record| fill(Kind::Moved, emit::now_ns(), task, destination, path, record));
    }
    if filter::wants(control, Kind::Cgroup, task, task.uids()) {
        let time_ns = emit::now_ns();
        emit::stream(control, time_ns, |record| {
            fill(Kind::Cgroup, time_ns, task, destination, path, record);
        });
    }
}

#[inline(always)]
fn fill(kind: Kind, time_ns: u64, task: Task, destination: Cgroup, path: *const u8, record: *mut Attach) {
    // SAFETY: the record's own memory in the ring.
    let record = unsafe { &mut *record };
    record.header = subject::header(kind, time_ns, task, task.uids(), task.live_threads());
    record.mover_comm = record.header.comm;
    record.header.cgroup_id = destination.id();
    record.header.comm = task_comm(task);
    record.mover_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    record.pad = 0;
    // SAFETY: the helper bounds the copy by the buffer and checks the source.
    if unsafe { bpf_probe_read_kernel_str_bytes(path, &mut record.path) }.is_err() {
        record.path[0] = 0;
        emit::count_kernel_read_failed();
    }
}

/// The name of a task that is not the current one.
#[inline(always)]
fn task_comm(task: Task) -> [u8; COMM_LEN] {
    // SAFETY: the helper checks the source.
    unsafe { bpf_probe_read_kernel(task.comm_ptr().cast::<[u8; COMM_LEN]>()) }.unwrap_or_else(|_| {
        emit::count_kernel_read_failed();
        [0; COMM_LEN]
    })
}
