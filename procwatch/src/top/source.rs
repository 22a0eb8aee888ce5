//! Where pictures and records come from, and how often.

use std::{io, path::Path, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{
    mailbox::{Mailbox, Message},
    model::Picture,
};
use crate::{
    agent::AgentError,
    duration::exact,
    socket::{
        client::{Client, ClientError, Heard},
        protocol::{Answer, EventsRequest, Request},
    },
    status::Status,
};

/// After this an agent that is gone is looked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an agent may take over an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to an agent.
pub trait Source {
    /// Asks something; the answer is heard.
    fn ask(&mut self, request: &Request) -> impl Future<Output = Result<(), ClientError>>;

    /// The next record, or answer. Cancel safe.
    fn hear(&mut self) -> impl Future<Output = Result<Heard, ClientError>>;
}

impl Source for Client {
    fn ask(&mut self, request: &Request) -> impl Future<Output = Result<(), ClientError>> {
        Self::ask(self, request)
    }

    fn hear(&mut self) -> impl Future<Output = Result<Heard, ClientError>> {
        Self::hear(self)
    }
}

/// Whether there is an agent that can be asked.
///
/// # Errors
/// Why not.
pub fn check(socket: &Path) -> Result<(), AgentError> {
    let runtime = runtime().map_err(AgentError::io("the runtime"))?;
    runtime.block_on(Client::connect(socket))?;
    Ok(())
}

/// Looks at the agent every so often, for as long as the program runs; while it is gone it is looked for.
pub fn follow(socket: &Path, every: Duration, mailbox: &Mailbox) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return mailbox.post(Message::Lost(format!("the runtime: {error}"))),
    };
    runtime.block_on(async {
        loop {
            let why = match Client::connect(socket).await {
                Ok(client) => watch(client, every, PATIENCE, mailbox).await,
                Err(error) => error.to_string(),
            };
            mailbox.post(Message::Lost(why));
            sleep(AGAIN).await;
        }
    });
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Looks until that ends, and returns why.
async fn watch(mut source: impl Source, every: Duration, patience: Duration, mailbox: &Mailbox) -> String {
    if let Err(error) = source.ask(&Request::Events(EventsRequest::default())).await {
        return error.to_string();
    }
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = Look::default();
    loop {
        let until = look.since.map(|since| since + patience);
        let next = tokio::select! {
            biased;
            heard = source.hear() => match heard {
                Ok(heard) => look.take(heard, mailbox),
                Err(error) => return error.to_string(),
            },
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                return format!("the agent gives no answer within {}", exact(patience));
            }
            _ = tick.tick(), if until.is_none() => Some(Request::Status),
        };
        let Some(request) = next else { continue };
        look.since.get_or_insert_with(Instant::now);
        if let Err(error) = source.ask(&request).await {
            return error.to_string();
        }
    }
}

/// A look at the agent that is under way: how it is, then who lives.
#[derive(Default)]
struct Look {
    /// When it began; `None` when none is.
    since: Option<Instant>,
    status: Option<Box<Status>>,
}

impl Look {
    /// Takes what was heard in. Returns what is to be asked next.
    fn take(&mut self, heard: Heard, mailbox: &Mailbox) -> Option<Request> {
        match heard {
            Heard::Record(record, _) => mailbox.post(Message::Record(record)),
            Heard::Answer(Answer::Status(status)) => {
                self.status = Some(status);
                return Some(Request::Processes);
            }
            Heard::Answer(Answer::Processes { processes }) => {
                self.since = None;
                if let Some(status) = self.status.take() {
                    mailbox.post(Message::Picture(Box::new(Picture { status, processes })));
                }
            }
            // It does not greet twice, and a refusal is an error.
            Heard::Answer(Answer::Hello { .. } | Answer::Refused { .. }) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::pending};

    use super::*;
    use crate::top::samples::{process, records, status};

    /// An agent that answers so often, and then does what an agent may do.
    struct Dying {
        answers: u32,
        then: Option<fn() -> ClientError>,
        to_say: VecDeque<Heard>,
        asked: Vec<&'static str>,
    }

    impl Dying {
        fn new(answers: u32, then: Option<fn() -> ClientError>) -> Self {
            Self { answers, then, to_say: VecDeque::new(), asked: Vec::new() }
        }
    }

    impl Source for &mut Dying {
        async fn ask(&mut self, request: &Request) -> Result<(), ClientError> {
            match request {
                Request::Events(wanted) => {
                    assert_eq!(*wanted, EventsRequest::default());
                    self.asked.push("events");
                    let told = records().into_iter().map(|it| Heard::Record(Box::new(it), String::new()));
                    self.to_say.extend(told);
                }
                Request::Status => {
                    self.asked.push("status");
                    if self.answers > 0 {
                        self.to_say.push_back(Heard::Answer(Answer::Status(Box::new(status(0, &[])))));
                    }
                }
                Request::Processes => {
                    self.asked.push("processes");
                    self.answers -= 1;
                    let processes = vec![process(1, 1)];
                    self.to_say.push_back(Heard::Answer(Answer::Processes { processes }));
                }
            }
            Ok(())
        }

        async fn hear(&mut self) -> Result<Heard, ClientError> {
            match (self.to_say.pop_front(), self.then) {
                (Some(heard), _) => Ok(heard),
                (None, Some(end)) if self.answers == 0 => Err(end()),
                (None, _) => pending().await,
            }
        }
    }

    /// What is told until it ends, and why it does.
    fn watched(agent: &mut Dying) -> (String, Vec<Message>) {
        let mailbox = Mailbox::default();
        let runtime = runtime().unwrap();
        let (every, patience) = (Duration::from_millis(1), Duration::from_millis(100));
        let why = runtime.block_on(watch(agent, every, patience, &mailbox));
        (why, mailbox.take().into())
    }

    #[test]
    fn pictures_and_records_come_until_the_agent_goes() {
        let mut agent = Dying::new(3, Some(|| ClientError::Gone));
        let (why, told) = watched(&mut agent);
        assert_eq!(why, "the agent is gone");
        assert_eq!(
            agent.asked,
            ["events", "status", "processes", "status", "processes", "status", "processes"]
        );
        let pictures = told.iter().filter(|message| matches!(message, Message::Picture(_))).count();
        let heard = told.iter().filter(|message| matches!(message, Message::Record(_))).count();
        assert_eq!((pictures, heard), (1, records().len()), "of three pictures the last one waits");
    }

    #[test]
    fn an_agent_that_is_silent_is_given_up() {
        let mut agent = Dying::new(1, None);
        let (why, _) = watched(&mut agent);
        assert_eq!(why, "the agent gives no answer within 100ms");
        assert_eq!(agent.asked, ["events", "status", "processes", "status"], "it is not asked more and more");
    }

    #[test]
    fn where_nobody_listens_there_is_no_agent() {
        let error = check(Path::new("/nowhere/socket")).unwrap_err().to_string();
        assert!(error.contains("no agent runs on this machine (/nowhere/socket"), "{error}");
    }
}
