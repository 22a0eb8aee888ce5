//! Which events a listener wants.
//!
//! The kernel programs answer this first, so that what nobody wants never leaves the kernel; [`Filter`] says what
//! they are to be told. The agent then decides by the same rules ([`Filter::matches`]) about what the kernel cannot:
//! alerts, which come whatever the stream's filters are, and moves, by where they lead. With `--children` the kernel
//! filters by process alone and the agent by all else: it could not follow the forks of a watched process if the
//! kernel kept some of them back for their name or uid.

mod args;
mod record;
mod watched;

use std::collections::{BTreeSet, HashSet};

use procwatch_common::{
    policy::{
        FILTER_CGROUP, FILTER_CHILDREN, FILTER_COMM, FILTER_PID, FILTER_UID, MAX_FILTER_PIDS,
        MAX_FILTER_VALUES,
    },
    wire::{COMM_LEN, Kind},
};

pub use self::args::{EventKind, FilterArgs, FilterError, WhoArgs};
use self::watched::Watched;
use crate::{
    cgroup::CgroupPath,
    convert::CgroupPaths,
    event::{Body, Event, ProcessKey, Way},
    table::ProcessTable,
    text::{Comm, Text},
};

/// Most uids, and most names, by the size of the kernel's maps.
pub const MAX_VALUES: usize = MAX_FILTER_VALUES;
/// Most processes named on the command line. The kernel's map leaves room for their children.
pub const MAX_PIDS: usize = MAX_FILTER_PIDS / 32;

/// Which events a listener wants. An empty criterion lets everything through; all that are not empty must agree.
#[derive(Debug)]
pub struct Filter {
    kinds: BTreeSet<EventKind>,
    uids: BTreeSet<u32>,
    comms: HashSet<Comm>,
    /// As given on the command line.
    pids: BTreeSet<u32>,
    /// With `--children`, all that are watched now.
    watched: Option<Watched>,
    /// Path below the root of the v2 hierarchy, with a leading and without a trailing slash; empty for the root.
    cgroup: Option<String>,
    /// Alerts that were let through and have not been cleared, by process and level.
    alerts: HashSet<(ProcessKey, Way)>,
    /// The kernel programs let everything through.
    alone: bool,
}

impl Filter {
    /// Bits of [`Kind`] that the stream must carry: those wanted, and with `--children` the forks and exits by which
    /// the agent follows them.
    pub fn kinds_mask(&self) -> u32 {
        let wanted = self.kinds.iter().flat_map(|kind| kind.wire_kinds());
        let followed: &[Kind] = if self.watched.is_some() { &[Kind::Fork, Kind::Exit] } else { &[] };
        wanted.chain(followed).fold(0, |mask, kind| mask | kind.bit())
    }

    /// Set of `FILTER_*` that the kernel programs are to apply to the stream.
    pub fn kernel_filters(&self) -> u32 {
        if self.watched.is_some() {
            return FILTER_PID | FILTER_CHILDREN;
        }
        [
            (!self.uids.is_empty(), FILTER_UID),
            (!self.comms.is_empty(), FILTER_COMM),
            (!self.pids.is_empty(), FILTER_PID),
            (self.cgroup.is_some(), FILTER_CGROUP),
        ]
        .into_iter()
        .filter(|(given, _)| *given)
        .fold(0, |filters, (_, bit)| filters | bit)
    }

    /// Whether alerts are wanted.
    pub fn wants_alerts(&self) -> bool {
        self.kinds.contains(&EventKind::Alert)
    }

    /// Whether the children of the processes wanted are wanted too.
    pub const fn follows_children(&self) -> bool {
        self.watched.is_some()
    }

    /// The kernel programs will not filter: everything is decided here.
    pub const fn decide_alone(&mut self) {
        self.alone = true;
    }

    /// The cgroup wanted, by the path that its name turned out to have.
    pub fn set_cgroup(&mut self, path: &CgroupPath) {
        self.cgroup = Some(format!("/{}", path.relative().display()).trim_end_matches('/').to_owned());
    }

    /// Uids wanted, at most [`MAX_VALUES`]; empty for all.
    pub fn uids(&self) -> impl Iterator<Item = u32> {
        self.uids.iter().copied()
    }

    /// Names wanted, padded with zero as in the kernel, at most [`MAX_VALUES`]; empty for all.
    pub fn comms(&self) -> impl Iterator<Item = [u8; COMM_LEN]> {
        self.comms.iter().map(|comm| {
            let mut padded = [0; COMM_LEN];
            padded.iter_mut().zip(comm.as_bytes()).for_each(|(to, from)| *to = *from);
            padded
        })
    }

    /// Processes given on the command line, at most [`MAX_PIDS`]; empty for all.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.pids.iter().copied()
    }

    /// Path of the cgroup wanted below the root of the v2 hierarchy, with a leading slash (the root: `/`). It may
    /// not exist.
    pub fn cgroup(&self) -> Option<&str> {
        self.cgroup.as_deref().map(|path| if path.is_empty() { "/" } else { path })
    }

    /// With `--children`: `child` is watched if `parent` is. For processes that were there before the stream; parents
    /// first.
    pub fn adopt(&mut self, parent: u32, child: u32) {
        if let Some(watched) = &mut self.watched {
            watched.adopt(parent, child);
        }
    }

    /// With `--children`: all descendants that `table` knows are watched. They are returned, with those that were named.
    pub fn adopt_family(&mut self, table: &ProcessTable) -> Vec<u32> {
        let roots: Vec<u32> = self.pids().collect();
        let family = table.with_descendants(&roots);
        for pid in &family {
            if let Some(process) = table.get(*pid) {
                self.adopt(process.ppid, *pid);
            }
        }
        family
    }

    /// Whether the listener wants this event. Every event has to be asked about, in its order: forks and exits change
    /// what is watched, and the end of an alert is wanted exactly if its beginning was (an alert that is raised at the
    /// start counts: it has to be asked about as well).
    ///
    /// A cgroup that is gone before its path could be read matches: better one event too many than one too few.
    pub fn matches(&mut self, event: &Event, paths: &mut impl CgroupPaths) -> bool {
        let is_watched = self.is_watched(event);
        match &event.body {
            Body::LevelCleared(change) => self.alerts.remove(&(event.subject.key(), change.way)),
            Body::LevelCrossed(change) => {
                let wanted = is_watched && self.wants(event, paths);
                if wanted {
                    self.alerts.insert((event.subject.key(), change.way));
                }
                wanted
            }
            _ => is_watched && self.wants(event, paths),
        }
    }

    fn is_watched(&mut self, event: &Event) -> bool {
        match &mut self.watched {
            Some(watched) => watched.follow(event),
            None => {
                self.pids.is_empty()
                    || self.pids.contains(&event.subject.pid)
                    || event.cause().is_some_and(|pid| self.pids.contains(&pid))
            }
        }
    }

    /// All criteria but the process.
    fn wants(&self, event: &Event, paths: &mut impl CgroupPaths) -> bool {
        self.wants_kind(event.body.kind())
            && self.wants_uid(event)
            && self.wants_comm(event)
            && self.wants_cgroup(event, paths)
    }

    fn wants_kind(&self, kind: Kind) -> bool {
        EventKind::of(kind).is_some_and(|kind| self.kinds.contains(&kind))
    }

    fn wants_uid(&self, event: &Event) -> bool {
        let subject = &event.subject;
        self.uids.is_empty() || self.uids.contains(&subject.uid) || self.uids.contains(&subject.euid)
    }

    /// By the name of the task that caused the event; a move has two names, of the moved and of the mover.
    fn wants_comm(&self, event: &Event) -> bool {
        let by_mover = |mover| self.comms.contains(mover);
        self.comms.is_empty()
            || self.comms.contains(&event.subject.comm)
            || matches!(&event.body, Body::Cgroup(attach) if by_mover(&attach.mover_comm))
    }

    fn wants_cgroup(&self, event: &Event, paths: &mut impl CgroupPaths) -> bool {
        let Some(wanted) = &self.cgroup else { return true };
        match &event.body {
            Body::Cgroup(attach) => is_below(&attach.path, wanted),
            Body::LevelCrossed(_) => is_known_below(event, paths, wanted),
            // The kernel has decided, by the cgroup of the task that caused the event.
            _ if self.watched.is_none() && !self.alone => true,
            _ => is_known_below(event, paths, wanted),
        }
    }
}

fn is_known_below(event: &Event, paths: &mut impl CgroupPaths, wanted: &str) -> bool {
    paths.path(event.subject.cgroup_id).is_none_or(|path| is_below(&path, wanted))
}

/// Whether `path` is `wanted` or below it: `/a.slice/b` is below `/a.slice`, `/a.slicer` is not.
fn is_below(path: &Text, wanted: &str) -> bool {
    path.as_bytes()
        .strip_prefix(wanted.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests;
