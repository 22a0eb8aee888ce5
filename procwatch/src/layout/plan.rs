//! Which files would have to change. No I/O but [`Current::look`].

use std::{cmp::Reverse, collections::BTreeMap};

use nix::unistd::{getegid, geteuid};

use super::{
    LayoutError,
    change::{Change, Content, Targets},
    facts::{CPUS, Facts, cpus_of, way_to},
    state::{SavedCpus, SavedDropIn, State, raw},
    unit,
};
use crate::{cgroup::CgroupPath, config::LayoutRule, cpus::CpuSet};

/// Who sets CPUs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setter {
    /// systemd, told by drop-ins. It lasts.
    Systemd,
    /// Whoever writes to cgroupfs. It lasts until the next boot.
    Cgroupfs,
}

/// What is there now of all that may have to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// Our drop-in of each unit.
    drop_ins: BTreeMap<String, Option<Content>>,
    /// Whether its folder is there.
    folders: BTreeMap<String, bool>,
    /// The CPUs of each cgroup that is there and has the controller.
    cpus: BTreeMap<CgroupPath, CpuSet>,
}

/// What has to be done, and what is to be remembered of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub changes: Vec<Change>,
    /// What is to be kept when all that is done.
    pub state: State,
}

impl Current {
    /// Looks at the files of these rules and of all that was saved.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn look(targets: &Targets, rules: &[LayoutRule], state: &State) -> Result<Self, LayoutError> {
        let mut current = Self::default();
        let units = rules.iter().filter_map(|rule| unit::of(&rule.slice).ok());
        for unit in units.chain(state.drop_ins.keys().cloned()) {
            current.folders.insert(unit.clone(), targets.folder(&unit).exists());
            current.drop_ins.insert(unit.clone(), Content::read(&targets.drop_in(&unit))?);
        }
        for path in rules.iter().map(|rule| rule.slice.path()).chain(state.cgroups.keys()) {
            if let Some(cpus) = cpus_of(&targets.cgroup_file(path, CPUS))? {
                current.cpus.insert(path.clone(), cpus);
            }
        }
        Ok(current)
    }

    fn drop_in(&self, unit: &str) -> Option<&Content> {
        self.drop_ins.get(unit)?.as_ref()
    }
}

/// What brings `rules` about, and takes back what an earlier layout had and this one has not.
///
/// # Errors
/// [`LayoutError::Edited`], unless `force`; and when a slice cannot be set by this setter.
pub fn apply(
    rules: &[LayoutRule],
    setter: Setter,
    (facts, current): (&Facts, &Current),
    (state, targets, force): (&State, &Targets, bool),
) -> Result<Plan, LayoutError> {
    if !force {
        refuse_edited(current, state, targets)?;
    }
    match setter {
        Setter::Systemd => by_drop_ins(rules, facts, current, state),
        Setter::Cgroupfs => by_cgroupfs(rules, facts, current, state),
    }
}

/// What restores all that was saved. Cgroups that are gone need nothing.
///
/// # Errors
/// [`LayoutError::Edited`], unless `force`.
pub fn undo(
    facts: &Facts,
    current: &Current,
    (state, targets, force): (&State, &Targets, bool),
) -> Result<Plan, LayoutError> {
    if !force {
        refuse_edited(current, state, targets)?;
    }
    let drop_ins = state.drop_ins.iter().filter_map(|(unit, saved)| restored(unit, saved, current));
    let cpus = state.cgroups.iter().filter_map(|(path, saved)| cpus_change(path, &saved.before, current));
    let is_on = |path: &&CgroupPath| facts.cgroups.get(path).is_some_and(|cgroup| cgroup.enables);
    let mut off: Vec<&CgroupPath> = state.controllers.iter().filter(is_on).collect();
    off.sort_by_key(|path| Reverse(path.depth()));
    let controllers = off.into_iter().map(|path| Change::Controller { cgroup: path.clone(), on: false });
    let changes = drop_ins.chain(in_order(cpus.collect())).chain(controllers).collect();
    Ok(Plan { changes, state: State::default() })
}

/// What is neither as we wrote it nor as it was before is somebody else's by now.
fn refuse_edited(current: &Current, state: &State, targets: &Targets) -> Result<(), LayoutError> {
    for (unit, saved) in &state.drop_ins {
        let now = current.drop_in(unit);
        let ours = now.is_some_and(|now| now.text == saved.written);
        if !ours && now != saved.before.as_ref() {
            return Err(LayoutError::Edited(targets.drop_in(unit)));
        }
    }
    for (path, saved) in &state.cgroups {
        let others = current.cpus.get(path).filter(|now| **now != saved.written && **now != saved.before);
        if others.is_some() {
            return Err(LayoutError::Edited(targets.cgroup_file(path, CPUS)));
        }
    }
    Ok(())
}

fn by_drop_ins(
    rules: &[LayoutRule],
    facts: &Facts,
    current: &Current,
    state: &State,
) -> Result<Plan, LayoutError> {
    let mut new = State { drop_ins: BTreeMap::new(), ..state.clone() };
    let mut changes = Vec::new();
    for rule in rules {
        let unit = unit::of(&rule.slice)?;
        let before = current.drop_in(&unit).cloned();
        let written = drop_in(&unit, &rule.cpus);
        let saved = state.drop_ins.get(&unit).cloned().unwrap_or_else(|| SavedDropIn {
            before: before.clone(),
            written: String::new(),
            folder_is_ours: !current.folders.get(&unit).copied().unwrap_or(false),
            cgroup: raw(rule.slice.path()),
            effective: facts.effective_of_existing(rule.slice.path()).cloned(),
        });
        if before.as_ref().is_none_or(|before| before.text != written) {
            let owner = (geteuid().as_raw(), getegid().as_raw());
            let content = Content { text: written.clone(), mode: 0o644, uid: owner.0, gid: owner.1 };
            let folder_is_ours = saved.folder_is_ours;
            changes.push(Change::DropIn { unit: unit.clone(), before, after: Some(content), folder_is_ours });
        }
        new.drop_ins.insert(unit, SavedDropIn { written, ..saved });
    }
    let stale = state.drop_ins.iter().filter(|(unit, _)| !new.drop_ins.contains_key(*unit));
    changes.extend(stale.filter_map(|(unit, saved)| restored(unit, saved, current)));
    // In whatever order: systemd reads them all before it acts.
    Ok(Plan { changes, state: new })
}

fn by_cgroupfs(
    rules: &[LayoutRule],
    facts: &Facts,
    current: &Current,
    state: &State,
) -> Result<Plan, LayoutError> {
    if !facts.controller {
        let what = "the cgroup2 hierarchy has no cpuset controller, so no CPUs can be set; \
            boot without cgroup v1: cgroup_no_v1=all";
        return Err(LayoutError::Refused(what.to_owned()));
    }
    let mut new = State { cgroups: BTreeMap::new(), ..state.clone() };
    let mut controllers = Vec::new();
    let mut cpus = Vec::new();
    for rule in rules {
        let path = rule.slice.path();
        let way = way_to(path);
        if !facts.cgroups.contains_key(path) {
            return Err(LayoutError::Refused(format!("{path} does not exist; make it first")));
        }
        for above in way.iter().filter(|at| *at != path) {
            let off = facts.cgroups.get(above).is_some_and(|cgroup| !cgroup.enables);
            let change = Change::Controller { cgroup: above.clone(), on: true };
            if off && !controllers.contains(&change) {
                controllers.push(change);
                new.controllers.insert(above.clone());
            }
        }
        // Where the controller comes only now, there is no restriction yet.
        let now = current.cpus.get(path).cloned().unwrap_or_default();
        let saved = state.cgroups.get(path).cloned().unwrap_or_else(|| SavedCpus {
            before: now.clone(),
            written: CpuSet::default(),
            effective: facts.effective(path).cloned(),
        });
        if now != rule.cpus {
            cpus.push(Change::Cpus { cgroup: path.clone(), before: now, after: rule.cpus.clone() });
        }
        new.cgroups.insert(path.clone(), SavedCpus { written: rule.cpus.clone(), ..saved });
    }
    let stale = state.cgroups.iter().filter(|(path, _)| !new.cgroups.contains_key(*path));
    cpus.extend(stale.filter_map(|(path, saved)| cpus_change(path, &saved.before, current)));
    controllers.sort_by_key(depth);
    Ok(Plan { changes: controllers.into_iter().chain(in_order(cpus)).collect(), state: new })
}

/// What a unit's drop-in says. The empty assignment takes back what other files say: systemd adds lists up otherwise.
fn drop_in(unit: &str, cpus: &CpuSet) -> String {
    let section = unit::section(unit).unwrap_or("Slice");
    format!(
        "# Written by `procwatch layout apply` from [[layout]] of procwatch's configuration. Change it there, and apply \
         again;\n# `procwatch layout apply --undo` takes it back.\n[{section}]\nAllowedCPUs=\nAllowedCPUs={cpus}\n"
    )
}

/// What was there before; nothing where it is that already.
fn restored(unit: &str, saved: &SavedDropIn, current: &Current) -> Option<Change> {
    let now = current.drop_in(unit).cloned();
    (now != saved.before).then(|| Change::DropIn {
        unit: unit.to_owned(),
        before: now,
        after: saved.before.clone(),
        folder_is_ours: saved.folder_is_ours,
    })
}

fn cpus_change(cgroup: &CgroupPath, after: &CpuSet, current: &Current) -> Option<Change> {
    let now = current.cpus.get(cgroup)?;
    (now != after).then(|| Change::Cpus { cgroup: cgroup.clone(), before: now.clone(), after: after.clone() })
}

/// Those that only widen come first, from the top down; then the others, from below up. So no cgroup is ever wider than
/// the one above it that is to hold it.
fn in_order(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by_key(|change| match change {
        Change::Cpus { before, after, .. } if widens(before, after) => (0, i64::from(depth(change))),
        other => (1, -i64::from(depth(other))),
    });
    changes
}

/// No CPU at all is no restriction.
fn widens(before: &CpuSet, after: &CpuSet) -> bool {
    after.is_empty() || (!before.is_empty() && before.is_subset(after))
}

fn depth(change: &Change) -> u32 {
    match change {
        Change::DropIn { .. } => 0,
        Change::Cpus { cgroup, .. } | Change::Controller { cgroup, .. } => cgroup.depth(),
    }
}

#[cfg(test)]
mod tests;
