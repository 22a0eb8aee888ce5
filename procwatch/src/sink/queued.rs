//! An output whose records go through a queue to a thread that writes them.

use std::{
    io,
    path::Path,
    sync::{Arc, PoisonError},
};

use super::{
    listener::{Listener, Told},
    queue::{Feeder, Intake, QUEUE_BYTES},
    turn,
};
use crate::{record::Kinds, status::OutputStatus};

/// The output as the agent's loop sees it.
#[derive(Debug)]
pub struct Queued {
    name: &'static str,
    kinds: Kinds,
    feeder: Feeder,
}

impl Queued {
    /// Starts the thread, which is told records of these kinds.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub(crate) fn start(
        name: &'static str,
        kinds: Kinds,
        work: impl FnOnce(Intake) + Send + 'static,
    ) -> io::Result<Self> {
        Ok(Self { name, kinds, feeder: Feeder::start(name, QUEUE_BYTES, work)? })
    }

    /// The same for a thread that writes to `file`: it begins when the one before it is done.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub(crate) fn to_file(
        name: &'static str,
        kinds: Kinds,
        file: &Path,
        work: impl FnOnce(Intake) + Send + 'static,
    ) -> io::Result<Self> {
        let turn = turn::of(file);
        Self::start(name, kinds, move |intake| {
            let _mine = turn.lock().unwrap_or_else(PoisonError::into_inner);
            work(intake);
        })
    }
}

impl Listener for Queued {
    fn name(&self) -> &'static str {
        self.name
    }

    fn stream_kinds(&self) -> u32 {
        self.kinds.stream_bits()
    }

    fn on(&mut self, told: &Arc<Told>) {
        if self.kinds.contains(told.record.body.kind()) {
            self.feeder.offer(told);
        }
    }

    fn status(&self) -> OutputStatus {
        self.feeder.status(self.name)
    }

    fn finish(self: Box<Self>) {
        self.feeder.finish();
    }

    /// Its thread writes what waits, and ends by itself.
    fn leave(self: Box<Self>) {}
}
