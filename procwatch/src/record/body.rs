//! What all records have in common besides their time.

use super::{Body, Process};

impl Body {
    /// The name of its kind, the same as in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fork(_) => "fork",
            Self::Thread(_) => "thread",
            Self::Exec(_) => "exec",
            Self::Exit(_) => "exit",
            Self::ThreadExit(_) => "thread-exit",
            Self::Uid(_) => "uid",
            Self::Cgroup(_) => "cgroup",
            Self::Alert(_) => "alert",
            Self::Cleared(_) => "cleared",
            Self::Refused(_) => "refused",
            Self::Decision(_) => "decision",
            Self::Outcome(_) => "outcome",
            Self::Hold(_) => "hold",
            Self::Placement(_) => "placement",
            Self::Action(_) => "action",
            Self::Diagnosis(_) => "diagnosis",
            Self::Loss(_) => "loss",
            Self::Health(_) => "health",
            Self::Summary(_) => "summary",
        }
    }

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
