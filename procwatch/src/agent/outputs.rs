//! Where records go besides standard output: opened as the configuration wants it, and again when it changes.

use std::sync::Arc;

use super::{AgentError, ask::Asker};
use crate::{
    config::Config,
    record::Record,
    service::{journal, notify},
    sink::{
        headline::Headline,
        journal::Journal,
        listener::{Complaints, Listener, Told},
    },
    status::OutputStatus,
};

/// An output that is wanted, with all that the configuration says of it: what is wanted as before stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The journal of systemd, which standard output goes to.
    Journal,
    /// The line of `systemctl status`.
    Headline,
}

impl Wanted {
    /// All outputs of a configuration.
    pub fn all(_config: &Config) -> Vec<Self> {
        let journal = journal::is_stdout().then_some(Self::Journal);
        let headline = notify::is_wanted().then_some(Self::Headline);
        journal.into_iter().chain(headline).collect()
    }

    /// Whether it stands in for standard output, where nothing is written then.
    pub const fn replaces_stdout(&self) -> bool {
        matches!(self, Self::Journal)
    }

    /// Opens it. Called within the agent's tokio runtime, which has one thread.
    fn open(&self, _asker: &Asker, complaints: &Complaints) -> Result<Box<dyn Listener>, AgentError> {
        Ok(match self {
            Self::Journal => {
                Box::new(Journal::open(complaints.clone()).map_err(AgentError::io("the journal"))?)
            }
            Self::Headline => Box::<Headline>::default(),
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
        self.open.into_iter().for_each(|(_, listener)| listener.finish());
    }
}
