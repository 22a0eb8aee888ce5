//! The way into a cell and out of it again.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    thread,
    time::{Duration, Instant},
};

use super::{
    cell::{Cell, CellKind, Origin},
    hands::{Hands, said},
    limit::Limit,
    plan::Plan,
    target::Target,
};
use crate::{
    cgroup::CgroupPath,
    execute::SessionName,
    inspect,
    systemd::{BusError, Property, Value},
};

/// How long a cell may take to be gone once nobody lives in it.
const GONE_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How often those are moved that were born while the others were.
const ROUNDS: usize = 20;

impl Hands<'_> {
    /// Brings a process into the cell of a plan, which is made if it has to be.
    ///
    /// # Errors
    /// Why that did not work, in words. The process is where it was, and what was made is gone again.
    pub(super) fn enter(&self, plan: &Plan, target: &Target) -> Result<(), String> {
        let cell = &plan.cell;
        let entered = match cell.kind {
            CellKind::Own | CellKind::Unit => return Ok(()),
            CellKind::Scope => self.make_scope(plan, target),
            CellKind::Leaf => self.make_leaf(cell, target),
        };
        let checked = entered.and_then(|()| match inspect::cgroup(target.key()) {
            Some(place) if place == cell.cgroup => Ok(()),
            Some(place) => Err(format!("it was to go to {}, but is in {place}", cell.cgroup)),
            None => Err("the process has ended".to_owned()),
        });
        checked.map_err(|why| match self.leave(cell) {
            Ok(_) => why,
            Err(then) => format!("{why}; and {then}"),
        })
    }

    /// Enables a controller for a cell where it is missing. What was enabled is noted in the cell.
    ///
    /// # Errors
    /// What the kernel says, in words.
    pub(super) fn enable(&self, cell: &mut Cell, limit: Limit) -> Result<(), String> {
        if matches!(cell.kind, CellKind::Unit | CellKind::Scope)
            || self.file(&cell.cgroup, limit.file()).exists()
        {
            return Ok(());
        }
        let above = cell.cgroup.parent().unwrap_or_else(CgroupPath::root);
        self.write(&above, "cgroup.subtree_control", &format!("+{}", limit.controller()))?;
        cell.enabled.push(limit.controller().to_owned());
        Ok(())
    }

    /// Brings all who live in a cell back to where its process came from, and removes what was made for it. Returns in
    /// words where they are. One who has ended needs no way back.
    ///
    /// # Errors
    /// What could not be done, in words.
    pub(super) fn leave(&self, cell: &Cell) -> Result<String, String> {
        let moved = match &cell.from {
            Some(from) => self.move_back(cell, from),
            None => Ok(format!("in {}", cell.cgroup)),
        };
        let removed = match cell.kind {
            _ if moved.is_err() => Ok(()),
            CellKind::Own | CellKind::Unit => Ok(()),
            CellKind::Scope => self.end_scope(cell),
            CellKind::Leaf => self.remove_leaf(&cell.cgroup),
        };
        let disabled = if moved.is_err() { Ok(()) } else { self.disable(cell) };
        let place = moved?;
        removed.and(disabled).map(|()| place)
    }

    fn make_scope(&self, plan: &Plan, target: &Target) -> Result<(), String> {
        let unit = plan.cell.unit.as_deref().unwrap_or_default();
        let slice = plan.slice.as_deref().unwrap_or_default();
        let pid = target.pid();
        let description = format!("procwatch contains process {pid} ({})", target.facts().comm);
        let properties: Vec<Property<'_>> = vec![
            ("Description", Value::from(description)),
            ("PIDs", Value::from(vec![pid])),
            ("Slice", Value::from(slice)),
            ("CollectMode", Value::from("inactive-or-failed")),
            // Its cgroup is ours to write to, and stopping it kills nobody.
            ("Delegate", Value::from(true)),
            ("KillMode", Value::from("process")),
            ("SendSIGKILL", Value::from(false)),
            ("TasksMax", Value::from(u64::MAX)),
        ];
        self.manager()?.start_transient(unit, &properties).map_err(|error| error.to_string())
    }

    fn make_leaf(&self, cell: &Cell, target: &Target) -> Result<(), String> {
        let folder = self.mount.point.join(cell.cgroup.relative());
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(said(&folder, &error)),
            _ => {}
        }
        self.write(&cell.cgroup, "cgroup.procs", &target.pid().to_string())
    }

    fn move_back(&self, cell: &Cell, from: &Origin) -> Result<String, String> {
        for _ in 0..ROUNDS {
            let pids = self.inhabitants(&cell.cgroup);
            if pids.is_empty() {
                return Ok(format!("back in {}", from.cgroup));
            }
            self.make_sure_of(from).map_err(|why| format!("{why}; it stays in {}, free", cell.cgroup))?;
            for pid in pids {
                match super::hands::order(&self.file(&from.cgroup, "cgroup.procs"), &pid.to_string()) {
                    // It has ended.
                    Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                        return Err(format!(
                            "process {pid} cannot go back to {} ({error}); it stays in {}, free",
                            from.cgroup, cell.cgroup
                        ));
                    }
                    _ => {}
                }
            }
        }
        Err(format!("processes are born in {} faster than they are moved out", cell.cgroup))
    }

    /// Sees to it that the way back leads to the very cgroup that it came from. A leaf of a placed session is ours to make
    /// again.
    fn make_sure_of(&self, from: &Origin) -> Result<(), String> {
        let folder = self.mount.point.join(from.cgroup.relative());
        match fs::metadata(&folder) {
            Ok(found) if found.ino() == from.id => return Ok(()),
            Ok(_) => {
                return Err(format!(
                    "{}, where it came from, is another cgroup of that name now",
                    from.cgroup
                ));
            }
            Err(_) => {}
        }
        let is_ours = from.cgroup.name().is_some_and(SessionName::is_one);
        if is_ours && fs::create_dir(&folder).is_ok() {
            return Ok(());
        }
        Err(format!("{}, where it came from, is gone", from.cgroup))
    }

    /// A scope ends by itself when nobody lives in it any more.
    fn end_scope(&self, cell: &Cell) -> Result<(), String> {
        let unit = cell.unit.as_deref().unwrap_or_default();
        let folder = self.mount.point.join(cell.cgroup.relative());
        let begun = Instant::now();
        while folder.exists() {
            if begun.elapsed() > GONE_WITHIN {
                self.manager()?.stop(unit).map_err(|error: BusError| error.to_string())?;
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
        // What was set of it is kept in files that nobody needs any more.
        Limit::ALL.iter().try_for_each(|limit| Self::remove_drop_ins(unit, *limit).map(drop))
    }

    fn remove_leaf(&self, cgroup: &CgroupPath) -> Result<(), String> {
        let folder = self.mount.point.join(cgroup.relative());
        let begun = Instant::now();
        loop {
            match fs::remove_dir(&folder) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                // The last ones are about to end.
                Err(_) if begun.elapsed() < GONE_WITHIN => thread::sleep(LOOK_AGAIN),
                Err(error) => return Err(said(&folder, &error)),
            }
        }
    }

    fn disable(&self, cell: &Cell) -> Result<(), String> {
        let above = cell.cgroup.parent().unwrap_or_else(CgroupPath::root);
        if !self.mount.point.join(above.relative()).exists() {
            return Ok(());
        }
        for name in &cell.enabled {
            self.write(&above, "cgroup.subtree_control", &format!("-{name}"))?;
        }
        Ok(())
    }
}
