//! Who is told of alerts: web servers, mail, programs, terminals.
//!
//! Each outlet has a thread of its own, at ordinary priority, behind a bounded queue: one that is slow, or fails, keeps
//! nobody waiting, and one that has nothing to tell sleeps. What comes too fast, or could not be delivered, is told later in
//! one message that counts and names it: a [`digest::Digest`].

mod backoff;
mod child;
mod desk;
mod digest;
mod grade;
mod mail;
mod message;
mod obstacles;
mod pace;
mod sample;
mod wall;
mod webhook;
mod worker;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use self::{grade::wants, worker::Worker};
pub use self::{
    message::{Carrier, Message, Undelivered},
    obstacles::obstacles,
    sample::sample,
};
use crate::{
    config::outlet::OutletConfig,
    record::{Body, Record},
    sink::listener::{Complaints, Listener, Told},
    status::OutputStatus,
};

/// Records that wait for the thread while it delivers one.
const QUEUE: usize = 512;

/// Its programs' own stacks are elsewhere.
const STACK: usize = 512 << 10;

/// How long the end of the agent waits for what is under way.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What an outlet's thread and the agent's share.
#[derive(Debug, Default)]
struct Shared {
    /// Records that it took.
    taken: AtomicU64,
    /// Records that are told by a digest alone, because their own message could not be delivered or found no room.
    dropped: AtomicU64,
    /// Tries that failed.
    failed: AtomicU64,
    /// Records that found the queue full and that no digest counts yet.
    overflowed: AtomicU64,
    /// The last failure while it lasts. Held for the exchange of a text alone.
    error: Mutex<Option<String>>,
}

/// An outlet, seen from the agent's loop.
pub struct Outlet {
    config: OutletConfig,
    shared: Arc<Shared>,
    /// `None` once no more will come.
    queue: Option<SyncSender<Arc<Told>>>,
    /// Closed when the thread has ended.
    done: Receiver<()>,
    /// When the end was asked for.
    ending: Option<Instant>,
}

impl Outlet {
    /// Starts its thread. What stands in its way already is told by `complaints`, and may be mended meanwhile.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn open(config: &OutletConfig, complaints: &Complaints) -> io::Result<Self> {
        for obstacle in obstacles(config) {
            complaints.make(format!("{}{obstacle}", own_words(config)));
        }
        let shared = Arc::<Shared>::default();
        let (queue, records) = mpsc::sync_channel(QUEUE);
        let (ended, done) = mpsc::sync_channel(0);
        let worker = Worker::new(config, Arc::clone(&shared), complaints.clone());
        thread::Builder::new().name(format!("outlet {}", config.name)).stack_size(STACK).spawn(
            move || {
                worker.run(&records);
                drop(ended);
            },
        )?;
        Ok(Self { config: config.clone(), shared, queue: Some(queue), done, ending: None })
    }

    /// Whether a record is what this outlet itself has said about its troubles: telling that would feed on itself.
    fn is_own(&self, record: &Record) -> bool {
        matches!(&record.body, Body::Health(health) if health.message.starts_with(&own_words(&self.config)))
    }
}

/// How an outlet's complaints begin.
fn own_words(config: &OutletConfig) -> String {
    format!("outlet {}: ", config.name)
}

impl Listener for Outlet {
    fn name(&self) -> &'static str {
        "outlet"
    }

    fn on(&mut self, told: &Arc<Told>) {
        if !wants(&self.config.wants, &told.record) || self.is_own(&told.record) {
            return;
        }
        self.shared.taken.fetch_add(1, Relaxed);
        let is_queued = self.queue.as_ref().is_some_and(|queue| queue.try_send(Arc::clone(told)).is_ok());
        if !is_queued {
            // A full queue means that the thread will look again.
            self.shared.overflowed.fetch_add(1, Relaxed);
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }

    fn status(&self) -> OutputStatus {
        OutputStatus {
            name: format!("{} {}", self.config.kind.name(), self.config.name),
            taken: self.shared.taken.load(Relaxed),
            dropped: self.shared.dropped.load(Relaxed),
            waiting: 0,
            failed: self.shared.failed.load(Relaxed),
            error: self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn end_soon(&mut self) {
        self.queue = None;
        self.ending.get_or_insert_with(Instant::now);
    }

    fn finish(mut self: Box<Self>) {
        self.end_soon();
        let waited = self.ending.map_or(Duration::ZERO, |since| since.elapsed());
        // It ends by itself; one that takes too long is left to its fate.
        let _ = self.done.recv_timeout(LAST_WORDS.saturating_sub(waited));
    }

    /// Its thread tells what waits, and ends by itself.
    fn leave(mut self: Box<Self>) {
        self.end_soon();
    }
}
