//! A web server of two pages, for clients that may be slow or hostile.
//!
//! Each connection is for one request, of bounded size and time. When there are too many, the oldest is closed: one who
//! only wants the figures has them long before.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE},
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    listen::{Acceptor, Connection},
    page::Page,
    text::Format,
};
use crate::status::Health;

/// Most connections at a time.
const CONNECTIONS: usize = 32;

/// Most connections that are accepted in a second; the kernel keeps some more waiting.
const PER_SECOND: usize = 200;

/// Longest request, bytes: hyper's least.
const MAX_REQUEST: usize = 8192;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// How long a client may take for its request.
const REQUEST: Duration = Duration::from_secs(5);

/// How long a connection may last.
const CONNECTION: Duration = Duration::from_secs(10);

/// How long nothing is accepted when accepting failed: as a rule because there are no more descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until it is aborted.
pub(super) async fn serve(acceptor: Acceptor, page: Arc<Page>) {
    let mut open = Open(VecDeque::new());
    let (mut since, mut accepted) = (Instant::now(), 0);
    loop {
        let connection = match acceptor.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!("metrics: no connection could be accepted: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        if since.elapsed() >= Duration::from_secs(1) {
            (since, accepted) = (Instant::now(), 0);
        }
        accepted += 1;
        if accepted > PER_SECOND {
            sleep(Duration::from_secs(1).saturating_sub(since.elapsed())).await;
        }
        open.make_room();
        let page = Arc::clone(&page);
        let task = match connection {
            Connection::Tcp(stream) => tokio::spawn(answer(TokioIo::new(stream), page)),
            Connection::Unix(stream) => tokio::spawn(answer(TokioIo::new(stream), page)),
        };
        open.0.push_back(task.abort_handle());
    }
}

/// The connections, oldest first. All are closed when this is dropped.
struct Open(VecDeque<AbortHandle>);

impl Open {
    /// Forgets those that are done, and closes the oldest when there are too many.
    fn make_room(&mut self) {
        self.0.retain(|task| !task.is_finished());
        while self.0.len() >= CONNECTIONS {
            if let Some(oldest) = self.0.pop_front() {
                oldest.abort();
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn answer(io: impl Read + Write + Unpin, page: Arc<Page>) {
    let service = service_fn(|request| respond(request, &page));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST)
        .max_headers(MAX_HEADERS)
        .serve_connection(io, service);
    match timeout(CONNECTION, connection).await {
        Ok(Ok(())) => {}
        // Whoever sends nonsense or leaves is no concern of an operator's.
        Ok(Err(error)) => tracing::debug!("metrics: {error}"),
        Err(_) => tracing::debug!("metrics: a client was too slow"),
    }
}

async fn respond(request: Request<Incoming>, page: &Page) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is possible\n");
        refusal.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET"));
        return Ok(refusal);
    }
    Ok(match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let format = Format::of_accept(accept.unwrap_or_default());
            with_type(StatusCode::OK, format.content_type(), page.text(format).await)
        }
        "/healthz" => match page.health().await {
            Some(Health::Ok) => plain(StatusCode::OK, "ok\n"),
            Some(Health::Degraded) => plain(StatusCode::OK, "degraded\n"),
            Some(Health::Failed) => plain(StatusCode::SERVICE_UNAVAILABLE, "failed\n"),
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "the agent does not answer\n"),
        },
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n"),
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let value = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}
