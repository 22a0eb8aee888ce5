//! What the actions by a cgroup have in common: a cell, a note of what is in force, and the way back.

use super::{
    cell::Cell,
    hands::Hands,
    limit::Limit,
    state::{Effect, Entry, State, StateError},
    target::Target,
};
use crate::{
    cgroup::CgroupPath,
    config::Protect,
    record::{ActResult, RefusedFor},
};

/// What an action came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) result: ActResult,
    pub(super) reason: Option<RefusedFor>,
    /// In words, escaped.
    pub(super) detail: String,
    pub(super) cell: Option<CgroupPath>,
    pub(super) limit: Option<u32>,
}

impl Measured {
    pub(super) fn new(result: ActResult, detail: impl Into<String>) -> Self {
        Self { result, reason: None, detail: detail.into(), cell: None, limit: None }
    }

    pub(super) fn refused(reason: RefusedFor, detail: impl Into<String>) -> Self {
        Self { reason: Some(reason), ..Self::new(ActResult::Refused, detail) }
    }

    pub(super) fn gone() -> Self {
        Self::new(ActResult::Gone, "it had ended")
    }
}

impl From<StateError> for Measured {
    fn from(error: StateError) -> Self {
        Self::new(ActResult::Failed, error.to_string())
    }
}

/// One action on one process.
pub(super) struct Work<'a> {
    pub(super) hands: &'a Hands<'a>,
    pub(super) state: &'a mut State,
    pub(super) target: &'a Target,
    pub(super) protect: &'a Protect,
    pub(super) by_hand: bool,
}

impl Work<'_> {
    /// What is known of the process.
    pub(super) fn entry(&self) -> Entry {
        let facts = self.target.facts();
        let name = || String::from_utf8_lossy(facts.comm.as_bytes()).into_owned();
        let known = self.state.entry(self.target.key()).cloned();
        known.unwrap_or_else(|| Entry::new(self.target.key(), facts.uid, name()))
    }

    /// The cell of the process, which it is brought into when it has none yet.
    pub(super) fn inhabit(&mut self, entry: &mut Entry, need: Option<Limit>) -> Result<Cell, Measured> {
        let unavailable = |why| Measured::new(ActResult::Unavailable, why);
        if let Some(cell) = &entry.cell {
            need.map_or(Ok(()), |limit| self.hands.can_have(cell, limit)).map_err(unavailable)?;
            return Ok(cell.clone());
        }
        let plan = self.hands.choose(self.target, need, self.protect).map_err(unavailable)?;
        // First the note: an agent that dies now leaves a cell that can be found.
        entry.cell = Some(plan.cell.clone());
        self.state.keep(entry.clone())?;
        if let Err(why) = self.hands.enter(&plan, self.target) {
            entry.cell = None;
            self.state.keep(entry.clone())?;
            let is_gone = !self.target.held().is_alive().unwrap_or(true);
            return Err(if is_gone { Measured::gone() } else { Measured::new(ActResult::Failed, why) });
        }
        Ok(plan.cell)
    }

    /// An effect that this action has, or is about to have. What a person has done by hand stays the person's, also when the
    /// agent does the same.
    pub(super) fn effect(&self, known: Option<&Effect>, before: String, done: bool) -> Effect {
        let by_hand = self.by_hand || known.is_some_and(|known| known.by_hand);
        Effect { before, done, by_hand, leaves_file: false }
    }

    /// Writes an entry down.
    pub(super) fn keep(&mut self, entry: &Entry) -> Result<(), Measured> {
        Ok(self.state.keep(entry.clone())?)
    }

    /// Leaves the cell again when nothing else is in force in it.
    pub(super) fn settle(&mut self, mut entry: Entry) -> Result<(), Measured> {
        if entry.is_empty()
            && let Some(cell) = &entry.cell
        {
            self.hands.leave(cell).map_err(|why| Measured::new(ActResult::Failed, why))?;
            entry.cell = None;
        }
        Ok(self.state.keep(entry)?)
    }

    /// What an action came to that did not work: all is as it was before it, or the words say what is not.
    pub(super) fn give_up(&mut self, entry: Entry, why: String) -> Measured {
        let why = match self.settle(entry) {
            Ok(()) => why,
            Err(then) => format!("{why}; and {}", then.detail),
        };
        let is_gone = !self.target.held().is_alive().unwrap_or(true);
        if is_gone { Measured::gone() } else { Measured::new(ActResult::Failed, why) }
    }
}
