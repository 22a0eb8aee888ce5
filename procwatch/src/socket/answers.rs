//! Answers of the agent's loop, each made once for all who ask at about the same time.
//!
//! A picture of all processes costs the agent a millisecond or more of its realtime. Whoever asks a thousand times a
//! second gets ten of them.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::{sync::Mutex, time::Instant};

use super::protocol::Answer;
use crate::agent::ask::Asker;

/// How long an answer serves.
pub(super) const FRESH: Duration = Duration::from_millis(100);

/// An answer, and when it was given.
type Given = Mutex<Option<(Instant, Bytes)>>;

/// Asks the loop.
#[derive(Debug)]
pub(super) struct Answers {
    asker: Asker,
    status: Given,
    processes: Given,
}

impl Answers {
    pub(super) fn new(asker: Asker) -> Self {
        Self { asker, status: Mutex::default(), processes: Mutex::default() }
    }

    /// How the agent is, as a line; `None` when it ends.
    pub(super) async fn status(&self) -> Option<Bytes> {
        let asking = async { self.asker.status().await.map(Answer::Status) };
        fresh(&self.status, asking).await
    }

    /// Who lives, as a line; `None` when the agent ends.
    pub(super) async fn processes(&self) -> Option<Bytes> {
        let asking = async { Some(Answer::Processes { processes: self.asker.processes().await? }) };
        fresh(&self.processes, asking).await
    }

    /// Nobody is there any more who could ask.
    pub(super) fn forget(&self) {
        for given in [&self.status, &self.processes] {
            if let Ok(mut given) = given.try_lock() {
                *given = None;
            }
        }
    }
}

/// The answer that is there if it is fresh; one who asks while another one asks waits for that one's.
async fn fresh(given: &Given, asking: impl Future<Output = Option<Answer>>) -> Option<Bytes> {
    let mut given = given.lock().await;
    if let Some((time, line)) = &*given
        && time.elapsed() < FRESH
    {
        return Some(line.clone());
    }
    let line = encode(&asking.await?);
    *given = Some((Instant::now(), line.clone()));
    Some(line)
}

/// A line for the other end.
pub(super) fn encode(answer: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(answer).unwrap_or_else(|error| {
        tracing::error!("{error}: an answer could not be encoded");
        br#"{"answer":"refused","why":"the answer could not be encoded"}"#.to_vec()
    });
    line.push(b'\n');
    line.into()
}
