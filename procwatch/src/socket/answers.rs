//! Answers of the agent's loop, each made once for all who ask at about the same time.
//!
//! A picture of all processes costs the agent a millisecond or more of its realtime. Whoever asks a thousand times a
//! second gets ten of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use tokio::{sync::Mutex, time::Instant};

use super::protocol::Answer;
use crate::agent::ask::Asker;

/// How long an answer serves.
pub(super) const FRESH: Duration = Duration::from_millis(100);

/// What answers may take that clients have still to read, bytes. Beyond that the last one serves all, until they have read.
const UNREAD: usize = 16 << 20;

/// An answer, and when it was given.
type Given = Mutex<Option<(Instant, Bytes)>>;

/// Asks the loop.
#[derive(Debug)]
pub(super) struct Answers {
    asker: Asker,
    status: Given,
    processes: Given,
    /// What all answers take that somebody has, bytes.
    held: Arc<AtomicUsize>,
}

impl Answers {
    pub(super) fn new(asker: Asker) -> Self {
        Self { asker, status: Mutex::default(), processes: Mutex::default(), held: Arc::default() }
    }

    /// How the agent is, as a line; `None` when it ends.
    pub(super) async fn status(&self) -> Option<Bytes> {
        let asking = async { self.asker.status().await.map(Answer::Status) };
        self.fresh(&self.status, asking).await
    }

    /// Who lives, as a line; `None` when the agent ends.
    pub(super) async fn processes(&self) -> Option<Bytes> {
        let asking = async { Some(Answer::Processes { processes: self.asker.processes().await? }) };
        self.fresh(&self.processes, asking).await
    }

    /// Nobody is there any more who could ask.
    pub(super) fn forget(&self) {
        for given in [&self.status, &self.processes] {
            if let Ok(mut given) = given.try_lock() {
                *given = None;
            }
        }
    }

    /// The answer that is there if it is fresh; one who asks while another one asks waits for that one's.
    async fn fresh(&self, given: &Given, asking: impl Future<Output = Option<Answer>>) -> Option<Bytes> {
        let mut given = given.lock().await;
        if let Some((time, line)) = &*given
            && (time.elapsed() < FRESH || self.held.load(Ordering::Relaxed) > UNREAD)
        {
            return Some(line.clone());
        }
        let line = Bytes::from_owner(Held::new(encode(&asking.await?), &self.held));
        *given = Some((Instant::now(), line.clone()));
        Some(line)
    }
}

/// The line of an answer, counted as long as somebody has it.
struct Held {
    line: Bytes,
    held: Arc<AtomicUsize>,
}

impl Held {
    fn new(line: Bytes, held: &Arc<AtomicUsize>) -> Self {
        held.fetch_add(line.len(), Ordering::Relaxed);
        Self { line, held: Arc::clone(held) }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.line
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.line.len(), Ordering::Relaxed);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::ask::Ask;

    #[tokio::test]
    async fn what_nobody_reads_is_bounded() {
        let (asker, mut asks) = Asker::channel();
        tokio::spawn(async move {
            let row = crate::top::samples::process(7, 90);
            while let Some(ask) = asks.recv().await {
                if let Ask::Processes(who) = ask {
                    drop(who.send(vec![row.clone(); 20_000]));
                }
            }
        });
        let answers = Answers::new(asker);
        tokio::time::pause();
        let (mut unread, mut last) = (Vec::new(), None);
        for _ in 0..20 {
            unread.push(answers.processes().await.unwrap());
            tokio::time::advance(2 * FRESH).await;
            last = Some(answers.held.load(Ordering::Relaxed));
        }
        let size = unread[0].len();
        assert!(last.unwrap() <= UNREAD + size, "{last:?} with {size} each");
        unread.clear();
        // The one that is kept.
        assert_eq!(answers.held.load(Ordering::Relaxed), size);
    }
}
