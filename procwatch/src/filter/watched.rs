//! The processes of `--pid … --children`.

use std::collections::HashSet;

use crate::event::{Body, Event};

/// Processes and all that they fork: the agent's picture of the kernel's `FILTER_PIDS`.
#[derive(Debug)]
pub(super) struct Watched {
    pids: HashSet<u32>,
}

impl Watched {
    pub(super) fn new(pids: impl IntoIterator<Item = u32>) -> Self {
        Self { pids: pids.into_iter().collect() }
    }

    pub(super) fn adopt(&mut self, parent: u32, child: u32) {
        if self.pids.contains(&parent) {
            self.pids.insert(child);
        }
    }

    pub(super) fn has(&self, pid: u32) -> bool {
        self.pids.contains(&pid)
    }

    /// Whether the subject of `event` is watched, after what the event itself changes about that.
    pub(super) fn follow(&mut self, event: &Event) -> bool {
        let subject = &event.subject;
        // The fork may have been lost, or wait in the ring that is read next: then the parent tells as much.
        self.adopt(subject.ppid, subject.pid);
        match &event.body {
            Body::Fork(creator) => self.adopt(creator.pid, subject.pid),
            // Pids are used again: one that ended is no longer watched, but its end still is.
            Body::Exit(_) => return self.pids.remove(&subject.pid),
            _ => {}
        }
        self.pids.contains(&subject.pid)
    }
}
