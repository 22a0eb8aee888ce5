//! What clients of the agent ask its loop.

use tokio::sync::{mpsc, oneshot};

use crate::status::{ProcessRow, Status};

/// A question to the loop. One who has left meanwhile gets no answer, which is no error.
#[derive(Debug)]
pub enum Ask {
    /// How the agent is.
    Status(oneshot::Sender<Box<Status>>),
    /// Who lives.
    Processes(oneshot::Sender<Vec<ProcessRow>>),
}

/// Questions that wait.
const WAITING: usize = 16;

/// Puts questions to the loop.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Ask>);

impl Asker {
    /// Who asks, and where the questions come out.
    pub fn channel() -> (Self, mpsc::Receiver<Ask>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// How the agent is; `None` when it ends.
    pub async fn status(&self) -> Option<Box<Status>> {
        self.ask(Ask::Status).await
    }

    /// Who lives; `None` when the agent ends.
    pub async fn processes(&self) -> Option<Vec<ProcessRow>> {
        self.ask(Ask::Processes).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.0.send(question(sender)).await.ok()?;
        answer.await.ok()
    }
}
