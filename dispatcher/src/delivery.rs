//! One event, one subscriber: attempt after attempt until an end is reached.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use channel::{Draft, Event, PublishError, Refusal, binding};

use crate::{
    DeliveryPlan, Format, Replies, TriggerPlan,
    attempt::{ANSWER_BYTES_MAX, Attempt},
    dead_letter::Reason,
    http::{Answer, Client, Endpoint},
    lane::{End, Entry, Lane},
    outcome::{self, Outcome, Sent},
    reply,
};

/// Most of an answer's body that is read: a reply may be as large as an event.
const ANSWER_READ_MAX: usize = 1 << 20;

/// What the JSON form of most events adds to their bytes.
const JSON_EXTRA_BYTES: usize = 256;

/// How long an entry waits whose delivery panicked, so that a bug of ours cannot spin.
const PANIC_WAIT: Duration = Duration::from_secs(1);

/// Delivers `entry` and then whatever the lane gives next, so that no task is woken between two
/// events of a busy lane.
///
/// Dropping the future drops the entry in hand, whose event is lent again.
pub(crate) async fn run(lane: Rc<Lane>, entry: Entry) {
    let mut next = Some(entry);
    while let Some(entry) = next {
        let mut running = Running { lane: &lane, entry: Some(entry) };
        let end = running.deliver().await;
        next = running.conclude(end);
    }
}

/// An entry under way; gives it back to the lane when the delivery panics.
struct Running<'a> {
    lane: &'a Rc<Lane>,
    entry: Option<Entry>,
}

impl Running<'_> {
    async fn deliver(&mut self) -> End {
        let Some(entry) = &mut self.entry else { return End::Again(PANIC_WAIT) };
        deliver(self.lane, entry).await
    }

    fn conclude(mut self, end: End) -> Option<Entry> {
        self.lane.conclude(self.entry.take()?, end)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let Some(mut entry) = self.entry.take() else { return };
        entry.withdraw();
        entry.attempts += 1;
        let is_last = entry.attempts >= self.lane.trigger().plan.delivery.attempts_max.get();
        let end = if is_last {
            End::Dead(Reason::Exhausted, Some("the delivery panicked".to_owned()))
        } else {
            End::Again(PANIC_WAIT)
        };
        if let Some(next) = self.lane.conclude(entry, end) {
            self.lane.spawn(next);
        }
    }
}

async fn deliver(lane: &Rc<Lane>, entry: &mut Entry) -> End {
    let plan = Arc::clone(&lane.trigger().plan);
    let started = Instant::now();
    let (client, headers) = (&lane.worker.client, &*plan.request_headers);
    let sent = send(client, &plan.subscriber, headers, &entry.event, &plan.delivery).await;
    let took = started.elapsed();
    let outcome = outcome::outcome(&sent, SystemTime::now());
    let failed = match outcome {
        Outcome::Done | Outcome::MayReply => None,
        Outcome::Again { .. } | Outcome::Refused => Some(describe(&sent, took)),
    };
    if let Some(attempt) = &failed {
        tracing::debug!(
            trigger = %plan.name,
            cloudevents.event_id = entry.event.id(),
            cloudevents.event_source = entry.event.source(),
            attempt = entry.attempts + 1,
            status = attempt.status,
            error = attempt.error,
            "the subscriber did not take an event"
        );
    }
    lane.note_attempt(entry, &sent, took, failed);
    match (outcome, sent) {
        (Outcome::MayReply, Ok(answer)) => pass_on(lane, &plan, entry, &answer).await,
        (Outcome::Done | Outcome::MayReply, _) => End::Delivered,
        (Outcome::Refused, _) => End::Dead(Reason::Refused, None),
        (Outcome::Again { retry_after }, _) => again(&plan, entry, retry_after),
    }
}

/// Takes a reply as an event, and says what its fate means for the event that it answers.
async fn pass_on(lane: &Rc<Lane>, plan: &TriggerPlan, entry: &mut Entry, answer: &Answer) -> End {
    if matches!(plan.replies, Replies::Discarded) {
        return End::Delivered;
    }
    let mut draft = match reply::read(answer) {
        None => return End::Delivered,
        Some(Err(problem)) => return End::Dead(Reason::Reply, Some(problem)),
        Some(Ok(draft)) => draft,
    };
    draft.set_hops(entry.event.hops());
    match &plan.replies {
        Replies::Hub => bring_back(lane, plan, entry, draft).await,
        Replies::To(receiver) => forward(lane, plan, entry, receiver, draft).await,
        Replies::Discarded => End::Delivered,
    }
}

/// Puts a reply into the hub that its event came from.
async fn bring_back(lane: &Rc<Lane>, plan: &TriggerPlan, entry: &Entry, draft: Draft) -> End {
    match lane.fanout.replies.put(lane.worker.index, draft).await {
        Ok(()) => {
            lane.note_reply();
            End::Delivered
        }
        Err(refusal @ Refusal::Loop { .. }) => End::Dead(Reason::Loop, Some(refusal.to_string())),
        Err(Refusal::NotStored(PublishError::Full { retry_after, .. })) => {
            again(plan, entry, Some(retry_after))
        }
        Err(Refusal::NotStored(PublishError::Down { .. } | PublishError::Unknown { .. })) => {
            again(plan, entry, None)
        }
        Err(refusal) => End::Dead(Reason::Reply, Some(format!("reply refused: {refusal}"))),
    }
}

/// Sends a reply on. What is not taken there is tried again from the beginning, the subscriber
/// included: the specification has one delivery, of which the reply is a part.
async fn forward(
    lane: &Rc<Lane>,
    plan: &TriggerPlan,
    entry: &mut Entry,
    receiver: &Arc<Endpoint>,
    mut draft: Draft,
) -> End {
    draft.carry_hops();
    let event = match draft.finish() {
        Ok(event) => event,
        Err(invalid) => return End::Dead(Reason::Reply, Some(format!("reply refused: {invalid}"))),
    };
    let namespace = format!("kn-namespace: {}\r\n", plan.name.namespace);
    let started = Instant::now();
    let client = &lane.worker.client;
    let sent = send(client, receiver, namespace.as_bytes(), &event, &plan.delivery).await;
    let outcome = outcome::outcome(&sent, SystemTime::now());
    if let Outcome::Done | Outcome::MayReply = outcome {
        lane.note_reply();
        return End::Delivered;
    }
    let attempt = describe(&sent, started.elapsed());
    tracing::debug!(
        trigger = %plan.name,
        cloudevents.event_id = event.id(),
        receiver = receiver.url(),
        status = attempt.status,
        error = attempt.error,
        "the receiver did not take a reply"
    );
    lane.note_refused_reply(entry, attempt);
    let wait = match outcome {
        Outcome::Again { retry_after } => {
            plan.delivery.wait_after(entry.attempts, retry_after, fastrand::f64())
        }
        Outcome::Refused | Outcome::Done | Outcome::MayReply => None,
    };
    let refused =
        || End::Dead(Reason::Reply, Some(format!("reply not taken by {}", receiver.url())));
    wait.map_or_else(refused, End::Again)
}

fn again(plan: &TriggerPlan, entry: &Entry, retry_after: Option<Duration>) -> End {
    let wait = plan.delivery.wait_after(entry.attempts, retry_after, fastrand::f64());
    wait.map_or(End::Dead(Reason::Exhausted, None), End::Again)
}

/// Sends an event in the form that `delivery` asks for, with header lines of the caller's.
async fn send(
    client: &Client,
    endpoint: &Arc<Endpoint>,
    headers: &[u8],
    event: &Event,
    delivery: &DeliveryPlan,
) -> Sent {
    match delivery.format {
        None | Some(Format::Binary) => {
            let body = event.data().map_or(&[][..], |data| &data.bytes);
            let head = [headers, event.http_head(), b"\r\n"];
            post(client, endpoint, &head, body, delivery.timeout).await
        }
        Some(Format::Json) => {
            let mut body = Vec::with_capacity(event.size() + JSON_EXTRA_BYTES);
            binding::json::write(event, &mut body);
            let head = binding::http::structured_head(event, body.len());
            let head = [headers, &head, b"\r\n"];
            post(client, endpoint, &head, &body, delivery.timeout).await
        }
    }
}

/// One request, within `timeout` from its first step to the last byte of the answer.
pub(crate) async fn post(
    client: &Client,
    endpoint: &Arc<Endpoint>,
    head: &[&[u8]],
    body: &[u8],
    timeout: Duration,
) -> Sent {
    let deadline = tokio::time::Instant::now() + timeout;
    client.send(endpoint, head, body, deadline, ANSWER_READ_MAX).await
}

/// What is kept about an attempt that failed.
pub(crate) fn describe(sent: &Sent, took: Duration) -> Attempt {
    let now = SystemTime::now();
    let at = now.checked_sub(took).unwrap_or(now);
    match sent {
        Ok(answer) => {
            let kept = answer.body.len().min(ANSWER_BYTES_MAX);
            Attempt {
                at,
                took,
                status: Some(answer.status),
                error: None,
                // Its own copy: a slice would keep the whole answer in memory.
                answer: answer.body.get(..kept).map(<[u8]>::to_vec).unwrap_or_default().into(),
                answer_truncated: answer.truncated || kept < answer.body.len(),
            }
        }
        Err(error) => Attempt {
            at,
            took,
            status: None,
            error: Some(error.to_string()),
            answer: bytes::Bytes::new(),
            answer_truncated: false,
        },
    }
}
