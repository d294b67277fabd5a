//! What the server sends to a consumer -> an event, or what it says about the requests.

use std::time::SystemTime;

use async_nats::{HeaderMap, StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    Beside, Charge, Draft, Envelope,
    binding::{self, Limits},
    nats::desk::Ready,
};

/// The header that an event which waits has beside those of the binding.
pub(super) const ENVELOPE: &str = "catchment-envelope";

/// What a message says that holds no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The server is there.
    Alive,
    /// A request is over, with so many messages left of it.
    Over(usize),
    /// No request is known any more: the consumer is to be looked at.
    Lost(String),
}

/// Reads a message with a status, as the server answers requests of a pull consumer (ADR-13).
pub(super) fn notice(
    status: StatusCode,
    description: Option<&str>,
    headers: Option<&HeaderMap>,
) -> Notice {
    let left = || -> Option<usize> { headers?.get("Nats-Pending-Messages")?.as_str().parse().ok() };
    let description = description.unwrap_or_default();
    match status {
        StatusCode::IDLE_HEARTBEAT => Notice::Alive,
        StatusCode::TIMEOUT | StatusCode::NOT_FOUND => Notice::Over(left().unwrap_or_default()),
        StatusCode::REQUEST_TERMINATED if is_over(description) => {
            Notice::Over(left().unwrap_or_default())
        }
        status => Notice::Lost(format!("{status} {description}")),
    }
}

fn is_over(description: &str) -> bool {
    let description = description.to_ascii_lowercase();
    ["batch completed", "message size exceeds maxbytes"]
        .iter()
        .any(|over| description.starts_with(over))
}

/// What an acknowledgement's address tells of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How often the message was sent, this time included. A hint.
    pub(super) delivered: u64,
    /// Its place in the stream.
    pub(super) sequence: u64,
}

/// Reads the address of an acknowledgement, in both of its forms (ADR-15).
pub(super) fn place(reply: &str) -> Option<Place> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let skipped = match tokens.len() {
        // stream, consumer, delivered, sequence, ...
        7 => 2,
        // domain, account, stream, consumer, delivered, sequence, ...
        9.. => 4,
        _ => return None,
    };
    let number = |at: usize| tokens.get(at).and_then(|token| token.parse().ok());
    Some(Place { delivered: number(skipped)?, sequence: number(skipped + 1)? })
}

/// An event that was found in a stream, still to be charged for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) draft: Draft,
    beside: Option<Beside>,
    redelivered: bool,
    due_at: SystemTime,
}

impl Found {
    /// Reads a message of a log. What is no event becomes one that carries the bytes.
    pub(super) fn of_log(
        headers: Option<&HeaderMap>,
        payload: Bytes,
        stream: &str,
        place: Place,
    ) -> Self {
        let (draft, problem) = read(headers, payload, stream, place);
        Self {
            draft,
            beside: problem.map(|problem| Beside::Problem(problem.into())),
            redelivered: place.delivered > 1,
            due_at: SystemTime::UNIX_EPOCH,
        }
    }

    /// Reads a message of an overflow. `amended` is what the envelope became since it was written.
    pub(super) fn of_overflow(
        headers: Option<&HeaderMap>,
        payload: Bytes,
        stream: &str,
        place: Place,
        (amended, now): (Option<Envelope>, SystemTime),
    ) -> Self {
        let (draft, _) = read(headers, payload, stream, place);
        let written = || {
            let text = headers?.get(ENVELOPE)?.as_str();
            Envelope::decode(STANDARD.decode(text).ok()?.into())
        };
        // Without one, another client wrote it: it may be delivered at once, as if for the first time.
        let history = Bytes::new;
        let envelope = amended.or_else(written).map_or_else(
            || Envelope {
                attempts: 0,
                first_at: now,
                put_at: now,
                due_at: now,
                history: history(),
            },
            |envelope| envelope.found_at(now),
        );
        Self {
            draft,
            due_at: envelope.due_at,
            beside: Some(Beside::Envelope(Box::new(envelope))),
            redelivered: place.delivered > 1,
        }
    }

    /// The event, paid for. `None` only if a binding let an event through that is none.
    pub(super) fn finish(mut self, charge: Charge) -> Option<Ready> {
        self.draft.set_charge(charge);
        let event = self.draft.finish().ok()?;
        let Self { beside, redelivered, due_at, .. } = self;
        Some(Ready { event, beside, redelivered, due_at })
    }
}

fn read(
    headers: Option<&HeaderMap>,
    payload: Bytes,
    stream: &str,
    place: Place,
) -> (Draft, Option<String>) {
    match binding::nats::decode(headers, payload.clone(), &Limits::default()) {
        Ok(draft) => (draft, None),
        Err(error) => (undecodable(stream, place.sequence, payload), Some(error.to_string())),
    }
}

fn undecodable(stream: &str, sequence: u64, payload: Bytes) -> Draft {
    binding::undecodable(&format!("/nats/{stream}"), &sequence.to_string(), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_address_are_read() {
        for (reply, expected) in [
            ("$JS.ACK.S.C.2.17.30.1700000000000000000.5", Some((2, 17))),
            ("$JS.ACK._.hash.S.C.1.18.31.1700000000000000000.5", Some((1, 18))),
            ("$JS.ACK.hub.hash.S.C.1.18.31.1700000000000000000.5.token", Some((1, 18))),
            ("$JS.ACK.S.C.2", None),
            ("$JS.ACK.S.C.x.17.30.1.5", None),
            ("_INBOX.a.b", None),
        ] {
            let found = place(reply).map(|place| (place.delivered, place.sequence));
            assert_eq!(found, expected, "{reply}");
        }
    }

    #[test]
    fn a_request_that_ends_says_what_is_left_of_it() {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Pending-Messages", "7");
        for (status, description, expected) in [
            (StatusCode::IDLE_HEARTBEAT, "Idle Heartbeat", Notice::Alive),
            (StatusCode::TIMEOUT, "Request Timeout", Notice::Over(7)),
            (StatusCode::REQUEST_TERMINATED, "Message Size Exceeds MaxBytes", Notice::Over(7)),
            (
                StatusCode::REQUEST_TERMINATED,
                "Consumer Deleted",
                Notice::Lost("409 Consumer Deleted".into()),
            ),
        ] {
            assert_eq!(notice(status, Some(description), Some(&headers)), expected);
        }
        assert_eq!(notice(StatusCode::TIMEOUT, None, None), Notice::Over(0));
        assert!(matches!(notice(StatusCode::NO_RESPONDERS, None, None), Notice::Lost(_)));
    }

    #[test]
    fn what_waits_without_an_envelope_waits_no_longer() {
        let place = Place { delivered: 1, sequence: 3 };
        let now = crate::clock::now();
        let found = Found::of_overflow(None, "garbage".into(), "S", place, (None, now));
        assert_eq!(found.due_at, now);
        let charge = crate::Budget::new(10_000).try_charge(found.draft.cost()).unwrap();
        let ready = found.finish(charge).unwrap();
        assert_eq!(ready.event.ty(), binding::UNDECODABLE);
        assert!(matches!(ready.beside, Some(Beside::Envelope(e)) if e.attempts == 0));
    }
}
