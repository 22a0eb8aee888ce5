//! Limits of a cell: imposed, never loosened, and taken back as they were.

use super::{
    cell::{Cell, CellKind},
    hands::Hands,
    limit::Limit,
    state::{Effect, Entry},
    work::{Measured, Work},
};
use crate::{
    record::ActResult,
    systemd::{BusError, Value},
};

/// Limits what the cell of a process has to `amount`. A limit that was tighter before stays.
pub(super) fn impose(
    work: &mut Work<'_>,
    limit: Limit,
    amount: impl FnOnce(&Hands<'_>, &Cell) -> u64,
) -> Result<Measured, Measured> {
    let mut entry = work.entry();
    let mut cell = work.inhabit(&mut entry, Some(limit))?;
    let known = effect(&mut entry, limit).clone();
    let before = match &known {
        Some(known) => Ok((known.before.clone(), known.leaves_file)),
        None => prepare(work, &mut entry, &mut cell, limit),
    };
    let (before, leaves_file) = match before {
        Ok(before) => before,
        Err(why) => return Err(work.give_up(entry, why)),
    };
    let amount = amount(work.hands, &cell);
    let there = match &known {
        None => limit.amount(&before),
        // What a person has limited by hand is loosened by a person.
        Some(known) if known.by_hand && !work.by_hand => match work.hands.limit_of(&cell, limit) {
            Ok(there) => limit.amount(&there),
            Err(why) => return Err(work.give_up(entry, why)),
        },
        // What we set ourselves does not count.
        Some(_) => None,
    };
    if let Some(there) = there.filter(|there| *there <= amount) {
        let detail = format!("{} {} was there already", limit.file(), limit.text(there));
        let cgroup = cell.cgroup;
        work.settle(entry)?;
        return Ok(Measured { cell: Some(cgroup), ..Measured::new(ActResult::Verified, detail) });
    }
    *effect(&mut entry, limit) =
        Some(Effect { leaves_file, ..work.effect(known.as_ref(), before.clone(), false) });
    work.keep(&entry)?;
    let measured = work
        .hands
        .set_limit(&cell, limit, amount)
        .map(|()| work.hands.await_limit(&cell.cgroup, limit, amount));
    let (result, detail) = match measured {
        Ok(Ok(seen)) => (ActResult::Verified, seen),
        Ok(Err(seen)) => (ActResult::Unverified, format!("{seen}, not {}", limit.text(amount))),
        Err(why) => {
            *effect(&mut entry, limit) = known;
            return Err(work.give_up(entry, why));
        }
    };
    *effect(&mut entry, limit) = Some(Effect { leaves_file, ..work.effect(known.as_ref(), before, true) });
    work.keep(&entry)?;
    Ok(Measured { cell: Some(cell.cgroup), ..Measured::new(result, detail) })
}

/// Makes sure that there is a limit to set, and reads what it is.
fn prepare(
    work: &mut Work<'_>,
    entry: &mut Entry,
    cell: &mut Cell,
    limit: Limit,
) -> Result<(String, bool), String> {
    work.hands.enable(cell, limit)?;
    if entry.cell.as_ref() != Some(cell) {
        entry.cell = Some(cell.clone());
        work.keep(entry).map_err(|measured| measured.detail)?;
    }
    let leaves_file = match (cell.kind, &cell.unit) {
        (CellKind::Unit, Some(unit)) => !Hands::drop_ins(unit, limit).iter().any(|file| file.exists()),
        _ => false,
    };
    Ok((work.hands.limit_of(cell, limit)?, leaves_file))
}

/// Where an entry notes a limit.
pub(super) const fn effect(entry: &mut Entry, limit: Limit) -> &mut Option<Effect> {
    match limit {
        Limit::Cpu => &mut entry.cpu,
        Limit::Pids => &mut entry.pids,
    }
}

impl Hands<'_> {
    /// What a limit is: the content of the file, or of a unit the number of the property.
    ///
    /// # Errors
    /// What was said, in words.
    fn limit_of(&self, cell: &Cell, limit: Limit) -> Result<String, String> {
        match &cell.unit {
            Some(unit) => {
                let told = |error: BusError| error.to_string();
                let amount: u64 = self.manager()?.type_property(unit, limit.property()).map_err(told)?;
                Ok(amount.to_string())
            }
            None => self.read(&cell.cgroup, limit.file()),
        }
    }

    fn set_limit(&self, cell: &Cell, limit: Limit, amount: u64) -> Result<(), String> {
        match &cell.unit {
            Some(unit) => self.set_property(unit, limit, amount),
            None => self.write(&cell.cgroup, limit.file(), &limit.text(amount)),
        }
    }

    fn set_property(&self, unit: &str, limit: Limit, amount: u64) -> Result<(), String> {
        let property = [(limit.property(), Value::from(amount))];
        self.manager()?.set_properties(unit, true, &property).map_err(|error| error.to_string())
    }

    /// Puts a limit back to what it was. Returns what is measured then.
    ///
    /// # Errors
    /// What was said, or what is measured in place of it, in words.
    pub(super) fn restore(&self, cell: &Cell, limit: Limit, was: &Effect) -> Result<String, String> {
        let amount =
            limit.amount(&was.before).ok_or_else(|| format!("{} was not understood", limit.file()))?;
        let is_there = self.mount.point.join(cell.cgroup.relative()).exists();
        match &cell.unit {
            // A unit has its properties when it has no cgroup, too.
            Some(unit) if cell.kind == CellKind::Unit => {
                self.restore_property(unit, limit, amount, was.leaves_file)?;
            }
            // It is about to go, with all that was set of it.
            Some(unit) if is_there => self.set_property(unit, limit, amount)?,
            None if is_there => self.write(&cell.cgroup, limit.file(), was.before.trim())?,
            _ => {}
        }
        if is_there {
            self.await_limit(&cell.cgroup, limit, amount)
        } else {
            Ok("its cgroup is gone".to_owned())
        }
    }

    /// The property as it was, and no file that was not there before: it would outrank what the administrator writes later.
    fn restore_property(
        &self,
        unit: &str,
        limit: Limit,
        amount: u64,
        leaves_file: bool,
    ) -> Result<(), String> {
        let told = |error: BusError| error.to_string();
        let loaded: String = self.manager()?.unit_property(unit, "LoadState").map_err(told)?;
        if loaded == "loaded" {
            self.set_property(unit, limit, amount)?;
        }
        if leaves_file && Self::remove_drop_ins(unit, limit)? {
            self.manager()?.reload().map_err(told)?;
        }
        Ok(())
    }
}
