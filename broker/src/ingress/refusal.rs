//! What went wrong -> the status and words that a client is told.

use std::time::Duration;

use bytes::Bytes;
use channel::{PublishError, Refusal, binding::http::DecodeError};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::{Bound, Limits, Problem, Shut, body::BodyError, problem::EventProblem};

/// How long a client that met a closing broker should wait: until another has taken over.
pub(super) const DRAINING_RETRY: Duration = Duration::from_secs(5);

/// How long a client should wait whose event may be stored already.
const UNKNOWN_RETRY: Duration = Duration::from_secs(2);

/// How long a client should wait whose broker is not ready: a server may be starting.
const NOT_READY_RETRY: Duration = Duration::from_secs(5);

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    problem: Box<Problem>,
    retry_after: Option<Duration>,
    closes: bool,
    bound: Option<Bound>,
    challenge: Option<&'static str>,
}

impl Refused {
    /// A refusal in words.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let problem = Box::new(Problem::new(status, detail));
        Self { status, problem, retry_after: None, closes: false, bound: None, challenge: None }
    }

    /// Names the field that is wrong.
    pub(super) fn naming(mut self, field: impl Into<String>) -> Self {
        self.problem.field = Some(field.into());
        self
    }

    /// Says when another try makes sense.
    pub(super) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Says how a sender proves who it is (RFC 9110, 11.6.1).
    pub(super) fn challenging(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// Ends the connection: where its next request begins is not sure.
    pub(super) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// Says which bound was reached.
    pub(super) fn at(mut self, bound: Bound) -> Self {
        self.bound = Some(bound);
        self
    }

    pub(super) fn bound(&self) -> Option<Bound> {
        self.bound
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn detail(&self) -> &str {
        &self.problem.detail
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = self.problem.into_response();
        if self.closes {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(challenge) = self.challenge {
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: coming back early would be refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A batch with invalid events: none of it is stored.
pub(super) fn batch(errors: Vec<EventProblem>) -> Refused {
    let detail = format!("{} of the batch's events are invalid; none was stored", errors.len());
    let mut refused = Refused::new(StatusCode::BAD_REQUEST, detail);
    refused.problem.errors = errors;
    refused
}

/// The hub is there, and has no channel for now.
pub(super) fn not_ready(shut: &Shut) -> Refused {
    let Shut { hub, reason, message } = shut;
    let detail = format!("{} is not ready: {reason}: {message}", hub.in_words());
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(NOT_READY_RETRY)
}

pub(super) fn unadmitted(refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::NotStored(error) => not_stored(error.clone()),
        Refusal::Invalid(invalid) => Refused::new(StatusCode::BAD_REQUEST, invalid.to_string())
            .naming(invalid.field.clone().into_owned()),
        error => {
            Refused::new(StatusCode::BAD_REQUEST, error.to_string()).naming("knativebrokerttl")
        }
    }
}

pub(super) fn not_stored(error: PublishError) -> Refused {
    let detail = error.to_string();
    let unavailable = Refused::new(StatusCode::SERVICE_UNAVAILABLE, detail.clone());
    match error {
        PublishError::TooLarge { .. } => Refused::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
        PublishError::Full { retry_after, .. } => unavailable.after(retry_after),
        PublishError::Down { .. } => unavailable.after(DRAINING_RETRY),
        _ => unavailable.after(UNKNOWN_RETRY),
    }
}

pub(super) fn unreadable(error: BodyError, limits: &Limits) -> Refused {
    match error {
        BodyError::TooLarge => {
            let detail = format!("the body is larger than {} bytes", limits.body_bytes_max);
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, detail).at(Bound::BodyBytes)
        }
        BodyError::TooLate => {
            let detail = "the body did not arrive in time";
            Refused::new(StatusCode::REQUEST_TIMEOUT, detail).at(Bound::BodyTime)
        }
        BodyError::TooSlow => {
            let detail = "the body came too slowly";
            Refused::new(StatusCode::REQUEST_TIMEOUT, detail).at(Bound::BodyRate)
        }
        BodyError::Broken(what) => {
            Refused::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {what}"))
        }
        BodyError::NoRoom(error) => not_stored(error),
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        *undecodable(error).problem
    }
}

pub(super) fn undecodable(error: DecodeError) -> Refused {
    let detail = error.to_string();
    match error {
        DecodeError::UnsupportedMediaType { .. } => {
            Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).naming("content-type")
        }
        DecodeError::UnsupportedEncoding { .. } => {
            Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).naming("content-encoding")
        }
        DecodeError::Invalid(invalid) => {
            Refused::new(StatusCode::BAD_REQUEST, detail).naming(invalid.field.into_owned())
        }
        DecodeError::NotAnEvent => {
            Refused::new(StatusCode::BAD_REQUEST, detail).naming("ce-specversion")
        }
        DecodeError::Batch(refused) => batch(
            refused
                .into_iter()
                .map(|refused| EventProblem {
                    index: refused.index,
                    field: refused.problem.field.into_owned(),
                    detail: refused.problem.rule.into_owned(),
                })
                .collect(),
        ),
        DecodeError::TooDeep { .. } => {
            Refused::new(StatusCode::BAD_REQUEST, detail).at(Bound::JsonDepth)
        }
        DecodeError::TooManyEvents { .. } => {
            Refused::new(StatusCode::BAD_REQUEST, detail).at(Bound::BatchEvents)
        }
        _ => Refused::new(StatusCode::BAD_REQUEST, detail),
    }
}
