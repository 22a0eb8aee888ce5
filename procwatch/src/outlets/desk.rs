//! What an outlet's thread is to do next. It asks no clock and tells nobody: all of that is the thread's.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{
    backoff,
    digest::Digest,
    message::{Again, Message},
    pace::Pace,
};
use crate::{
    config::outlet::{OutletConfig, Rate},
    sink::listener::Told,
};

/// Records that wait to be told, a try that goes on, and what a digest will tell.
#[derive(Debug)]
pub(super) struct Desk {
    rate: Rate,
    pace: Pace,
    retries: u32,
    waiting: VecDeque<Arc<Told>>,
    digest: Digest,
    current: Option<Attempt>,
    /// Failures in a row.
    failures: u32,
    /// What is left was given up: it waits for company, and nothing is tried before this.
    given_up: Option<GivenUp>,
}

#[derive(Debug)]
struct Attempt {
    message: Message,
    /// Not before.
    due: Instant,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
struct GivenUp {
    until: Instant,
    has_company: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, before a record comes.
    Wait,
    /// Nothing, before a record comes or it is that time.
    Until(Instant),
    /// Deliver [`Desk::message`].
    Deliver,
}

/// What came of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It is tried again.
    Again,
    /// It is not tried again as it is. So many records that had no digest yet are told by one now.
    GivenUp {
        /// How many.
        records: u64,
    },
}

impl Desk {
    pub(super) fn new(config: &OutletConfig) -> Self {
        Self {
            rate: config.at_most,
            pace: Pace::new(config.at_most),
            retries: config.retries,
            waiting: VecDeque::new(),
            digest: Digest::default(),
            current: None,
            failures: 0,
            given_up: None,
        }
    }

    /// A record is to be told.
    pub(super) fn take(&mut self, told: Arc<Told>) {
        if let Some(given_up) = &mut self.given_up {
            given_up.has_company = true;
        }
        // What cannot be told one by one within a span, and what comes after that, is told together.
        if self.digest.is_empty() && self.waiting.len() < self.rate.count as usize {
            self.waiting.push_back(told);
        } else {
            self.digest.add(&told.record);
        }
    }

    /// So many found no room in the queue.
    pub(super) const fn take_unnamed(&mut self, count: u64) {
        if count > 0 {
            self.digest.add_unnamed(count);
        }
    }

    /// What is to be done now.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if let Some(current) = &self.current {
            return if current.due <= now { Next::Deliver } else { Next::Until(current.due) };
        }
        if self.waiting.is_empty() && self.digest.is_empty() {
            return Next::Wait;
        }
        match self.given_up {
            Some(GivenUp { has_company: false, .. }) => return Next::Wait,
            Some(GivenUp { until, .. }) if until > now => return Next::Until(until),
            _ => {}
        }
        if let Some(free_at) = self.pace.free_at(now) {
            self.gather();
            return Next::Until(free_at);
        }
        let Some(message) = self.compose() else { return Next::Wait };
        self.pace.begin(now);
        self.current = Some(Attempt { message, due: now, failures: 0 });
        Next::Deliver
    }

    /// What is to be delivered.
    pub(super) fn message(&self) -> Option<&Message> {
        self.current.as_ref().map(|current| &current.message)
    }

    /// It was delivered.
    pub(super) fn delivered(&mut self) {
        self.current = None;
        self.failures = 0;
        self.given_up = None;
    }

    /// It was not. `jitter` is from 0 to 1.
    pub(super) fn failed(&mut self, now: Instant, again: Again, jitter: f64) -> Failed {
        self.failures += 1;
        let mut wait = backoff::wait(self.failures, jitter);
        if let Again::After(least) = again {
            wait = wait.max(least);
        }
        let Some(mut current) = self.current.take() else { return Failed::Again };
        current.failures += 1;
        if again != Again::Never && current.failures <= self.retries {
            current.due = now + wait;
            self.current = Some(current);
            return Failed::Again;
        }
        self.gather();
        let before = std::mem::take(&mut self.digest);
        let has_company = !before.is_empty();
        self.given_up = Some(GivenUp { until: now + wait, has_company });
        let records = match current.message {
            Message::One(told) => {
                self.digest.add(&told.record);
                self.digest.undelivered += 1;
                1
            }
            Message::Digest(digest) => {
                self.digest = digest;
                0
            }
        };
        self.digest.merge(before);
        Failed::GivenUp { records }
    }

    /// All that is left, in one message.
    pub(super) fn last(&mut self) -> Option<Message> {
        match self.current.take().map(|current| current.message) {
            Some(message) if self.waiting.is_empty() && self.digest.is_empty() => return Some(message),
            Some(Message::One(told)) => self.waiting.push_front(told),
            Some(Message::Digest(mut digest)) => {
                digest.merge(std::mem::take(&mut self.digest));
                self.digest = digest;
            }
            None => {}
        }
        if self.waiting.len() > 1 || !self.digest.is_empty() {
            self.gather();
        }
        self.compose()
    }

    /// What waits to be told one by one goes into the digest.
    fn gather(&mut self) {
        for told in self.waiting.drain(..) {
            self.digest.add(&told.record);
        }
    }

    fn compose(&mut self) -> Option<Message> {
        let one = self.waiting.pop_front().map(Message::One);
        one.or_else(|| (!self.digest.is_empty()).then(|| Message::Digest(std::mem::take(&mut self.digest))))
    }
}

#[cfg(test)]
mod tests;
