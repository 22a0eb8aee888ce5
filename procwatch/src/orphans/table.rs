//! All processes at one moment.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::RangeInclusive,
};

use procfs::{ProcResult, process::all_processes};

use super::facts::{self, Facts};

/// Whose processes are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// Of one uid.
    One(u32),
    /// Of people: neither root nor what a system's own services run as.
    People(RangeInclusive<u32>),
}

impl Users {
    /// Whether it is about this uid.
    pub fn include(&self, uid: u32) -> bool {
        match self {
            Self::One(one) => *one == uid,
            Self::People(uids) => uid != 0 && uids.contains(&uid),
        }
    }
}

/// What was seen in one pass over /proc. Its memory is that of the facts, some 150 bytes a process.
#[derive(Debug, Default)]
pub struct Table {
    by_pid: HashMap<u32, Facts>,
}

impl Table {
    /// Looks at every process once. What ends meanwhile is left out.
    ///
    /// # Errors
    /// When there is no /proc.
    pub fn read(users: &Users) -> ProcResult<Self> {
        let mut paths = HashSet::new();
        let seen = all_processes()?.filter_map(|process| {
            let mut facts = facts::read(&process.ok()?, |uid| users.include(uid))?;
            share_path(&mut facts, &mut paths);
            Some(facts)
        });
        Ok(seen.collect())
    }

    /// The process behind a pid.
    pub fn get(&self, pid: u32) -> Option<&Facts> {
        self.by_pid.get(&pid)
    }

    /// All of them, in the order of their pids.
    pub fn sorted(&self) -> Vec<&Facts> {
        let mut all: Vec<&Facts> = self.by_pid.values().collect();
        all.sort_unstable_by_key(|facts| facts.pid);
        all
    }

    /// Whether the process that began a kernel session still lives, and with it the session's terminal.
    pub fn has_leader(&self, sid: u32) -> bool {
        self.get(sid).is_some_and(|leader| leader.sid == sid && !leader.is_zombie())
    }

    /// Whether a person may sit at the process' terminal.
    pub fn has_live_terminal(&self, facts: &Facts) -> bool {
        facts.has_terminal && self.has_leader(facts.sid)
    }

    /// Whether one is the other's parent, grandparent and so on, or the process itself.
    pub fn is_ancestor(&self, ancestor: u32, of: u32) -> bool {
        let parent = |pid: &u32| self.get(*pid).map(|facts| facts.ppid);
        // A picture that is not of one moment may have a ring in it.
        std::iter::successors(Some(of), parent).take(self.by_pid.len() + 1).any(|pid| pid == ancestor)
    }

    /// Everyone's children.
    pub fn families(&self) -> Families {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for facts in self.sorted() {
            children.entry(facts.ppid).or_default().push(facts.pid);
        }
        Families { children }
    }
}

impl FromIterator<Facts> for Table {
    fn from_iter<T: IntoIterator<Item = Facts>>(facts: T) -> Self {
        Self { by_pid: facts.into_iter().map(|facts| (facts.pid, facts)).collect() }
    }
}

/// Thousands of processes live in one cgroup: its path is kept once.
fn share_path(facts: &mut Facts, paths: &mut HashSet<crate::text::Text>) {
    let Some(origin) = &mut facts.origin else { return };
    match paths.get(&origin.cgroup) {
        Some(path) => origin.cgroup = path.clone(),
        None => {
            paths.insert(origin.cgroup.clone());
        }
    }
}

/// Who has which children.
#[derive(Debug)]
pub struct Families {
    children: HashMap<u32, Vec<u32>>,
}

impl Families {
    /// All that descend from `pid`, nearest first, without going into the families of those that `enter` refuses.
    pub fn descendants(&self, pid: u32, enter: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut found = Vec::new();
        let mut seen = HashSet::from([pid]);
        let mut open = VecDeque::from([pid]);
        while let Some(parent) = open.pop_front() {
            for child in self.children.get(&parent).into_iter().flatten() {
                if seen.insert(*child) && enter(*child) {
                    found.push(*child);
                    open.push_back(*child);
                }
            }
        }
        found
    }
}
