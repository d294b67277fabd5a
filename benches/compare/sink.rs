//! Subscribers that answer 202 to everything and count it.
//!
//! Kept as cheap as it can be, so that the machine is left to what is measured: whatever is in the
//! buffer is counted and answered with one write.

use std::{
    io::{self, BufRead, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{Failure, percore};

/// How many sinks, on how many threads.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Sinks, each on a port of its own.
    #[arg(long)]
    pub(crate) ports: u16,
    /// Threads that serve all of them.
    #[arg(long)]
    pub(crate) threads: usize,
}

/// The first line on stdout.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Where the sinks listen on the loopback.
    pub(crate) ports: Vec<u16>,
}

/// One line on stdout for each line on stdin.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Events since the start, a number for each sink.
    pub(crate) events: Vec<u64>,
    /// Requests that were no POST of a CloudEvent with a Content-Length.
    pub(crate) bad: u64,
}

#[derive(Debug, Default)]
struct Counters {
    events: AtomicU64,
    bad: AtomicU64,
}

/// Serves until stdin ends.
pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let mut ports = Vec::new();
    let mut counters = Vec::new();
    let mut shares = Vec::new();
    shares.resize_with(args.threads, Vec::new);
    for _ in 0..args.ports {
        let counter = Arc::new(Counters::default());
        let (port, listeners) = percore::listeners(args.threads)?;
        for (share, listener) in shares.iter_mut().zip(listeners) {
            share.push((listener, Arc::clone(&counter)));
        }
        ports.push(port);
        counters.push(counter);
    }
    for share in shares {
        percore::start(move || serve(share))?;
    }
    let mut out = io::stdout();
    writeln!(out, "{}", serde_json::to_string(&Ready { ports })?)?;
    for line in io::stdin().lock().lines() {
        line?;
        let counts = Counts {
            events: counters.iter().map(|c| c.events.load(Ordering::Relaxed)).collect(),
            bad: counters.iter().map(|c| c.bad.load(Ordering::Relaxed)).sum(),
        };
        writeln!(out, "{}", serde_json::to_string(&counts)?)?;
    }
    Ok(true)
}

async fn serve(share: Vec<(std::net::TcpListener, Arc<Counters>)>) -> io::Result<()> {
    let mut sinks = JoinSet::new();
    for (listener, counters) in share {
        let listener = TcpListener::from_std(listener)?;
        sinks.spawn(accept(listener, counters));
    }
    while let Some(ended) = sinks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn accept(listener: TcpListener, counters: Arc<Counters>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn(answer(stream, Arc::clone(&counters)));
            }
            // A connection that broke shows in the counts.
            Some(_) = connections.join_next() => {}
        }
    }
}

const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
const BUFFER: usize = 16 * 1024;

async fn answer(mut stream: TcpStream, counters: Arc<Counters>) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(4 * BUFFER);
    let mut answers = Vec::new();
    loop {
        buffer.reserve(BUFFER);
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        loop {
            match request_len(&buffer) {
                Ok(Some(len)) => buffer.advance(len),
                Ok(None) => break,
                Err(NotAnEvent) => {
                    counters.bad.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
            counters.events.fetch_add(1, Ordering::Relaxed);
            answers.extend_from_slice(ACCEPTED);
        }
        stream.write_all(&answers).await?;
        answers.clear();
    }
}

struct NotAnEvent;

const HEADERS_MAX: usize = 48;

/// Length of the request at the start of `bytes`, or `None` when it is not all there yet.
fn request_len(bytes: &[u8]) -> Result<Option<usize>, NotAnEvent> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(NotAnEvent),
    };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let body: Option<usize> = header("content-length").and_then(|length| length.parse().ok());
    match body {
        Some(body) if request.method == Some("POST") && header("ce-id").is_some() => {
            Ok((head.saturating_add(body) <= bytes.len()).then_some(head + body))
        }
        _ => Err(NotAnEvent),
    }
}
