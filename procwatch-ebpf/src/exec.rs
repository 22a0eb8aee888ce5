//! A process runs a new program.

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel_str_bytes, generated::bpf_probe_read_user},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use procwatch_common::wire::{ARGV_MAX, Exec, Kind, Trigger};

use crate::{
    cred, emit, filter, hold,
    kernel::{Task, binprm_filename},
    maps::{EXEC_SCRATCH, control},
    place, rules,
    subject::{self, Subject},
};

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`, seen on 6.18. Credentials,
/// name and address space are the new ones; the first instruction has not run.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    if let Some(control) = control() {
        // Itself, by a way that costs the verifier nothing: see `Process::leader`.
        let task = Task(ctx.arg(0)).process().leader();
        let binprm: *const u8 = ctx.arg(2);
        let answered = control.place_rules != 0 && hold::was_answered(task, binprm);
        if !answered {
            place::check(control, task, Trigger::Exec, binprm_filename(binprm));
        }
        cred::notice(control, task, Trigger::Exec);
        rules::program_ran(&ctx, control, task);
        if filter::wants(control, Kind::Exec, task, task.uids())
            && let Some((record, len)) = describe(&ctx, Kind::Exec, task)
        {
            emit::stream_bytes(control, emit::now_ns(), record.cast(), len);
        }
    }
    0
}

/// Puts the record of an exec together. Returns where it is, and how long.
#[inline(always)]
pub(crate) fn describe(ctx: &BtfTracePointContext, kind: Kind, task: Task) -> Option<(*mut Exec, usize)> {
    let scratch = EXEC_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's own scratch; tracepoint programs run without preemption and do not nest in themselves.
    let record = unsafe { &mut *scratch };
    subject::describe(&raw mut record.header, kind, emit::now_ns(), Subject::of(task), 1);
    record.old_tid = ctx.arg(1);
    // SAFETY: the helper bounds the copy by the buffer and checks the source.
    if unsafe { bpf_probe_read_kernel_str_bytes(binprm_filename(ctx.arg(2)), &mut record.filename) }.is_err()
    {
        record.filename[0] = 0;
        emit::count_kernel_read_failed();
    }
    let len = read_argv(task, record);
    Some((scratch, core::mem::offset_of!(Exec, argv) + len))
}

/// Copies the arguments and returns how many bytes of them there are.
#[inline(always)]
fn read_argv(task: Task, record: &mut Exec) -> usize {
    record.argv_len = 0;
    record.argv_total = 0;
    record.argv_unread = 0;
    let Some(range) = task.memory().arg_range() else { return 0 };
    let total = range.end.wrapping_sub(range.start);
    record.argv_total = total as u32;
    let len = if total < ARGV_MAX as u64 { total as u32 } else { ARGV_MAX as u32 };
    // SAFETY: the buffer has `ARGV_MAX` bytes, and `len` is at most that; the helper checks the source.
    if unsafe { bpf_probe_read_user(record.argv.as_mut_ptr().cast(), len, range.start as *const _) } != 0 {
        record.argv_unread = 1;
        emit::count_user_read_failed();
        return 0;
    }
    record.argv_len = len;
    len as usize
}
