//! Connection -> HTTP/1.1 requests of the admin listener.

use std::{sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, select, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Admin, Process, routes};
use crate::control::Control;

/// Connections at a time. Further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// Time for the head of a request, and for the wait before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for the requests in hand once the listener is told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the accept loop rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Serves the admin side of `control` on `listener` until `stop` fires, then gives the requests in
/// hand two seconds.
///
/// Dropping the future closes every connection.
pub async fn serve(
    listener: TcpListener,
    control: Arc<Control>,
    process: Process,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(routes::router(Admin::new(control, process)));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = select! {
            biased;
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => {
                let connection = builder.serve_connection(TokioIo::new(stream), service.clone());
                let watched = graceful.watch(connection);
                connections.spawn(async move {
                    if let Err(error) = watched.await {
                        tracing::debug!(%error, "an admin connection ended early");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept connections");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
    // What is still open after the drain is closed when `connections` is dropped.
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::debug!(
            unfinished = connections.len(),
            "the admin listener stopped with requests in hand"
        );
    }
}
