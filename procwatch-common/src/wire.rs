//! Records that the kernel programs put into the rings.
//!
//! Each begins with a [`Header`]; its kind says what follows. Texts of foreign origin are raw bytes here.

use bytemuck::{Pod, Zeroable};

use crate::place::{MAX_ANCESTORS, TTY_LEN};

/// Bytes of a task's name, `TASK_COMM_LEN` of the kernel.
pub const COMM_LEN: usize = 16;
/// Most bytes of an argv that an exec record carries.
pub const ARGV_MAX: usize = 2048;
/// Most bytes of an argv that an alert carries.
pub const ALERT_ARGV_MAX: usize = 256;
/// Most bytes of a path (exec's file name, cgroup path), with its terminating zero.
pub const PATH_MAX: usize = 256;

/// [`Header::cpu`] of a record without a number. Programs that may be preempted cannot count per CPU; what they report
/// is told again, with a number, by a tracepoint that follows.
pub const UNNUMBERED: u32 = u32::MAX;

/// What a record tells.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A process was created: [`Created`].
    Fork = 1,
    /// A thread was created: [`Created`].
    Thread = 2,
    /// A process runs a new program: [`Exec`].
    Exec = 3,
    /// The last thread of a process ended: [`Exit`].
    Exit = 4,
    /// A thread ended and its process lives on: [`Exit`].
    ThreadExit = 5,
    /// A process changed its real or effective uid: [`UidChange`].
    Uid = 6,
    /// A process was moved to another cgroup, by anyone: [`Attach`].
    Cgroup = 7,
    /// A process crossed a bound of its threads: [`Level`].
    LevelCrossed = 8,
    /// A process fell back below four fifths of it: [`Level`].
    LevelCleared = 9,
    /// A process of a placement rule was seen outside its slice: [`Stray`].
    Stray = 10,
    /// A process of a placement rule was moved, by anyone: [`Attach`], on the urgent ring.
    Moved = 11,
    /// An exec was held until its process was in its slice: [`Held`].
    Held = 12,
    /// A process runs a new program and may have a rule of its own: [`Exec`], on the urgent ring.
    Program = 13,
    /// Threads of a process are refused: [`Refused`].
    Refused = 14,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Fork,
        Self::Thread,
        Self::Exec,
        Self::Exit,
        Self::ThreadExit,
        Self::Uid,
        Self::Cgroup,
        Self::LevelCrossed,
        Self::LevelCleared,
        Self::Stray,
        Self::Moved,
        Self::Held,
        Self::Program,
        Self::Refused,
    ];

    /// This kind's bit in [`crate::policy::Control::stream_kinds`].
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The kind with that number, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// What every record begins with. It describes the record's *subject*: the child for [`Kind::Fork`], the new thread
/// for [`Kind::Thread`], the moved process for [`Kind::Cgroup`], else the task that caused the event.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Header {
    /// `CLOCK_BOOTTIME` of the event, ns.
    pub time_ns: u64,
    /// Sequence number on this CPU and ring, from 0; a gap is a loss. 0 in an unnumbered record.
    pub seq: u64,
    /// `CLOCK_BOOTTIME` of the process' start, ns.
    pub start_ns: u64,
    /// The process' cgroup id in the v2 hierarchy (for a move: the destination).
    pub cgroup_id: u64,
    /// A [`Kind`].
    pub kind: u32,
    /// CPU the event happened on; [`UNNUMBERED`] in a record of a program that may be preempted.
    pub cpu: u32,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Real uid.
    pub uid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Threads of the process: not yet reaped when it grows, still alive when it shrinks.
    pub threads: u32,
    /// Name of the task that caused the event (when a process ends or is moved: of that process), padded with zero.
    pub comm: [u8; COMM_LEN],
}

/// [`Kind::Fork`] and [`Kind::Thread`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Created {
    /// The new process or thread.
    pub header: Header,
    /// `clone_flags`.
    pub clone_flags: u64,
    /// Process id of the creator.
    pub creator_tgid: u32,
    /// Thread id of the creator.
    pub creator_tid: u32,
}

/// [`Kind::Exec`]. On the wire it ends after `argv_len` bytes of `argv`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Exec {
    /// The process, with its new name and credentials.
    pub header: Header,
    /// Thread id of the caller before it took the process over.
    pub old_tid: u32,
    /// Bytes of `argv` that follow.
    pub argv_len: u32,
    /// Bytes that the whole argv has, each argument ended by a zero.
    pub argv_total: u32,
    /// 1 when the argv could not be read.
    pub argv_unread: u32,
    /// The file as exec was given it, ended by a zero.
    pub filename: [u8; PATH_MAX],
    /// Arguments, each ended by a zero.
    pub argv: [u8; ARGV_MAX],
}

/// [`Kind::Exit`] and [`Kind::ThreadExit`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Exit {
    /// Who ended.
    pub header: Header,
    /// `CLOCK_BOOTTIME` of this thread's start, ns.
    pub thread_start_ns: u64,
    /// Status as `waitpid` gives it: low 7 bits the signal, bit 7 core dumped, next 8 bits the exit code.
    pub status: u32,
    /// 1 when all threads of the process are about to end, 0 when this one ends alone.
    pub process_ends: u32,
}

/// [`Kind::Uid`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct UidChange {
    /// The process with its new uids.
    pub header: Header,
    /// Real uid before.
    pub old_uid: u32,
    /// Effective uid before.
    pub old_euid: u32,
    /// A [`Trigger`]: where the change was noticed.
    pub trigger: u32,
    /// Zero.
    pub pad: u32,
}

/// [`Kind::Cgroup`] and [`Kind::Moved`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Attach {
    /// The moved process; `cgroup_id` is the destination.
    pub header: Header,
    /// Process id of the mover.
    pub mover_tgid: u32,
    /// Zero.
    pub pad: u32,
    /// Name of the mover, padded with zero.
    pub mover_comm: [u8; COMM_LEN],
    /// Path of the destination below the root of the v2 hierarchy, ended by a zero.
    pub path: [u8; PATH_MAX],
}

/// [`Kind::LevelCrossed`] and [`Kind::LevelCleared`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Level {
    /// The process; `tid` is the new thread, or the ending one.
    pub header: Header,
    /// When the growth began, `CLOCK_BOOTTIME` ns; 0 for a level.
    pub since_ns: u64,
    /// The bound, threads; of a leak: how many marks.
    pub level: u32,
    /// Which bound: a level's place in [`crate::policy::ThreadCell::levels`], or [`crate::growth::BURST`] and the like.
    pub way: u32,
    /// Index of the rule.
    pub rule: u32,
    /// Threads when the growth began; of a stop: 1 when the process was stopped.
    pub from: u32,
    /// The creating thread, or the ending one.
    pub creator_tid: u32,
    /// Zero.
    pub pad: u32,
    /// Bytes of `argv` that are set.
    pub argv_len: u32,
    /// Bytes that the whole argv has.
    pub argv_total: u32,
    /// Arguments, each ended by a zero.
    pub argv: [u8; ALERT_ARGV_MAX],
}

/// [`Kind::Refused`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Refused {
    /// The process.
    pub header: Header,
    /// Threads that were refused so far (or would have been).
    pub refused: u64,
    /// Most threads that it may have.
    pub cap: u32,
    /// 1 when they were refused, 0 when nothing is enforced.
    pub enforced: u32,
}

/// Where in its life a process was noticed.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// It ran a new program.
    Exec = 1,
    /// It was born outside, or made a child.
    Fork = 2,
    /// It changed its credentials.
    Uid = 3,
    /// It ended.
    Exit = 4,
    /// It is about to run a new program, and is held.
    Hold = 5,
}

/// A process above another one in the tree.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ancestor {
    /// `CLOCK_BOOTTIME` of its start, ns.
    pub start_ns: u64,
    /// Process id; 0 ends the list.
    pub tgid: u32,
    /// Real uid.
    pub uid: u32,
    /// Name of its leading thread, padded with zero.
    pub comm: [u8; COMM_LEN],
}

/// [`Kind::Stray`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Stray {
    /// The process.
    pub header: Header,
    /// Index of the rule.
    pub rule: u32,
    /// A [`Trigger`].
    pub trigger: u32,
    /// Login uid, `u32::MAX` when none or unknown.
    pub loginuid: u32,
    /// Audit session id, `u32::MAX` when none or unknown.
    pub sessionid: u32,
    /// Controlling terminal, such as `pts/3`, ended by a zero; empty when none.
    pub tty: [u8; TTY_LEN],
    /// The file that is being run, ended by a zero; empty when the process was not seen at an exec.
    pub file: [u8; PATH_MAX],
    /// Nearest first.
    pub ancestors: [Ancestor; MAX_ANCESTORS],
}

/// [`Kind::Held`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Held {
    /// The process, with its new name and credentials.
    pub header: Header,
    /// How long it was held, ns.
    pub held_ns: u64,
    /// Index of the rule.
    pub rule: u32,
    /// A [`crate::place::HoldEnd`].
    pub end: u32,
    /// The file as exec was given it, ended by a zero.
    pub file: [u8; PATH_MAX],
}

const _: () = {
    assert!(size_of::<Header>() == 80);
    assert!(size_of::<Created>() == 96);
    assert!(size_of::<Exec>() == 96 + PATH_MAX + ARGV_MAX);
    assert!(size_of::<Exit>() == 96);
    assert!(size_of::<UidChange>() == 96);
    assert!(size_of::<Attach>() == 104 + PATH_MAX);
    assert!(size_of::<Level>() == 120 + ALERT_ARGV_MAX);
    assert!(size_of::<Refused>() == 96);
    assert!(size_of::<Ancestor>() == 32);
    assert!(size_of::<Stray>() == 112 + PATH_MAX + MAX_ANCESTORS * 32);
    assert!(size_of::<Held>() == 96 + PATH_MAX);
};
