//! What the kernel told, decoded.

use std::num::NonZeroU32;

use procwatch_common::{
    place::HoldEnd,
    wire::{Kind, Trigger},
};

use crate::text::{Comm, Text};

/// A moment on `CLOCK_BOOTTIME`, ns since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Nanoseconds from `earlier` to this; 0 when it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A process for ever: pids are used again, a pid with a start is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessKey {
    /// Process id (tgid).
    pub pid: u32,
    /// Its start.
    pub start: BootTime,
}

/// Who an event is about, as it was at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Process id (tgid).
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Real uid.
    pub uid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Threads after the event: not yet reaped when the count grew, still alive when it shrank.
    pub threads: u32,
    /// Start of the process.
    pub start: BootTime,
    /// Cgroup id in the v2 hierarchy.
    pub cgroup_id: u64,
    /// Name of the task that caused the event (for a move: of the moved process).
    pub comm: Comm,
}

impl Subject {
    /// The process' lasting name.
    pub const fn key(&self) -> ProcessKey {
        ProcessKey { pid: self.pid, start: self.start }
    }
}

/// One record from a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub time: BootTime,
    /// On which CPU.
    pub cpu: u32,
    /// Sequence number on that CPU and ring.
    pub seq: u64,
    /// Whom it is about.
    pub subject: Subject,
    /// What happened.
    pub body: Body,
}

impl Event {
    /// The process that caused it, where that need not be the subject: a creator, or a mover.
    pub const fn cause(&self) -> Option<u32> {
        match &self.body {
            Body::Fork(creator) | Body::Thread(creator) => Some(creator.pid),
            Body::Cgroup(attach) | Body::Moved(attach) => Some(attach.mover_pid),
            _ => None,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The subject, a process, was created.
    Fork(Creator),
    /// The subject, a thread, was created.
    Thread(Creator),
    /// The subject runs a new program.
    Exec(Exec),
    /// The subject, a process, ended.
    Exit(Exit),
    /// The subject, a thread, ended; its process lives on.
    ThreadExit(Exit),
    /// The subject changed its uids.
    Uid(UidChange),
    /// The subject was moved between cgroups.
    Cgroup(Attach),
    /// The subject crossed a bound of its threads.
    LevelCrossed(LevelChange),
    /// The subject fell back below four fifths of it, or ended.
    LevelCleared(LevelChange),
    /// The subject is outside the slice it belongs in.
    Stray(Stray),
    /// The subject, of a placement rule, was moved between cgroups.
    Moved(Attach),
    /// The subject's exec was held.
    Held(Held),
    /// The subject runs a new program and may have a rule of its own.
    Program(Exec),
    /// Threads of the subject are refused.
    Refused(Refusal),
}

impl Body {
    /// The wire kind of this event.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Fork(_) => Kind::Fork,
            Self::Thread(_) => Kind::Thread,
            Self::Exec(_) => Kind::Exec,
            Self::Exit(_) => Kind::Exit,
            Self::ThreadExit(_) => Kind::ThreadExit,
            Self::Uid(_) => Kind::Uid,
            Self::Cgroup(_) => Kind::Cgroup,
            Self::LevelCrossed(_) => Kind::LevelCrossed,
            Self::LevelCleared(_) => Kind::LevelCleared,
            Self::Stray(_) => Kind::Stray,
            Self::Moved(_) => Kind::Moved,
            Self::Held(_) => Kind::Held,
            Self::Program(_) => Kind::Program,
            Self::Refused(_) => Kind::Refused,
        }
    }
}

/// Who created a thread or process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creator {
    /// Its process id.
    pub pid: u32,
    /// Its thread id.
    pub tid: u32,
    /// `clone_flags`.
    pub clone_flags: u64,
}

/// A new program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The file as exec was given it; cut at 255 bytes.
    pub file: Text,
    /// Its arguments; `None` when the kernel could not read them.
    pub argv: Option<Argv>,
    /// Thread id of the caller before it took the process over.
    pub old_tid: u32,
}

/// Captured arguments.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Argv {
    /// The arguments, as far as they were captured.
    pub args: Vec<Text>,
    /// Bytes of the whole argv beyond those captured; 0 when it is whole.
    pub cut_bytes: u32,
}

/// How a thread or process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub status: ExitStatus,
    /// Life time of the process (for a thread: of the thread), ns.
    pub lived_ns: u64,
    /// All threads of the process end with it; else this one ended alone.
    pub process_ends: bool,
}

/// Why a thread or process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It ended by itself with this code.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// Number of the signal.
        number: NonZeroU32,
        /// A core was dumped.
        core: bool,
    },
}

/// A change of uids; the new ones are the subject's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidChange {
    /// Real uid before.
    pub old_uid: u32,
    /// Effective uid before.
    pub old_euid: u32,
    /// Where it was noticed.
    pub trigger: Trigger,
}

/// A move between cgroups; the subject's cgroup is the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Process id of the mover.
    pub mover_pid: u32,
    /// Name of the mover.
    pub mover_comm: Comm,
    /// Path of the destination below the root of the v2 hierarchy.
    pub path: Text,
}

/// A bound crossed or cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelChange {
    /// Which bound.
    pub way: Way,
    /// The bound, threads; of a leak: how many marks.
    pub level: u32,
    /// Index of the rule as the kernel programs know it.
    pub rule: u32,
    /// The growth that it is, for a burst and a leak.
    pub growth: Option<Grown>,
    /// The creating thread, or the ending one.
    pub creator_tid: u32,
    /// The process' arguments; `None` when they could not be read.
    pub argv: Option<Argv>,
}

/// A bound of a process' threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// A level: its place in the list, from 0.
    Level(u32),
    /// Growth in a short time.
    Burst,
    /// Slow growth.
    Leak,
    /// The count at which the process is stopped.
    Stop {
        /// It was; else it only would have been.
        stopped: bool,
    },
}

/// Growth of a process' threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Threads when it began.
    pub from: u32,
    /// When it began.
    pub since: BootTime,
}

/// Threads that are refused to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How many so far.
    pub refused: u64,
    /// Most threads that it may have; 0 when the process has ended.
    pub cap: u32,
    /// They were; else they only would have been.
    pub enforced: bool,
}

/// A process outside its slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Index of the rule.
    pub rule: u32,
    /// Where it was noticed.
    pub trigger: Trigger,
    /// The file that it runs now, or is about to; `None` when it was not seen at an exec.
    pub file: Option<Text>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// Where a process comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Login uid, if it has one.
    pub loginuid: Option<u32>,
    /// Audit session, if it has one.
    pub sessionid: Option<u32>,
    /// Controlling terminal, such as `pts/3`, if it has one.
    pub tty: Option<Text>,
    /// Its ancestors, nearest first, as far as the kernel program told.
    pub ancestors: Vec<Forebear>,
}

/// An ancestor of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forebear {
    /// Its lasting name.
    pub key: ProcessKey,
    /// Real uid.
    pub uid: u32,
    /// Name.
    pub comm: Comm,
}

/// An exec that was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How long, ns.
    pub held_ns: u64,
    /// Index of the rule.
    pub rule: u32,
    /// Why it went on.
    pub end: HoldEnd,
    /// The file as exec was given it.
    pub file: Text,
}
