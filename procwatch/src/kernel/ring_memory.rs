//! The memory that a ring shares with the kernel: where it stands, and its records.
//!
//! aya's reader gives a record back to the kernel as soon as it was looked at. The agent must not: what it has not told
//! when it dies has to be there for the next one.

use std::{
    io,
    os::fd::AsFd,
    ptr::{NonNull, null_mut},
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Set in a record's length while it is written.
const BUSY: u32 = 1 << 31;
/// Set in the length of one that is to be passed over.
const DISCARDED: u32 = 1 << 30;
/// Bytes before a record: its length, and where its ring begins.
const HEADER: usize = 8;

/// Memory that is mapped for as long as this lives.
struct Mapping {
    begin: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(ring: impl AsFd, at: usize, len: usize, protection: ProtFlags) -> io::Result<Self> {
        // SAFETY: the kernel chooses an address that nothing else uses.
        let begin = unsafe { mmap(null_mut(), len, protection, MapFlags::SHARED, ring, at as u64) }?;
        let begin = NonNull::new(begin.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { begin, len })
    }

    /// The position that the mapping begins with.
    const fn position(&self) -> &AtomicUsize {
        // SAFETY: a page begins with it, aligned, and it is there as long as `self`; both sides use atomic instructions.
        unsafe { self.begin.cast().as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody borrows any more. It cannot fail for one that exists.
        let _ = unsafe { munmap(self.begin.as_ptr().cast(), self.len) };
    }
}

// SAFETY: plain shared memory, which is as good from one thread as from another.
unsafe impl Send for Mapping {}

/// A ring as the kernel lays it out: a page with the consumer's position, a page with the producer's, and the data twice,
/// so that no record is broken at the end.
pub(super) struct RingMemory {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
}

/// What is at a place of the ring.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum At<'a> {
    /// A record, and the place after it.
    Record(&'a [u8], usize),
    /// Nothing that is complete, or nothing at all.
    Nothing,
}

impl RingMemory {
    /// Maps the ring of `size` bytes, a power of two.
    pub(super) fn new(ring: impl AsFd, size: usize) -> io::Result<Self> {
        if !size.is_power_of_two() {
            return Err(io::Error::other(format!("a ring of {size} bytes")));
        }
        let page = rustix::param::page_size();
        Ok(Self {
            consumer: Mapping::new(&ring, 0, page, ProtFlags::READ | ProtFlags::WRITE)?,
            producer: Mapping::new(&ring, page, page + 2 * size, ProtFlags::READ)?,
            page,
            size,
        })
    }

    /// Bytes that it has room for.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// From where on the kernel keeps what was written.
    pub(super) fn kept_from(&self) -> usize {
        self.consumer.position().load(Ordering::Acquire)
    }

    /// Where the next record will be written.
    pub(super) fn end(&self) -> usize {
        self.producer.position().load(Ordering::Acquire)
    }

    /// Bytes that are kept.
    pub(super) fn waiting(&self) -> usize {
        self.end().wrapping_sub(self.kept_from())
    }

    /// Gives what lies before `place` back to the kernel.
    pub(super) fn release(&mut self, place: usize) {
        // The kernel reads it with acquire before it writes there again.
        self.consumer.position().store(place, Ordering::Release);
    }

    /// How many records there are from `place` on.
    pub(super) fn count(&self, mut place: usize) -> u64 {
        let mut count = 0;
        while let At::Record(_, next) = self.at(place) {
            (count, place) = (count + 1, next);
        }
        count
    }

    /// The first record at `place` or after it. It stays as it is until it is given back, for which `self` is borrowed
    /// anew.
    pub(super) fn at(&self, mut place: usize) -> At<'_> {
        while place != self.end() {
            let offset = self.page + (place & (self.size - 1));
            // SAFETY: within the mapping, and aligned: records begin at multiples of 8. The kernel writes it atomically.
            let header = unsafe { self.producer.begin.add(offset).cast::<AtomicU32>().as_ref() };
            let header = header.load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let len = (header & !DISCARDED) as usize;
            // A ring that was meddled with ends here.
            if len > self.size - HEADER {
                break;
            }
            let next = place.wrapping_add((HEADER + len).next_multiple_of(HEADER));
            if header & DISCARDED != 0 {
                place = next;
                continue;
            }
            // SAFETY: the record was committed and not given back, so nobody writes it; the data are mapped twice, so that
            // it lies within the mapping.
            let record = unsafe {
                let begin = self.producer.begin.add(offset + HEADER);
                std::slice::from_raw_parts(begin.as_ptr(), len)
            };
            return At::Record(record, next);
        }
        At::Nothing
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _, os::unix::fs::FileExt as _};

    use super::*;

    const SIZE: usize = 4096;

    /// A file in the form of a ring. Its data are not mapped twice by a kernel, but written twice.
    struct Ring(File);

    impl Ring {
        fn new() -> Self {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![0; 2 * rustix::param::page_size() + 2 * SIZE]).unwrap();
            Self(file)
        }

        fn write(&self, place: usize, header: u32, bytes: &[u8]) {
            let data = 2 * rustix::param::page_size() as u64;
            for copy in [0, SIZE] {
                let offset = data + (copy + (place & (SIZE - 1))) as u64;
                self.0.write_all_at(&header.to_ne_bytes(), offset).unwrap();
                self.0.write_all_at(bytes, offset + HEADER as u64).unwrap();
            }
        }

        fn set(&self, page: usize, position: usize) {
            let at = (page * rustix::param::page_size()) as u64;
            self.0.write_all_at(&position.to_ne_bytes(), at).unwrap();
        }
    }

    #[test]
    fn records_are_found_and_stay_until_they_are_given_back() {
        let ring = Ring::new();
        ring.write(0, 5, b"first");
        ring.write(16, 3 | DISCARDED, b"bad");
        ring.write(32, 6, b"second");
        ring.write(48, 4 | BUSY, b"part");
        ring.set(1, 64);
        let mut memory = RingMemory::new(&ring.0, SIZE).unwrap();
        assert_eq!((memory.size(), memory.kept_from(), memory.end()), (SIZE, 0, 64));
        assert_eq!(memory.at(0), At::Record(b"first", 16));
        assert_eq!(memory.at(16), At::Record(b"second", 48));
        assert_eq!(memory.at(48), At::Nothing);
        assert_eq!(memory.kept_from(), 0);
        memory.release(48);
        assert_eq!(memory.kept_from(), 48);
        assert_eq!(memory.at(64), At::Nothing);
        // Another one who maps it goes on from there.
        assert_eq!(RingMemory::new(&ring.0, SIZE).unwrap().kept_from(), 48);
    }

    #[test]
    fn a_record_may_cross_the_end_and_junk_ends_the_ring() {
        let ring = Ring::new();
        let place = 7 * SIZE + SIZE - 16;
        ring.write(place, 8, b"crossing");
        ring.write(place + 16, u32::MAX >> 3, b"");
        ring.set(1, place + 32);
        let memory = RingMemory::new(&ring.0, SIZE).unwrap();
        assert_eq!(memory.at(place), At::Record(b"crossing", place + 16));
        assert_eq!(memory.at(place + 16), At::Nothing);
        assert!(RingMemory::new(&ring.0, 4095).is_err());
    }
}
