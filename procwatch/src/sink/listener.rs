//! Those who are told every record of the agent, besides the one who reads its output.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::json;
use crate::{record::Record, status::OutputStatus};

/// A record with its line of JSON, encoded once for all who want it.
#[derive(Debug)]
pub struct Told {
    /// The record.
    pub record: Record,
    /// Its JSON line, with the line feed.
    pub line: Bytes,
}

impl Told {
    /// Encodes the record.
    ///
    /// # Errors
    /// As for [`json::encode`].
    pub fn new(record: Record) -> io::Result<Arc<Self>> {
        let mut line = Vec::with_capacity(512);
        json::encode(&record, &mut line)?;
        Ok(Arc::new(Self { record, line: line.into() }))
    }
}

/// One who is told every record, on the agent's one thread: it must neither wait nor fail. What it cannot take now it drops
/// and counts; slow work belongs on a thread or task of its own, behind a bounded queue.
pub trait Listener {
    /// What it is called in `status` and metrics: `log`, `history`, …
    fn name(&self) -> &'static str;

    /// Kinds of the kernel's stream that it wants to be told, as bits of [`procwatch_common::wire::Kind::bit`]; what
    /// the agent tells by itself it is told anyhow.
    fn stream_kinds(&self) -> u32 {
        0
    }

    /// All outputs that are wanted are open: what others can see of it is there from now on. Until then one before it may
    /// be in its place, and it can be dropped without a trace.
    ///
    /// # Errors
    /// What the kernel says; then all is as before.
    fn take_place(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Takes note of a record.
    fn on(&mut self, told: &Arc<Told>);

    /// How it fares.
    fn status(&self) -> OutputStatus;

    /// [`Self::finish`] will be called soon, after others were told the same: what takes time may begin.
    fn end_soon(&mut self) {}

    /// The agent ends, or goes on without it: what waits is written, within two seconds.
    fn finish(self: Box<Self>);

    /// The agent goes on without it. One who has somebody to finish for him has the agent wait for nothing.
    fn leave(self: Box<Self>) {
        self.finish();
    }
}

/// Where a listener complains: each complaint becomes a health record. Not from [`Listener::on`] for each record, or
/// complaints feed on themselves: when its state changes, and at most once in some seconds.
#[derive(Clone, Debug)]
pub struct Complaints(mpsc::Sender<String>);

/// Complaints that wait to be told.
const COMPLAINTS: usize = 64;

impl Complaints {
    /// Where to complain, and where complaints come out.
    pub fn channel() -> (Self, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel(COMPLAINTS);
        (Self(sender), receiver)
    }

    /// Complains; when too many wait already, the status still tells.
    pub fn make(&self, what: impl Into<String>) {
        if self.0.try_send(what.into()).is_err() {
            tracing::warn!("a complaint of an output was dropped");
        }
    }
}
