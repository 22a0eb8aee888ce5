//! What came of an apply or an undo, by the kernel's own account.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::Machine;
use crate::{
    cgroup::{CgroupPath, SliceRef},
    config::LayoutRule,
    cpus::CpuSet,
    layout::{
        LayoutError,
        change::{Change, set_cpus},
        facts::Facts,
        judge::{Obstacle, SliceReport, judge},
        plan::{Plan, Setter},
        state::State,
    },
    text::escape,
};

/// systemd has answered before it has written to all cgroups.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(3);
/// The same, each time that it is asked to take something away.
const TAKEN_AWAY_WITHIN: Duration = Duration::from_millis(500);
/// How often it is asked: it takes the controller away from one level of the tree at a time.
const RELOADS: usize = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What was done, and what was measured after it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether all is as it is meant to be.
    pub(super) as_wanted: bool,
    /// Who sets the CPUs.
    pub(super) setter: Setter,
    /// Files that were changed, escaped.
    pub(super) changes: Vec<String>,
    /// Each slice of the layout after it; none after an undo.
    pub(super) slices: Vec<SliceReport>,
    /// What is no part of the layout any more.
    pub(super) restored: Vec<Restored>,
}

/// A unit, or a cgroup where there are none, that was restored.
#[derive(Debug, Serialize)]
pub(super) struct Restored {
    /// The unit, or the path.
    pub(super) what: String,
    /// CPUs that processes in it had before the first apply; when it was not there, those that the one above it has now.
    pub(super) before: Option<CpuSet>,
    /// CPUs that they have now; absent when it is not there any more.
    pub(super) now: Option<CpuSet>,
    /// Its path below the mount.
    #[serde(skip)]
    pub(super) path: CgroupPath,
    /// CPUs that were written for it.
    #[serde(skip)]
    pub(super) ours: Option<CpuSet>,
}

/// Looks until all is as wanted, or until nothing that was done can bring it nearer. `old` is what was kept before.
pub(super) fn measure(
    machine: &Machine,
    rules: &[LayoutRule],
    plan: &Plan,
    old: &State,
) -> Result<Report, LayoutError> {
    let restored = settle(machine, &old.without(&plan.state))?;
    let look = || Ok(judge(rules, &machine.facts(rules)?));
    let slices = wait(IN_FORCE_WITHIN, look, |slices| slices.iter().any(is_pending))?;
    let name =
        |change: &Change| escape(change.file(&machine.targets).as_os_str().as_encoded_bytes()).into_owned();
    Ok(Report {
        as_wanted: slices.iter().all(|slice| slice.as_wanted) && !restored.iter().any(Restored::differs),
        setter: machine.setter(),
        changes: plan.changes.iter().map(name).collect(),
        slices,
        restored,
    })
}

/// All cgroups that were changed.
pub(super) fn saved_slices(state: &State) -> Vec<SliceRef> {
    let units = state.drop_ins.values().filter_map(|saved| CgroupPath::parse(&saved.cgroup).ok());
    units.chain(state.cgroups.keys().chain(&state.controllers).cloned()).map(SliceRef::from).collect()
}

/// Sees to it that what is not restricted any more is not restricted in the kernel either.
fn settle(machine: &Machine, gone: &State) -> Result<Vec<Restored>, LayoutError> {
    let look = || restored(machine, gone);
    let differ = |found: &Vec<Restored>| found.iter().any(Restored::differs);
    for _ in 1..RELOADS {
        let found = wait(TAKEN_AWAY_WITHIN, look, differ)?;
        if !differ(&found) {
            return Ok(found);
        }
        machine.reload()?;
    }
    // Where others below the same slice still have CPUs of their own the controller stays, and systemd's attempt to
    // write no CPUs into an inhabited cgroup fails (Linux 6.1). What somebody else has said since then stays.
    for left in wait(TAKEN_AWAY_WITHIN, look, differ)?.iter().filter(|left| left.differs() && left.is_ours())
    {
        if let Some(before) = &left.before {
            set_cpus(&machine.targets, &left.path, before)?;
        }
    }
    look()
}

/// Looks again and again while `pending`, for so long at most.
fn wait<T>(
    limit: Duration,
    look: impl Fn() -> Result<T, LayoutError>,
    pending: impl Fn(&T) -> bool,
) -> Result<T, LayoutError> {
    let begun = Instant::now();
    loop {
        let found = look()?;
        if !pending(&found) || begun.elapsed() >= limit {
            return Ok(found);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Whether all that keeps the slice from being as wanted is in the service manager's hands.
fn is_pending(slice: &SliceReport) -> bool {
    !slice.as_wanted && slice.obstacles.iter().all(Obstacle::is_ours_to_remove)
}

fn restored(machine: &Machine, gone: &State) -> Result<Vec<Restored>, LayoutError> {
    let facts = Facts::gather(&machine.sources, &saved_slices(gone), None)?;
    let one = |what: String, path: CgroupPath, before: &Option<CpuSet>, ours: Option<CpuSet>| {
        let now = facts.effective_of_existing(&path).cloned();
        let above = path.parent().and_then(|above| facts.effective(&above).cloned());
        Restored { what, before: before.clone().or(above), now, path, ours }
    };
    let units = gone.drop_ins.iter().filter_map(|(unit, saved)| {
        Some(one(unit.clone(), CgroupPath::parse(&saved.cgroup).ok()?, &saved.effective, saved.cpus()))
    });
    let cgroups = gone.cgroups.iter().map(|(path, saved)| {
        one(path.to_string(), path.clone(), &saved.effective, Some(saved.written.clone()))
    });
    Ok(units.chain(cgroups).collect())
}

impl Restored {
    /// What has ended meanwhile has nothing to be restored.
    fn differs(&self) -> bool {
        self.now.is_some() && self.before.is_some() && self.now != self.before
    }

    /// Whether it has what was written for it.
    fn is_ours(&self) -> bool {
        self.now == self.ours
    }
}
