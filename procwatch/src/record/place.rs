//! Records of placement: what was decided about a process, what came of it, and the account of it all.

use std::collections::BTreeMap;

use procwatch_common::place::{HoldEnd, Leave};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Process, SeenAt};
use crate::text::Text;

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, serde::Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Decisions are recorded and nothing is touched.
    #[default]
    Observe,
    /// Decisions are carried out.
    Enforce,
}

/// What is to be done with a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is moved.
    Move,
    /// It is left where it is.
    Leave,
}

/// Why. The list is closed: programs may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// There is a rule for it and it is outside the rule's slice: the one that is moved.
    OutsideSlice,
    /// It is in its slice.
    AlreadyInside,
    /// It is in `system.slice` or `init.scope`.
    SystemService,
    /// It is in `machine.slice`, or in a pid or cgroup namespace of its own: a container.
    OtherNamespace,
    /// It is in a subtree that was delegated: to its own user's manager, or to another manager that is no user's.
    DelegatedSubtree,
    /// It is a thread of the kernel.
    KernelThread,
    /// The rule ignores its unit, name or program.
    Ignored,
    /// It is the root process of an `su` that waits for its child.
    RootParent,
    /// It is the main process of a unit.
    MainPid,
    /// It is the first process, or procwatch itself.
    Protected,
    /// It is in none of the rule's sources.
    NotInFrom,
    /// No rule speaks of its user or group.
    OtherUser,
    /// Its real and effective ids differ: it is someone else only for a moment.
    ForAMoment,
}

impl Reason {
    /// Its name, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutsideSlice => "outside-slice",
            Self::AlreadyInside => "already-inside",
            Self::SystemService => "system-service",
            Self::OtherNamespace => "other-namespace",
            Self::DelegatedSubtree => "delegated-subtree",
            Self::KernelThread => "kernel-thread",
            Self::Ignored => "ignored",
            Self::RootParent => "root-parent",
            Self::MainPid => "main-pid",
            Self::Protected => "protected",
            Self::NotInFrom => "not-in-from",
            Self::OtherUser => "other-user",
            Self::ForAMoment => "for-a-moment",
        }
    }

    /// Whether a process is moved for it.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::OutsideSlice => Verdict::Move,
            _ => Verdict::Leave,
        }
    }
}

impl From<Leave> for Reason {
    fn from(leave: Leave) -> Self {
        match leave {
            Leave::AlreadyInside => Self::AlreadyInside,
            Leave::NotInFrom => Self::NotInFrom,
            Leave::SystemService => Self::SystemService,
            Leave::OtherNamespace => Self::OtherNamespace,
            Leave::DelegatedSubtree => Self::DelegatedSubtree,
            Leave::Ignored => Self::Ignored,
            Leave::MainPid => Self::MainPid,
            Leave::Protected => Self::Protected,
            Leave::Stray | Leave::StrayForNow => Self::OutsideSlice,
        }
    }
}

/// Kind `decision`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The process; its lineage goes up to the `su`.
    #[serde(flatten)]
    pub process: Process,
    /// What is to be done.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// What shows it, where the reason alone does not say.
    pub evidence: Option<String>,
    /// The rule that speaks of it, as written.
    pub rule: String,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// Path of the slice it belongs in.
    pub target: String,
    /// Name of its `su` session; null when it is left where it is.
    pub session: Option<String>,
    /// Where it was noticed.
    pub seen_at: SeenAt,
    /// The file that it runs, or is about to, escaped; null when it was not seen at an exec.
    pub file: Option<Text>,
    /// Login uid, if the kernel keeps one and it is set.
    pub loginuid: Option<u32>,
    /// Audit session, if the kernel keeps one and it is set.
    pub sessionid: Option<u32>,
    /// Controlling terminal, if it has one.
    pub tty: Option<Text>,
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Result {
    /// Done, and the kernel's own event says so.
    Verified,
    /// The kernel took the order, but its event did not come.
    Unverified,
    /// Refused; the process is as it was.
    Failed,
    /// The process ended first.
    Gone,
}

impl Result {
    /// Whether the kernel took the order.
    pub const fn is_moved(self) -> bool {
        matches!(self, Self::Verified | Self::Unverified)
    }
}

/// Kind `outcome`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// The process.
    #[serde(flatten)]
    pub process: Process,
    /// What was done.
    pub action: Action,
    /// What came of it.
    pub result: Result,
    /// Path of the cgroup it was in, escaped.
    pub from: Option<Text>,
    /// Path of the cgroup it was to go to.
    pub to: String,
    /// Name of its `su` session.
    pub session: String,
    /// What the kernel said, when it refused.
    pub error: Option<String>,
    /// From the event that showed it outside to the kernel's proof of the move, ns.
    pub outside_ns: Option<u64>,
    /// Threads that were bound to CPUs which the new cgroup does not have, and were set free; null when it was not moved.
    pub freed_threads: Option<u32>,
    /// Others of the same rule that were found outside after the move and were moved after it; null when it was not
    /// moved, or is itself one of those.
    pub strays: Option<u32>,
    /// Processes of the same rule still outside after all that, by the kernel's task iterator.
    pub still_outside: Option<u32>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Moved to another cgroup.
    Move,
}

/// Why a held exec went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HoldResult {
    /// The process is in its slice.
    Inside,
    /// It is left where it is: by a rule, or because the move was refused.
    LeftAlone,
    /// The time was up.
    Deadline,
    /// The agent held no more.
    NoAgent,
}

impl HoldResult {
    /// Its name, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::LeftAlone => "left-alone",
            Self::Deadline => "deadline",
            Self::NoAgent => "no-agent",
        }
    }
}

impl From<HoldEnd> for HoldResult {
    fn from(end: HoldEnd) -> Self {
        match end {
            HoldEnd::Inside => Self::Inside,
            HoldEnd::LeftAlone => Self::LeftAlone,
            HoldEnd::Deadline => Self::Deadline,
            HoldEnd::NoAgent => Self::NoAgent,
        }
    }
}

/// Kind `hold`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// The process, in its new program.
    #[serde(flatten)]
    pub process: Process,
    /// The file as exec was given it, escaped.
    pub file: Text,
    /// Why it went on.
    pub result: HoldResult,
    /// How long its exec was held, ns.
    pub held_ns: u64,
}

/// Kind `placement`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// `su` sessions of which a process was moved.
    pub sessions: u64,
    /// Processes that were moved.
    pub moved: u64,
    /// Sightings of strays by the kernel programs.
    pub strays: u64,
    /// Children that strays made outside of their slice: counted by the kernel program at each fork.
    pub born_outside: u64,
    /// Sightings of processes of a rule that were left alone, by reason: counted by the kernel programs.
    pub left_alone: BTreeMap<Reason, u64>,
    /// Refused moves, by the kernel's name of the error or the refusal's.
    pub errors: BTreeMap<String, u64>,
    /// From the first sighting of a process to the proof of its move, ns.
    pub outside: Quantiles,
    /// Held execs.
    pub holds: Holds,
}

/// Held execs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Holds {
    /// How many, by what ended them.
    pub results: BTreeMap<HoldResult, u64>,
    /// How long they were held, ns.
    pub held: Quantiles,
}

/// A distribution of times, ns, within one percent; all 0 when there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// Half of them were no longer.
    pub p50_ns: u64,
    /// 99 of 100 were no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}
