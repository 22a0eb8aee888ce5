//! Reads one ring.

use std::io;

use aya::maps::{MapData, RingBuf};
use procwatch_common::wire::UNNUMBERED;
use tokio::io::{Interest, unix::AsyncFd};

use super::loss::LossTracker;
use crate::{
    decode::{DecodeError, decode},
    event::Event,
};

/// The consumer's end of a ring.
pub struct RingReader {
    ring: AsyncFd<RingBuf<MapData>>,
    loss: LossTracker,
}

/// One record taken from a ring.
#[derive(Debug)]
pub struct Taken {
    /// The record, or why it could not be understood.
    pub event: Result<Event, DecodeError>,
    /// Records missing before it on its CPU.
    pub missing: Option<u64>,
}

impl RingReader {
    /// Takes the ring over. Must be called within a tokio runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the map owns its descriptor for as long as the `RingBuf` lives, and never gives another one.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { ring, loss: LossTracker::new() })
    }

    /// Waits until the kernel says that there is something. Cancel safe.
    ///
    /// # Errors
    /// When the ring can no longer be polled.
    pub async fn readable(&mut self) -> io::Result<()> {
        self.ring.readable_mut().await?.clear_ready();
        Ok(())
    }

    /// Takes the next record, if there is one.
    pub fn take(&mut self) -> Option<Taken> {
        let event = decode(&self.ring.get_mut().next()?);
        let numbered = event.as_ref().ok().filter(|event| event.cpu != UNNUMBERED);
        let missing = numbered.and_then(|event| self.loss.received(event.cpu, event.seq));
        Some(Taken { event, missing })
    }

    /// Records missed so far, by gaps in their numbers.
    pub const fn lost(&self) -> u64 {
        self.loss.total()
    }
}
