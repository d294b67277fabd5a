//! `catchment display`: a subscriber that prints every event it gets and answers 202.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::ALLOW};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    select, signal,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Console, Failure, parse_address};
use crate::{display, ingress::Problem};

pub(super) const EXAMPLES: &str = "\
Examples:
  catchment display
  catchment display --listen 127.0.0.1:9000 --output json | jq .data
  catchment send http://127.0.0.1:8090 --data hello";

/// Largest request body that is shown; a larger one is refused with 413.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Connections served at once; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 512;
/// Time for the head of a request, and again for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for requests in hand once the command is told to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Wait after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What `catchment display` is told.
#[derive(Clone, Debug, Args)]
pub struct DisplayArgs {
    /// Where to take events, at any path; port 0 picks a free one
    #[arg(long, env = "CATCHMENT_DISPLAY_LISTEN", default_value = "127.0.0.1:8090")]
    #[arg(value_name = "IP:PORT", value_parser = parse_address)]
    pub listen: SocketAddr,
}

/// Prints events until the process is told to end or nobody reads the output.
///
/// # Errors
///
/// [`Failure::Failed`] when the address cannot be listened at, [`Failure::Unread`] when stdout
/// is closed.
pub(super) async fn run(args: DisplayArgs, console: &Console) -> Result<(), Failure> {
    let cannot = |error| Failure::caused(format!("cannot listen at {}", args.listen), &error);
    let listener = TcpListener::bind(args.listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    console.note(&format!("events posted to http://{address} are shown here; Ctrl-C ends"));

    let graceful = GracefulShutdown::new();
    let (failures_tx, mut failures) = mpsc::channel(1);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(told_to_end());
    let result = loop {
        select! {
            biased;
            () = &mut stop => break Ok(()),
            Some(failure) = failures.recv() => break Err(failure),
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _peer)) => {
                    let screen = Screen { console: *console, failures: failures_tx.clone() };
                    connections.spawn(serve(stream, screen, graceful.watcher()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    };
    // What is still open after the drain is closed when `connections` is dropped.
    timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.unwrap_or_default();
    result
}

/// Completes on Ctrl-C or SIGTERM; never, where neither can be listened for.
async fn told_to_end() {
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    select! {
        _ = terminated => {}
        Ok(()) = signal::ctrl_c() => {}
        else => std::future::pending().await,
    }
}

/// Where a connection shows its events.
#[derive(Clone)]
struct Screen {
    console: Console,
    failures: mpsc::Sender<Failure>,
}

async fn serve(stream: TcpStream, screen: Screen, watcher: hyper_util::server::graceful::Watcher) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(READ_TIMEOUT);
    let service = service_fn(move |request| {
        let screen = screen.clone();
        async move { Ok::<_, Infallible>(screen.answer(request).await) }
    });
    let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
    // A connection that breaks has nothing more to show.
    watcher.watch(connection).await.unwrap_or_default();
}

impl Screen {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if head.method == Method::OPTIONS {
            return handshake(&head.headers);
        }
        if head.method != Method::POST {
            let mut refusal =
                problem(StatusCode::METHOD_NOT_ALLOWED, "events are posted: use POST");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            return refusal;
        }
        let body = match timeout(READ_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
                return problem(StatusCode::PAYLOAD_TOO_LARGE, &detail);
            }
            Ok(Err(_)) => return problem(StatusCode::BAD_REQUEST, "the body did not arrive whole"),
            Err(_elapsed) => {
                return problem(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive");
            }
        };
        match display::render(&head.headers, &body, self.console.style()) {
            Ok(shown) => self.show(&shown),
            Err(error) => Problem::from(error).into_response(),
        }
    }

    /// An event counts as taken once its text has left the process.
    fn show(&self, shown: &str) -> Response<Full<Bytes>> {
        match self.console.print(shown) {
            Ok(()) => {
                let mut taken = Response::new(Full::default());
                *taken.status_mut() = StatusCode::ACCEPTED;
                taken
            }
            Err(failure) => {
                let refusal = problem(StatusCode::SERVICE_UNAVAILABLE, "the output is closed");
                // A full queue means that the command is ending already.
                self.failures.try_send(failure).unwrap_or_default();
                refusal
            }
        }
    }
}

/// Allows whoever asks to post here (CloudEvents webhook specification, section 4).
fn handshake(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let any = HeaderValue::from_static("*");
    let origin = headers.get("webhook-request-origin").cloned().unwrap_or_else(|| any.clone());
    let mut answer = Response::new(Full::default());
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    answer.headers_mut().insert("webhook-allowed-origin", origin);
    answer.headers_mut().insert("webhook-allowed-rate", any);
    answer
}

fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    Problem::new(status, detail).into_response()
}
