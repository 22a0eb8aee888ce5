//! Which `su` session a process belongs to.

use std::collections::{HashMap, HashSet};

use crate::{
    detect::judge::session_leader,
    event::{Forebear, ProcessKey, Subject},
    execute::SessionName,
};

/// Processes, and sessions, that are remembered. All are forgotten when a further one comes: a stray comes within
/// moments of its parent's move, and children of one that was moved are born inside.
const MAX_KNOWN: usize = 4096;

/// The sessions of the processes that were moved.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    processes: HashMap<ProcessKey, SessionName>,
    told: HashSet<SessionName>,
}

impl Sessions {
    /// The session of its nearest ancestor of the same uid that was moved, or else that of the first of them.
    pub(super) fn of(&self, subject: &Subject, ancestors: &[Forebear]) -> SessionName {
        let own = ancestors.iter().take_while(|ancestor| ancestor.uid == subject.uid);
        let known = own.map(|ancestor| ancestor.key).find_map(|key| self.processes.get(&key));
        known.cloned().unwrap_or_else(|| SessionName::of(session_leader(subject, ancestors)))
    }

    /// Remembers a move. Returns whether it is the session's first.
    pub(super) fn moved(&mut self, process: ProcessKey, session: SessionName) -> bool {
        if self.processes.len() >= MAX_KNOWN || self.told.len() >= MAX_KNOWN {
            self.processes.clear();
            self.told.clear();
        }
        self.processes.insert(process, session.clone());
        self.told.insert(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::BootTime, samples};

    fn forebear(pid: u32, uid: u32) -> Forebear {
        Forebear { key: ProcessKey { pid, start: BootTime(1) }, uid, comm: samples::comm("bash") }
    }

    #[test]
    fn a_child_joins_the_session_of_its_nearest_known_ancestor() {
        let mut sessions = Sessions::default();
        let (child, line) =
            (samples::subject(9, 1003), [forebear(8, 1003), forebear(7, 1003), forebear(6, 0)]);
        let alone = sessions.of(&child, &line);
        assert_eq!(alone, SessionName::of(forebear(7, 1003).key));
        let other = SessionName::of(ProcessKey { pid: 1, start: BootTime(5) });
        assert!(sessions.moved(line[0].key, other.clone()));
        assert!(!sessions.moved(line[1].key, other.clone()), "not its first any more");
        assert_eq!(sessions.of(&child, &line), other);
        assert_eq!(sessions.of(&child, &line[2..]), SessionName::of(child.key()), "su is no part of it");
    }
}
