//! Jobs: what systemd makes of an order to start or stop a unit.

use std::{future::poll_fn, pin::Pin, time::Duration};

use tokio::time::timeout;
use zbus::{
    Connection, MatchRule, Message, MessageStream, export::futures_core::Stream as _, message::Type,
    zvariant::OwnedObjectPath,
};

use super::{
    error::{BusError, Order},
    names::{JOB, MANAGER, MANAGER_PATH, PROPERTIES, SERVICE},
};

/// How often to look whether a job is still there, in case that its end was not told.
const LOOK: Duration = Duration::from_millis(500);

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With this result, in systemd's words.
    Told(String),
    /// It is not there any more, and nobody told how it ended.
    Vanished,
}

/// Hears of the ends of a unit's jobs. It must listen before the order is given: a job may be done before the answer.
pub(super) struct JobWatch<'a> {
    bus: &'a Connection,
    signals: MessageStream,
}

impl<'a> JobWatch<'a> {
    /// Begins to listen.
    pub(super) async fn begin(bus: &'a Connection, unit: &str) -> zbus::Result<Self> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SERVICE)?
            .path(MANAGER_PATH)?
            .interface(MANAGER)?
            .member("JobRemoved")?
            .arg(2, unit)?
            .build();
        Ok(Self { bus, signals: MessageStream::for_match_rule(rule, bus, None).await? })
    }

    /// Waits until `job` has ended.
    pub(super) async fn end(mut self, job: &OwnedObjectPath, order: Order<'_>) -> Result<End, BusError> {
        loop {
            match timeout(LOOK, next(&mut self.signals)).await {
                Ok(Some(Ok(signal))) => {
                    if let Some(result) = result_of(&signal, job) {
                        return Ok(End::Told(result));
                    }
                }
                Ok(Some(Err(error))) => return Err(order.failed(&error)),
                Ok(None) => return Err(order.odd("the connection was closed")),
                Err(_) => {
                    if !self.is_there(job).await {
                        return Ok(End::Vanished);
                    }
                }
            }
        }
    }

    async fn is_there(&self, job: &OwnedObjectPath) -> bool {
        let asked = self.bus.call_method(Some(SERVICE), job, Some(PROPERTIES), "Get", &(JOB, "State")).await;
        !matches!(asked, Err(zbus::Error::MethodError(..)))
    }
}

async fn next(signals: &mut MessageStream) -> Option<zbus::Result<Message>> {
    poll_fn(|context| Pin::new(&mut *signals).poll_next(context)).await
}

/// The result that `signal` tells, if it is about `job`.
fn result_of(signal: &Message, job: &OwnedObjectPath) -> Option<String> {
    let (_, path, _, result): (u32, OwnedObjectPath, String, String) = signal.body().deserialize().ok()?;
    (path == *job).then_some(result)
}
