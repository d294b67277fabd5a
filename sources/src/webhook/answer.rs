//! What the sender of a webhook is told.

use std::{borrow::Cow, time::Duration};

use channel::{Invalid, PublishError, Refusal};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

/// An answer that is no refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Further header fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, as plain text; empty for none.
    pub body: String,
}

impl Answer {
    /// An answer without body.
    pub fn status(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    /// A 200 with text.
    pub fn text(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::status(StatusCode::OK) }
    }

    /// Consent to be sent events (HTTP webhooks for CloudEvents 1.0.2, section 4.2).
    pub(super) fn consent(origin: Option<&str>, asks_rate: bool) -> Self {
        let mut answer = Self::status(StatusCode::OK);
        answer.headers.push((header::ALLOW, HeaderValue::from_static("POST, OPTIONS")));
        let origin = origin.and_then(|origin| HeaderValue::from_str(origin).ok());
        if let Some(origin) = origin {
            answer.headers.push((HeaderName::from_static("webhook-allowed-origin"), origin));
            if asks_rate {
                let any = HeaderValue::from_static("*");
                answer.headers.push((HeaderName::from_static("webhook-allowed-rate"), any));
            }
        }
        answer
    }
}

/// Why a request made no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// The header field, attribute or part of the request that is wrong.
    pub field: Option<Cow<'static, str>>,
    /// What is wrong with it.
    pub detail: Cow<'static, str>,
    /// When another try makes sense.
    pub retry_after: Option<Duration>,
    /// What a sender must prove who it is with, when that is a scheme of HTTP.
    pub challenge: Option<&'static str>,
}

impl Refused {
    /// A refusal that names a field.
    pub fn new(
        status: StatusCode,
        field: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let field = Some(field.into());
        Self { status, field, detail: detail.into(), retry_after: None, challenge: None }
    }

    /// Of a method that is not taken.
    pub(super) fn method(method: &Method) -> Self {
        let detail = format!("{method} is not taken here; POST is");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
    }

    /// For humans, in one line.
    pub fn reason(&self) -> String {
        match &self.field {
            Some(field) => format!("{field}: {}", self.detail),
            None => self.detail.clone().into_owned(),
        }
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self::new(StatusCode::BAD_REQUEST, invalid.field, invalid.rule)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let (status, retry_after) = match &refusal {
            Refusal::Invalid(invalid) => return invalid.clone().into(),
            Refusal::Loop { .. } => (StatusCode::LOOP_DETECTED, None),
            Refusal::Rejected { .. } => (StatusCode::BAD_GATEWAY, None),
            Refusal::NotStored(PublishError::TooLarge { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, None)
            }
            Refusal::NotStored(PublishError::Full { retry_after, .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(*retry_after))
            }
            _ => (StatusCode::SERVICE_UNAVAILABLE, Some(Duration::from_secs(1))),
        };
        // What is too large is what came: attributes have a bound of their own.
        let field = (status == StatusCode::PAYLOAD_TOO_LARGE).then_some(Cow::Borrowed("body"));
        let detail = Cow::Owned(refusal.to_string());
        Self { status, field, detail, retry_after, challenge: None }
    }
}
