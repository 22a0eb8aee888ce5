//! Placement: what the agent tells the kernel programs of it, and how both name what they decide.

use bytemuck::{Pod, Zeroable};

use crate::policy::CgroupCell;

/// Most `from` subtrees of one placement rule.
pub const MAX_FROM: usize = 4;

/// Most placement rules of each sort, by user and by group.
pub const MAX_PLACE_RULES: usize = 64;

/// Ancestors that a stray's record names.
pub const MAX_ANCESTORS: usize = 8;

/// Length of a terminal's name, such as `pts/3`, with its terminating zero.
pub const TTY_LEN: usize = 16;

/// Number of the initial cgroup namespace: `CGROUP_NS_INIT_INO` of `linux/nsfs.h`.
pub const CGROUP_NS_INIT: u32 = 0xefff_fffb;

/// [`PlaceCell::flags`]: nothing is done at the change of credentials, because what the rule ignores is known only
/// when a program is run.
pub const PLACE_AT_EXEC_ONLY: u32 = 1 << 0;

/// Where the processes of one uid or gid belong, and where they may be taken from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PlaceCell {
    /// The slice: a process in or below it is inside.
    pub target: CgroupCell,
    /// Only processes in or below one of these are strays; unused ones have id 0.
    pub from: [CgroupCell; MAX_FROM],
    /// Longest time that an exec is held until its process is inside, ns; 0 holds nothing.
    pub hold_ns: u64,
    /// Index of the rule in the agent's list.
    pub rule: u32,
    /// Set of `PLACE_*`.
    pub flags: u32,
}

/// Why a process with a placement rule is not moved, as the programs count it. A number of it in a state map settles a
/// process or a whole cgroup: the programs do not ask again.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leave {
    /// It is in its slice.
    AlreadyInside = 0,
    /// It is in none of the rule's sources, nor in one of the places below.
    NotInFrom = 1,
    /// It is in `system.slice` or `init.scope`.
    SystemService = 2,
    /// It is in `machine.slice`, or in a pid or cgroup namespace of its own.
    OtherNamespace = 3,
    /// It is in a subtree that its own user's manager, or another one that is no user's, has been given.
    DelegatedSubtree = 4,
    /// The rule ignores its unit, name or program.
    Ignored = 5,
    /// It is the main process of a unit.
    MainPid = 6,
    /// It must never be touched.
    Protected = 7,
    /// It is a stray that is left where it is, by the mode or because a move was refused.
    Stray = 8,
    /// The same, until it runs another program: what stood in the way of its move may be over by then.
    StrayForNow = 9,
}

impl Leave {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::AlreadyInside,
        Self::NotInFrom,
        Self::SystemService,
        Self::OtherNamespace,
        Self::DelegatedSubtree,
        Self::Ignored,
        Self::MainPid,
        Self::Protected,
        Self::Stray,
        Self::StrayForNow,
    ];
}

/// Subtrees that no rule takes from: where a process found there is counted.
pub const ELSEWHERE: [(&str, Leave); 3] = [
    ("/system.slice", Leave::SystemService),
    ("/init.scope", Leave::SystemService),
    ("/machine.slice", Leave::OtherNamespace),
];

/// One process for ever: the key of what the agent has settled.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SettledKey {
    /// `CLOCK_BOOTTIME` of its start, ns.
    pub start_ns: u64,
    /// Process id.
    pub tgid: u32,
    /// Zero.
    pub pad: u32,
}

/// Whom a cgroup's answer is about: what one rule leaves alone there for one user, another may not.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct LeftKey {
    /// Id of the cgroup.
    pub cgroup_id: u64,
    /// Uid of the process, real and effective.
    pub uid: u32,
    /// Index of the rule in the agent's list.
    pub rule: u32,
}

/// How the hold of an exec ended.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// The process is in its slice.
    Inside = 1,
    /// The agent said that it is left alone.
    LeftAlone = 2,
    /// The time was up.
    Deadline = 3,
    /// The agent ended, or holds no more.
    NoAgent = 4,
}

impl HoldEnd {
    /// The end with that number, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Inside, Self::LeftAlone, Self::Deadline, Self::NoAgent]
            .into_iter()
            .find(|end| *end as u32 == number)
    }
}

#[cfg(feature = "user")]
// SAFETY: `PlaceCell` is `repr(C)` and `bytemuck::Pod` (no padding, any bit pattern is valid).
unsafe impl aya::Pod for PlaceCell {}

#[cfg(feature = "user")]
// SAFETY: `LeftKey` is `repr(C)` and `bytemuck::Pod` (no padding, any bit pattern is valid).
unsafe impl aya::Pod for LeftKey {}

#[cfg(feature = "user")]
// SAFETY: `SettledKey` is `repr(C)` and `bytemuck::Pod` (no padding, any bit pattern is valid).
unsafe impl aya::Pod for SettledKey {}
