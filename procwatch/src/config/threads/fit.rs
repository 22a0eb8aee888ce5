//! Which rule holds for a process.

use std::{cell::OnceCell, fmt};

use procwatch_common::wire::COMM_LEN;

use super::super::{Match, Program, ThreadRule, names::fits};
use crate::{
    cgroup::CgroupPath,
    text::{Comm, Text, escape_cut},
};

/// Most characters of a command line that are shown.
const MOST_SHOWN: usize = 60;

/// The place of the first rule that fits. The last of `rules` is taken to fit.
pub fn choose(rules: &[ThreadRule], program: &Program) -> usize {
    let (last, seen) = (rules.len().saturating_sub(1), Seen::new(program));
    rules.iter().position(|rule| mismatch(&rule.matches, &seen).is_none()).unwrap_or(last)
}

/// The first match key of a rule that does not fit; `None` when the rule fits.
pub fn why_not(rule: &ThreadRule, program: &Program) -> Option<Mismatch> {
    mismatch(&rule.matches, &Seen::new(program))
}

/// Whether these match keys fit.
pub(super) fn fit(matches: &Match, program: &Program) -> bool {
    mismatch(matches, &Seen::new(program)).is_none()
}

/// A process as patterns see it: what has to be made for them is made once for all rules.
struct Seen<'p> {
    program: &'p Program,
    command: OnceCell<Option<Vec<u8>>>,
}

impl<'p> Seen<'p> {
    const fn new(program: &'p Program) -> Self {
        Self { program, command: OnceCell::new() }
    }

    /// The arguments, joined by spaces; `None` when they are not known.
    fn command(&self) -> Option<&[u8]> {
        let join = |argv: &Vec<Text>| argv.iter().map(Text::as_bytes).collect::<Vec<_>>().join(&b' ');
        self.command.get_or_init(|| self.program.argv.as_ref().map(join)).as_deref()
    }
}

fn mismatch(matches: &Match, seen: &Seen<'_>) -> Option<Mismatch> {
    let Program { uid, comm, exe, cgroup, .. } = seen.program;
    let Match { uids, comms, exes, argvs, cgroups, units } = matches;
    let has_comm = || comms.iter().any(|name| name.as_bytes() == comm.as_bytes());
    let in_cgroup = |cgroup: &CgroupPath| {
        // A cgroup as people write it: with its slash.
        fits(cgroups, format!("/{}", cgroup.relative().display()).as_bytes())
    };
    if !uids.is_empty() && !uids.contains(uid) {
        Some(Mismatch::Uid(*uid))
    } else if !comms.is_empty() && !has_comm() {
        Some(Mismatch::Comm(*comm))
    } else if !exes.is_empty() && !exe.as_ref().is_some_and(|exe| fits(exes, exe.as_bytes())) {
        Some(Mismatch::Exe(exe.clone()))
    } else if !argvs.is_empty() && !seen.command().is_some_and(|command| fits(argvs, command)) {
        Some(Mismatch::Argv(seen.command().map(Text::new)))
    } else if !cgroups.is_empty() && !cgroup.as_ref().is_some_and(in_cgroup) {
        Some(Mismatch::Cgroup(cgroup.clone()))
    } else if !units.is_empty() && !cgroup.as_ref().is_some_and(|cgroup| has_unit(units, cgroup)) {
        Some(Mismatch::Unit(cgroup.clone()))
    } else {
        None
    }
}

fn has_unit(units: &[glob::Pattern], cgroup: &CgroupPath) -> bool {
    cgroup.names().any(|name| fits(units, name.as_bytes()))
}

/// A match key that does not fit, with what the process has. `None`: that is not known, and so fits nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// `user` or `uid`.
    Uid(u32),
    /// `comm`.
    Comm(Comm),
    /// `exe`.
    Exe(Option<Text>),
    /// `argv`, joined by spaces.
    Argv(Option<Text>),
    /// `cgroup`.
    Cgroup(Option<CgroupPath>),
    /// `unit`: no part of this cgroup.
    Unit(Option<CgroupPath>),
}

impl Mismatch {
    /// The match key; for the user `uid`, however the rule names it.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Uid(_) => "uid",
            Self::Comm(_) => "comm",
            Self::Exe(_) => "exe",
            Self::Argv(_) => "argv",
            Self::Cgroup(_) => "cgroup",
            Self::Unit(_) => "unit",
        }
    }
}

/// In words, escaped: `comm is bash`.
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "uid is {uid}"),
            Self::Comm(comm) => write!(f, "comm is {comm}"),
            Self::Exe(Some(exe)) => write!(f, "exe is {exe}"),
            Self::Argv(Some(argv)) => write!(f, "argv is {}", escape_cut(argv.as_bytes(), MOST_SHOWN)),
            Self::Cgroup(Some(cgroup)) => write!(f, "cgroup is {cgroup}"),
            Self::Unit(Some(cgroup)) => write!(f, "no such unit in {cgroup}"),
            Self::Exe(None) | Self::Argv(None) => write!(f, "{} is not known", self.key()),
            Self::Cgroup(None) | Self::Unit(None) => write!(f, "cgroup is not known"),
        }
    }
}

/// What the kernel can test at an exec to know whether a rule may fit: cheap, and true of all that the rule fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefilter {
    /// The process has one of these real uids.
    Uids(Vec<u32>),
    /// The process has one of these names, padded with zeros.
    Comms(Vec<[u8; COMM_LEN]>),
    /// Only the agent can tell: each exec must wake it.
    Any,
    /// It is the catch-all, which holds where nothing is said: no exec needs to wake the agent.
    Nothing,
}

impl ThreadRule {
    /// What must be true of a process for this rule to fit.
    pub fn needs(&self) -> Prefilter {
        let Match { uids, comms, .. } = &self.matches;
        if self.is_catch_all() {
            Prefilter::Nothing
        } else if !uids.is_empty() {
            Prefilter::Uids(uids.clone())
        } else if !comms.is_empty() {
            Prefilter::Comms(comms.iter().map(|name| padded(name.as_bytes())).collect())
        } else {
            Prefilter::Any
        }
    }
}

/// A name as the kernel keeps it.
fn padded(name: &[u8]) -> [u8; COMM_LEN] {
    let mut raw = [0; COMM_LEN];
    // The last byte stays zero.
    let len = name.len().min(COMM_LEN - 1);
    raw[..len].copy_from_slice(&name[..len]);
    raw
}

#[cfg(test)]
mod tests;
