//! Plain blocking calls over an asynchronous connection, each with an end.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    net::UnixStream,
    runtime::{Builder, Runtime},
    time::timeout,
};
use zbus::{
    Address, Connection,
    address::transport::{Transport, UnixSocket},
    connection,
};

use super::error::{BusError, Order};
use crate::text::escape;

/// How long to wait until the bus has let us in.
const LOGIN: Duration = Duration::from_secs(5);

/// On which thread calls wait for their answers.
#[derive(Clone, Copy, Debug)]
pub enum Waits {
    /// On the caller's. It must not be within the loop of a runtime, where waiting is forbidden.
    Here,
    /// On one that is made for each call: for callers within such a loop. On a machine without a pid left none can be
    /// made, and that is said.
    Beside,
}

/// The system bus.
#[derive(Debug)]
pub(super) struct Bus {
    waits: Waits,
    connection: Connection,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl Bus {
    /// Connects.
    pub(super) fn connect(waits: Waits) -> Result<Self, BusError> {
        let unreachable = |what: String| BusError::Unreachable { what };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unreachable(error.to_string()))?;
        let login = async {
            let login = async { system().await?.build().await };
            timeout(LOGIN, login).await.map_or(Ok(None), |login| login.map(Some))
        };
        let what = match waits.run(&runtime, login) {
            Ok(Ok(Some(connection))) => return Ok(Self { waits, connection, runtime: Some(runtime) }),
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
        self.waits.run(runtime, bounded).unwrap_or_else(|why| Err(order.odd(&why)))
    }
}

/// A way to the system bus. By itself zbus would connect on a thread that it makes for that, and panic where none can be made.
async fn system() -> zbus::Result<connection::Builder<'static>> {
    let address = Address::system()?;
    if let Transport::Unix(unix) = address.transport()
        && let UnixSocket::File(path) = unix.path()
    {
        let connect = UnixStream::connect(path).await;
        let stream = connect.map_err(|error| zbus::Error::Connection(Arc::new(error), address.clone()))?;
        return Ok(connection::Builder::unix_stream(stream));
    }
    connection::Builder::address(address)
}

const THREAD_ENDED: &str = "the thread that asked has ended";

impl Waits {
    /// Runs `work` to its end.
    fn run<T: Send>(self, runtime: &Runtime, work: impl Future<Output = T> + Send) -> Result<T, String> {
        match self {
            Self::Here => Ok(runtime.block_on(work)),
            Self::Beside => thread::scope(|scope| {
                let asking = thread::Builder::new().spawn_scoped(scope, || runtime.block_on(work));
                let asking = asking.map_err(|error| format!("a thread that asks cannot be made: {error}"))?;
                asking.join().map_err(|_| THREAD_ENDED.to_owned())
            }),
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which is forbidden within another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
