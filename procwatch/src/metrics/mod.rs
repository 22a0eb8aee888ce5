//! Figures for Prometheus: counted from the records, and asked of the agent when somebody fetches them.
//!
//! Nothing happens while nobody asks. Whoever asks gets an answer that is at most [`page::FRESH`] old, so that a flood of
//! questions costs the agent little.

mod agent;
mod counters;
mod listen;
mod page;
mod processes;
mod server;
mod text;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::AbortHandle;

pub use self::listen::MetricsError;
use self::{counters::Counters, listen::Listening, page::Page};
use crate::{
    agent::ask::Asker,
    config::metrics::MetricsConfig,
    sink::listener::{Complaints, Listener, Told},
    socket::file::SocketFile,
    status::OutputStatus,
};

/// The figures, and who gives them out.
pub struct Metrics {
    counters: Arc<Mutex<Counters>>,
    server: AbortHandle,
    /// Removed when this is dropped.
    file: Option<SocketFile>,
    taken: u64,
}

impl Metrics {
    /// Listens from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address or the socket cannot be had.
    pub fn open(
        config: &MetricsConfig,
        asker: &Asker,
        complaints: &Complaints,
    ) -> Result<Self, MetricsError> {
        let counters = Arc::default();
        let page = Page::new(Arc::clone(&counters), asker.clone(), config.processes);
        let Listening { acceptor, file, note } = listen::bind(&config.listen)?;
        if let Some(note) = note {
            complaints.make(format!("metrics: {note}"));
        }
        let server = tokio::spawn(server::serve(acceptor, Arc::new(page))).abort_handle();
        Ok(Self { counters, server, file, taken: 0 })
    }
}

impl Listener for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn take_place(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), SocketFile::take_place)
    }

    fn on(&mut self, told: &Arc<Told>) {
        self.taken += 1;
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).count(&told.record.body);
    }

    fn status(&self) -> OutputStatus {
        OutputStatus { name: self.name().to_owned(), taken: self.taken, ..OutputStatus::default() }
    }

    fn finish(self: Box<Self>) {}
}

/// However it goes: with it goes its server.
impl Drop for Metrics {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[cfg(test)]
mod tests;
