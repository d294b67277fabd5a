//! Events on their way into a stream, and what the server's answers mean.

use std::{
    error::Error as _,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{
        self, ErrorCode,
        context::{PublishAckFuture, PublishError as Failed, PublishErrorKind},
        message::PublishMessage,
        publish::PublishAck,
    },
};
use bytes::Bytes;
use smallvec::SmallVec;
use tokio::task::unconstrained;

use crate::{Event, Position, PublishError, Published, nats::source::Source};

/// The bounds, by their names in the configuration.
pub(super) const BYTES_MAX: &str = "spec.stream.config.maxBytes";
pub(super) const MESSAGES_MAX: &str = "spec.stream.config.maxMsgs";
pub(super) const MESSAGE_BYTES_MAX: &str = "spec.stream.config.maxMsgSize";
pub(super) const STORAGE: &str = "nats.storage";
pub(super) const WINDOW_MAX: &str = "nats.publishWindowMax";
pub(super) const MEMORY_MAX: &str = "nats.bytesMax";
const BOUNDS: [&str; 6] =
    [BYTES_MAX, MESSAGES_MAX, MESSAGE_BYTES_MAX, STORAGE, WINDOW_MAX, MEMORY_MAX];

/// When another try makes sense after a bound was reached: settled events are purged by then.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What a message may have beyond the bytes of its event: names of our own headers, and an envelope
/// or, in the ledger, 64 KiB more than the largest event.
pub(super) const HEADROOM: usize = (64 << 10) + (8 << 10);

/// How often something happened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    bounds: [AtomicU64; BOUNDS.len()],
    pub(super) duplicates: AtomicU64,
}

impl Counts {
    pub(super) fn count(&self, bound: &str) {
        let place = BOUNDS.iter().position(|&each| each == bound);
        if let Some(count) = place.and_then(|place| self.bounds.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a bound that was reached, and says so.
    pub(super) fn full(&self, bound: &'static str) -> PublishError {
        self.count(bound);
        PublishError::Full { bound, retry_after: RETRY_AFTER.mul_f64(0.8 + 0.4 * fastrand::f64()) }
    }

    pub(super) fn bounds(&self) -> Vec<(&'static str, u64)> {
        let counts = self.bounds.iter().map(|count| count.load(Ordering::Relaxed));
        BOUNDS.into_iter().zip(counts).collect()
    }
}

/// What a failed publish means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Full(&'static str),
    TooLarge,
    Down(String),
    Unknown(String),
}

/// Reads the client's error. Only what surely was not stored is down; the rest is unknown.
pub(super) fn meaning(failed: &Failed) -> Meaning {
    let told = failed.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
    match (failed.kind(), told) {
        (PublishErrorKind::StreamNotFound, _) => Meaning::Down(
            "no stream takes the event: is JetStream up, and the stream there?".into(),
        ),
        (PublishErrorKind::MaxAckPending, _) => Meaning::Full(WINDOW_MAX),
        (PublishErrorKind::MaxPayloadExceeded, _) => Meaning::TooLarge,
        (_, Some(error)) => refused(error.error_code(), &error.to_string()),
        (kind, None) => Meaning::Unknown(kind.to_string()),
    }
}

/// Reads the server's refusal. Nothing was stored.
fn refused(code: ErrorCode, text: &str) -> Meaning {
    match code {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => Meaning::TooLarge,
        ErrorCode::STREAM_STORE_FAILED if text.contains("maximum bytes") => {
            Meaning::Full(BYTES_MAX)
        }
        ErrorCode::STREAM_STORE_FAILED if text.contains("maximum messages") => {
            Meaning::Full(MESSAGES_MAX)
        }
        ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => Meaning::Full(STORAGE),
        _ => Meaning::Down(text.to_owned()),
    }
}

/// An event as a message.
pub(super) struct Outgoing {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
    /// Bytes of the event.
    pub(super) size: usize,
}

impl Outgoing {
    pub(super) fn new(subject: String, event: &Event, id: String) -> Self {
        let (mut headers, payload) = crate::binding::nats::encode(event);
        if let Ok(id) = id.parse::<async_nats::HeaderValue>() {
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        }
        Self { subject, headers, payload, size: event.size() }
    }
}

/// A message that the client has, or will soon.
pub(super) struct Sending {
    work: Pin<Box<dyn Future<Output = Result<PublishAckFuture, Failed>> + Send>>,
    done: Option<Result<PublishAckFuture, Failed>>,
    size: usize,
}

impl Sending {
    /// Gives a message to the client at once if it has room, so that messages of one caller stay in
    /// the order of its calls, whichever it waits for first. To be called within a runtime.
    pub(super) fn start(to: &jetstream::Context, message: Outgoing) -> Self {
        let to = to.clone();
        let Outgoing { subject, headers, payload, size } = message;
        let message = PublishMessage::build().headers(headers).payload(payload);
        // A caller that publishes much at once would otherwise be made to wait between two messages,
        // and a later one could pass an earlier one.
        let work = unconstrained(async move { to.send_publish(subject, message).await });
        let mut sending = Self { work: Box::pin(work), done: None, size };
        let mut now = Context::from_waker(Waker::noop());
        if let Poll::Ready(done) = sending.work.as_mut().poll(&mut now) {
            sending.done = Some(done);
        }
        sending
    }

    async fn ack(self) -> Result<(PublishAck, usize), Failed> {
        let sent = match self.done {
            Some(done) => done,
            None => self.work.await,
        };
        sent?.await.map(|ack| (ack, self.size))
    }
}

/// Counts a publish as on its way until it is dropped.
struct OnItsWay(Arc<Source>);

impl OnItsWay {
    fn new(source: &Arc<Source>) -> Self {
        source.gauge.publishing(1);
        Self(Arc::clone(source))
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.gauge.publishing(-1);
    }
}

/// Waits for the receipts of messages that were sent together. Every receipt is awaited. When some
/// are stored and others are not, the outcome is unknown.
///
/// The future counts what is stored into `source`; it does nothing until it is polled.
pub(super) fn receipts(
    sent: SmallVec<[Sending; 1]>,
    source: &Arc<Source>,
    counts: &Arc<Counts>,
    limit: usize,
) -> impl Future<Output = Published> + Send + 'static {
    let (on_its_way, counts) = (OnItsWay::new(source), Arc::clone(counts));
    async move {
        let (mut last, mut failed, mut size_max) = (None, None, 0);
        for sending in sent {
            size_max = size_max.max(sending.size);
            match sending.ack().await {
                Ok((ack, size)) => {
                    last = Some(Position(ack.sequence));
                    if ack.duplicate {
                        counts.duplicates.fetch_add(1, Ordering::Relaxed);
                    } else {
                        on_its_way.0.gauge.add(1, size);
                    }
                }
                Err(error) => failed = failed.or(Some(meaning(&error))),
            }
        }
        match (last, failed) {
            (Some(last), None) => Ok(last),
            (None, None) => Err(PublishError::Down { reason: "nothing to store".into() }),
            (Some(_), Some(_)) => {
                Err(PublishError::Unknown { reason: "only a part of a batch was stored".into() })
            }
            (None, Some(Meaning::Full(bound))) => Err(counts.full(bound)),
            (None, Some(Meaning::TooLarge)) => {
                counts.count(MESSAGE_BYTES_MAX);
                Err(PublishError::TooLarge { size: size_max, limit })
            }
            (None, Some(Meaning::Down(reason))) => Err(PublishError::Down { reason }),
            (None, Some(Meaning::Unknown(reason))) => Err(PublishError::Unknown { reason }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_surely_not_stored_is_down() {
        for (kind, expected) in [
            (PublishErrorKind::TimedOut, "unknown"),
            (PublishErrorKind::BrokenPipe, "unknown"),
            (PublishErrorKind::Other, "unknown"),
            (PublishErrorKind::StreamNotFound, "down"),
            (PublishErrorKind::MaxAckPending, "full"),
            (PublishErrorKind::MaxPayloadExceeded, "large"),
        ] {
            let meant = match meaning(&Failed::new(kind)) {
                Meaning::Full(_) => "full",
                Meaning::TooLarge => "large",
                Meaning::Down(_) => "down",
                Meaning::Unknown(_) => "unknown",
            };
            assert_eq!(meant, expected, "{kind:?}");
        }
    }

    #[test]
    fn a_refusal_of_the_server_is_read_by_its_code() {
        for (code, text, expected) in [
            (10077, "maximum bytes exceeded", Meaning::Full(BYTES_MAX)),
            (10077, "maximum messages exceeded", Meaning::Full(MESSAGES_MAX)),
            (10077, "disk broken", Meaning::Down("disk broken".into())),
            (10047, "insufficient storage", Meaning::Full(STORAGE)),
            (10054, "message size exceeds maximum allowed", Meaning::TooLarge),
        ] {
            assert_eq!(refused(ErrorCode(code), text), expected);
        }
    }
}
