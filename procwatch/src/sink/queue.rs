//! From the agent's loop to a thread that does slow work: a queue bounded in bytes. Neither side ever holds a lock that
//! the loop could have to wait for, and the thread sleeps while there is nothing to do.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc as std_mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::listener::Told;
use crate::status::OutputStatus;

/// What may wait, bytes of memory.
pub(crate) const QUEUE_BYTES: usize = 4 << 20;
/// What a record takes besides its line, bytes, roughly.
const RECORD_BYTES: usize = 640;
/// How long the loop waits for the thread's last words: a disk may be busy.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A first record is passed on at once; those that follow it are gathered for so long, so that a storm is written in few
/// pieces.
const GATHER: Duration = Duration::from_millis(50);

/// What both sides know.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// What waits, bytes of memory.
    waiting: AtomicUsize,
    /// Records that were passed on.
    passed: AtomicU64,
    /// Those of them that were dealt with.
    done: AtomicU64,
    ending: AtomicBool,
    /// Records that were written.
    pub(crate) taken: AtomicU64,
    /// Records that found the queue full.
    pub(crate) overflowed: AtomicU64,
    /// Records that could not be written.
    pub(crate) lost: AtomicU64,
    /// Failures.
    pub(crate) failed: AtomicU64,
    /// The last failure while it lasts.
    error: std::sync::Mutex<Option<String>>,
}

impl Counts {
    /// Notes the failure that lasts, or that none does.
    pub(crate) fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = error;
    }

    /// Whether the last failure lasts.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Whether no more will come than what waits.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    fn status(&self, name: &str) -> OutputStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OutputStatus {
            name: name.to_owned(),
            taken: count(&self.taken),
            dropped: count(&self.overflowed) + count(&self.lost),
            waiting: count(&self.passed).saturating_sub(count(&self.done)),
            failed: count(&self.failed),
            error: self.error(),
        }
    }
}

/// The loop's side.
#[derive(Debug)]
pub(crate) struct Feeder {
    queue: mpsc::UnboundedSender<Arc<Told>>,
    counts: Arc<Counts>,
    most: usize,
    thread: JoinHandle<()>,
    ended: std_mpsc::Receiver<()>,
}

impl Feeder {
    /// Starts a thread of that name, at normal priority, which does the work; `most` bytes may wait for it.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub(crate) fn start(
        name: &str,
        most: usize,
        work: impl FnOnce(Intake) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, waiting) = mpsc::unbounded_channel();
        let (last_word, ended) = std_mpsc::channel();
        let counts = Arc::new(Counts::default());
        let intake = Intake { queue: waiting, counts: Arc::clone(&counts), last: None, given: 0 };
        let thread = thread::Builder::new().name(format!("procwatch-{name}")).spawn(move || {
            work(intake);
            // Who does not wait for it has left.
            let _ = last_word.send(());
        })?;
        Ok(Self { queue, counts, most, thread, ended })
    }

    /// Passes a record on, or drops and counts it.
    pub(crate) fn offer(&self, told: &Arc<Told>) {
        let size = size_of(told);
        let waiting = self.counts.waiting.fetch_add(size, Ordering::AcqRel);
        // One alone always fits.
        if (waiting > 0 && waiting + size > self.most) || self.queue.send(Arc::clone(told)).is_err() {
            self.counts.waiting.fetch_sub(size, Ordering::AcqRel);
            self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.counts.passed.fetch_add(1, Ordering::Relaxed);
        self.thread.thread().unpark();
    }

    /// How it fares.
    pub(crate) fn status(&self, name: &str) -> OutputStatus {
        self.counts.status(name)
    }

    /// Lets the thread write what waits and end, and waits for that, but not long.
    pub(crate) fn finish(self) {
        self.end();
        if self.ended.recv_timeout(LAST_WORDS) == Err(std_mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the last records are still being written");
        }
    }

    fn end(&self) {
        self.counts.ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }
}

/// However it goes: the thread writes what waits, and ends.
impl Drop for Feeder {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's side.
#[derive(Debug)]
pub(crate) struct Intake {
    queue: mpsc::UnboundedReceiver<Arc<Told>>,
    counts: Arc<Counts>,
    /// When the last batch was given out.
    last: Option<Instant>,
    /// Records of that batch.
    given: u64,
}

impl Intake {
    /// The counters.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Waits for records, as the batch before is dealt with, and takes those that are there, about `most` bytes of lines. `None` at the end.
    pub(crate) fn batch(&mut self, most: usize) -> Option<Vec<Arc<Told>>> {
        self.counts.done.fetch_add(std::mem::take(&mut self.given), Ordering::Relaxed);
        let first = self.wait()?;
        let rest = self.last.and_then(|last| GATHER.checked_sub(last.elapsed()));
        if let Some(rest) = rest.filter(|_| !self.counts.is_ending()) {
            thread::sleep(rest);
        }
        self.last = Some(Instant::now());
        let mut bytes = first.line.len();
        let mut batch = vec![first];
        while bytes < most
            && let Some(told) = self.take()
        {
            bytes += told.line.len();
            batch.push(told);
        }
        self.given = batch.len() as u64;
        Some(batch)
    }

    fn wait(&mut self) -> Option<Arc<Told>> {
        loop {
            // In this order: what came before the end is still taken.
            let ending = self.counts.is_ending();
            if let Some(told) = self.take() {
                return Some(told);
            }
            if ending {
                return None;
            }
            // An unpark since the look above makes this return at once.
            thread::park();
        }
    }

    fn take(&mut self) -> Option<Arc<Told>> {
        let told = self.queue.try_recv().ok()?;
        self.counts.waiting.fetch_sub(size_of(&told), Ordering::AcqRel);
        Some(told)
    }
}

fn size_of(told: &Told) -> usize {
    told.line.len() + RECORD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn told() -> Arc<Told> {
        Told::new(samples::all().remove(0)).unwrap()
    }

    #[test]
    fn all_is_passed_on_in_its_order_and_the_end_waits_for_it() {
        let (sender, seen) = std_mpsc::channel();
        let feeder = Feeder::start("test", QUEUE_BYTES, move |mut intake| {
            while let Some(batch) = intake.batch(1) {
                assert_eq!(batch.len(), 1, "a batch ends when it has as many bytes");
                intake.counts().taken.fetch_add(1, Ordering::Relaxed);
                sender.send(batch[0].record.boot_ns).unwrap();
            }
        })
        .unwrap();
        for number in 0..3 {
            let mut record = samples::all().remove(0);
            record.boot_ns = number;
            feeder.offer(&Told::new(record).unwrap());
        }
        feeder.finish();
        assert_eq!(seen.iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (go, may_go) = std_mpsc::channel();
        let (sender, seen) = std_mpsc::channel();
        let told = told();
        let feeder = Feeder::start("test", 3 * size_of(&told), move |mut intake| {
            may_go.recv().unwrap();
            while let Some(batch) = intake.batch(usize::MAX) {
                sender.send(batch.len()).unwrap();
            }
        })
        .unwrap();
        (0..5).for_each(|_| feeder.offer(&told));
        let status = feeder.status("x");
        assert_eq!((status.name.as_str(), status.dropped, status.waiting), ("x", 2, 3));
        go.send(()).unwrap();
        assert_eq!(seen.recv(), Ok(3));
        // There is room again.
        feeder.offer(&told);
        assert_eq!(seen.recv(), Ok(1));
        let status = feeder.status("x");
        assert_eq!((status.dropped, status.waiting <= 1), (2, true), "the first three are dealt with");
        feeder.finish();
    }

    #[test]
    fn one_that_is_dropped_has_its_last_words_written() {
        let (sender, seen) = std_mpsc::channel();
        let feeder = Feeder::start("test", QUEUE_BYTES, move |mut intake| {
            while let Some(batch) = intake.batch(usize::MAX) {
                sender.send(batch.len()).unwrap();
            }
        })
        .unwrap();
        feeder.offer(&told());
        drop(feeder);
        assert_eq!(seen.iter().sum::<usize>(), 1);
    }

    #[test]
    fn one_who_is_stuck_does_not_hold_up_the_end() {
        let (stuck, wait) = std_mpsc::channel::<()>();
        let feeder = Feeder::start("test", QUEUE_BYTES, move |_| {
            let _ = wait.recv();
        })
        .unwrap();
        let begun = Instant::now();
        feeder.finish();
        assert!((LAST_WORDS..2 * LAST_WORDS).contains(&begun.elapsed()));
        drop(stuck);
    }
}
