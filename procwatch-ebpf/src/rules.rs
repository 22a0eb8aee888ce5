//! Which rule about threads a process has.
//!
//! The agent chooses it when the process runs a program, and writes it into a cell of the process. A child that runs no
//! program of its own has its parent's.

use aya_ebpf::{helpers::bpf_get_current_comm, programs::BtfTracePointContext};
use procwatch_common::{
    policy::{Control, PROGRAM_ANY, PROGRAM_COMM, PROGRAM_UID, PROTECTED, ProcessCell, ThreadCell},
    wire::Kind,
};

use crate::{
    emit, exec,
    kernel::Task,
    maps::{PROGRAM_COMMS, PROGRAM_UIDS, THREAD_CELLS, THREAD_RULES, is_agent},
};

/// A process' rule.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) index: u32,
    pub(crate) cell: &'static ThreadCell,
    /// The process is never stopped.
    pub(crate) is_protected: bool,
}

/// The rule of a process, by its leader.
#[inline(always)]
pub(crate) fn of(control: &Control, leader: Task) -> Option<Rule> {
    let own = if control.thread_rules == 0 { None } else { cell_of(leader) };
    let (index, is_protected) = own.map_or((0, false), |own| (own.rule, own.cap == PROTECTED));
    THREAD_RULES.get(index).map(|cell| Rule { index, cell, is_protected })
}

/// What the agent said about this very process.
#[inline(always)]
pub(crate) fn cell_of(leader: Task) -> Option<ProcessCell> {
    // SAFETY: copied at once; the agent may write it meanwhile, and then either is right.
    let cell = unsafe { THREAD_CELLS.get(leader.tgid()) }.copied()?;
    // Who bore this pid before was another.
    if cell.start_ns == leader.start_ns() { Some(cell) } else { None }
}

/// A child has its parent's rule until it runs a program.
#[inline(always)]
pub(crate) fn inherit(control: &Control, creator_tgid: u32, child: Task) {
    if control.thread_rules == 0 {
        return;
    }
    // SAFETY: as above.
    let Some(parent) = (unsafe { THREAD_CELLS.get(creator_tgid) }).copied() else {
        return;
    };
    let creator = child.parent();
    // The cell of one who bore its pid before is nobody's any more. With CLONE_PARENT the parent is not the creator, which
    // cannot be seen from here on every kernel.
    if creator.tgid() == creator_tgid && parent.start_ns != creator.process().leader().start_ns() {
        return;
    }
    // A cap of the parent's own was for the parent; protection is for what both run.
    let cap = if parent.cap == PROTECTED { PROTECTED } else { 0 };
    let cell = ProcessCell { start_ns: child.start_ns(), rule: parent.rule, cap };
    if THREAD_CELLS.insert(child.tgid(), cell, 0).is_err() {
        emit::count_state_full();
    }
}

/// The process runs a program: its rule is chosen anew. The agent is asked only if the answer may be another rule than
/// the first.
#[inline(always)]
pub(crate) fn program_ran(ctx: &BtfTracePointContext, control: &Control, task: Task) {
    forget(control, task);
    if control.urgent == 0
        || control.programs == 0
        // The next agent looks at all that run: until then these records would only keep others out of the ring.
        || control.agent == 0
        || is_agent(control, task.tgid())
        || !is_wanted(control, task)
    {
        return;
    }
    if let Some((record, len)) = exec::describe(ctx, Kind::Program, task) {
        emit::urgent_bytes(record.cast(), len);
    }
}

#[inline(always)]
fn is_wanted(control: &Control, task: Task) -> bool {
    if control.programs & PROGRAM_ANY != 0 {
        return true;
    }
    // SAFETY: the values are not used.
    if control.programs & PROGRAM_UID != 0 && unsafe { PROGRAM_UIDS.get(task.uids().real) }.is_some() {
        return true;
    }
    control.programs & PROGRAM_COMM != 0
        && bpf_get_current_comm().is_ok_and(|comm| {
            // SAFETY: as above.
            unsafe { PROGRAM_COMMS.get(comm) }.is_some()
        })
}

/// Pids are used again.
#[inline(always)]
pub(crate) fn forget(control: &Control, task: Task) {
    if control.thread_rules != 0 {
        // Not there is what most are.
        let _ = THREAD_CELLS.remove(task.tgid());
    }
}
