//! Where records go besides standard output: opened as the configuration wants it, and again when it changes.

use std::sync::Arc;

use super::{AgentError, ask::Asker};
use crate::{
    config::{Config, metrics::MetricsConfig, outlet::OutletConfig},
    metrics::Metrics,
    outlets::Outlet,
    record::Record,
    sink::listener::{Complaints, Listener, Told},
    status::OutputStatus,
};

/// An output that is wanted, with all that the configuration says of it: what is wanted as before stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Figures for Prometheus.
    Metrics(MetricsConfig),
    /// One who is told of alerts.
    Outlet(Box<OutletConfig>),
}

impl Wanted {
    /// All outputs of a configuration.
    pub fn all(config: &Config) -> Vec<Self> {
        let outlets = config.outlets.iter().map(|rule| Self::Outlet(Box::new(rule.outlet.clone())));
        config.metrics.clone().map(Self::Metrics).into_iter().chain(outlets).collect()
    }

    /// Opens it. Called within the agent's tokio runtime, which has one thread.
    fn open(&self, asker: &Asker, complaints: &Complaints) -> Result<Box<dyn Listener>, AgentError> {
        match self {
            Self::Metrics(config) => match Metrics::open(config, asker) {
                Ok(metrics) => Ok(Box::new(metrics)),
                Err(error) => Err(AgentError::Usage(format!("metrics.listen {}: {error}", config.listen))),
            },
            Self::Outlet(config) => match Outlet::open(config, complaints) {
                Ok(outlet) => Ok(Box::new(outlet)),
                Err(error) => Err(AgentError::io("the thread of an outlet")(error)),
            },
        }
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
    pub fn set(&mut self, wanted: Vec<Wanted>) -> Result<(), AgentError> {
        let mut new = Vec::new();
        for output in wanted.iter().filter(|output| !self.open.iter().any(|(open, _)| open == *output)) {
            new.push((output.clone(), output.open(&self.asker, &self.complaints)?));
        }
        let (kept, done): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|(open, _)| wanted.contains(open));
        self.open = kept;
        self.open.extend(new);
        finish(done);
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
        finish(self.open);
    }
}

/// All know before one is waited for.
fn finish(mut done: Vec<(Wanted, Box<dyn Listener>)>) {
    done.iter_mut().for_each(|(_, listener)| listener.end_soon());
    done.into_iter().for_each(|(_, listener)| listener.finish());
}
