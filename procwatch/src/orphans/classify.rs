//! Who is an orphan of an `su` session. Pure: from a [`Table`] to findings, by the rules of the module above.

use std::collections::{HashMap, HashSet};

use super::{
    dwelling::Dwelling,
    facts::{Facts, Origin},
    protected::is_protected,
    session::Sessions,
    table::{Families, Table, Users},
};

/// All that was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Left over from an `su` session that has ended. Each tree begins with its oldest process.
    pub orphans: Vec<Finding>,
    /// Could be left over, and that cannot be told.
    pub doubtful: Vec<Finding>,
    /// Dead and not reaped.
    pub zombies: Vec<Finding>,
}

/// A process and what speaks for it being listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The process as it was seen.
    pub facts: Facts,
    /// The evidence, in a few words of ours.
    pub why: String,
}

/// How a process came to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adopted {
    /// By pid 1.
    Init,
    /// By a user's service manager.
    Manager(u32),
    /// By another subreaper: the leader of its session is gone, and the parent is of another session.
    Subreaper(u32),
}

/// What one look at a process came to.
enum Verdict {
    Orphan(String),
    Doubtful(String),
    No,
}

/// Judges everyone. `own` is the pid of this program.
pub fn classify(table: &Table, users: &Users, own: u32) -> Findings {
    let judge = Judge {
        table,
        users,
        own,
        sessions: Sessions::of(table),
        families: table.families(),
        terminals: above(table, |facts| table.has_live_terminal(facts)),
        containers: above(table, |facts| begins_container(table, facts)),
    };
    let mut findings = Findings { zombies: zombies(table, users), ..Findings::default() };
    let mut listed = HashSet::new();
    for facts in table.sorted() {
        match judge.root(facts) {
            Verdict::Orphan(why) => judge.tree(facts, why, &mut listed, &mut findings.orphans),
            Verdict::Doubtful(why) => findings.doubtful.push(Finding { facts: facts.clone(), why }),
            Verdict::No => {}
        }
    }
    // What descends from an orphan is one, however doubtful it would be alone.
    findings.doubtful.retain(|finding| !listed.contains(&finding.facts.pid));
    findings
}

/// How `facts` came to its parent, when that is not who made it.
pub(super) fn adopted(table: &Table, facts: &Facts) -> Option<Adopted> {
    if facts.ppid == 1 {
        return Some(Adopted::Init);
    }
    let parent = table.get(facts.ppid)?;
    if parent.ppid == 1 && parent.comm.as_bytes() == b"systemd" {
        return Some(Adopted::Manager(parent.pid));
    }
    // A child is born into its parent's session. It leaves it only to lead one of its own.
    let born_elsewhere = facts.sid != facts.pid && parent.sid != facts.sid && !table.has_leader(facts.sid);
    born_elsewhere.then_some(Adopted::Subreaper(parent.pid))
}

struct Judge<'a> {
    table: &'a Table,
    users: &'a Users,
    own: u32,
    sessions: Sessions,
    families: Families,
    /// For each process that has one: a descendant with a live terminal, or itself.
    terminals: HashMap<u32, u32>,
    /// The same for the first process of a container.
    containers: HashMap<u32, u32>,
}

impl Judge<'_> {
    /// Whether a process may be looked at, and signalled, at all.
    fn eligible<'f>(&self, facts: &'f Facts) -> Option<&'f Origin> {
        let origin = facts.origin.as_ref()?;
        let is_service = match Dwelling::of(origin.cgroup.as_bytes()) {
            Dwelling::System => true,
            Dwelling::UserService { owner } => owner == facts.uid,
            Dwelling::Leaf { .. } | Dwelling::Session { .. } | Dwelling::Unknown => false,
        };
        let refused = facts.pid == 1
            || facts.is_kernel_thread
            || facts.is_zombie()
            || facts.uid != facts.euid
            || !self.users.include(facts.uid)
            || is_protected(&facts.comm)
            || facts.is_contained
            || is_service;
        (!refused).then_some(origin)
    }

    /// Whether a tree of orphans begins with this process.
    fn root(&self, facts: &Facts) -> Verdict {
        let Some(origin) = self.eligible(facts) else {
            return Verdict::No;
        };
        let Some(adoption) = self.adoption(facts, origin) else {
            return Verdict::No;
        };
        if self.table.is_ancestor(facts.pid, self.own) {
            return Verdict::No;
        }
        if self.table.has_live_terminal(facts) {
            return Verdict::Doubtful(format!("{adoption}, but the terminal of session {} lives", facts.sid));
        }
        match self.sessions.ended(self.table, facts, origin) {
            Ok(su) => match self.protector(facts) {
                Some(why) => Verdict::Doubtful(format!("{su}; {adoption}; but {why}")),
                None => Verdict::Orphan(format!("{su}; {adoption}; no terminal")),
            },
            Err(why) => Verdict::Doubtful(format!("{adoption}; no terminal; {why}")),
        }
    }

    /// What stands below it that nobody wants to lose: a terminal multiplexer looks like an orphan, and so does the
    /// monitor of a container.
    fn protector(&self, facts: &Facts) -> Option<String> {
        let terminal = self.terminals.get(&facts.pid);
        let terminal = terminal.map(|child| format!("its descendant {child} has a live terminal"));
        let container =
            || self.containers.get(&facts.pid).map(|child| format!("it has made container {child}"));
        terminal.or_else(container)
    }

    /// How the process was adopted, in words.
    fn adoption(&self, facts: &Facts, origin: &Origin) -> Option<String> {
        let named = |pid: u32| self.table.get(pid).map_or_else(String::new, |it| format!(" ({})", it.comm));
        let words = match adopted(self.table, facts) {
            Some(Adopted::Init) => "re-parented to pid 1".to_owned(),
            Some(Adopted::Manager(pid)) => format!("re-parented to user manager {pid}"),
            Some(Adopted::Subreaper(pid)) => format!("re-parented to {pid}{}", named(pid)),
            // A session's processes descend from its first one, and that was its user's.
            None if self.is_stranger_in_leaf(facts, origin) => {
                format!("parent {}{} is no user of the session", facts.ppid, named(facts.ppid))
            }
            None => return None,
        };
        Some(words)
    }

    fn is_stranger_in_leaf(&self, facts: &Facts, origin: &Origin) -> bool {
        let Dwelling::Leaf { first, .. } = Dwelling::of(origin.cgroup.as_bytes()) else {
            return false;
        };
        first != facts.pid && self.table.get(facts.ppid).is_some_and(|parent| parent.uid != facts.uid)
    }

    /// Lists an orphan with those that descend from it and are not listed yet.
    fn tree(&self, root: &Facts, why: String, listed: &mut HashSet<u32>, orphans: &mut Vec<Finding>) {
        if !listed.insert(root.pid) {
            return;
        }
        orphans.push(Finding { facts: root.clone(), why });
        let is_new = |pid| {
            let same_user = self.table.get(pid).is_some_and(|child| child.uid == root.uid);
            same_user && !listed.contains(&pid)
        };
        for pid in self.families.descendants(root.pid, is_new) {
            if let Some(child) = self.table.get(pid).filter(|child| self.eligible(child).is_some()) {
                listed.insert(pid);
                let why = format!("descends from orphan {}", root.pid);
                orphans.push(Finding { facts: child.clone(), why });
            }
        }
    }
}

/// Whether another pid namespace and another cgroup begin with it. A browser's sandbox has the first alone.
fn begins_container(table: &Table, facts: &Facts) -> bool {
    let cgroup = |facts: &Facts| facts.origin.as_ref().map(|origin| origin.cgroup.clone());
    let parent = table.get(facts.ppid);
    facts.is_contained && parent.is_some_and(|parent| !parent.is_contained && cgroup(parent) != cgroup(facts))
}

/// All those that `wanted` says yes to and their ancestors, each with the one that it is found for.
fn above(table: &Table, wanted: impl Fn(&Facts) -> bool) -> HashMap<u32, u32> {
    let mut found = HashMap::new();
    for holder in table.sorted().into_iter().filter(|facts| wanted(facts)) {
        let mut next = Some(holder);
        // The ancestors of one that is known are known, too.
        while let Some(facts) = next.filter(|facts| !found.contains_key(&facts.pid)) {
            found.insert(facts.pid, holder.pid);
            next = table.get(facts.ppid);
        }
    }
    found
}

/// The dead whose parents take no note of it.
fn zombies(table: &Table, users: &Users) -> Vec<Finding> {
    let is_wanted = |facts: &&Facts| {
        // A zombie harms its parent's owner whoever that is, so without a user all are told of.
        let wanted = matches!(users, Users::People(_)) || users.include(facts.uid);
        wanted && facts.is_zombie()
    };
    let finding = |facts: &Facts| {
        let parent = table.get(facts.ppid).map_or_else(
            || format!("its parent {}", facts.ppid),
            |parent| format!("its parent {} ({}, uid {})", parent.pid, parent.comm, parent.uid),
        );
        Finding { facts: facts.clone(), why: format!("dead; {parent} does not reap it") }
    };
    table.sorted().into_iter().filter(is_wanted).map(finding).collect()
}
