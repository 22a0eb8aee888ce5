//! The picture of all running processes, without /proc.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_seq_write;
use procwatch_common::{picture::PictureEntry, wire::COMM_LEN};

use crate::{kernel::Task, subject};

/// `struct bpf_iter__task` of the kernel.
#[repr(C)]
pub(crate) struct TaskIterContext {
    /// `struct bpf_iter_meta`, whose first field is the `struct seq_file`.
    meta: *const *mut c_void,
    /// The visited task; null after the last.
    task: *const u8,
}

/// Visits each task once and writes one entry for each live process. A process whose last thread has begun to exit is
/// left out: its exit record is on its way or out already.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub(crate) extern "C" fn task_picture(ctx: *const TaskIterContext) -> i32 {
    // SAFETY: the context that the kernel gives to a task iterator, of which the verifier knows both pointers.
    let (meta, task) = unsafe { ((*ctx).meta, Task((*ctx).task)) };
    if task.0.is_null() || task.tid() != task.tgid() || task.process().live_threads() == 0 {
        return 0;
    }
    let (uids, gids) = (task.uids(), task.gids());
    let mut entry = PictureEntry {
        start_ns: task.start_ns(),
        cgroup_id: task.cgroup().id(),
        tgid: task.tgid(),
        ppid: task.parent().tgid(),
        uid: uids.real,
        euid: uids.effective,
        gid: gids.real,
        egid: gids.effective,
        threads: task.process().live_threads(),
        kthread: u32::from(task.is_kernel_thread()),
        pid_level: task.pid_level(),
        cgroup_ns: task.cgroup_ns(),
        comm: [0; COMM_LEN],
    };
    subject::comm_of(task, &raw mut entry.comm);
    // SAFETY: the seq file of this iteration, and an entry on the stack. A full buffer makes the kernel call again.
    unsafe {
        bpf_seq_write((*meta).cast(), (&raw const entry).cast_mut().cast(), size_of::<PictureEntry>() as u32)
    };
    0
}
