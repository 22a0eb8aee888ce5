//! An outlet's thread.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use super::{
    Shared, backoff,
    desk::{Desk, Failed, Next},
    message::Carrier,
    own_words,
};
use crate::{
    config::outlet::OutletConfig,
    sink::{
        duration::Span,
        listener::{Complaints, Told},
    },
};

/// How long the last message may take, after which the agent does not wait.
const LAST_MESSAGE: Duration = Duration::from_millis(450);

/// All that the thread has.
pub(super) struct Worker {
    desk: Desk,
    carrier: Carrier,
    timeout: Duration,
    shared: Arc<Shared>,
    complaints: Complaints,
    own_words: String,
    /// Since it fails.
    failing: Option<Failing>,
}

struct Failing {
    since: Instant,
    given_up: u64,
}

impl Worker {
    pub(super) fn new(config: &OutletConfig, shared: Arc<Shared>, complaints: Complaints) -> Self {
        Self {
            desk: Desk::new(config),
            carrier: Carrier::new(config),
            timeout: config.timeout,
            shared,
            complaints,
            own_words: own_words(config),
            failing: None,
        }
    }

    /// Delivers until no more records will come.
    pub(super) fn run(mut self, records: &Receiver<Arc<Told>>) {
        while self.take_all(records) {
            let received = match self.desk.next(Instant::now()) {
                Next::Deliver => {
                    self.deliver();
                    continue;
                }
                Next::Wait => records.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Next::Until(at) => records.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match received {
                Ok(told) => self.desk.take(told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.say_last_words();
    }

    /// Takes what waits already, so that it is known how much that is. False when no more will come.
    fn take_all(&mut self, records: &Receiver<Arc<Told>>) -> bool {
        self.desk.take_unnamed(self.shared.overflowed.swap(0, Relaxed));
        loop {
            match records.try_recv() {
                Ok(told) => self.desk.take(told),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn deliver(&mut self) {
        let Some(message) = self.desk.message() else { return };
        match self.carrier.deliver(message, self.timeout) {
            Ok(()) => {
                self.desk.delivered();
                self.be_well();
            }
            Err(undelivered) => {
                let failed = self.desk.failed(Instant::now(), undelivered.again, backoff::jitter());
                self.be_ill(undelivered.why, failed);
            }
        }
    }

    fn be_ill(&mut self, why: String, failed: Failed) {
        self.shared.failed.fetch_add(1, Relaxed);
        if self.failing.is_none() {
            self.complaints.make(format!("{}{why}", self.own_words));
        }
        let failing = self.failing.get_or_insert_with(|| Failing { since: Instant::now(), given_up: 0 });
        if let Failed::GivenUp { records } = failed {
            failing.given_up += records;
            self.shared.dropped.fetch_add(records, Relaxed);
        }
        self.set_error(Some(why));
    }

    fn be_well(&mut self) {
        let Some(failing) = self.failing.take() else { return };
        self.set_error(None);
        let took = u64::try_from(failing.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.complaints.make(format!(
            "{}well again after {}; {} records had no message of their own",
            self.own_words,
            Span(took),
            failing.given_up
        ));
    }

    fn set_error(&self, error: Option<String>) {
        *self.shared.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// What is left is told in one message, if that is likely to arrive.
    fn say_last_words(&mut self) {
        self.desk.take_unnamed(self.shared.overflowed.swap(0, Relaxed));
        let Some(message) = self.desk.last() else { return };
        let limit = self.timeout.min(LAST_MESSAGE);
        if self.failing.is_some() || self.carrier.deliver(&message, limit).is_err() {
            tracing::warn!("{}{} records were not told before the end", self.own_words, message.records());
        }
    }
}
