//! What a `[[threads]]` rule says, checked.

use std::time::Duration;

use glob::Pattern;

use super::Location;
use crate::{
    cgroup::CgroupPath,
    record::Severity,
    text::{Comm, Text},
};

/// How the threads of the processes that it fits are watched, and what is done about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadRule {
    /// Which processes it speaks of.
    pub matches: Match,
    /// They are not watched at all.
    pub ignore: bool,
    /// So many threads are normal: what `diagnose --all` compares with.
    pub normal: Option<NormalRange>,
    /// Thread counts that raise an alert: none to four, rising, none below the floor.
    pub levels: Vec<u32>,
    /// Growth that raises an alert.
    pub burst: Option<Burst>,
    /// Slow growth that raises an alert.
    pub leak: Option<Leak>,
    /// The kernel refuses one more thread than this.
    pub cap: Option<u32>,
    /// The kernel stops the process at this many threads.
    pub stop_at: Option<u32>,
    /// What to do where this kernel cannot refuse threads.
    pub on_missing: OnMissing,
    /// Nothing but alerts and a diagnosis is ever done to these processes.
    pub protect: bool,
    /// What is done at which alert.
    pub actions: Actions,
    /// The rule in words, escaped: `threads[1] comm=python3`, counted from 1 in its file; `default` for the built-in one.
    pub described: String,
    /// Where it is written; `None` for the built-in one.
    pub location: Option<Location>,
}

/// Growth in a short time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Net growth, threads: 2 to 1,000.
    pub threads: u32,
    /// Within this time: 10 ms to 1 h.
    pub within: Duration,
}

/// Growth over a long time: successive marks, each at least a quarter above the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// How many marks: 2 to 20.
    pub marks: u32,
    /// Shortest time from the first mark to the last: 1 s to 30 days.
    pub over: Duration,
}

/// A range of thread counts, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormalRange {
    /// Fewest.
    pub low: u32,
    /// Most.
    pub high: u32,
}

/// What to do where this kernel cannot refuse threads (no BPF LSM).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMissing {
    /// `cap` is done by `pids.max` of a cgroup of the process' own.
    #[default]
    Fallback,
    /// The agent does not start.
    Refuse,
}

/// Which processes. All that is given must fit; a list fits when one of it does; what is not given fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Real uids.
    pub uids: Vec<u32>,
    /// Names, exact, at most 15 bytes.
    pub comms: Vec<Text>,
    /// Patterns for the path of the program.
    pub exes: Vec<Pattern>,
    /// Patterns for the whole command line, arguments joined by one space.
    pub argvs: Vec<Pattern>,
    /// Patterns for the path of the cgroup.
    pub cgroups: Vec<Pattern>,
    /// Patterns for any part of the path of the cgroup: the name of a unit.
    pub units: Vec<Pattern>,
}

/// A process as rules look at it.
#[derive(Clone, Debug)]
pub struct Program {
    /// Real uid.
    pub uid: u32,
    /// Name.
    pub comm: Comm,
    /// Path of its executable; `None` when it could not be read.
    pub exe: Option<Text>,
    /// Its arguments, as far as they are known; `None` when they could not be read.
    pub argv: Option<Vec<Text>>,
    /// Its cgroup; `None` when it could not be read.
    pub cgroup: Option<CgroupPath>,
}

/// What is done at which alert, in the order written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// At the first level.
    pub notice: Vec<Step>,
    /// At the second level.
    pub warning: Vec<Step>,
    /// At the third level.
    pub critical: Vec<Step>,
    /// At the fourth level.
    pub emergency: Vec<Step>,
    /// At a burst.
    pub burst: Vec<Step>,
    /// At a leak.
    pub leak: Vec<Step>,
}

impl Actions {
    /// All ladders, each with its name in the configuration.
    pub fn ladders(&self) -> [(&'static str, &[Step]); 6] {
        [
            ("notice", &self.notice),
            ("warning", &self.warning),
            ("critical", &self.critical),
            ("emergency", &self.emergency),
            ("burst", &self.burst),
            ("leak", &self.leak),
        ]
    }

    /// The ladder of a level.
    pub fn of_level(&self, severity: Severity) -> &[Step] {
        match severity {
            Severity::Notice => &self.notice,
            Severity::Warning => &self.warning,
            Severity::Critical => &self.critical,
            Severity::Emergency => &self.emergency,
        }
    }
}

/// One rung of a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub action: Containment,
    /// How long after the rung before it (for the first: after the alert), if the alert still holds then.
    pub after: Duration,
}

/// What can be done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containment {
    /// Says which code creates the threads.
    Diagnose,
    /// Limits its CPU time to so many percent of one CPU: 1 to 10,000.
    Throttle {
        /// Percent of one CPU.
        percent: u32,
    },
    /// Freezes it.
    Freeze,
    /// Thaws it.
    Thaw,
    /// The kernel refuses one more thread than this.
    Cap {
        /// Most threads; `None`: as many as it has now.
        threads: Option<u32>,
    },
    /// Sends it SIGTERM.
    Terminate,
    /// Restarts its systemd unit.
    Restart,
    /// Sends it SIGKILL.
    Kill,
}

impl Containment {
    /// Its name in the configuration and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Diagnose => "diagnose",
            Self::Throttle { .. } => "throttle",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Cap { .. } => "cap",
            Self::Terminate => "terminate",
            Self::Restart => "restart",
            Self::Kill => "kill",
        }
    }

    /// Whether it ends a process, or may.
    pub const fn is_destructive(self) -> bool {
        matches!(self, Self::Terminate | Self::Restart | Self::Kill)
    }
}
