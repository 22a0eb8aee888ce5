//! The way from encoded lines to standard output.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use tokio::io::{AsyncWriteExt, Stdout, stdout};

/// Bytes that may wait before the rings are left alone until they are written.
const BATCH_BYTES: usize = 256 << 10;

/// How long the end waits for a reader who takes nothing.
pub const PATIENCE: Duration = Duration::from_millis(500);

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
    waiting: Lines,
    /// The batch that is being written; kept for its memory.
    batch: Vec<u8>,
    stdout: Stdout,
}

/// Where a sink writes its lines.
#[derive(Clone, Debug, Default)]
pub struct Lines(Rc<RefCell<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl Output {
    /// Standard output.
    pub fn new() -> Self {
        Self {
            waiting: Lines::default(),
            batch: Vec::new(),
            stdout: stdout(),
        }
    }

    /// For the sink.
    pub fn lines(&self) -> Lines {
        self.waiting.clone()
    }

    /// Whether so much waits that it must be written first.
    pub fn is_full(&self) -> bool {
        self.waiting.0.borrow().len() >= BATCH_BYTES
    }

    /// Writes what waits. Dropped half-way, the rest is lost: only to be given up when the agent ends.
    ///
    /// # Errors
    /// What the kernel says, but for a closed pipe.
    pub async fn flush(&mut self) -> io::Result<Reader> {
        if self.waiting.0.borrow().is_empty() {
            return Ok(Reader::There);
        }
        self.batch.clear();
        std::mem::swap(&mut self.batch, &mut self.waiting.0.borrow_mut());
        let written = match self.stdout.write_all(&self.batch).await {
            Ok(()) => self.stdout.flush().await,
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => Ok(Reader::There),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(error),
        }
    }
}
