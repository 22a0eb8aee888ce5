//! Lines on their way to one client: bounded, and never waited for.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf as _, Bytes};
use tokio::net::UnixStream;

/// Most bytes that wait for one client. Lines are shared by all who wait for the same ones.
pub(super) const MAX_WAITING: usize = 1 << 20;

/// What a waiting line costs besides its own bytes.
const LINE_COST: usize = 64;

/// Lines that go out in one call.
const BATCH: usize = 64;

/// Calls after which others have their turn.
const CALLS: usize = 8;

/// What waits for one client.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    lines: VecDeque<Bytes>,
    cost: usize,
    /// A part of the first line is gone already.
    is_begun: bool,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What waits, bytes.
    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    /// Adds a line if there is room for it: an answer always fits, because nobody gets a second one before it is gone.
    pub(super) fn add(&mut self, line: Bytes, is_answer: bool) -> bool {
        let cost = line.len() + LINE_COST;
        if !is_answer && self.cost + cost > MAX_WAITING {
            return false;
        }
        self.cost += cost;
        self.lines.push_back(line);
        true
    }

    /// Drops all but what is left of a line that is partly gone. Returns how many lines were dropped.
    pub(super) fn drop_lines(&mut self) -> u64 {
        let keep = usize::from(self.is_begun).min(self.lines.len());
        let dropped = self.lines.len() - keep;
        self.lines.truncate(keep);
        self.lines.shrink_to_fit();
        self.cost = self.lines.iter().map(|line| line.len() + LINE_COST).sum();
        dropped as u64
    }

    /// Writes what the connection takes now. Returns how many lines are gone.
    ///
    /// # Errors
    /// When the connection fails.
    pub(super) fn write_to(&mut self, stream: &UnixStream) -> io::Result<u64> {
        let mut gone = 0;
        for _ in 0..CALLS {
            if self.lines.is_empty() {
                break;
            }
            let slices: Vec<IoSlice<'_>> =
                self.lines.iter().take(BATCH).map(|line| IoSlice::new(line)).collect();
            match stream.try_write_vectored(&slices) {
                Ok(written) => gone += self.written(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.lines.is_empty() && self.lines.capacity() > BATCH {
            self.lines = VecDeque::new();
        }
        Ok(gone)
    }

    fn written(&mut self, mut bytes: usize) -> u64 {
        let mut gone = 0;
        while let Some(first) = self.lines.front_mut() {
            if bytes < first.len() {
                first.advance(bytes);
                self.cost -= bytes;
                self.is_begun |= bytes > 0;
                break;
            }
            bytes -= first.len();
            self.cost -= first.len() + LINE_COST;
            self.is_begun = false;
            self.lines.pop_front();
            gone += 1;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(lines: &[&'static str]) -> Outbox {
        let mut outbox = Outbox::default();
        for line in lines {
            assert!(outbox.add(Bytes::from_static(line.as_bytes()), false));
        }
        outbox
    }

    fn rest(outbox: &Outbox) -> Vec<&[u8]> {
        outbox.lines.iter().map(|line| &line[..]).collect()
    }

    #[test]
    fn what_is_written_is_gone() {
        let mut outbox = outbox(&["one\n", "two\n", "three\n"]);
        assert_eq!(outbox.written(6), 1);
        assert_eq!(rest(&outbox), [b"o\n".as_slice(), b"three\n"]);
        assert_eq!(outbox.written(2), 1);
        assert_eq!(outbox.written(6), 1);
        assert_eq!((outbox.cost(), outbox.is_empty()), (0, true));
    }

    #[test]
    fn a_line_that_is_partly_gone_is_ended() {
        let mut begun = outbox(&["one\n", "two\n", "three\n"]);
        begun.written(5);
        assert_eq!(begun.drop_lines(), 1);
        assert_eq!(rest(&begun), [b"wo\n"]);
        let mut whole = outbox(&["one\n", "two\n"]);
        whole.written(4);
        assert_eq!((whole.drop_lines(), whole.cost()), (1, 0));
    }

    #[test]
    fn room_is_bounded_but_for_an_answer() {
        let mut outbox = Outbox::default();
        let line = Bytes::from(vec![b'x'; 1000]);
        let mut added = 0;
        while outbox.add(line.clone(), false) {
            added += 1;
        }
        assert_eq!(added, MAX_WAITING / (1000 + LINE_COST));
        assert!(outbox.cost() <= MAX_WAITING);
        assert!(outbox.add(line, true));
    }

    #[test]
    fn a_reader_that_stops_takes_no_more() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let mut outbox = Outbox::default();
            while outbox.add(Bytes::from(vec![b'x'; 8 << 10]), false) {}
            ours.writable().await.unwrap();
            let before = outbox.cost();
            let gone = outbox.write_to(&ours).unwrap();
            assert!(gone > 0 && outbox.cost() < before && !outbox.is_empty());
            drop(theirs);
            ours.writable().await.unwrap();
            assert!(outbox.write_to(&ours).is_err());
        });
    }
}
