//! Where records go besides standard output: opened as the configuration wants it, and again when it changes.

use std::{path::Path, sync::Arc};

use super::{AgentError, ask::Asker, tally::Tally};
use crate::{
    config::{Config, HistoryConfig, LogConfig, SocketConfig, metrics::MetricsConfig, outlet::OutletConfig},
    history, log,
    metrics::Metrics,
    outlets::Outlet,
    record::Record,
    service::{self, notify},
    sink::{
        headline::Headline,
        journal,
        listener::{Complaints, Listener, Told},
    },
    socket::{audience::Audience, server::Server},
    status::OutputStatus,
    text::shown,
};

/// An output that is wanted, with all that the configuration says of it: what is wanted as before stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The journal of systemd, which standard output goes to.
    Journal,
    /// The line of `systemctl status`.
    Headline,
    /// The agent's socket.
    Socket(SocketConfig),
    /// Figures for Prometheus.
    Metrics(MetricsConfig),
    /// One who is told of alerts.
    Outlet(Box<OutletConfig>),
    /// The event log.
    Log(LogConfig),
    /// The history.
    History(HistoryConfig),
}

impl Wanted {
    /// All outputs of a configuration.
    pub fn all(config: &Config) -> Vec<Self> {
        let journal = service::journal::is_stdout().then_some(Self::Journal);
        let headline = notify::is_wanted().then_some(Self::Headline);
        let socket = config.socket.clone().map(Self::Socket);
        let metrics = config.metrics.clone().map(Self::Metrics);
        let outlets = config.outlets.iter().map(|rule| Self::Outlet(Box::new(rule.outlet.clone())));
        let log = config.log.clone().map(Self::Log);
        let history = config.history.clone().map(Self::History);
        let one_each = [journal, headline, socket, metrics, log, history];
        one_each.into_iter().flatten().chain(outlets).collect()
    }

    /// Whether it stands in for standard output, where nothing is written then.
    pub const fn replaces_stdout(&self) -> bool {
        matches!(self, Self::Journal)
    }

    /// Opens it. Called within the agent's tokio runtime, which has one thread.
    fn open(
        &self,
        asker: &Asker,
        complaints: &Complaints,
        audience: &Arc<Audience>,
    ) -> Result<Box<dyn Listener>, AgentError> {
        let failed = |path: &Path| {
            let what = shown(path);
            |source| AgentError::Output { what, source }
        };
        Ok(match self {
            Self::Log(log) => Box::new(log::open(log, complaints).map_err(failed(&log.path))?),
            Self::History(history) => {
                Box::new(history::open(history, asker, complaints).map_err(failed(&history.path))?)
            }
            Self::Journal => {
                Box::new(journal::open(complaints.clone()).map_err(AgentError::io("the journal"))?)
            }
            Self::Headline => Box::<Headline>::default(),
            Self::Socket(config) => Box::new(Server::open(config, audience, asker, complaints)?),
            Self::Metrics(config) => Box::new(Metrics::open(config, asker, complaints)?),
            Self::Outlet(config) => {
                Box::new(Outlet::open(config, complaints).map_err(AgentError::io("the thread of an outlet"))?)
            }
        })
    }
}

/// The open outputs.
pub struct Outputs {
    open: Vec<(Wanted, Box<dyn Listener>)>,
    asker: Asker,
    complaints: Complaints,
    audience: Arc<Audience>,
    tally: Tally,
}

impl Outputs {
    /// None yet.
    pub fn new(asker: Asker, complaints: Complaints) -> Self {
        let (audience, tally) = (Audience::new(), Tally::default());
        Self { open: Vec::new(), asker, complaints, audience, tally }
    }

    /// The clients of the socket.
    pub fn audience(&self) -> Arc<Audience> {
        Arc::clone(&self.audience)
    }

    /// What was told so far.
    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Opens what is wanted and not open, then closes what is open and not wanted.
    ///
    /// # Errors
    /// When one cannot be opened; then all is as before.
    pub fn set(&mut self, wanted: &[Wanted]) -> Result<(), AgentError> {
        let mut new = Vec::new();
        for output in wanted.iter().filter(|output| !self.open.iter().any(|(open, _)| open == *output)) {
            new.push((output.clone(), output.open(&self.asker, &self.complaints, &self.audience)?));
        }
        for (_, listener) in &mut new {
            let what = listener.name().to_owned();
            listener.take_place().map_err(|source| AgentError::Output { what, source })?;
        }
        let (kept, done): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|(open, _)| wanted.contains(open));
        self.open = kept;
        self.open.extend(new);
        for (_, listener) in done {
            listener.leave();
        }
        Ok(())
    }

    /// Tells a record to all of them.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn tell(&mut self, record: &Record) -> Result<(), AgentError> {
        self.tally.note(record);
        if self.open.is_empty() {
            return Ok(());
        }
        let told = Told::new(record.clone()).map_err(AgentError::io("encoding a record"))?;
        for (_, listener) in &mut self.open {
            listener.on(&Arc::clone(&told));
        }
        Ok(())
    }

    /// Tells a record of the stream to those who want such.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn tell_stream(&mut self, record: Record) -> Result<(), AgentError> {
        let told = Told::new(record).map_err(AgentError::io("encoding a record"))?;
        for (_, listener) in self.open.iter_mut().filter(|(_, listener)| listener.stream_kinds() != 0) {
            listener.on(&told);
        }
        Ok(())
    }

    /// Kinds of the stream that any of them wants.
    pub fn stream_kinds(&self) -> u32 {
        self.open.iter().fold(0, |kinds, (_, listener)| kinds | listener.stream_kinds())
    }

    /// How they fare.
    pub fn status(&self) -> Vec<OutputStatus> {
        self.open.iter().map(|(_, listener)| listener.status()).collect()
    }

    /// The agent ends.
    pub fn finish(self) {
        let mut open = self.open;
        // All know before one is waited for.
        for (_, listener) in &mut open {
            listener.end_soon();
        }
        for (_, listener) in open {
            listener.finish();
        }
    }
}
