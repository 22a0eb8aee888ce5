//! The way from encoded lines to standard output.

use std::io;

use tokio::io::{AsyncWriteExt, Stdout, stdout};

/// Bytes that may wait before the rings are left alone until they are written.
const BATCH_BYTES: usize = 256 << 10;

/// Whether somebody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Written.
    There,
    /// The other end of the pipe is closed: time to end, quietly.
    Gone,
}

/// Lines on their way out.
#[derive(Debug)]
pub struct Output {
    waiting: Vec<u8>,
    stdout: Stdout,
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl Output {
    /// Standard output.
    pub fn new() -> Self {
        Self { waiting: Vec::new(), stdout: stdout() }
    }

    /// Where lines are encoded.
    pub const fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// Whether so much waits that it must be written first.
    pub const fn is_full(&self) -> bool {
        self.waiting.len() >= BATCH_BYTES
    }

    /// Writes what waits. Dropped half-way, the rest is lost: only to be given up when the agent ends.
    ///
    /// # Errors
    /// What the kernel says, but for a closed pipe.
    pub async fn flush(&mut self) -> io::Result<Reader> {
        if self.waiting.is_empty() {
            return Ok(Reader::There);
        }
        let written = match self.stdout.write_all(&self.waiting).await {
            Ok(()) => self.stdout.flush().await,
            Err(error) => Err(error),
        };
        self.waiting.clear();
        match written {
            Ok(()) => Ok(Reader::There),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(error),
        }
    }
}
