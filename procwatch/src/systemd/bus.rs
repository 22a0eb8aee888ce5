//! Plain blocking calls over an asynchronous connection, each with an end.

use std::{thread, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use zbus::{Connection, connection};

use super::error::{BusError, Order};
use crate::text::escape;

/// How long to wait until the bus has let us in.
const LOGIN: Duration = Duration::from_secs(5);

/// The system bus.
#[derive(Debug)]
pub(super) struct Bus {
    connection: Connection,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl Bus {
    /// Connects.
    pub(super) fn connect() -> Result<Self, BusError> {
        let unreachable = |what: String| BusError::Unreachable { what };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unreachable(error.to_string()))?;
        let login = async {
            timeout(LOGIN, connection::Builder::system()?.build()).await.map_or(Ok(None), |it| it.map(Some))
        };
        let what = match run(&runtime, login) {
            Ok(Ok(Some(connection))) => return Ok(Self { connection, runtime: Some(runtime) }),
            Ok(Ok(None)) => format!("no answer within {} s", LOGIN.as_secs()),
            Ok(Err(error)) => escape(zbus::Error::to_string(&error).as_bytes()).into_owned(),
            Err(why) => why,
        };
        runtime.shutdown_background();
        Err(unreachable(what))
    }

    /// The connection: for work that [`Self::wait`] is given.
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Does `work`, and gives up after `limit`.
    pub(super) fn wait<T: Send>(
        &self,
        order: Order<'_>,
        limit: Duration,
        work: impl Future<Output = Result<T, BusError>> + Send,
    ) -> Result<T, BusError> {
        let bounded = async { timeout(limit, work).await.unwrap_or_else(|_| Err(order.late(limit))) };
        let Some(runtime) = &self.runtime else { return Err(order.odd(THREAD_ENDED)) };
        run(runtime, bounded).unwrap_or_else(|why| Err(order.odd(&why)))
    }
}

const THREAD_ENDED: &str = "the thread that asked has ended";

/// Runs `work` to its end on a thread of its own: the caller's may be within a runtime already, where another one must
/// not wait. Where none can be made, as on a machine without a pid left, that is said.
fn run<T: Send>(runtime: &Runtime, work: impl Future<Output = T> + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let asking = thread::Builder::new().spawn_scoped(scope, || runtime.block_on(work));
        let asking = asking.map_err(|error| format!("a thread that asks cannot be made: {error}"))?;
        asking.join().map_err(|_| THREAD_ENDED.to_owned())
    })
}

impl Drop for Bus {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which is forbidden within another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
