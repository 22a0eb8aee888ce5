//! What leaves the agent: one type, one schema.

mod action;
mod alert;
mod diagnosis;
mod kind;
mod place;

use jiff::Timestamp;
use procwatch_common::wire::Trigger;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    action::{Act, ActResult, Deed, Occasion, RefusedFor},
    alert::{Alert, Bound, Cleared, Growth, Refused, Severity},
    diagnosis::{Diagnosed, DiagnosisResult},
    kind::{Kind, Kinds},
    place::{
        Action, Decision, Hold, HoldResult, Holds, Mode, Outcome, Placement, Quantiles, Reason, Result,
        Verdict,
    },
};
use crate::text::{Comm, Text};

/// One line of the stream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// When it happened, RFC 3339 in UTC. Derived from `boot_ns` by the clock's offset when it was read.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// The same on `CLOCK_BOOTTIME`, ns since boot: the kernel's own stamp, to order and subtract.
    pub boot_ns: u64,
    /// What it tells.
    #[serde(flatten)]
    pub body: Body,
}

/// What a record tells, named by `kind`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Body {
    /// A process was created.
    Fork(Fork),
    /// A thread was created.
    Thread(Thread),
    /// A process runs a new program.
    Exec(Exec),
    /// A process ended.
    Exit(Exit),
    /// A thread ended and its process lives on.
    ThreadExit(Exit),
    /// A process changed its uids.
    Uid(Uid),
    /// A process was moved to another cgroup.
    Cgroup(Cgroup),
    /// A process crossed a bound of its threads.
    Alert(Alert),
    /// A process fell back below four fifths of it, or ended.
    Cleared(Cleared),
    /// Threads are refused to a process that has as many as its rule allows.
    Refused(Refused),
    /// What procwatch decided about a process, and why.
    Decision(Decision),
    /// What came of an action, as measured afterwards.
    Outcome(Outcome),
    /// A process' exec waited until it was in its slice, or until it was let go.
    Hold(Hold),
    /// The account of placement at the agent's end.
    Placement(Placement),
    /// What was done to contain a process, refused, or would have been done.
    Action(Act),
    /// Which code creates the threads of a process with an alert.
    Diagnosis(Box<Diagnosed>),
    /// Records that the kernel could not deliver.
    Loss(Loss),
    /// The agent's own state.
    Health(Health),
    /// The account at the end of a stream.
    Summary(Summary),
}

impl Body {
    /// Whom it is about; `None` when it is about procwatch itself.
    pub const fn process(&self) -> Option<&Process> {
        Some(match self {
            Self::Fork(fork) => &fork.process,
            Self::Thread(thread) => &thread.process,
            Self::Exec(exec) => &exec.process,
            Self::Exit(exit) | Self::ThreadExit(exit) => &exit.process,
            Self::Uid(uid) => &uid.process,
            Self::Cgroup(cgroup) => &cgroup.process,
            Self::Alert(alert) => &alert.process,
            Self::Cleared(cleared) => &cleared.process,
            Self::Refused(refused) => &refused.process,
            Self::Decision(decision) => &decision.process,
            Self::Outcome(outcome) => &outcome.process,
            Self::Hold(hold) => &hold.process,
            Self::Action(act) => &act.process,
            Self::Diagnosis(diagnosed) => &diagnosed.process,
            Self::Placement(_) | Self::Loss(_) | Self::Health(_) | Self::Summary(_) => return None,
        })
    }

    /// The same, to complete it.
    pub const fn process_mut(&mut self) -> Option<&mut Process> {
        Some(match self {
            Self::Fork(fork) => &mut fork.process,
            Self::Thread(thread) => &mut thread.process,
            Self::Exec(exec) => &mut exec.process,
            Self::Exit(exit) | Self::ThreadExit(exit) => &mut exit.process,
            Self::Uid(uid) => &mut uid.process,
            Self::Cgroup(cgroup) => &mut cgroup.process,
            Self::Alert(alert) => &mut alert.process,
            Self::Cleared(cleared) => &mut cleared.process,
            Self::Refused(refused) => &mut refused.process,
            Self::Decision(decision) => &mut decision.process,
            Self::Outcome(outcome) => &mut outcome.process,
            Self::Hold(hold) => &mut hold.process,
            Self::Action(act) => &mut act.process,
            Self::Diagnosis(diagnosed) => &mut diagnosed.process,
            Self::Placement(_) | Self::Loss(_) | Self::Health(_) | Self::Summary(_) => return None,
        })
    }
}

/// The process that a record is about.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Thread id; that of the process for what concerns it whole.
    pub tid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Real uid.
    pub uid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Name of the real uid, if it has one.
    pub user: Option<Text>,
    /// Name of the task, escaped.
    pub comm: Comm,
    /// Threads after the event.
    pub threads: u32,
    /// `CLOCK_BOOTTIME` of the process' start, ns: with `pid` it names the process for ever.
    pub start_ns: u64,
    /// Cgroup id in the v2 hierarchy.
    pub cgroup_id: u64,
    /// Path of that cgroup below the root of the v2 hierarchy, escaped; null when it is gone already.
    pub cgroup: Option<Text>,
    /// Ancestors, nearest first (`--lineage`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Vec<Ancestor>>,
}

/// One step of a lineage.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// Real uid.
    pub uid: u32,
    /// Name, escaped.
    pub comm: Comm,
}

/// Kind `fork`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Fork {
    /// The child.
    #[serde(flatten)]
    pub process: Process,
    /// Process id of the creator: the parent, or its child for `CLONE_PARENT`.
    pub creator_pid: u32,
    /// Thread id of the creator.
    pub creator_tid: u32,
}

/// Kind `thread`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Thread {
    /// The process; `tid` is the new thread, `threads` counts it.
    #[serde(flatten)]
    pub process: Process,
    /// Thread id of the creator.
    pub creator_tid: u32,
}

/// Kind `exec`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Exec {
    /// The process with its new name and credentials.
    #[serde(flatten)]
    pub process: Process,
    /// The file as exec was given it, escaped.
    pub file: Text,
    /// Its arguments, escaped; null when the kernel could not read them.
    #[serde(flatten)]
    pub command: Command,
}

/// Captured arguments.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// The arguments, each escaped; null when they could not be read.
    pub argv: Option<Vec<Text>>,
    /// Bytes of the argv that were not captured; the last argument is then incomplete.
    pub argv_cut_bytes: u32,
}

/// Kinds `exit` and `thread-exit`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// Who ended.
    #[serde(flatten)]
    pub process: Process,
    /// Exit code; null when a signal ended it.
    pub code: Option<u8>,
    /// Signal; null when it ended by itself.
    pub signal: Option<u32>,
    /// A core was dumped.
    pub core: bool,
    /// Life time, ns.
    pub lived_ns: u64,
    /// True when all threads of the process end with it, and not this one alone.
    #[serde(default)]
    pub process_ends: bool,
}

/// Kind `uid`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Uid {
    /// The process with its new uids.
    #[serde(flatten)]
    pub process: Process,
    /// Real uid before.
    pub old_uid: u32,
    /// Effective uid before.
    pub old_euid: u32,
    /// Where it was noticed.
    pub seen_at: SeenAt,
}

/// Where in its life a process was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SeenAt {
    /// At the change of credentials itself.
    CredentialChange,
    /// When it ran a program.
    Exec,
    /// When it made a child, or was made.
    Fork,
    /// When it ended.
    Exit,
    /// When it was about to run a program, and was held.
    Hold,
    /// In the picture of running processes: at the agent's start, or in a sweep after a move.
    Picture,
}

impl From<Trigger> for SeenAt {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Exec => Self::Exec,
            Trigger::Fork => Self::Fork,
            Trigger::Uid => Self::CredentialChange,
            Trigger::Exit => Self::Exit,
            Trigger::Hold => Self::Hold,
        }
    }
}

/// Kind `cgroup`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// The process, in its new cgroup.
    #[serde(flatten)]
    pub process: Process,
    /// Process id of the mover.
    pub mover_pid: u32,
    /// Name of the mover, escaped.
    pub mover_comm: Comm,
}

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ring {
    /// All events.
    Stream,
    /// Alerts and placements.
    Urgent,
}

/// Kind `loss`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// The ring that was full.
    pub ring: Ring,
    /// CPU whose records are missing; null for several.
    pub cpu: Option<u32>,
    /// How many are missing here.
    pub lost: u64,
    /// How many were lost so far, on all CPUs of this ring.
    pub lost_total: u64,
    /// What to do about it.
    pub hint: String,
}

/// Kind `health`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// What it is about.
    pub topic: HealthTopic,
    /// In words.
    pub message: String,
}

/// What a health record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthTopic {
    /// All programs are attached and the gate is open.
    Armed,
    /// A function that this kernel cannot give.
    Unavailable,
    /// Something went wrong that the agent survives.
    Degraded,
    /// The configuration was read again and holds.
    Reloaded,
    /// The configuration was read again and is bad: the one before holds on.
    Refused,
    /// The agent ends. Everything is detached, but for what is pinned and is to stay.
    Stopped,
}

/// Kind `summary`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Events delivered to this stream.
    pub events: u64,
    /// Events that the kernel could not deliver: exact.
    pub lost: u64,
    /// How long the stream ran, s.
    pub seconds: f64,
    /// Events per second.
    pub per_second: f64,
}
