//! A producer: one keep-alive connection that sends events in every mode, or any request, or any bytes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::http::{Headers, Response, Wire, late};
use crate::sample::{Mode, Sample};

/// How long a producer waits for an answer unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A client of the ingress with at most one connection, opened when needed.
#[derive(Debug)]
pub struct Producer {
    to: SocketAddr,
    target: String,
    wire: Option<Wire>,
    patience: Duration,
}

impl Producer {
    /// For a broker, as `namespace/name`.
    #[must_use]
    pub fn new(to: SocketAddr, broker: &str) -> Self {
        Self { to, target: format!("/{broker}"), wire: None, patience: PATIENCE }
    }

    /// Sends an event.
    ///
    /// # Errors
    ///
    /// When no whole response came: the event may or may not have been taken.
    pub async fn send(&mut self, sample: &Sample, mode: Mode) -> io::Result<Response> {
        let (headers, body) = sample.encode(mode);
        self.post(headers, body).await
    }

    /// Sends several events in one request. Errors as [`Producer::send`].
    pub async fn batch(&mut self, samples: &[Sample]) -> io::Result<Response> {
        let (headers, body) = Sample::batched(samples);
        self.post(headers, body).await
    }

    /// Posts headers and a body to the broker. Errors as [`Producer::send`].
    pub async fn post(&mut self, headers: Headers, body: Bytes) -> io::Result<Response> {
        let target = self.target.clone();
        self.request("POST", &target, headers, Some(body)).await
    }

    /// Sends a request; with a body, its `content-length` is added, and a `host` unless it is given. Errors as [`Producer::send`].
    pub async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: Headers,
        body: Option<Bytes>,
    ) -> io::Result<Response> {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        if headers.text("host").is_none() {
            bytes.extend(format!("host: {}\r\n", self.to).bytes());
        }
        for (name, value) in &headers.0 {
            bytes.extend(name.bytes().chain(*b": "));
            bytes.extend(value.iter().chain(b"\r\n"));
        }
        if let Some(body) = &body {
            bytes.extend(format!("content-length: {}\r\n", body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(body.unwrap_or_default());
        self.raw(&bytes).await
    }

    /// Writes bytes as they are and reads one response. Errors as [`Producer::send`].
    pub async fn raw(&mut self, bytes: &[u8]) -> io::Result<Response> {
        let patience = self.patience;
        let answer = timeout(patience, self.exchange(bytes)).await;
        let answer = answer.unwrap_or_else(|_| Err(late("response")));
        let closes = |response: &Response| {
            response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
        };
        if answer.as_ref().map_or(true, closes) {
            self.wire = None;
        }
        answer
    }

    async fn exchange(&mut self, bytes: &[u8]) -> io::Result<Response> {
        if self.wire.is_none() {
            self.wire = Some(Wire::connect(self.to).await?);
        }
        let wire = self.wire.as_mut().expect("just made");
        // A server may answer and close before it has read all: what it said counts, not the failed write.
        let written = wire.write(bytes).await;
        match (wire.read_response().await, written) {
            (Ok(Some(response)), _) => Ok(response),
            (_, Err(error)) | (Err(error), _) => Err(error),
            (Ok(None), Ok(())) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a response"))
            }
        }
    }

    /// A connection of its own to the same address, for bytes that are no request.
    pub async fn connect(&self) -> Wire {
        Wire::connect(self.to).await.expect("the program listens")
    }
}
