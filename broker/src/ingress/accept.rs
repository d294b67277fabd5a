//! Request -> decoded, admitted, stored, answered: the one place that picks a status code.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Cache};
use bytes::Bytes;
use channel::{
    Batch, Draft, Hub, PublishError, Refusal,
    binding::http::{self as binding, Decoded},
};
use dispatcher::Worker;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use http_body_util::Full;

use super::{
    Admission, Bound, BoundTally, Doors, Gate, Limits,
    admit::hops_told,
    body::{self, BodyError},
    host,
    problem::EventProblem,
    refusal::{self, DRAINING_RETRY, Refused},
    webhook,
};

pub(super) type Answer = Response<Full<Bytes>>;

/// The gates of all hubs by the path of their address; swapped whole when one comes or goes.
pub type Gates = HashMap<String, Gate>;

/// The statuses of refusals, each with its own place in [`IngressTally::refused`].
pub const REFUSAL_STATUSES: [u16; 10] = [400, 404, 405, 408, 413, 414, 415, 429, 431, 503];

/// What one worker's way in has seen for one hub, or before it knew which.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IngressTally {
    /// Events answered 202.
    pub accepted: u64,
    /// Requests refused, by status; see [`REFUSAL_STATUSES`].
    pub refused: [u64; REFUSAL_STATUSES.len()],
}

impl IngressTally {
    /// Adds what another worker has seen.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        for (sum, more) in self.refused.iter_mut().zip(other.refused) {
            *sum += more;
        }
    }
}

/// The way in of one worker.
#[derive(Debug)]
pub struct Ingress {
    worker: Rc<Worker>,
    limits: Limits,
    gates: RefCell<Cache<Arc<ArcSwap<Gates>>, Arc<Gates>>>,
    doors: Doors,
    draining: Arc<AtomicBool>,
    tallies: RefCell<HashMap<Hub, IngressTally>>,
    unrouted: RefCell<IngressTally>,
    bounds: Cell<BoundTally>,
}

/// Said where it is asked for, not with every event: a header map costs allocations.
pub(super) const ALLOWED: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// Where events go, for whoever sent them elsewhere.
const ADDRESSES: &str = "/namespace/broker or /channels/namespace/channel";

/// How long a 202 is held back while the worker is behind with deliveries. The event is stored and
/// on its way; it is the producer's next one that comes later.
const PRODUCER_PATIENCE: Duration = Duration::from_millis(100);

impl Ingress {
    /// The way in of `worker` to the hubs of `gates`. Once `draining` is set every event is refused.
    pub fn new(
        worker: Rc<Worker>,
        limits: Limits,
        gates: Arc<ArcSwap<Gates>>,
        doors: Doors,
        draining: Arc<AtomicBool>,
    ) -> Rc<Self> {
        let gates = RefCell::new(Cache::new(gates));
        Rc::new(Self {
            worker,
            limits,
            gates,
            doors,
            draining,
            tallies: RefCell::default(),
            unrouted: RefCell::default(),
            bounds: Cell::default(),
        })
    }

    /// The bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn doors(&self) -> &Doors {
        &self.doors
    }

    pub(super) fn worker_index(&self) -> usize {
        self.worker.index()
    }

    /// What was accepted and refused, by hub.
    pub fn tallies(&self) -> HashMap<Hub, IngressTally> {
        self.tallies.borrow().clone()
    }

    /// What was refused before a hub was known.
    pub fn unrouted(&self) -> IngressTally {
        self.unrouted.borrow().clone()
    }

    /// Forgets what was counted for a deleted hub.
    pub fn forget(&self, hub: &Hub) {
        self.tallies.borrow_mut().remove(hub);
    }

    /// How often each of the bounds was reached.
    pub fn bounds_reached(&self) -> BoundTally {
        self.bounds.get()
    }

    /// Answers a request: 202 once its events are stored, a problem document otherwise.
    pub async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        if request.uri().path().starts_with(webhook::PREFIX) {
            return self.webhook(request).await;
        }
        match *request.method() {
            Method::OPTIONS => consent(),
            Method::POST => self.post(request).await,
            _ => {
                let detail = "events are sent with POST";
                let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, detail);
                let mut response = self.refuse(None, refused);
                response.headers_mut().insert(header::ALLOW, ALLOWED);
                response
            }
        }
    }

    async fn post<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let gate = match self.gate(&request) {
            Ok(Gate::Open(gate)) => gate,
            Ok(Gate::Shut(shut)) => {
                return self.refuse(Some(&shut.hub), refusal::not_ready(&shut));
            }
            Err(refused) => return self.refuse(None, refused),
        };
        match self.take(&gate, request).await {
            Ok(count) => {
                self.tally(Some(gate.hub()), |tally| tally.accepted += count);
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
            Err(refused) => self.refuse(Some(gate.hub()), refused),
        }
    }

    /// The gate that the request's path names, or for the root its host: Knative gives each channel a
    /// host of its own.
    fn gate<B>(&self, request: &Request<B>) -> Result<Gate, Refused> {
        self.check_target(request)?;
        let path = request.uri().path();
        let key = path.strip_prefix('/').unwrap_or(path);
        let key = key.strip_suffix('/').unwrap_or(key);
        let by_host = if key.is_empty() { host::channel(request) } else { None };
        let key = by_host.as_deref().unwrap_or(key);
        let mut gates = self.gates.borrow_mut();
        gates.load().get(key).cloned().ok_or_else(|| {
            let detail = match &by_host {
                Some(channel) => format!("no channel at /{channel}, which the Host header names"),
                None => format!("no broker or channel at {path}; events go to {ADDRESSES}"),
            };
            Refused::new(StatusCode::NOT_FOUND, detail)
        })
    }

    /// The length of the target, and the host that it is sent to.
    pub(super) fn check_target<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        let length = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if length > self.limits.uri_bytes_max {
            let detail = format!("the target is longer than {} bytes", self.limits.uri_bytes_max);
            return Err(Refused::new(StatusCode::URI_TOO_LONG, detail).at(Bound::UriBytes));
        }
        match host_problem(request) {
            Some(detail) => Err(Refused::new(StatusCode::BAD_REQUEST, detail).naming("host")),
            None => Ok(()),
        }
    }

    async fn take<B>(&self, gate: &Arc<Admission>, request: Request<B>) -> Result<u64, Refused>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        self.check_open()?;
        let (head, body) = request.into_parts();
        self.check_head(&head.headers)?;
        binding::mode(&head.headers).map_err(refusal::undecodable)?;
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if declared > self.limits.body_bytes_max {
            return Err(refusal::unreadable(BodyError::TooLarge, &self.limits));
        }
        let channel = gate.channel();
        let mut charge = channel.reserve(declared).map_err(refusal::not_stored)?;
        let room = |bytes| channel.reserve(bytes);
        let body = body::read(body, &room, &mut charge, &self.limits)
            .await
            .map_err(|error| refusal::unreadable(error, &self.limits))?;
        let mut events = Batch::new();
        match binding::decode(&head.headers, body, &self.limits.event)
            .map_err(refusal::undecodable)?
        {
            Decoded::One(mut draft) => {
                draft.set_hops(hops_told(&head.headers));
                events.push(
                    gate.admit(draft, Some(charge)).map_err(|error| refusal::unadmitted(&error))?,
                );
            }
            Decoded::Many(drafts) => {
                drop(charge);
                events = admit_all(gate, drafts)?;
            }
        }
        let count = events.len() as u64;
        if count > 0 {
            // A body may take long, and the process may have been asked to end meanwhile.
            self.check_open()?;
            self.publish(gate, events).await?;
            self.worker.relieved(gate.hub(), PRODUCER_PATIENCE).await;
        }
        Ok(count)
    }

    async fn publish(&self, gate: &Admission, events: Batch) -> Result<(), Refused> {
        let mut publish = gate.publish(self.worker.index(), events);
        // A channel that stores at once needs no timer.
        let published = match futures_util::future::poll_immediate(&mut publish).await {
            Some(published) => published,
            None => {
                let patience = self.limits.publish_timeout;
                tokio::time::timeout(patience, publish).await.map_err(|_elapsed| {
                    let reason = "the channel did not answer in time".to_owned();
                    refusal::not_stored(PublishError::Unknown { reason }).at(Bound::PublishTime)
                })?
            }
        };
        published.map(|_position| ()).map_err(refusal::not_stored)
    }

    /// Once the process waits for the last events to reach their end, no other may come.
    pub(super) fn check_open(&self) -> Result<(), Refused> {
        if self.draining.load(Ordering::Acquire) {
            let refused =
                Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the broker is shutting down");
            return Err(refused.after(DRAINING_RETRY));
        }
        Ok(())
    }

    /// What hyper lets through: codings around the chunks, and over HTTP/2 any number of headers.
    pub(super) fn check_head(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let coding = codings.next();
        let is_plain =
            coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !is_plain || codings.next().is_some() {
            let refused = Refused::new(StatusCode::BAD_REQUEST, "must be chunked and nothing else");
            return Err(refused.naming("transfer-encoding").closing());
        }
        // hyper bounds what it has read, which on a kept connection is up to two heads.
        let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        if lines.sum::<usize>() > self.limits.head_bytes_max {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            let detail = format!("more than {} bytes of headers", self.limits.head_bytes_max);
            return Err(Refused::new(status, detail).at(Bound::HeadBytes));
        }
        if headers.len() > self.limits.headers_max {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            let detail = format!("more than {} headers", self.limits.headers_max);
            return Err(Refused::new(status, detail).at(Bound::Headers));
        }
        Ok(())
    }

    pub(super) fn refuse(&self, hub: Option<&Hub>, refused: Refused) -> Answer {
        let status = refused.status().as_u16();
        if let Some(bound) = refused.bound() {
            self.note(bound);
        }
        let place = REFUSAL_STATUSES.iter().position(|&each| each == status);
        self.tally(hub, |tally| {
            if let Some(count) = place.and_then(|place| tally.refused.get_mut(place)) {
                *count += 1;
            }
        });
        tracing::debug!(status, detail = refused.detail(), "refused a request");
        refused.into_response()
    }

    /// Counts a bound that was reached.
    pub(super) fn note(&self, bound: Bound) {
        let mut bounds = self.bounds.get();
        bounds.count(bound);
        self.bounds.set(bounds);
    }

    fn tally(&self, hub: Option<&Hub>, count: impl FnOnce(&mut IngressTally)) {
        let Some(hub) = hub else { return count(&mut self.unrouted.borrow_mut()) };
        let mut tallies = self.tallies.borrow_mut();
        match tallies.get_mut(hub) {
            Some(tally) => count(tally),
            None => count(tallies.entry(hub.clone()).or_default()),
        }
    }
}

/// The answer to a sender that asks whether it may deliver here (CloudEvents webhooks 1.0.2, 4.2).
fn consent() -> Answer {
    let mut response = Response::new(Full::default());
    let any = HeaderValue::from_static("*");
    response.headers_mut().insert("webhook-allowed-origin", any.clone());
    response.headers_mut().insert("webhook-allowed-rate", any);
    response.headers_mut().insert(header::ALLOW, ALLOWED);
    response
}

/// What is wrong with the host a request names (RFC 9112, 3.2).
fn host_problem<B>(request: &Request<B>) -> Option<&'static str> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let host = named.next();
    if named.next().is_some() {
        return Some("there must be one Host header, not several");
    }
    let Some(host) = host else {
        let is_needed = request.version() == Version::HTTP_11;
        return is_needed.then_some("the Host header is missing");
    };
    let authority = request.uri().authority()?;
    let is_same = authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes());
    (!is_same).then_some("the target's host differs from the Host header")
}

fn admit_all(gate: &Admission, drafts: Vec<Draft>) -> Result<Batch, Refused> {
    let mut events = Batch::with_capacity(drafts.len());
    let mut errors = Vec::new();
    for (index, draft) in drafts.into_iter().enumerate() {
        match gate.admit(draft, None) {
            Ok(event) => events.push(event),
            Err(Refusal::Invalid(invalid)) => errors.push(EventProblem {
                index,
                field: invalid.field.into_owned(),
                detail: invalid.rule.into_owned(),
            }),
            Err(error @ Refusal::Loop { .. }) => errors.push(EventProblem {
                index,
                field: "knativebrokerttl".to_owned(),
                detail: error.to_string(),
            }),
            Err(error) => return Err(refusal::unadmitted(&error)),
        }
    }
    if errors.is_empty() { Ok(events) } else { Err(refusal::batch(errors)) }
}
