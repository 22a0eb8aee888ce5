//! What was seen of the sessions by a witness that moves nothing: a second procwatch that only watches.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::mover::SLICE;

/// The uid whose processes belong into the slice.
const AIMGR: u64 = 1003;

/// Counts and times, from the lines of `procwatch watch --json --kind fork,exit,uid,cgroup`.
#[derive(Default)]
pub(super) struct Witness {
    alive: HashMap<u64, Process>,
    /// When the sessions begin, ns since boot: what others than bystanders did before is not counted.
    begun_ns: u64,
    /// Paths of cgroups by their ids: a path cannot be found out any more when the cgroup is gone.
    paths: HashMap<u64, String>,
    /// What it saw.
    pub(super) seen: Seen,
}

/// A process that is alive.
struct Process {
    /// When it became aimgr's, or began, ns since boot.
    since_ns: u64,
    /// What it is called when it is, or comes from, one that belongs where it is.
    bystander: Option<String>,
    /// Whether it is in the slice.
    inside: bool,
}

/// What it saw.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Forks by aimgr's processes in sessions.
    pub(super) forks: u64,
    /// Those that happened outside of the slice.
    pub(super) forks_outside: u64,
    /// Ends of aimgr's processes in sessions.
    pub(super) ends: u64,
    /// Those that happened outside.
    pub(super) ends_outside: u64,
    /// Events in a cgroup that was gone before its path was known.
    pub(super) unknown: u64,
    /// Time from becoming aimgr's, or from birth outside, to the slice: for each process that was moved, ms.
    pub(super) outside_ms: Vec<f64>,
    /// Those who were moved and should not have been, with the number of their processes.
    pub(super) wrong: BTreeMap<String, u64>,
    /// Events that never reached it.
    pub(super) lost: u64,
}

impl Witness {
    /// One that knows who belongs where they are, outside of the slice: by pid, and what they are called. `begun_ns`
    /// is when the sessions began, ns since boot.
    pub(super) fn new(bystanders: impl IntoIterator<Item = (u64, String)>, begun_ns: u64) -> Self {
        let process = |name| Process { since_ns: 0, bystander: Some(name), inside: false };
        let alive = bystanders.into_iter().map(|(pid, name)| (pid, process(name))).collect();
        Self { alive, begun_ns, ..Self::default() }
    }

    /// Takes a line.
    pub(super) fn note(&mut self, line: &str) {
        let Ok(record) = serde_json::from_str::<Value>(line) else { return };
        match record["kind"].as_str().unwrap_or_default() {
            "fork" => self.fork(&record),
            "uid" => self.uid(&record),
            "cgroup" => self.moved(&record),
            "exit" => self.exit(&record),
            // The account at the end has all of them.
            "summary" => self.seen.lost = number(&record, "lost"),
            _ => {}
        }
    }

    fn fork(&mut self, record: &Value) {
        let creator = self.alive.get(&number(record, "creator_pid"));
        let bystander = creator.and_then(|creator| creator.bystander.clone());
        let inside = self.is_inside(record);
        if bystander.is_none() && is_aimgrs(record) && self.have_begun(record) {
            self.seen.forks += 1;
            self.seen.forks_outside += u64::from(inside == Some(false));
            self.seen.unknown += u64::from(inside.is_none());
        }
        let since_ns = number(record, "boot_ns");
        let process = Process { since_ns, bystander, inside: inside.unwrap_or_default() };
        self.alive.insert(number(record, "pid"), process);
    }

    fn uid(&mut self, record: &Value) {
        if let Some(process) = self.alive.get_mut(&number(record, "pid")) {
            process.since_ns = number(record, "boot_ns");
        }
    }

    /// A move is one that changes something: the kernel also tells of those within the same cgroup.
    fn moved(&mut self, record: &Value) {
        let inside = self.is_inside(record) == Some(true);
        let begun = self.have_begun(record);
        let Some(process) = self.alive.get_mut(&number(record, "pid")) else {
            if inside && begun && !is_aimgrs(record) {
                *self.seen.wrong.entry(text(record, "comm")).or_default() += 1;
            }
            return;
        };
        let was_inside = std::mem::replace(&mut process.inside, inside);
        if was_inside || !inside || !(begun || process.bystander.is_some()) {
            return;
        }
        let stranger = || (!is_aimgrs(record)).then(|| text(record, "comm"));
        if let Some(name) = process.bystander.clone().or_else(stranger) {
            *self.seen.wrong.entry(name).or_default() += 1;
        } else {
            let outside_ns = number(record, "boot_ns").saturating_sub(process.since_ns);
            self.seen.outside_ms.push(outside_ns as f64 / 1e6);
        }
    }

    fn exit(&mut self, record: &Value) {
        // One whose beginning was not seen is none of a session: those begin later.
        let Some(process) = self.alive.remove(&number(record, "pid")) else { return };
        if process.bystander.is_some() || !is_aimgrs(record) || !self.have_begun(record) {
            return;
        }
        self.seen.ends += 1;
        match self.is_inside(record) {
            Some(true) => {}
            Some(false) => self.seen.ends_outside += 1,
            None => self.seen.unknown += 1,
        }
    }

    /// Whether a record is of the time of the sessions.
    fn have_begun(&self, record: &Value) -> bool {
        number(record, "boot_ns") >= self.begun_ns
    }

    /// Whether the process of a record is in the slice; `None` when that cannot be said.
    fn is_inside(&mut self, record: &Value) -> Option<bool> {
        let id = number(record, "cgroup_id");
        if let Some(path) = record["cgroup"].as_str() {
            self.paths.insert(id, path.to_owned());
        }
        let path = self.paths.get(&id)?;
        Some(path.strip_prefix(SLICE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// What the processes of the sessions say of themselves: the lines of `tests/programs/burst.c`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    /// Children that told.
    pub(super) children: u64,
    /// Those whose first look round was outside.
    pub(super) began_outside: u64,
    /// Those whose last was.
    pub(super) ended_outside: u64,
    /// Sessions that came to their end.
    pub(super) sessions: u64,
    /// Those whose first process ended outside.
    pub(super) sessions_outside: u64,
}

impl Told {
    /// Takes a line.
    pub(super) fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let outside = |path: &str| u64::from(!path.starts_with(SLICE));
        match words[..] {
            ["child", begin, end] => {
                self.children += 1;
                self.began_outside += outside(begin);
                self.ended_outside += outside(end);
            }
            ["first", _, end] => {
                self.sessions += 1;
                self.sessions_outside += outside(end);
            }
            _ => {}
        }
    }
}

fn is_aimgrs(record: &Value) -> bool {
    number(record, "uid") == AIMGR && number(record, "euid") == AIMGR
}

fn number(record: &Value, key: &str) -> u64 {
    record[key].as_u64().unwrap_or_default()
}

fn text(record: &Value, key: &str) -> String {
    record[key].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SESSION: &str = "/user.slice/user-1000.slice/session-1.scope";
    const INSIDE: &str = "/user.slice/user-1003.slice/x/su-1-1";

    fn record(kind: &str, pid: u64, uid: u64, cgroup: &str, ms: u64) -> Value {
        json!({
            "kind": kind, "pid": pid, "uid": uid, "euid": uid, "comm": "sh", "creator_pid": pid / 10,
            "cgroup": cgroup, "cgroup_id": cgroup.len(), "boot_ns": ms * 1_000_000,
        })
    }

    fn seen(bystanders: &[(u64, &str)], records: &[Value]) -> Seen {
        let known = bystanders.iter().map(|(pid, name)| (*pid, (*name).to_owned()));
        let mut witness = Witness::new(known, 0);
        for record in records {
            witness.note(&record.to_string());
        }
        witness.seen
    }

    #[test]
    fn a_session_that_is_moved_late_has_a_child_outside() {
        let seen = seen(
            &[],
            &[
                record("fork", 10, 0, SESSION, 0),
                record("uid", 10, 1003, SESSION, 5),
                record("fork", 101, 1003, SESSION, 7),
                record("cgroup", 10, 1003, INSIDE, 9),
                record("cgroup", 10, 1003, INSIDE, 9),
                record("fork", 102, 1003, INSIDE, 10),
                record("exit", 101, 1003, SESSION, 11),
                record("exit", 102, 1003, INSIDE, 12),
            ],
        );
        assert_eq!((seen.forks, seen.forks_outside, seen.ends, seen.ends_outside), (2, 1, 2, 1));
        assert_eq!(seen.outside_ms, [4.0]);
        assert!(seen.wrong.is_empty() && seen.unknown == 0);
    }

    #[test]
    fn whoever_is_no_session_of_aimgr_must_not_be_moved() {
        let service = "/system.slice/a.service";
        let seen = seen(
            &[(5, "service")],
            &[
                record("fork", 50, 1003, service, 0),
                record("cgroup", 50, 1003, INSIDE, 1),
                record("fork", 500, 1003, INSIDE, 2),
                record("exit", 500, 1003, INSIDE, 2),
                record("cgroup", 7, 0, INSIDE, 3),
                record("cgroup", 8, 0, service, 4),
            ],
        );
        let wrong: Vec<_> = seen.wrong.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(wrong, [("service", 1), ("sh", 1)]);
        assert_eq!((seen.forks, seen.ends), (0, 0), "a bystander is not a session");
    }

    #[test]
    fn only_bystanders_count_before_the_sessions_begin() {
        let mut witness = Witness::new([(5, "service".to_owned())], 10_000_000);
        for record in [
            record("cgroup", 5, 1003, INSIDE, 1),
            record("fork", 10, 1003, SESSION, 2),
            record("cgroup", 10, 1003, INSIDE, 3),
            record("cgroup", 7, 0, INSIDE, 4),
            record("exit", 10, 1003, INSIDE, 5),
        ] {
            witness.note(&record.to_string());
        }
        let wrong = BTreeMap::from([("service".to_owned(), 1)]);
        assert_eq!(witness.seen, Seen { wrong, ..Seen::default() });
    }

    #[test]
    fn a_path_is_remembered_and_another_slice_is_not_taken_for_ours() {
        let mut gone = record("exit", 10, 1003, INSIDE, 2);
        gone["cgroup"] = Value::Null;
        let older = record("exit", 3, 1003, SESSION, 2);
        let alike = record("fork", 11, 1003, "/user.slice/user-1003.slice-not", 3);
        let seen = seen(&[], &[record("fork", 10, 1003, INSIDE, 1), gone, older, alike]);
        assert_eq!((seen.ends, seen.ends_outside, seen.unknown), (1, 0, 0));
        assert_eq!((seen.forks, seen.forks_outside), (2, 1));
    }

    #[test]
    fn processes_tell_of_themselves() {
        let mut told = Told::default();
        for line in [
            format!("child {SESSION} {INSIDE}"),
            format!("child {INSIDE} {INSIDE}"),
            format!("first {SESSION} {SESSION}"),
            "su: warning".to_owned(),
        ] {
            told.note(&line);
        }
        let expected =
            Told { children: 2, began_outside: 1, ended_outside: 0, sessions: 1, sessions_outside: 1 };
        assert_eq!(told, expected);
    }
}
