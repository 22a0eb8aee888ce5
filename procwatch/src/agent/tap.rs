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
    next: NextLook,
}

/// When to look without being woken. After a wake-up the kernel is silent for [`WAKE`], so a look by oneself follows on each, and
/// on each that found something.
#[derive(Debug, Default)]
struct NextLook(Option<Instant>);

impl NextLook {
    /// The kernel has woken us. What it means may have been taken by a look that came before, and what follows it is told by
    /// none: the silence is to be looked into even if there is nothing now.
    fn woken(&mut self, now: Instant) {
        self.0 = Some(now + WAKE);
    }

    /// A look is over.
    fn looked(&mut self, now: Instant, found: bool) {
        if found {
            self.0 = Some(now + WAKE);
        } else if self.0.is_some_and(|at| at <= now) {
            self.0 = None;
        }
    }
}

impl Tap {
    /// Takes the ring; the gate is still closed.
    ///
    /// # Errors
    /// When the ring was taken before, or cannot be mapped.
    pub(super) fn new(kernel: &mut Kernel, ring_bytes: u32) -> Result<Self, AgentError> {
        Ok(Self { ring: kernel.stream()?, ring_bytes, missing: BTreeMap::new(), next: NextLook::default() })
    }

    /// From now on the kernel sends these kinds, as bits; none closes the gate.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub(super) fn set_gate(&mut self, kernel: &mut Kernel, kinds: u32) -> Result<(), AgentError> {
        // The kernel may still be silent after a wake-up of before.
        self.next.woken(Instant::now());
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
        let Self { ring, next, .. } = self;
        tokio::select! {
            ready = ring.readable() => {
                ready.map_err(AgentError::io("the stream ring"))?;
                next.woken(Instant::now());
            }
            () = sleep_until(next.0.unwrap_or_else(Instant::now)), if next.0.is_some() => {}
        }
        Ok(())
    }

    /// Returns when what waits fills half of the ring. Cancel safe.
    ///
    /// # Errors
    /// When the ring can no longer be polled.
    pub(super) async fn half_full(&mut self) -> Result<(), AgentError> {
        while !self.ring.is_half_full() {
            self.ring.readable().await.map_err(AgentError::io("the stream ring"))?;
            self.next.woken(Instant::now());
        }
        Ok(())
    }

    /// Whether what waits fills half of the ring.
    pub(super) fn is_half_full(&self) -> bool {
        self.ring.is_half_full()
    }

    /// The next record, or why it cannot be understood. What is missing before it is noted.
    pub(super) fn take(&mut self) -> Option<Result<Event, DecodeError>> {
        let taken = self.ring.take()?;
        if let (Ok(event), Some(missing)) = (&taken.event, taken.missing) {
            *self.missing.entry(event.cpu).or_default() += missing;
        }
        Some(taken.event)
    }

    /// A look is over that has `found` something, or has not.
    pub(super) fn looked(&mut self, found: bool) {
        self.next.looked(Instant::now(), found);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silence_after_a_wake_up_is_looked_into() {
        let (begun, mut next) = (Instant::now(), NextLook::default());
        next.woken(begun);
        // A look that was under way has taken it already.
        next.looked(begun, false);
        assert_eq!(next.0, Some(begun + WAKE));
        next.looked(begun + WAKE, true);
        assert_eq!(next.0, Some(begun + 2 * WAKE), "more may follow");
        next.looked(begun + 2 * WAKE, false);
        assert_eq!(next.0, None, "the kernel wakes us again");
    }
}
