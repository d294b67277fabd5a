//! A request to a source that is called -> read within its limits, taken by the source, answered.

use std::time::Duration;

use ::sources::webhook::{Answer as Said, Refused as Refusal, Request as Called};
use arc_swap::ArcSwap;
use bytes::Bytes;
use channel::{Budget, Charge, PublishError};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use jiff::Timestamp;
use std::sync::Arc;

use super::{
    Bound, Ingress, Limits,
    accept::{ALLOWED, Answer},
    body::{self, BodyError},
    refusal::{self, Refused},
};
use crate::sourcing::{Door, Endpoints};

/// What the paths of sources begin with.
pub(super) const PREFIX: &str = "/sources/";

/// How long a sender should wait whose source is not ready.
const NOT_READY_RETRY: Duration = Duration::from_secs(5);

/// How long a sender should wait when there is no memory for its request.
const NO_ROOM_RETRY: Duration = Duration::from_secs(1);

/// The sources that are called, and the memory for their requests.
#[derive(Clone, Debug)]
pub struct Doors {
    /// By `namespace/name`.
    pub endpoints: Arc<ArcSwap<Endpoints>>,
    /// The memory of the process.
    pub budget: Arc<Budget>,
}

impl Doors {
    fn room(&self, bytes: usize) -> Result<Charge, PublishError> {
        self.budget
            .try_charge(bytes)
            .ok_or(PublishError::Full { bound: "memory.totalBytesMax", retry_after: NO_ROOM_RETRY })
    }
}

impl Ingress {
    /// Answers a request whose path begins with [`PREFIX`].
    pub(super) async fn webhook<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        match self.call(request).await {
            Ok(said) => answer(said),
            Err(refused) => {
                let is_method = refused.status() == StatusCode::METHOD_NOT_ALLOWED;
                let mut response = self.refuse(None, refused);
                if is_method {
                    response.headers_mut().insert(header::ALLOW, ALLOWED);
                }
                response
            }
        }
    }

    async fn call<B>(&self, request: Request<B>) -> Result<Said, Refused>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        self.check_target(&request)?;
        self.check_open()?;
        let (head, body) = request.into_parts();
        self.check_head(&head.headers)?;
        let path = head.uri.path();
        let (name, rest) = split(path.strip_prefix(PREFIX).unwrap_or_default());
        let endpoint = match self.doors().endpoints.load().get(name) {
            Some(Door::Open(endpoint)) => Arc::clone(endpoint),
            Some(Door::Shut(why)) => {
                let detail = format!("source {name} is not ready: {}: {}", why.reason, why.message);
                let refused = Refused::new(StatusCode::SERVICE_UNAVAILABLE, detail);
                return Err(refused.after(NOT_READY_RETRY));
            }
            None => {
                let detail = format!(
                    "no source is called at {path}; sources are at /sources/namespace/name"
                );
                return Err(Refused::new(StatusCode::NOT_FOUND, detail));
            }
        };
        let limits = Limits { body_bytes_max: endpoint.body_bytes_max(), ..self.limits().clone() };
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let unreadable = |error| {
            let refused = refusal::unreadable(error, &limits).naming("body");
            endpoint.report().refused(&refused.detail());
            refused
        };
        if declared > limits.body_bytes_max {
            return Err(unreadable(BodyError::TooLarge));
        }
        let room = |bytes| self.doors().room(bytes);
        let mut charge = room(declared).map_err(refusal::not_stored)?;
        let body = body::read(body, &room, &mut charge, &limits).await.map_err(unreadable)?;
        self.check_open()?;
        let called = Called {
            method: &head.method,
            path: rest,
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            body: &body,
        };
        let received = endpoint.receive(self.worker_index(), &called, Timestamp::now());
        match tokio::time::timeout(limits.publish_timeout, received).await {
            Ok(said) => said.map_err(refused),
            Err(_elapsed) => {
                let reason = "the sink did not answer in time".to_owned();
                Err(refusal::not_stored(PublishError::Unknown { reason }).at(Bound::PublishTime))
            }
        }
    }
}

/// `namespace/name`, and what stands after it.
fn split(path: &str) -> (&str, &str) {
    let second = path.match_indices('/').nth(1).map(|(at, _)| at);
    let (name, rest) = path.split_at(second.unwrap_or(path.len()));
    (name, rest.trim_start_matches('/'))
}

fn answer(said: Said) -> Answer {
    let mut response = Response::new(Full::from(said.body.clone()));
    *response.status_mut() = said.status;
    if !said.body.is_empty() {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
    }
    response.headers_mut().extend(said.headers);
    response
}

fn refused(refusal: Refusal) -> Refused {
    let mut refused = Refused::new(refusal.status, refusal.reason());
    if let Some(field) = refusal.field {
        refused = refused.naming(field);
    }
    if let Some(wait) = refusal.retry_after {
        refused = refused.after(wait);
    }
    match refusal.challenge {
        Some(challenge) => refused.challenging(challenge),
        None => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_source_is_two_segments() {
        assert_eq!(split("a/b"), ("a/b", ""));
        assert_eq!(split("a/b/"), ("a/b", ""));
        assert_eq!(split("a/b/c/d"), ("a/b", "c/d"));
        assert_eq!(split("a"), ("a", ""));
        assert_eq!(split(""), ("", ""));
    }
}
