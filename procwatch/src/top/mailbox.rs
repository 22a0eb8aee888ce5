//! What waits for the loop, from all sides.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crossterm::event::KeyEvent;
use nix::sys::signal::Signal;

use super::model::{Findings, Picture};
use crate::{event::ProcessKey, record::Record};

/// Messages that wait while the terminal takes nothing; then keys and records are left out.
const MAX_WAITING: usize = 2000;

/// Something for the loop.
#[derive(Clone, Debug)]
pub enum Message {
    /// The person pressed a key.
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// No more keys will come, for this reason.
    Deaf(String),
    /// The kernel, a shell or a service manager wants something.
    Signal(Signal),
    /// The agent answered.
    Picture(Box<Picture>),
    /// The agent told something.
    Record(Box<Record>),
    /// The agent answers no more.
    Lost(String),
    /// A diagnosis is there.
    Found(ProcessKey, Findings),
    /// What came of an order.
    Done(String),
}

/// A queue that is bounded whatever comes: of pictures only the last one counts.
#[derive(Debug, Default)]
pub struct Mailbox {
    waiting: Mutex<VecDeque<Message>>,
    arrived: Condvar,
}

impl Mailbox {
    /// Puts one in.
    pub fn post(&self, message: Message) {
        let mut waiting = self.lock();
        match message {
            Message::Picture(_) => waiting.retain(|other| !matches!(other, Message::Picture(_))),
            Message::Key(_) | Message::Record(_) if waiting.len() >= MAX_WAITING => return,
            _ => {}
        }
        waiting.push_back(message);
        self.arrived.notify_one();
    }

    /// Waits until there is something, and takes all of it.
    pub fn take(&self) -> VecDeque<Message> {
        let waiting = self.lock();
        let waiting = self.arrived.wait_while(waiting, |waiting| waiting.is_empty());
        std::mem::take(&mut waiting.unwrap_or_else(PoisonError::into_inner))
    }

    /// Whoever panicked while holding it left a queue that is whole.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;
    use crate::top::samples::{picture, process, records};

    #[test]
    fn of_pictures_only_the_last_one_waits() {
        let mailbox = Mailbox::default();
        for second in 0..3 {
            mailbox.post(Message::Picture(Box::new(picture(second, vec![process(1, 1)]))));
            mailbox.post(Message::Lost(second.to_string()));
        }
        let told: Vec<String> = mailbox
            .take()
            .into_iter()
            .map(|message| match message {
                Message::Picture(picture) => picture.status.time.to_string(),
                Message::Lost(why) => why,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, ["0", "1", "2026-11-22T15:04:07Z", "2"]);
    }

    #[test]
    fn records_do_not_pile_up_and_signals_always_come_through() {
        let mailbox = Mailbox::default();
        let record = records().remove(0);
        for _ in 0..MAX_WAITING + 100 {
            mailbox.post(Message::Record(Box::new(record.clone())));
        }
        mailbox.post(Message::Signal(Signal::SIGTERM));
        let taken = mailbox.take();
        assert_eq!(taken.len(), MAX_WAITING + 1);
        assert!(matches!(taken.back(), Some(Message::Signal(Signal::SIGTERM))));
    }

    #[test]
    fn who_waits_is_woken() {
        let mailbox = Arc::new(Mailbox::default());
        let waiter = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || mailbox.take().len()
        });
        mailbox.post(Message::Resized);
        assert_eq!(waiter.join().unwrap(), 1);
    }
}
