//! Where pictures and records come from, and how often.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use super::{
    mailbox::{Mailbox, Message},
    model::Picture,
};
use crate::{
    record::Record,
    socket::{
        client::{Client, ClientError},
        protocol::EventsRequest,
    },
    status::{ProcessRow, Status},
};

/// After this an agent that is gone is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// One connection to an agent.
pub trait Source: Sized {
    /// How the agent is.
    ///
    /// # Errors
    /// When it does not answer.
    fn status(&mut self) -> Result<Box<Status>, ClientError>;

    /// Who lives.
    ///
    /// # Errors
    /// When it does not answer.
    fn processes(&mut self) -> Result<Vec<ProcessRow>, ClientError>;

    /// Alerts, actions, placements, losses and the agent's own state, as they are told from now on.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn records(self) -> Result<impl Iterator<Item = Result<Record, ClientError>>, ClientError>;
}

impl Source for Client {
    fn status(&mut self) -> Result<Box<Status>, ClientError> {
        Self::status(self)
    }

    fn processes(&mut self) -> Result<Vec<ProcessRow>, ClientError> {
        Self::processes(self)
    }

    fn records(self) -> Result<impl Iterator<Item = Result<Record, ClientError>>, ClientError> {
        self.events(EventsRequest::default())
    }
}

/// How an agent is reached, again and again.
pub trait Connect: Send + Sync + 'static {
    /// What comes of it.
    type Source: Source;

    /// Connects.
    ///
    /// # Errors
    /// When there is no agent.
    fn connect(&self) -> Result<Self::Source, ClientError>;
}

impl<S: Source, F: Fn() -> Result<S, ClientError> + Send + Sync + 'static> Connect for F {
    type Source = S;

    fn connect(&self) -> Result<S, ClientError> {
        self()
    }
}

/// Looks at the agent every so often, for as long as the program runs; while it is gone it is looked for.
pub fn follow(agent: &Arc<impl Connect>, every: Duration, mailbox: &Arc<Mailbox>) {
    loop {
        let why = watch(agent, every, mailbox);
        mailbox.post(Message::Lost(why.to_string()));
        thread::sleep(AGAIN);
    }
}

/// Looks until that ends, and returns why.
fn watch(agent: &Arc<impl Connect>, every: Duration, mailbox: &Arc<Mailbox>) -> ClientError {
    let mut source = match agent.connect() {
        Ok(source) => source,
        Err(error) => return error,
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let ended = listen(agent, &is_over, mailbox);
    let why = loop {
        let picture = source.status().and_then(|status| {
            let processes = source.processes()?;
            Ok(Picture { status, processes })
        });
        match picture {
            Ok(picture) => mailbox.post(Message::Picture(Box::new(picture))),
            Err(error) => break error,
        }
        match ended.recv_timeout(every) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(error) => break error,
            Err(RecvTimeoutError::Disconnected) => break ClientError::Closed,
        }
    };
    is_over.store(true, Ordering::Relaxed);
    why
}

/// Hears records on a connection and a thread of their own. What ends them comes out of the channel.
fn listen(
    agent: &Arc<impl Connect>,
    is_over: &Arc<AtomicBool>,
    mailbox: &Arc<Mailbox>,
) -> mpsc::Receiver<ClientError> {
    let (sender, ended) = mpsc::channel();
    let (agent, is_over, mailbox) = (Arc::clone(agent), Arc::clone(is_over), Arc::clone(mailbox));
    thread::spawn(move || {
        // Who watches may have ended by itself.
        let _ = sender.send(hear(&*agent, &is_over, &mailbox));
    });
    ended
}

fn hear(agent: &impl Connect, is_over: &AtomicBool, mailbox: &Mailbox) -> ClientError {
    let records = match agent.connect().and_then(Source::records) {
        Ok(records) => records,
        Err(error) => return error,
    };
    for record in records {
        match record {
            Ok(record) => mailbox.post(Message::Record(Box::new(record))),
            Err(error) => return error,
        }
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    ClientError::Closed
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::top::samples::{process, records, status};

    /// An agent that answers so often and then is gone, again and again.
    struct Dying {
        answers: u32,
        is_gone: mpsc::Receiver<()>,
        goes: mpsc::Sender<()>,
    }

    impl Source for Dying {
        fn status(&mut self) -> Result<Box<Status>, ClientError> {
            match self.answers.checked_sub(1) {
                Some(left) => self.answers = left,
                None => return Err(ClientError::Silent),
            }
            Ok(Box::new(status(0, &[])))
        }

        fn processes(&mut self) -> Result<Vec<ProcessRow>, ClientError> {
            Ok(vec![process(1, 1)])
        }

        fn records(self) -> Result<impl Iterator<Item = Result<Record, ClientError>>, ClientError> {
            let Self { is_gone, goes, .. } = self;
            // The channel stays open, and so does the stream, until the test is over.
            let end = std::iter::from_fn(move || {
                let _open = &goes;
                is_gone.recv().ok().map(|()| Err(ClientError::Closed))
            });
            Ok(records().into_iter().map(Ok).chain(end))
        }
    }

    #[test]
    fn pictures_and_records_come_and_an_end_is_told() {
        let mailbox = Arc::new(Mailbox::default());
        let agent = Arc::new(|| {
            let (goes, is_gone) = mpsc::channel();
            Ok(Dying { answers: 3, is_gone, goes })
        });
        let why = watch(&agent, Duration::from_millis(1), &mailbox);
        assert!(matches!(why, ClientError::Silent));
        // The records come on their own thread.
        let (mut pictures, mut told) = (0, 0);
        while told < records().len() {
            for message in mailbox.take() {
                match message {
                    Message::Picture(picture) => {
                        assert_eq!(picture.processes.len(), 1);
                        pictures += 1;
                    }
                    Message::Record(_) => told += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!((pictures, told), (1, records().len()), "of the three pictures the last one waits");
    }

    #[test]
    fn the_end_of_records_is_the_end() {
        let mailbox = Arc::new(Mailbox::default());
        let agent = Arc::new(|| {
            let (goes, is_gone) = mpsc::channel();
            goes.send(()).unwrap();
            Ok(Dying { answers: 1, is_gone, goes })
        });
        // A long wait between pictures is cut short.
        let why = watch(&agent, Duration::from_hours(1), &mailbox);
        assert!(matches!(why, ClientError::Closed));
    }

    #[test]
    fn an_agent_that_is_gone_is_looked_for() {
        let mailbox = Arc::new(Mailbox::default());
        let calls = Mutex::new(0);
        let agent = Arc::new(move || {
            *calls.lock().unwrap() += 1;
            let (goes, is_gone) = mpsc::channel();
            match *calls.lock().unwrap() {
                1 => Err(ClientError::Closed),
                _ => Ok(Dying { answers: 1000, is_gone, goes }),
            }
        });
        thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || follow(&agent, Duration::from_hours(1), &mailbox)
        });
        let first = mailbox.take().pop_front();
        assert!(matches!(first, Some(Message::Lost(why)) if why == "the agent closed the connection"));
        let then = mailbox.take();
        assert!(then.iter().any(|message| matches!(message, Message::Picture(_) | Message::Record(_))));
    }
}
