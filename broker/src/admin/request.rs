//! What handlers read from a request; whatever is wrong becomes a problem that names it.

use std::time::{Duration, SystemTime};

use axum::{
    body::Body,
    extract::{Path, Request, rejection::PathRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use channel::{Invalid, Name};
use dispatcher::Reason;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::ingress::Problem;

/// Bytes of a JSON body.
const JSON_BYTES_MAX: usize = 1 << 20;

/// Time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        Problem::into_response(self).map(Body::new)
    }
}

/// The problem with a value that breaks `rule`: a query parameter, or a member of a body.
pub(super) fn invalid(field: &str, rule: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{field}: {rule}")).with_field(field)
}

/// The parameters of a query, each known and given at most once.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of a target.
    ///
    /// # Errors
    ///
    /// 400 for a parameter that is not among `known`, or is given twice.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut params: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(invalid(&name, &format!("is no parameter here; there are: {known}")));
            }
            if params.iter().any(|(other, _)| *other == name) {
                return Err(invalid(&name, "is given twice"));
            }
            params.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(params))
    }

    /// A parameter as written.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A parameter as `parse` reads it.
    ///
    /// # Errors
    ///
    /// 400 with the rule that `parse` gives.
    pub(super) fn get<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        self.text(name).map(parse).transpose().map_err(|rule| invalid(name, &rule))
    }
}

/// Reads `namespace/name`.
///
/// # Errors
///
/// The rule, when it has another form.
pub(super) fn name(text: &str) -> Result<Name, String> {
    text.parse().map_err(|invalid: Invalid| invalid.rule.into_owned())
}

/// Reads a time.
///
/// # Errors
///
/// The rule, when it has another form.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(SystemTime::from)
        .map_err(|_| "must be an RFC 3339 time such as 2026-01-31T12:00:00Z".to_owned())
}

/// Reads the reason of a dead letter.
///
/// # Errors
///
/// The rule, when there is no such reason.
pub(super) fn reason(text: &str) -> Result<Reason, String> {
    Reason::parse(text)
        .ok_or_else(|| format!("must be one of {}", Reason::ALL.map(Reason::as_str).join(", ")))
}

/// The resource that a path names, such as `/api/v1/brokers/{namespace}/{name}`.
///
/// # Errors
///
/// 404 when it cannot be a name.
pub(super) fn named(path: Result<Path<(String, String)>, PathRejection>) -> Result<Name, Problem> {
    match path {
        Ok(Path((namespace, name))) => Ok(Name::new(namespace, name)),
        Err(_) => Err(Problem::new(StatusCode::NOT_FOUND, "no resource has such a name")),
    }
}

/// The JSON body of a request.
///
/// # Errors
///
/// 415 unless it is declared as JSON, 400 naming the member that is wrong, and those of [`body`].
pub(super) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    if !is_json(request.headers()) {
        let detail = "content-type: must be application/json";
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
        return Err(problem.with_field("content-type"));
    }
    let bytes = body(request.into_body(), JSON_BYTES_MAX).await?;
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        let names_member = error.is_data() && path != ".";
        if names_member { invalid(&path, &error.to_string()) } else { malformed(&error) }
    })?;
    reader.end().map_err(|error| malformed(&error))?;
    Ok(read)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The whole body, at most `bytes_max` of it.
///
/// # Errors
///
/// 413 when it is longer, 408 when it takes too long, 400 when it ends early.
pub(super) async fn body(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let collected = Limited::new(body, bytes_max).collect();
    let (status, detail) = match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("the body is larger than {bytes_max} bytes");
            (StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        Ok(Err(error)) => {
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            (StatusCode::BAD_REQUEST, format!("the body did not arrive whole: {cause}"))
        }
        Err(_elapsed) => {
            (StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive".to_owned())
        }
    };
    Err(Problem::new(status, detail))
}
