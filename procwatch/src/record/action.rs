//! Records of containment: what was done to a process, refused, or would have been done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Mode, Process, Severity};
use crate::text::Text;

/// What is done to a process to contain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Its CPU time is limited (`cpu.max`).
    Throttle,
    /// It is frozen (cgroup freezer).
    Freeze,
    /// It is thawed.
    Thaw,
    /// Its number of threads is limited.
    Cap,
    /// It is stopped (SIGSTOP).
    Stop,
    /// It is sent SIGTERM.
    Terminate,
    /// Its systemd unit is restarted.
    Restart,
    /// It is sent SIGKILL.
    Kill,
}

impl Deed {
    /// Its name, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Cap => "cap",
            Self::Stop => "stop",
            Self::Terminate => "terminate",
            Self::Restart => "restart",
            Self::Kill => "kill",
        }
    }
}

/// What asked for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// The first level.
    Notice,
    /// The second level.
    Warning,
    /// The third level.
    Critical,
    /// The fourth level.
    Emergency,
    /// A burst.
    Burst,
    /// A leak.
    Leak,
    /// The rule itself, at a thread count that it names: `cap`, `stop-at`.
    Rule,
    /// A person, on the command line.
    Hand,
    /// The end of the agent.
    AgentEnd,
    /// The end of the process.
    ProcessEnd,
    /// The start after an agent that left something behind.
    Recovery,
}

impl Occasion {
    /// Its name, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
            Self::Burst => "burst",
            Self::Leak => "leak",
            Self::Rule => "rule",
            Self::Hand => "hand",
            Self::AgentEnd => "agent-end",
            Self::ProcessEnd => "process-end",
            Self::Recovery => "recovery",
        }
    }
}

impl From<Severity> for Occasion {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Notice => Self::Notice,
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
            Severity::Emergency => Self::Emergency,
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ActResult {
    /// Done, and what was measured afterwards shows it.
    Verified,
    /// Ordered, but what was measured afterwards does not show it (yet).
    Unverified,
    /// It was tried and did not work; the process is as it was.
    Failed,
    /// The process ended first.
    Gone,
    /// It was not tried: `reason` says why.
    Refused,
    /// This machine or this process' cgroup cannot do it; nothing was changed.
    Unavailable,
    /// It would have been done in mode `enforce`.
    Would,
}

impl ActResult {
    /// Its name, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Would => "would",
        }
    }
}

/// Why an action was refused. The list is closed: programs may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedFor {
    /// It is the first process.
    FirstProcess,
    /// It is a thread of the kernel.
    KernelThread,
    /// It is procwatch.
    Procwatch,
    /// It is sshd, or is called so.
    Sshd,
    /// It is a part of systemd, or is called so.
    Systemd,
    /// It is the message bus, or is called so.
    Dbus,
    /// It is a display server, a compositor, a desktop's shell or a display manager, or is called so.
    Display,
    /// It lets people log in or keeps their keys, or is called so.
    Login,
    /// It leads a session with a terminal: a shell that somebody works in.
    SessionLeader,
    /// The configuration's `protect` names it.
    Listed,
    /// Its rule protects it.
    RuleProtects,
    /// No rule but the built-in or an all-embracing one speaks of it, and what may end a process needs one.
    CatchAll,
    /// Its rule does not name this action for this alert.
    NotNamed,
    /// Another process bears its pid now.
    OtherProcess,
    /// It is not the main process of a service.
    NotMainProcess,
    /// Too many actions wait already.
    Overload,
    /// The agent ends, and others were before it.
    AgentEnd,
}

impl RefusedFor {
    /// Its name, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstProcess => "first-process",
            Self::KernelThread => "kernel-thread",
            Self::Procwatch => "procwatch",
            Self::Sshd => "sshd",
            Self::Systemd => "systemd",
            Self::Dbus => "dbus",
            Self::Display => "display",
            Self::Login => "login",
            Self::SessionLeader => "session-leader",
            Self::Listed => "listed",
            Self::RuleProtects => "rule-protects",
            Self::CatchAll => "catch-all",
            Self::NotNamed => "not-named",
            Self::OtherProcess => "other-process",
            Self::NotMainProcess => "not-main-process",
            Self::Overload => "overload",
            Self::AgentEnd => "agent-end",
        }
    }
}

/// Kind `action`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Act {
    /// The process.
    #[serde(flatten)]
    pub process: Process,
    /// What was to be done, or taken back.
    pub action: Deed,
    /// True when it was to be taken back.
    pub undo: bool,
    /// Of `throttle`: percent of one CPU. Of `cap`: most threads. Else null.
    pub limit: Option<u32>,
    /// The rule that asked for it, as written; null when no rule did.
    pub rule: Option<String>,
    /// What asked for it.
    pub occasion: Occasion,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// What came of it.
    pub result: ActResult,
    /// Why it was refused; null when it was not.
    pub reason: Option<RefusedFor>,
    /// Threads before it; null when that is not known.
    pub threads_before: Option<u32>,
    /// Threads after it: 0 when the process ended; null when that is not known.
    pub threads_after: Option<u32>,
    /// What was measured, or what was said, in words, escaped.
    pub detail: String,
    /// Path of the cgroup by which it was done, escaped; null when none was needed.
    pub cell: Option<Text>,
    /// How long it took, until all was measured, ns.
    pub took_ns: u64,
}
