//! Where records go besides standard output: opened as the configuration wants it, and again when it changes.

use std::{path::Path, sync::Arc};

use super::{AgentError, ask::Asker};
use crate::{
    config::{Config, HistoryConfig, LogConfig},
    files,
    history::History,
    log::Log,
    record::Record,
    sink::listener::{Complaints, Listener, Told},
    status::OutputStatus,
};

/// An output that is wanted, with all that the configuration says of it: what is wanted as before stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The event log.
    Log(LogConfig),
    /// The history.
    History(HistoryConfig),
}

impl Wanted {
    /// All outputs of a configuration.
    pub fn all(config: &Config) -> Vec<Self> {
        let log = config.log.clone().map(Self::Log);
        let history = config.history.clone().map(Self::History);
        log.into_iter().chain(history).collect()
    }

    /// Opens it. Called within the agent's tokio runtime, which has one thread.
    fn open(&self, asker: &Asker, complaints: &Complaints) -> Result<Box<dyn Listener>, AgentError> {
        let failed = |path: &Path| {
            let what = files::shown(path);
            |source| AgentError::Output { what, source }
        };
        Ok(match self {
            Self::Log(log) => Box::new(Log::open(log, complaints).map_err(failed(&log.path))?),
            Self::History(history) => {
                Box::new(History::open(history, asker, complaints).map_err(failed(&history.path))?)
            }
        })
    }
}

/// The open outputs.
pub struct Outputs {
    open: Vec<(Wanted, Box<dyn Listener>)>,
    asker: Asker,
    complaints: Complaints,
}

impl Outputs {
    /// None yet.
    pub const fn new(asker: Asker, complaints: Complaints) -> Self {
        Self { open: Vec::new(), asker, complaints }
    }

    /// Opens what is wanted and not open, then closes what is open and not wanted.
    ///
    /// # Errors
    /// When one cannot be opened; then all is as before.
    pub fn set(&mut self, wanted: &[Wanted]) -> Result<(), AgentError> {
        let mut new = Vec::new();
        for output in wanted.iter().filter(|output| !self.open.iter().any(|(open, _)| open == *output)) {
            new.push((output.clone(), output.open(&self.asker, &self.complaints)?));
        }
        let (kept, done): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|(open, _)| wanted.contains(open));
        self.open = kept;
        self.open.extend(new);
        for (_, listener) in done {
            listener.finish();
        }
        Ok(())
    }

    /// Tells a record to all of them.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn tell(&mut self, record: &Record) -> Result<(), AgentError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let told = Told::new(record.clone()).map_err(AgentError::io("encoding a record"))?;
        for (_, listener) in &mut self.open {
            listener.on(&Arc::clone(&told));
        }
        Ok(())
    }

    /// How they fare.
    pub fn status(&self) -> Vec<OutputStatus> {
        self.open.iter().map(|(_, listener)| listener.status()).collect()
    }

    /// The agent ends.
    pub fn finish(self) {
        for (_, listener) in self.open {
            listener.finish();
        }
    }
}
