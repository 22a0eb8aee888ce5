//! An output whose records go through a queue to a thread that writes them.

use std::{io, sync::Arc};

use super::{
    listener::{Listener, Told},
    queue::{Feeder, Intake, QUEUE_BYTES},
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
}
