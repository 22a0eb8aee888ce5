//! The talk with one client, as a task that only ever awaits.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    answers::{Answers, FRESH, encode},
    audience::Audience,
    lines::{LINE_PATIENCE, Line, Lines, MAX_LINE},
    member::{Farewell, Member},
    protocol::{Answer, Request, VERSION},
    wish::Wish,
};
use crate::text::escape;

/// How long a client may take over an answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// How long the last words wait for a client.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// One client's talk.
pub(super) struct Session {
    member: Arc<Member>,
    audience: Arc<Audience>,
    answers: Arc<Answers>,
    /// What it asked and was not served yet.
    asked: Option<Request>,
    /// When the last request was served: the next one waits a little, or one client could keep the agent busy.
    answered: Option<Instant>,
    /// When an answer that was given must have been taken.
    patience: Option<Instant>,
}

/// How a talk ended.
#[derive(Debug)]
pub(super) enum Parting {
    /// The client left, or the agent closes.
    Silent,
    /// It asked for what cannot be.
    Refused(String),
    /// It read too slowly; so many lines were dropped.
    Slow(u64),
}

/// What happened to a talk.
enum Happened {
    /// Something waits to be written, or is gone.
    Written,
    Read(Line),
    /// It is time to answer.
    Due,
    /// It does not take its answer.
    Stuck,
}

impl Session {
    pub(super) const fn new(member: Arc<Member>, audience: Arc<Audience>, answers: Arc<Answers>) -> Self {
        Self { member, audience, answers, asked: None, answered: None, patience: None }
    }

    /// Talks until one of both has enough.
    pub(super) async fn run(&mut self) -> Parting {
        self.member.answer(hello());
        // A connection that fails has ended: nobody is there to be told.
        let refused = self.talk().await.unwrap_or_default();
        match (refused, self.member.state().farewell) {
            (Some(why), _) => Parting::Refused(why),
            (None, Some(Farewell::Slow(lines))) => Parting::Slow(lines),
            (None, _) => Parting::Silent,
        }
    }

    /// Tells the client why, if it still reads.
    pub(super) async fn part(&self, parting: Parting) {
        let why = match parting {
            Parting::Silent => return,
            Parting::Refused(why) => why,
            Parting::Slow(lines) => {
                format!(
                    "you read too slowly: {lines} lines were dropped; read faster, or ask for fewer kinds"
                )
            }
        };
        self.member.answer(encode(&Answer::Refused { why }));
        // The client may be gone, or never read.
        let _ = timeout(LAST_WORDS, self.write_all()).await;
    }

    /// Returns why the client is refused, if it is.
    async fn talk(&mut self) -> io::Result<Option<String>> {
        let mut lines = Lines::new();
        loop {
            match self.happens(&mut lines).await? {
                Happened::Written => {}
                Happened::Read(Line::Whole(line)) => match parse(&line) {
                    Ok(request) => self.asked = Some(request),
                    Err(why) => return Ok(Some(why)),
                },
                Happened::Read(Line::End) => return Ok(None),
                Happened::Read(Line::TooLong) => {
                    return Ok(Some(format!("a line of more than {MAX_LINE} bytes; a request is shorter")));
                }
                Happened::Read(Line::TooSlow) => {
                    let seconds = LINE_PATIENCE.as_secs();
                    return Ok(Some(format!("no whole line within {seconds} s; ask at once, and end lines")));
                }
                Happened::Due => {
                    if let Err(why) = self.serve().await {
                        return Ok(Some(why));
                    }
                }
                Happened::Stuck => {
                    self.member.state().let_go(0);
                    return Ok(None);
                }
            }
            if self.member.state().farewell.is_some() {
                return Ok(None);
            }
        }
    }

    /// A request is read only when all was taken that went before it, and one after the other: so whoever does not read
    /// cannot make the agent keep more than one answer.
    async fn happens(&mut self, lines: &mut Lines) -> io::Result<Happened> {
        let member = &self.member;
        let writes = !member.state().outbox.is_empty();
        if !writes {
            self.patience = None;
        }
        let listens = !writes && self.asked.is_none();
        let now = Instant::now();
        let due = self.answered.map_or(now, |answered| answered + FRESH);
        tokio::select! {
            biased;
            () = member.wake.notified() => Ok(Happened::Written),
            ready = member.stream.writable(), if writes => {
                ready?;
                self.audience.gone(member.flush()?);
                Ok(Happened::Written)
            }
            () = sleep_until(self.patience.unwrap_or(now)), if self.patience.is_some() => Ok(Happened::Stuck),
            () = sleep_until(due), if !writes && self.asked.is_some() => Ok(Happened::Due),
            line = lines.next(&member.stream), if listens => line.map(Happened::Read),
        }
    }

    /// Serves the request, or says why it cannot be.
    async fn serve(&mut self) -> Result<(), String> {
        let answer = match self.asked.take() {
            None => return Ok(()),
            Some(Request::Status) => self.answers.status().await,
            Some(Request::Processes) => self.answers.processes().await,
            Some(Request::Events(request)) => {
                let wish = Wish::of(&request).map_err(|error| error.to_string())?;
                self.audience.wish(&self.member, wish);
                self.answered = Some(Instant::now());
                return Ok(());
            }
        };
        self.member.answer(answer.ok_or("the agent ends")?);
        let now = Instant::now();
        (self.answered, self.patience) = (Some(now), Some(now + ANSWER_PATIENCE));
        Ok(())
    }

    async fn write_all(&self) -> io::Result<()> {
        while !self.member.state().outbox.is_empty() {
            self.member.stream.writable().await?;
            self.audience.gone(self.member.flush()?);
        }
        Ok(())
    }
}

/// The first line.
fn hello() -> bytes::Bytes {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    encode(&Answer::Hello { protocol: VERSION, version, pid: std::process::id() })
}

/// Why a line is no request, and what would be right.
fn parse(line: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(line).map_err(|error| {
        let error: String = error.to_string().chars().take(200).collect();
        format!("no request: {}; right is e.g. {{\"ask\":\"status\"}}", escape(error.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::socket::protocol::EventsRequest;

    /// A refusal is one harmless line, whatever was sent.
    fn check(line: &[u8]) {
        if let Err(why) = parse(line) {
            assert!(why.len() < 1000 && !why.chars().any(char::is_control), "{why:?}");
        }
    }

    prop_compose! {
        fn request()(
            kinds in prop::collection::vec("[a-z-]{0,12}", 0..4),
            uids in prop::collection::vec(any::<u32>(), 0..4),
            comms in prop::collection::vec(any::<String>(), 0..4),
            pids in prop::collection::vec(any::<u32>(), 0..4),
            children: bool,
            cgroup in prop::option::of(any::<String>()),
            lineage: bool,
        ) -> EventsRequest {
            EventsRequest { kinds, uids, comms, pids, children, cgroup, lineage }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(line in prop::collection::vec(any::<u8>(), 0..200)) {
            check(&line);
        }

        #[test]
        fn almost_requests_are_survived(
            head in "\\{\"ask\":\"(events|status|x)\"",
            tail in "[\\[\\]{}:,\"a-z0-9\\\\u]{0,60}",
        ) {
            check(format!("{head}{tail}").as_bytes());
        }

        #[test]
        fn requests_come_back_as_they_were_and_any_wish_is_survived(request in request()) {
            let line = serde_json::to_vec(&Request::Events(request.clone())).unwrap();
            let Ok(Request::Events(parsed)) = parse(&line) else { panic!("a request") };
            prop_assert_eq!(&parsed, &request);
            if let Err(error) = Wish::of(&parsed) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn what_is_no_request_is_told_with_what_would_be_right() {
        for (line, why) in [
            ("", "no request: EOF while parsing"),
            (
                "{\"ask\":\"spoon\"}",
                "unknown variant `spoon`, expected one of `status`, `processes`, `events`",
            ),
            ("{\"ask\":\"events\",\"colour\":1}", "unknown field `colour`"),
            ("{\"ask\":\"events\",\"uids\":[-1]}", "invalid value"),
            ("[[[[", "no request"),
        ] {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(why) && error.ends_with("{\"ask\":\"status\"}"), "{error}");
        }
        assert!(parse(&b"[".repeat(20_000)).is_err());
    }
}
