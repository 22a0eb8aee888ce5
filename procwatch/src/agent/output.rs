//! The way from encoded lines to standard output.
//!
//! A task of its own writes, so that one who reads slowly or not at all holds up nothing but the lines.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncWriteExt, stdout},
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};

/// Bytes that make a batch: then the rings are left alone until it is on its way.
const BATCH_BYTES: usize = 256 << 10;

/// Batches that wait for the writer.
const QUEUE: usize = 2;

/// How long the end waits for a reader that does not read.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Whether somebody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// On its way.
    There,
    /// The other end of the pipe is closed.
    Gone,
}

/// Where a sink writes its lines.
#[derive(Clone, Debug, Default)]
pub struct Lines(Rc<RefCell<BytesMut>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How far the writer is.
#[derive(Debug, Default)]
struct Progress {
    /// Batches that were written, or will never be.
    done: AtomicU64,
    changed: Notify,
}

/// Waits until all is written that was on its way when it was asked for.
#[derive(Clone, Debug)]
pub struct Written {
    progress: Arc<Progress>,
    sent: u64,
}

impl Written {
    /// Whether it is.
    pub fn is_done(&self) -> bool {
        self.progress.done.load(Ordering::Acquire) >= self.sent
    }

    /// Returns when it is. Cancel safe.
    pub async fn done(&self) {
        while !self.is_done() {
            self.progress.changed.notified().await;
        }
    }
}

/// Lines on their way out.
#[derive(Debug)]
pub struct Output {
    waiting: Lines,
    /// Batches given to the writer.
    sent: u64,
    progress: Arc<Progress>,
    queue: mpsc::Sender<Bytes>,
    /// `None` once it has ended.
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Output {
    /// Standard output. Must be called within a tokio runtime.
    pub fn new() -> Self {
        let (queue, batches) = mpsc::channel(QUEUE);
        let progress = Arc::new(Progress::default());
        let writer = Some(tokio::spawn(write(batches, Arc::clone(&progress))));
        Self { waiting: Lines::default(), sent: 0, progress, queue, writer }
    }

    /// For the sink.
    pub fn lines(&self) -> Lines {
        self.waiting.clone()
    }

    /// Whether a batch is complete.
    pub fn is_full(&self) -> bool {
        self.waiting.0.borrow().len() >= BATCH_BYTES
    }

    /// What is on its way now.
    pub fn written(&self) -> Written {
        Written { progress: Arc::clone(&self.progress), sent: self.sent }
    }

    /// Whether there is anything to send.
    pub fn is_empty(&self) -> bool {
        self.waiting.0.borrow().is_empty()
    }

    /// Sends what waits, as soon as the writer can take it. Cancel safe: what was not sent still waits.
    ///
    /// # Errors
    /// What the kernel said of an earlier batch, but for a closed pipe.
    pub async fn flush(&mut self) -> io::Result<Reader> {
        if self.is_empty() {
            return Ok(Reader::There);
        }
        if let Ok(room) = self.queue.reserve().await {
            room.send(self.waiting.0.borrow_mut().split().freeze());
            self.sent += 1;
            return Ok(Reader::There);
        }
        self.shed();
        self.ended().await
    }

    /// Waits until the writer has ended before its time, and says why. Cancel safe.
    ///
    /// # Errors
    /// What the kernel said, but for a closed pipe.
    pub async fn ended(&mut self) -> io::Result<Reader> {
        self.queue.closed().await;
        match self.writer.take() {
            Some(writer) => outcome(writer.await),
            None => Ok(Reader::Gone),
        }
    }

    /// Drops what waits. Returns how many lines that were.
    pub fn shed(&mut self) -> u64 {
        let shed = self.waiting.0.borrow_mut().split();
        shed.split_inclusive(|byte| *byte == b'\n').count() as u64
    }

    /// Sends the last lines and waits until they are written, but not long.
    ///
    /// # Errors
    /// As for [`Self::flush`].
    pub async fn finish(mut self) -> io::Result<()> {
        let written = timeout(LAST_WORDS, async {
            self.flush().await?;
            drop(self.queue);
            match self.writer {
                Some(writer) => outcome(writer.await).map(drop),
                None => Ok(()),
            }
        });
        written.await.unwrap_or(Ok(()))
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

async fn write(mut batches: mpsc::Receiver<Bytes>, progress: Arc<Progress>) -> io::Result<()> {
    let tell = |done| {
        progress.done.store(done, Ordering::Release);
        progress.changed.notify_one();
    };
    let (mut stdout, mut done) = (stdout(), 0);
    while let Some(batch) = batches.recv().await {
        let written = async {
            stdout.write_all(&batch).await?;
            stdout.flush().await
        };
        if let Err(error) = written.await {
            tell(u64::MAX);
            return Err(error);
        }
        done += 1;
        tell(done);
    }
    Ok(())
}

fn outcome(written: Result<io::Result<()>, tokio::task::JoinError>) -> io::Result<Reader> {
    match written {
        Ok(Ok(())) => Ok(Reader::There),
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Ok(Err(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    }
}
