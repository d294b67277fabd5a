//! The HTTP client of the commands that talk to a server: plain HTTP, bounded answers, one try.

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize;

use crate::display::escape;

/// Characters of a server's explanation that are shown.
const DETAIL_CHARS_MAX: usize = 500;

/// Sends requests over kept connections.
///
/// A request that a kept connection lost before it was written goes out again on a new one;
/// nothing else is tried twice.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
    answer_bytes_max: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No connection came about: nothing was sent.
    #[error("cannot connect to {server}: {reason}")]
    Connect {
        /// Host and port.
        server: String,
        /// The innermost cause.
        reason: String,
    },
    /// The time for the whole exchange is over; the server may have acted or not.
    #[error("no answer from {server} within {timeout:?}")]
    Timeout {
        /// Host and port.
        server: String,
        /// The time it had.
        timeout: Duration,
    },
    /// The connection broke half way; the server may have acted or not.
    #[error("the exchange with {server} broke: {reason}")]
    Broken {
        /// Host and port.
        server: String,
        /// The innermost cause.
        reason: String,
    },
    /// The answer outgrew the client's limit.
    #[error("the answer of {server} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Host and port.
        server: String,
        /// The most that is read.
        limit_bytes: usize,
    },
}

impl Client {
    /// A client whose exchanges end within `timeout` and whose answers are at most
    /// `answer_bytes_max` long.
    pub(super) fn new(timeout: Duration, answer_bytes_max: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(timeout));
        connector.set_nodelay(true);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { http, timeout, answer_bytes_max }
    }

    /// One exchange, answer body included. Any status is an answer.
    ///
    /// Dropped half way, the connection is closed; the server may have acted or not.
    ///
    /// # Errors
    ///
    /// [`CallError`] when there is no whole answer.
    pub(super) async fn call(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, CallError> {
        let server = authority(request.uri());
        match tokio::time::timeout(self.timeout, self.exchange(request, &server)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(CallError::Timeout { server, timeout: self.timeout }),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        server: &str,
    ) -> Result<Response<Bytes>, CallError> {
        let server = || server.to_owned();
        let answer = self.http.request(request).await.map_err(|error| {
            let reason = innermost(&error);
            if error.is_connect() {
                CallError::Connect { server: server(), reason }
            } else {
                CallError::Broken { server: server(), reason }
            }
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, self.answer_bytes_max).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                CallError::TooLarge { server: server(), limit_bytes: self.answer_bytes_max }
            } else {
                CallError::Broken { server: server(), reason: innermost(error.as_ref()) }
            }
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn authority(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What a refusal says about itself, on one line without its status: the detail of a problem
/// document (RFC 9457), or the first line of a text, or the standard phrase of the status.
pub(super) fn explain(answer: &Response<Bytes>) -> String {
    let said = match serde_json::from_slice::<Problem>(answer.body()) {
        Ok(problem) => problem.line(),
        Err(_) => std::str::from_utf8(answer.body())
            .ok()
            .and_then(|text| text.lines().next())
            .map(|line| line.trim().to_owned()),
    };
    let said = said.filter(|line| !line.is_empty()).unwrap_or_else(|| phrase(answer.status()));
    escape(&said, false).chars().take(DETAIL_CHARS_MAX).collect()
}

fn phrase(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("no reason given").to_ascii_lowercase()
}

/// The members of a problem document that explain it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    field: Option<String>,
}

impl Problem {
    fn line(self) -> Option<String> {
        let detail = self.detail.or(self.title)?;
        match self.field {
            Some(field) if !detail.contains(&field) => Some(format!("{field}: {detail}")),
            _ => Some(detail),
        }
    }
}

/// A refusal as `status explanation`.
pub(super) struct Refusal<'a>(pub(super) &'a Response<Bytes>);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status().as_u16(), explain(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_explained_by_the_best_there_is() {
        let cases = [
            (
                r#"{"title":"invalid event","detail":"ce-id: is missing","field":"ce-id"}"#,
                "ce-id: is missing",
            ),
            (r#"{"title":"invalid event","field":"ce-id"}"#, "ce-id: invalid event"),
            ("not here\nreally", "not here"),
            ("", "not found"),
            ("{}", "not found"),
            ("\u{1b}[2J", "\\u001b[2J"),
        ];
        for (body, line) in cases {
            let mut answer = Response::new(Bytes::copy_from_slice(body.as_bytes()));
            *answer.status_mut() = StatusCode::NOT_FOUND;
            assert_eq!(explain(&answer), line);
        }
    }
}
