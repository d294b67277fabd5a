//! Connection -> HTTP requests, within the limits of a connection.

use std::{convert::Infallible, error::Error, io, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Version, header::EXPECT};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    rt::Executor,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Bound, Connections, Ingress, Limits,
    connections::Place,
    head_timer::{Exchange, HeadTimer, Underway},
};

/// How long the accept loop rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// How long a refused connection may take to read its refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);

/// How long, and how many bytes, are read of a request that is refused before all of it was sent.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 << 20;

const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 133\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"too many connections, in all or from this client address\"}";

/// HTTP/2 streams of one connection at a time.
const STREAMS_MAX: u32 = 100;

/// How often a silent HTTP/2 connection is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Accepts connections on `listener` until `stop` fires, and serves HTTP/1.1 and HTTP/2 with prior
/// knowledge on each. Returns once every connection has ended, which `stop` asks them to do after
/// the request in hand.
pub async fn serve(
    listener: TcpListener,
    ingress: Rc<Ingress>,
    connections: Arc<Connections>,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let builder = Rc::new(builder(ingress.limits()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                rest_after(&error).await;
                continue;
            }
        };
        let Some(place) = connections.admit(address.ip().to_canonical()) else {
            tasks.spawn_local(refuse(stream));
            continue;
        };
        let (builder, ingress, stop) = (Rc::clone(&builder), Rc::clone(&ingress), stop.clone());
        tasks.spawn_local(connection(stream, builder, ingress, stop, (place, tasks.clone())));
    }
    tasks.close();
    tasks.wait().await;
}

/// Errors of one connection need no rest; being out of descriptors does, or the loop would spin.
async fn rest_after(error: &io::Error) {
    let is_of_one_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if !is_of_one_connection {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_REST).await;
    }
}

async fn refuse(mut stream: TcpStream) {
    let told = async {
        stream.write_all(REFUSAL).await?;
        stream.shutdown().await
    };
    if let Ok(Err(error)) = tokio::time::timeout(REFUSAL_TIMEOUT, told).await {
        tracing::debug!(%error, "a refused connection did not wait for its answer");
    }
}

fn builder(limits: &Limits) -> auto::Builder<LocalTasks> {
    let mut builder = auto::Builder::new(LocalTasks);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_headers(limits.headers_max)
        .max_buf_size(limits.head_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(limits.idle_timeout);
    builder
}

async fn connection(
    stream: TcpStream,
    builder: Rc<auto::Builder<LocalTasks>>,
    ingress: Rc<Ingress>,
    stop: CancellationToken,
    (_place, tasks): (Place, TaskTracker),
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before its first request");
        return;
    }
    let exchange = Exchange::new();
    let limits = ingress.limits();
    let timed = HeadTimer::new(stream, exchange.clone(), limits.head_timeout, limits.idle_timeout);
    let (answering, begun) = (Rc::clone(&ingress), exchange.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (ingress, exchange, tasks) = (Rc::clone(&answering), begun.clone(), tasks.clone());
        async move {
            let underway = exchange.begin(request.version());
            let (head, mut body) = request.into_parts();
            // Who waits to be asked for the body has not sent it.
            let has_sent = head.version != Version::HTTP_2 && !head.headers.contains_key(EXPECT);
            let response = ingress.answer(Request::from_parts(head, &mut body)).await;
            if has_sent && !body.is_end_stream() {
                tasks.spawn_local(read_off(body, underway));
            }
            Ok::<Response<Full<Bytes>>, Infallible>(response)
        }
    });
    let serving = builder.serve_connection(TokioIo::new(timed), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        if let Some(bound) = exchange.overdue().or_else(|| bound_reached(&*error)) {
            ingress.note(bound);
        }
        tracing::debug!(error, "a connection ended early");
    }
}

/// Reads what is left of a refused request: a sender that is still sending when the connection is
/// closed sees a broken pipe, and never its answer.
async fn read_off(mut body: Incoming, _underway: Underway) {
    let reading = async {
        let mut left = LINGER_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Whoever is slower gets no more patience.
    tokio::time::timeout(LINGER, reading).await.ok();
}

/// The bound of hyper's keeping that ended a connection before there was a request, if one did.
fn bound_reached(error: &(dyn Error + 'static)) -> Option<Bound> {
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_parse_too_large() {
        Some(Bound::HeadBytes)
    } else {
        error.is_timeout().then_some(Bound::IdleTime)
    }
}

/// Runs the streams of an HTTP/2 connection on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalTasks;

impl<F> Executor<F> for LocalTasks
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        // Owned by its connection: hyper ends it when the connection ends.
        tokio::task::spawn_local(task);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_refusal_says_its_own_length() {
        let text = std::str::from_utf8(super::REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
