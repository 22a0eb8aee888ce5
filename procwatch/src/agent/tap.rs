//! The stream ring with its gate: how `watch` and `run` take what all the kernel's events are.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::AgentError;
use crate::{
    decode::DecodeError,
    event::Event,
    kernel::{Kernel, RingReader},
};

/// Shortest time between two wake-ups by the stream: no record waits longer before it is taken.
const WAKE: Duration = Duration::from_millis(20);

/// The consumer of the stream ring.
pub(super) struct Tap {
    ring: RingReader,
    ring_bytes: u32,
    /// Missing records that were not asked for yet, by CPU.
    missing: BTreeMap<u32, u64>,
    /// After a wake-up the kernel is silent for [`WAKE`], so the agent looks again by itself until it finds nothing.
    look_at: Option<Instant>,
}

impl Tap {
    /// Takes the ring; the gate is still closed.
    ///
    /// # Errors
    /// When the ring was taken before, or cannot be mapped.
    pub(super) fn new(kernel: &mut Kernel, ring_bytes: u32) -> Result<Self, AgentError> {
        Ok(Self { ring: kernel.stream()?, ring_bytes, missing: BTreeMap::new(), look_at: None })
    }

    /// From now on the kernel sends these kinds, as bits; none closes the gate.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub(super) fn set_gate(&self, kernel: &mut Kernel, kinds: u32) -> Result<(), AgentError> {
        Ok(kernel.steer(|control| {
            control.stream_wake_ns = WAKE.as_nanos() as u32;
            control.stream_wake_bytes = u64::from(self.ring_bytes / 2);
            control.stream_kinds = kinds;
        })?)
    }

    /// Returns when it is time to look. Cancel safe.
    ///
    /// # Errors
    /// When the ring can no longer be polled.
    pub(super) async fn ready(&mut self) -> Result<(), AgentError> {
        let Self { ring, look_at, .. } = self;
        tokio::select! {
            ready = ring.readable() => ready.map_err(AgentError::io("the stream ring"))?,
            () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {}
        }
        Ok(())
    }

    /// The next record, or why it cannot be understood. What is missing before it is noted.
    pub(super) fn take(&mut self) -> Option<Result<Event, DecodeError>> {
        let taken = self.ring.take()?;
        if let (Ok(event), Some(missing)) = (&taken.event, taken.missing) {
            *self.missing.entry(event.cpu).or_default() += missing;
        }
        Some(taken.event)
    }

    /// A look is over: the next one comes by itself when this one has `found` something, else when the kernel says so.
    pub(super) fn looked(&mut self, found: bool) {
        self.look_at = found.then(|| Instant::now() + WAKE);
    }

    /// What was found missing since this was asked last, by CPU.
    pub(super) fn missing(&mut self) -> BTreeMap<u32, u64> {
        std::mem::take(&mut self.missing)
    }

    /// Records missed so far, by gaps in their numbers.
    pub(super) const fn lost(&self) -> u64 {
        self.ring.lost()
    }
}
