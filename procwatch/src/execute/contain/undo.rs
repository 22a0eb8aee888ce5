//! Takes back what was done to processes: by hand, at the agent's end, and after a process' end.

use std::fs;

use super::{
    Warden,
    hands::Hands,
    release::{Released, release},
    state::{Effect, Entry, State, StateError},
    target::Target,
};
use crate::{
    cgroup::Mount,
    event::ProcessKey,
    record::{Act, ActResult, Deed, Mode, Occasion, Process},
    text::Comm,
    users::UserNames,
};

/// Whom to release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All, whoever contained them.
    All,
    /// The process of this pid.
    Pid(u32),
    /// All that the agent contained; what a person did by hand is the person's.
    Agents,
    /// Nothing but this process, which has ended: what is left of its cell.
    Ended(ProcessKey),
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Undone {
    /// One for each effect that was to be taken back.
    pub acts: Vec<Act>,
    /// What was wrong with the file of notes, in words, escaped.
    pub complaint: Option<String>,
}

impl Which {
    fn is_meant(self, entry: &Entry) -> bool {
        match self {
            Self::All | Self::Agents => true,
            Self::Pid(pid) => entry.pid == pid,
            Self::Ended(key) => entry.is_of(key),
        }
    }

    const fn is_wanted(self, effect: &Effect) -> bool {
        !matches!(self, Self::Agents) || !effect.by_hand
    }
}

impl Undone {
    /// Whether something could not be taken back.
    pub fn is_incomplete(&self) -> bool {
        self.acts.iter().any(|act| act.result != ActResult::Verified)
    }
}

impl Warden {
    /// Takes back what was done to those who are meant. Each takes a few seconds at most.
    ///
    /// # Errors
    /// When the notes cannot be read or written; what was taken back before that is so.
    pub fn undo(&self, which: Which, occasion: Occasion) -> Result<Undone, StateError> {
        let mut state = State::hold(&self.file)?;
        let complaint = state.complaint().map(str::to_owned);
        let entries: Vec<Entry> = state.entries().iter().filter(|it| which.is_meant(it)).cloned().collect();
        let mut undone = Undone { acts: Vec::new(), complaint };
        for entry in entries {
            undone.acts.extend(self.release_one(&mut state, &entry, occasion, |it| which.is_wanted(it))?);
        }
        Ok(undone)
    }

    /// Takes back what is wanted of one entry. One act for each effect.
    pub(super) fn release_one(
        &self,
        state: &mut State,
        entry: &Entry,
        occasion: Occasion,
        is_wanted: impl Fn(&Effect) -> bool,
    ) -> Result<Vec<Act>, StateError> {
        let hands = Hands::new(&self.mount);
        let before = Target::of_key(entry.key()).map(|target| target.threads());
        let released = release(&hands, state, entry.clone(), |_, effect| is_wanted(effect))?;
        if released.is_empty() {
            return Ok(Vec::new());
        }
        let process = process_of(entry, &self.mount);
        let act = |one: Released| Act { threads_before: before, ..act(one, process.clone(), occasion) };
        Ok(released.into_iter().map(act).collect())
    }
}

/// The record of what came of one effect.
fn act(released: Released, process: Process, occasion: Occasion) -> Act {
    let Released { deed, result, detail, cell, took } = released;
    Act {
        threads_after: Some(process.threads),
        ..taken_back(deed, result, detail, process, occasion)
            .with(cell.as_ref().map(super::target::shown), u64::try_from(took.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A record of something taken back, or not.
pub const fn taken_back(
    action: Deed,
    result: ActResult,
    detail: String,
    process: Process,
    occasion: Occasion,
) -> Act {
    Act {
        process,
        action,
        undo: true,
        limit: None,
        rule: None,
        occasion,
        mode: Mode::Enforce,
        result,
        reason: None,
        threads_before: None,
        threads_after: None,
        detail,
        cell: None,
        took_ns: 0,
    }
}

impl Act {
    fn with(self, cell: Option<crate::text::Text>, took_ns: u64) -> Self {
        Self { cell, took_ns, ..self }
    }
}

/// The process of an entry; where it has ended, as it is noted, with no threads.
pub(super) fn process_of(entry: &Entry, mount: &Mount) -> Process {
    let mut users = UserNames::new();
    if let Some(target) = Target::of_key(entry.key()) {
        return target.record(&mut users, mount);
    }
    let cgroup = entry.cell.as_ref().map(|cell| &cell.cgroup);
    let id = |folder| fs::metadata(folder).map(|it| std::os::unix::fs::MetadataExt::ino(&it)).ok();
    Process {
        pid: entry.pid,
        tid: entry.pid,
        ppid: 0,
        uid: entry.uid,
        euid: entry.uid,
        user: users.name(entry.uid).cloned(),
        comm: Comm::of_name(entry.comm.as_bytes()),
        threads: 0,
        start_ns: entry.start_ns,
        cgroup_id: cgroup.and_then(|path| id(mount.point.join(path.relative()))).unwrap_or(0),
        cgroup: cgroup.map(super::target::shown),
        lineage: None,
    }
}
