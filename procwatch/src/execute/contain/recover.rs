//! Finds what an agent that died has left contained, by its notes, and where there are none by the names of its cells.

use std::fs;

use super::{
    Warden,
    cell::{first_of, is_cell},
    freeze::{is_told_to_freeze, unfreeze},
    hands::Hands,
    limit::Limit,
    state::{Effect, Entry, State, StateError},
    target::Target,
    undo::{process_of, taken_back},
};
use crate::{
    cgroup::CgroupPath,
    record::{Act, ActResult, Deed, Occasion},
    users::UserNames,
};

/// The deepest nest of cgroups that is looked into.
const MAX_DEPTH: usize = 32;

/// What was found, and what became of it.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// One for each effect that was found.
    pub acts: Vec<Act>,
    /// What else there is to tell, in words, escaped: a damaged file, a cell that nobody lives in.
    pub notes: Vec<String>,
}

impl Recovered {
    /// Whether something could not be taken back.
    pub fn is_incomplete(&self) -> bool {
        self.acts.iter().any(|act| !matches!(act.result, ActResult::Verified | ActResult::Would))
    }
}

impl Warden {
    /// Finds what is left over, and takes it back unless it is to be kept. To be called when no agent runs.
    ///
    /// # Errors
    /// When the notes cannot be read or written.
    pub fn recover(&self, keep: bool) -> Result<Recovered, StateError> {
        let mut state = State::hold(&self.file)?;
        let mut found = Recovered { acts: Vec::new(), notes: Vec::new() };
        found.notes.extend(state.complaint().map(str::to_owned));
        let entries: Vec<Entry> = state.entries().iter().filter(|entry| is_agents(entry)).cloned().collect();
        for entry in entries {
            let acts = if keep {
                self.kept(&entry)
            } else {
                self.release_one(&mut state, &entry, Occasion::Recovery, |effect| !effect.by_hand)?
            };
            found.acts.extend(acts);
        }
        let known: Vec<&CgroupPath> =
            state.entries().iter().filter_map(|entry| entry.cell.as_ref()).map(|cell| &cell.cgroup).collect();
        let hands = Hands::new(&self.mount);
        for cgroup in self.cells().into_iter().filter(|cgroup| !known.contains(&cgroup)) {
            self.unknown_cell(&hands, &cgroup, keep, &mut found);
        }
        Ok(found)
    }

    /// One act for each effect that is left in force.
    fn kept(&self, entry: &Entry) -> Vec<Act> {
        let process = process_of(entry, &self.mount);
        let cell = entry.cell.as_ref().map(|cell| super::target::shown(&cell.cgroup));
        noted(entry)
            .into_iter()
            .filter(|(_, effect)| effect.is_some_and(|effect| !effect.by_hand))
            .map(|(deed, _)| {
                let detail = "it is left as it is".to_owned();
                let act = taken_back(deed, ActResult::Would, detail, process.clone(), Occasion::Recovery);
                Act { cell: cell.clone(), ..act }
            })
            .collect()
    }

    /// A cell that no note tells of: what is in force in it is taken off. Where its processes came from is not known.
    fn unknown_cell(&self, hands: &Hands<'_>, cgroup: &CgroupPath, keep: bool, found: &mut Recovered) {
        let folder = self.mount.point.join(cgroup.relative());
        let pids = hands.inhabitants(cgroup);
        let first = cgroup.name().and_then(first_of).filter(|pid| pids.contains(pid));
        let Some(target) = first.or(pids.first().copied()).and_then(Target::of_pid) else {
            found.notes.push(if keep {
                format!("{cgroup}: a cell that nobody lives in; it is left as it is")
            } else {
                remove(hands, cgroup)
            });
            return;
        };
        let is_frozen = is_told_to_freeze(&folder);
        let detail = if keep {
            Ok("no note tells of this cell; it is left as it is".to_owned())
        } else {
            unfreeze(&folder, "0").and_then(|thawed| {
                free(hands, cgroup)?;
                Ok(format!("no note tells of this cell: {thawed}; it stays in it, free, for where it came from is not known"))
            })
        };
        let (result, detail) = match detail {
            Ok(detail) if keep => (ActResult::Would, detail),
            Ok(detail) => (ActResult::Verified, detail),
            Err(why) => (ActResult::Failed, why),
        };
        let deed = if is_frozen { Deed::Freeze } else { Deed::Throttle };
        let process = target.record(&mut UserNames::new(), &self.mount);
        let act = taken_back(deed, result, detail, process, Occasion::Recovery);
        found.acts.push(Act { cell: Some(super::target::shown(cgroup)), ..act });
    }

    /// All cells of ours in the hierarchy.
    fn cells(&self) -> Vec<CgroupPath> {
        let mut cells = Vec::new();
        let mut open = vec![CgroupPath::root()];
        while let Some(above) = open.pop() {
            let entries =
                fs::read_dir(self.mount.point.join(above.relative())).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let cgroup = above.child(&name);
                if is_cell(&name) {
                    cells.push(cgroup);
                } else if (cgroup.depth() as usize) < MAX_DEPTH {
                    open.push(cgroup);
                }
            }
        }
        cells.sort();
        cells
    }
}

/// Takes the limits of a cell off.
fn free(hands: &Hands<'_>, cgroup: &CgroupPath) -> Result<(), String> {
    for limit in Limit::ALL {
        if hands.file(cgroup, limit.file()).exists() {
            hands.write(cgroup, limit.file(), &limit.text(u64::MAX))?;
        }
    }
    Ok(())
}

/// Removes a cell that nobody lives in. A scope is the service manager's to remove.
fn remove(hands: &Hands<'_>, cgroup: &CgroupPath) -> String {
    let scope = cgroup.name().filter(|name| name.strip_suffix(".scope").is_some());
    let removed = if let Some(unit) = scope {
        hands.manager().and_then(|manager| manager.stop(unit).map_err(|error| error.to_string()))
    } else {
        let folder = hands.mount.point.join(cgroup.relative());
        fs::remove_dir(&folder).map_err(|error| super::hands::said(&folder, &error))
    };
    match removed {
        Ok(()) => format!("{cgroup}: a cell that nobody lived in was removed"),
        Err(why) => format!("{cgroup}: a cell that nobody lives in could not be removed: {why}"),
    }
}

/// Whether an agent has a part in it. An entry of nothing but a cell is of one that died.
fn is_agents(entry: &Entry) -> bool {
    entry.is_empty() || noted(entry).iter().any(|(_, effect)| effect.is_some_and(|effect| !effect.by_hand))
}

const fn noted(entry: &Entry) -> [(Deed, Option<&Effect>); 4] {
    [
        (Deed::Freeze, entry.frozen.as_ref()),
        (Deed::Throttle, entry.cpu.as_ref()),
        (Deed::Cap, entry.pids.as_ref()),
        (Deed::Stop, entry.stopped.as_ref()),
    ]
}
