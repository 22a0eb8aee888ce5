//! The kinds of records, and sets of them.

use clap::ValueEnum;
use procwatch_common::wire;

use super::Body;

/// What a record tells, without its content: the word of `kind` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Kind {
    /// A process was created
    Fork,
    /// A thread was created
    Thread,
    /// A process runs a new program
    Exec,
    /// A process ended
    Exit,
    /// A thread ended and its process lives on
    ThreadExit,
    /// A process changed its uids
    Uid,
    /// A process was moved to another cgroup
    Cgroup,
    /// A process crossed a bound of its threads
    Alert,
    /// A process fell back below it, or ended
    Cleared,
    /// Threads were refused to a process
    Refused,
    /// What was decided about a process
    Decision,
    /// What came of it
    Outcome,
    /// An exec was held
    Hold,
    /// The account of placement
    Placement,
    /// What was done to contain a process
    Action,
    /// Which code creates the threads
    Diagnosis,
    /// Records that the kernel could not deliver
    Loss,
    /// The agent's own state
    Health,
    /// The account at the end of a stream
    Summary,
}

impl Kind {
    /// All of them, in the order of [`Body`].
    pub const ALL: [Self; 19] = [
        Self::Fork,
        Self::Thread,
        Self::Exec,
        Self::Exit,
        Self::ThreadExit,
        Self::Uid,
        Self::Cgroup,
        Self::Alert,
        Self::Cleared,
        Self::Refused,
        Self::Decision,
        Self::Outcome,
        Self::Hold,
        Self::Placement,
        Self::Action,
        Self::Diagnosis,
        Self::Loss,
        Self::Health,
        Self::Summary,
    ];

    /// Its word, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Thread => "thread",
            Self::Exec => "exec",
            Self::Exit => "exit",
            Self::ThreadExit => "thread-exit",
            Self::Uid => "uid",
            Self::Cgroup => "cgroup",
            Self::Alert => "alert",
            Self::Cleared => "cleared",
            Self::Refused => "refused",
            Self::Decision => "decision",
            Self::Outcome => "outcome",
            Self::Hold => "hold",
            Self::Placement => "placement",
            Self::Action => "action",
            Self::Diagnosis => "diagnosis",
            Self::Loss => "loss",
            Self::Health => "health",
            Self::Summary => "summary",
        }
    }

    /// The event of the stream that it is; `None` for what the agent tells by itself.
    pub const fn stream(self) -> Option<wire::Kind> {
        Some(match self {
            Self::Fork => wire::Kind::Fork,
            Self::Thread => wire::Kind::Thread,
            Self::Exec => wire::Kind::Exec,
            Self::Exit => wire::Kind::Exit,
            Self::ThreadExit => wire::Kind::ThreadExit,
            Self::Uid => wire::Kind::Uid,
            Self::Cgroup => wire::Kind::Cgroup,
            _ => return None,
        })
    }
}

impl Body {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Fork(_) => Kind::Fork,
            Self::Thread(_) => Kind::Thread,
            Self::Exec(_) => Kind::Exec,
            Self::Exit(_) => Kind::Exit,
            Self::ThreadExit(_) => Kind::ThreadExit,
            Self::Uid(_) => Kind::Uid,
            Self::Cgroup(_) => Kind::Cgroup,
            Self::Alert(_) => Kind::Alert,
            Self::Cleared(_) => Kind::Cleared,
            Self::Refused(_) => Kind::Refused,
            Self::Decision(_) => Kind::Decision,
            Self::Outcome(_) => Kind::Outcome,
            Self::Hold(_) => Kind::Hold,
            Self::Placement(_) => Kind::Placement,
            Self::Action(_) => Kind::Action,
            Self::Diagnosis(_) => Kind::Diagnosis,
            Self::Loss(_) => Kind::Loss,
            Self::Health(_) => Kind::Health,
            Self::Summary(_) => Kind::Summary,
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// None.
    pub const NONE: Self = Self(0);

    /// What the agent tells by itself: all but the events of the stream.
    pub fn own() -> Self {
        Kind::ALL.into_iter().filter(|kind| kind.stream().is_none()).collect()
    }

    /// With those of another set.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether `kind` is in it.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    /// The kinds of the kernel's stream that must be open for it, as bits of [`wire::Kind::bit`].
    pub fn stream_bits(self) -> u32 {
        let wanted = Kind::ALL.into_iter().filter(|kind| self.contains(*kind));
        wanted.filter_map(Kind::stream).fold(0, |bits, kind| bits | kind.bit())
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn names_are_those_of_json_and_of_the_command_line() {
        let mut seen = Kinds::NONE;
        for record in samples::all() {
            let kind = record.body.kind();
            assert_eq!(serde_json::to_value(&record).unwrap()["kind"], kind.name());
            assert_eq!(kind.to_possible_value().unwrap().get_name(), kind.name());
            seen = seen.and([kind].into_iter().collect());
        }
        assert_eq!(seen, Kind::ALL.into_iter().collect());
    }

    #[test]
    fn what_is_not_of_the_stream_is_the_agents_own() {
        let own = Kinds::own();
        assert_eq!(own.stream_bits(), 0);
        assert!(own.contains(Kind::Alert) && own.contains(Kind::Health) && !own.contains(Kind::Exec));
        let with_exec = own.and([Kind::Exec, Kind::ThreadExit].into_iter().collect());
        assert_eq!(with_exec.stream_bits(), wire::Kind::Exec.bit() | wire::Kind::ThreadExit.bit());
    }
}
