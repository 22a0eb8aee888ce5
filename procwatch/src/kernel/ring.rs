//! Reads one ring.

use std::io;

use aya::maps::MapData;
use procwatch_common::wire::UNNUMBERED;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    loss::LossTracker,
    ring_memory::{At, RingMemory},
};
use crate::{
    decode::{DecodeError, decode},
    event::Event,
};

/// The consumer's end of a ring.
pub struct RingReader {
    /// Tells when there is something.
    ready: AsyncFd<std::os::fd::OwnedFd>,
    memory: RingMemory,
    /// Where the next record is taken.
    place: usize,
    /// Records before this place are of the time before the rules of now.
    old_until: usize,
    /// Whether a record is given back to the kernel as soon as it is taken.
    releases: bool,
    loss: LossTracker,
    /// Records may have been lost that were not asked about.
    has_gap: bool,
}

/// One record taken from a ring.
#[derive(Debug)]
pub struct Taken {
    /// The record, or why it could not be understood.
    pub event: Result<Event, DecodeError>,
    /// Records missing before it on its CPU.
    pub missing: Option<u64>,
    /// It was written under other rules than those of now: the number of a rule in it means nothing.
    pub is_old: bool,
}

impl RingReader {
    /// Takes the ring over, from the record on that was given back last. Must be called within a tokio runtime.
    pub(super) fn new(ring: &MapData, size: usize, origin: Origin) -> io::Result<Self> {
        let memory = RingMemory::new(ring.fd(), size)?;
        let fd = std::os::fd::AsFd::as_fd(ring.fd()).try_clone_to_owned()?;
        // SAFETY: the `OwnedFd` keeps its descriptor open, and the same, for as long as it lives.
        let ready = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        let place = memory.kept_from();
        let is_adopted = origin == Origin::Adopted;
        let loss = if is_adopted { LossTracker::resumed() } else { LossTracker::new() };
        Ok(Self { ready, place, old_until: place, memory, releases: true, loss, has_gap: is_adopted })
    }

    /// From now on records stay in the ring, for the next agent, until [`Self::release`] says that they were dealt with.
    pub const fn keep(&mut self) {
        self.releases = false;
    }

    /// Waits until the kernel says that there is something. Cancel safe.
    ///
    /// # Errors
    /// When the ring can no longer be polled.
    pub async fn readable(&mut self) -> io::Result<()> {
        self.ready.readable().await?.clear_ready();
        Ok(())
    }

    /// Takes the next record, if there is one.
    pub fn take(&mut self) -> Option<Taken> {
        let At::Record(bytes, next) = self.memory.at(self.place) else {
            return None;
        };
        let event = decode(bytes);
        // Places only grow, and may wrap around.
        let is_old = (self.old_until.wrapping_sub(self.place) as isize) > 0;
        self.place = next;
        if self.releases {
            self.memory.release(next);
        }
        let numbered = event.as_ref().ok().filter(|event| event.cpu != UNNUMBERED);
        let missing = numbered.and_then(|event| self.loss.received(event.cpu, event.seq));
        self.has_gap |= missing.is_some();
        Some(Taken { event, missing, is_old })
    }

    /// What was taken was dealt with: the kernel may write there again.
    pub fn release(&mut self) {
        if self.owes() {
            self.memory.release(self.place);
        }
    }

    /// Whether records were taken that are still kept.
    pub fn owes(&self) -> bool {
        self.memory.kept_from() != self.place
    }

    /// How many records wait to be taken.
    pub fn count(&self) -> u64 {
        self.memory.count(self.place)
    }

    /// Whether so much is kept that there may soon be no room.
    pub fn is_crowded(&self) -> bool {
        self.memory.waiting() > self.memory.size() / 4
    }

    /// Whether what waits to be taken fills half of it.
    pub fn is_half_full(&self) -> bool {
        self.memory.waiting() >= self.memory.size() / 2
    }

    /// All records up to now are of the time before the rules of now.
    pub fn end_old(&mut self) {
        self.old_until = self.memory.end();
    }

    /// Whether records may have been lost since this was asked last.
    pub const fn take_gap(&mut self) -> bool {
        std::mem::replace(&mut self.has_gap, false)
    }

    /// Records missed so far, by gaps in their numbers.
    pub const fn lost(&self) -> u64 {
        self.loss.total()
    }
}

/// Where a ring comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was made for this reader.
    New,
    /// An agent before has read from it.
    Adopted,
}
