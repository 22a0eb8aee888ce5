//! The way back: what is in force is taken off, as it was before, and the process goes back to where it came from.

use std::time::{Duration, Instant};

use super::{
    cell::Cell,
    freeze::unfreeze,
    hands::Hands,
    impose::effect,
    limit::Limit,
    state::{Effect, Entry, State, StateError},
    stop::resume,
};
use crate::{
    cgroup::CgroupPath,
    record::{ActResult, Deed},
};

/// What came of taking one effect back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Released {
    pub(super) deed: Deed,
    pub(super) result: ActResult,
    pub(super) detail: String,
    pub(super) cell: Option<CgroupPath>,
    pub(super) took: Duration,
}

/// Takes back those effects of an entry that are `wanted`. What could not be taken back stays noted.
///
/// # Errors
/// When that cannot be written down.
pub(super) fn release(
    hands: &Hands<'_>,
    state: &mut State,
    mut entry: Entry,
    wanted: impl Fn(Deed, &Effect) -> bool,
) -> Result<Vec<Released>, StateError> {
    let mut all = Vec::new();
    for deed in [Deed::Freeze, Deed::Throttle, Deed::Cap, Deed::Stop] {
        let Some(was) = noted(&mut entry, deed).clone().filter(|was| wanted(deed, was)) else { continue };
        let begun = Instant::now();
        let (result, detail) = match take_back(hands, &entry, deed, &was) {
            Ok(detail) => {
                *noted(&mut entry, deed) = None;
                (ActResult::Verified, detail)
            }
            Err(why) => (ActResult::Failed, why),
        };
        let cell = entry.cell.as_ref().filter(|_| deed != Deed::Stop).map(|cell| cell.cgroup.clone());
        all.push(Released { deed, result, detail, cell, took: begun.elapsed() });
    }
    if entry.is_empty()
        && let Some(cell) = entry.cell.clone()
    {
        go_home(hands, state, &mut entry, cell, &mut all)?;
    }
    state.keep(entry)?;
    Ok(all)
}

/// The last one leaves the cell.
fn go_home(
    hands: &Hands<'_>,
    state: &mut State,
    entry: &mut Entry,
    mut cell: Cell,
    all: &mut Vec<Released>,
) -> Result<(), StateError> {
    let begun = Instant::now();
    hand_on(state, entry, &mut cell)?;
    if all.is_empty() {
        // Its agent died between the cell and the effect.
        let detail = "nothing was in force".to_owned();
        let cgroup = Some(cell.cgroup.clone());
        let result = ActResult::Verified;
        all.push(Released { deed: Deed::Freeze, result, detail, cell: cgroup, took: Duration::ZERO });
    }
    let left = hands.leave(&cell);
    let Some(last) = all.last_mut() else { return Ok(()) };
    last.took += begun.elapsed();
    match left {
        Ok(place) => {
            entry.cell = None;
            last.detail = format!("{}, {place}", last.detail);
        }
        Err(why) => {
            entry.cell = Some(cell);
            last.result = ActResult::Unverified;
            last.detail = format!("{}, but {why}", last.detail);
        }
    }
    Ok(())
}

/// A controller that was enabled for one cell, and that another one beside it needs by now, is the other's to disable.
fn hand_on(state: &mut State, entry: &Entry, cell: &mut Cell) -> Result<(), StateError> {
    if cell.enabled.is_empty() {
        return Ok(());
    }
    let above = cell.cgroup.parent();
    let is_heir = |other: &&Entry| {
        !other.is_of(entry.key()) && other.cell.as_ref().is_some_and(|other| other.cgroup.parent() == above)
    };
    let Some(mut heir) = state.entries().iter().find(is_heir).cloned() else { return Ok(()) };
    if let Some(other) = &mut heir.cell {
        other.enabled.append(&mut cell.enabled);
    }
    state.keep(heir)
}

fn take_back(hands: &Hands<'_>, entry: &Entry, deed: Deed, was: &Effect) -> Result<String, String> {
    if deed == Deed::Stop {
        return resume(entry.key(), &was.before);
    }
    let Some(cell) = &entry.cell else {
        return Err("it is not known by which cgroup".to_owned());
    };
    match deed {
        Deed::Freeze => unfreeze(&hands.mount.point.join(cell.cgroup.relative()), &was.before),
        Deed::Throttle => hands.restore(cell, Limit::Cpu, was),
        _ => hands.restore(cell, Limit::Pids, was),
    }
}

/// Where an entry notes an effect.
fn noted(entry: &mut Entry, deed: Deed) -> &mut Option<Effect> {
    match deed {
        Deed::Freeze => &mut entry.frozen,
        Deed::Throttle => effect(entry, Limit::Cpu),
        Deed::Cap => effect(entry, Limit::Pids),
        _ => &mut entry.stopped,
    }
}
