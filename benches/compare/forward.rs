//! The bare forwarder: what the broker is compared with.
//!
//! The plainest program of the broker's shape that a good engineer would write with hyper: a
//! current-thread runtime a core with its own listener (SO_REUSEPORT), hyper's HTTP/1.1 server,
//! hyper-util's pooled client. Each POST goes to every sink; 202 once all have answered. It has no
//! filters, queues, retries, limits or timers.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::future;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{Failure, percore};

/// Where to, and on how many threads.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sinks; each event goes to all of them.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) sinks: Vec<SocketAddr>,
    /// Threads, each with a runtime, a listener and a client.
    #[arg(long)]
    pub(crate) threads: usize,
}

/// Forwards until stdin ends. The first line on stdout is the port.
pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let mut uris = Vec::new();
    for sink in &args.sinks {
        uris.push(format!("http://{sink}/").parse::<Uri>()?);
    }
    let (port, listeners) = percore::listeners(args.threads)?;
    for listener in listeners {
        let uris = uris.clone();
        percore::start(move || serve(listener, Forwarder { client: client(), uris }))?;
    }
    writeln!(io::stdout(), "{port}")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(true)
}

struct Forwarder {
    client: Client<HttpConnector, Full<Bytes>>,
    uris: Vec<Uri>,
}

const IDLE_MAX: usize = 1024;

fn client() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_MAX).build(connector)
}

async fn serve(listener: std::net::TcpListener, forwarder: Forwarder) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let forwarder = Arc::new(forwarder);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn(connection(stream, Arc::clone(&forwarder)));
            }
            // A connection that broke shows in the counts.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, forwarder: Arc<Forwarder>) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let forwarder = Arc::clone(&forwarder);
        async move {
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = forwarder.take(request).await;
            Ok::<_, Infallible>(response)
        }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
}

impl Forwarder {
    async fn take(&self, request: Request<Incoming>) -> StatusCode {
        let (mut head, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return StatusCode::BAD_REQUEST };
        let body = body.to_bytes();
        head.headers.remove(header::HOST);
        let all_well = match self.uris.as_slice() {
            [uri] => self.send(uri, &head.headers, &body).await,
            uris => {
                let sends = uris.iter().map(|uri| self.send(uri, &head.headers, &body));
                future::join_all(sends).await.into_iter().all(|well| well)
            }
        };
        if all_well { StatusCode::ACCEPTED } else { StatusCode::BAD_GATEWAY }
    }

    /// Whether the sink at `uri` took the event.
    async fn send(&self, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> bool {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        let Ok(response) = self.client.request(request).await else { return false };
        let status = response.status();
        response.into_body().collect().await.is_ok() && status.is_success()
    }
}
