//! The processes of the machine, as far as the kernel has told.

use std::collections::HashMap;

use crate::{
    event::{Body, BootTime, Event, ProcessKey, Subject},
    record::Ancestor,
    text::Comm,
};

/// Longest lineage that is followed.
const MAX_LINEAGE: usize = 32;

/// What is kept of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its start.
    pub start: BootTime,
    /// Parent's process id.
    pub ppid: u32,
    /// Real uid.
    pub uid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Cgroup id in the v2 hierarchy.
    pub cgroup_id: u64,
    /// Name.
    pub comm: Comm,
}

/// All known processes.
#[derive(Debug, Default)]
pub struct ProcessTable {
    processes: HashMap<u32, Process>,
}

impl ProcessTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the processes of a picture. What a picture and the events around it both tell is told once: a process is
    /// known by pid and start, and the later word about it stands.
    pub fn add_picture<'a>(&mut self, picture: impl IntoIterator<Item = &'a Subject>) {
        for subject in picture {
            self.put(subject);
        }
    }

    /// Follows one event of the stream.
    pub fn apply(&mut self, event: &Event) {
        match event.body {
            Body::Exit(_) => self.remove(event.subject.key()),
            Body::Thread(_) | Body::ThreadExit(_) => {}
            _ => self.put(&event.subject),
        }
    }

    fn put(&mut self, subject: &Subject) {
        let Subject { pid, ppid, uid, euid, start, cgroup_id, comm, .. } = *subject;
        self.processes.insert(pid, Process { start, ppid, uid, euid, cgroup_id, comm });
    }

    fn remove(&mut self, key: ProcessKey) {
        if self.processes.get(&key.pid).is_some_and(|process| process.start == key.start) {
            self.processes.remove(&key.pid);
        }
    }

    /// The process with that id.
    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// The ancestors of a process, nearest first, up to pid 1 or to the first unknown one.
    pub fn lineage(&self, subject: &Subject) -> Vec<Ancestor> {
        self.ancestors(subject.ppid)
    }

    /// The same of a process by its parent's id: the parent is the first.
    pub fn ancestors(&self, parent: u32) -> Vec<Ancestor> {
        let mut lineage = Vec::new();
        let mut pid = parent;
        while lineage.len() < MAX_LINEAGE
            && let Some(process) = self.processes.get(&pid)
        {
            lineage.push(Ancestor { pid, uid: process.uid, comm: process.comm });
            if process.ppid == pid {
                break;
            }
            pid = process.ppid;
        }
        lineage
    }

    /// `roots` and all processes that descend from them.
    pub fn with_descendants(&self, roots: &[u32]) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (pid, process) in &self.processes {
            children.entry(process.ppid).or_default().push(*pid);
        }
        let mut found = roots.to_vec();
        let mut next = 0;
        while next < found.len() {
            // Taken out, so that a crooked table cannot send us in circles.
            found.extend(children.remove(&found[next]).unwrap_or_default());
            next += 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Creator, Exit, ExitStatus};

    fn subject(pid: u32, ppid: u32, start: u64) -> Subject {
        Subject {
            pid,
            tid: pid,
            ppid,
            uid: 0,
            euid: 0,
            threads: 1,
            start: BootTime(start),
            cgroup_id: 1,
            comm: Comm::default(),
        }
    }

    fn event(subject: Subject, body: Body) -> Event {
        Event { time: BootTime(9), cpu: 0, seq: 0, subject, body }
    }

    fn forked(pid: u32, ppid: u32, start: u64) -> Event {
        event(subject(pid, ppid, start), Body::Fork(Creator { pid: ppid, tid: ppid, clone_flags: 0 }))
    }

    fn exited(pid: u32, start: u64) -> Event {
        event(
            subject(pid, 1, start),
            Body::Exit(Exit { status: ExitStatus::Code(0), lived_ns: 1, process_ends: true }),
        )
    }

    #[test]
    fn a_process_told_twice_is_counted_once() {
        let mut table = ProcessTable::new();
        table.add_picture(&[subject(1, 0, 1), subject(7, 1, 5)]);
        table.apply(&forked(7, 1, 5));
        assert_eq!(table.len(), 2);
        table.apply(&exited(7, 5));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn the_end_of_an_earlier_bearer_of_a_pid_changes_nothing() {
        let mut table = ProcessTable::new();
        table.apply(&forked(7, 1, 50));
        table.apply(&exited(7, 5));
        assert!(table.get(7).is_some());
    }

    #[test]
    fn lineage_ends_at_the_unknown_and_survives_circles() {
        let mut table = ProcessTable::new();
        table.add_picture(&[subject(2, 1, 1), subject(3, 2, 1)]);
        let pids = |subject| table.lineage(&subject).iter().map(|ancestor| ancestor.pid).collect::<Vec<_>>();
        assert_eq!(pids(subject(9, 3, 1)), [3, 2]);
        let mut table = ProcessTable::new();
        table.add_picture(&[subject(2, 3, 1), subject(3, 2, 1)]);
        assert_eq!(table.lineage(&subject(9, 3, 1)).len(), MAX_LINEAGE);
        assert_eq!(table.with_descendants(&[2]).len(), 3);
    }

    #[test]
    fn descendants_are_found_over_generations() {
        let mut table = ProcessTable::new();
        table.add_picture(&[subject(2, 1, 1), subject(3, 2, 1), subject(4, 3, 1), subject(5, 1, 1)]);
        assert_eq!(table.with_descendants(&[2]), [2, 3, 4]);
    }
}
