//! Dead letter <-> bytes, for the ledger that keeps it.
//!
//! ```text
//! length of the facts 4, little-endian | facts, JSON | event, a record
//! ```

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, BufMut, Bytes};
use channel::{Budget, Hub, HubKind, Name, record};
use serde::{Deserialize, Serialize};

use super::{DeadLetter, Reason, SinkState, SinkStatus};
use crate::{TriggerKey, history::History};

/// Keys of dead letters in a ledger begin with this.
pub(super) const PREFIX: &str = "dead/";

/// Most bytes of the attempts, so that the largest event fits with them.
const HISTORY_BYTES_MAX: usize = 32 << 10;

#[derive(Debug, Deserialize, Serialize)]
struct Facts {
    /// The name of the hub.
    broker: (String, String),
    /// Whether the hub is a channel; of a broker nothing is written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_channel: bool,
    trigger: (String, String),
    destination: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Microseconds since 1970.
    failed_at: u64,
    history: Box<serde_json::value::RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<Sink>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Sink {
    url: String,
    status: String,
    attempts: u32,
}

/// The key of the letter of that id: numbers of one length, so that a listing is in order.
pub(super) fn key(id: u64) -> String {
    format!("{PREFIX}{id:020}")
}

/// The id in a key that [`key`] made.
pub(super) fn id(key: &str) -> Option<u64> {
    key.strip_prefix(PREFIX)?.parse().ok()
}

/// The bytes of `letter`, whose way to the sink stands at `sink`.
pub(super) fn encode(letter: &DeadLetter, sink: Option<&SinkState>) -> Bytes {
    let history = History::of(&letter.attempts).encode(HISTORY_BYTES_MAX);
    let history = String::from_utf8(history).unwrap_or_default();
    let facts = Facts {
        broker: parts(&letter.hub.name),
        is_channel: letter.hub.kind == HubKind::Channel,
        trigger: parts(&letter.trigger),
        destination: letter.destination.clone(),
        reason: letter.reason.as_str().to_owned(),
        detail: letter.detail.clone(),
        failed_at: micros(letter.failed_at),
        history: serde_json::value::RawValue::from_string(history)
            .unwrap_or_else(|_| serde_json::value::RawValue::NULL.to_owned()),
        sink: sink.map(|sink| Sink {
            url: sink.url.clone(),
            status: sink.status.as_str().to_owned(),
            attempts: sink.attempts,
        }),
    };
    let facts = serde_json::to_vec(&facts).unwrap_or_default();
    let mut bytes = Vec::with_capacity(4 + facts.len() + letter.event.cost());
    bytes.put_u32_le(u32::try_from(facts.len()).unwrap_or(u32::MAX));
    bytes.put_slice(&facts);
    record::encode(&letter.event, &mut bytes);
    bytes.into()
}

/// The letter that [`encode`] wrote, its memory charged to `budget` while there is room; or `None`.
pub(super) fn decode(
    id: u64,
    key: impl FnOnce(&Name) -> TriggerKey,
    mut bytes: Bytes,
    budget: &Arc<Budget>,
) -> Option<DeadLetter> {
    let facts_len = (bytes.len() >= 4).then(|| bytes.get_u32_le())?;
    let facts_len = usize::try_from(facts_len).ok().filter(|&len| len <= bytes.len())?;
    let facts: Facts = serde_json::from_slice(&bytes.split_to(facts_len)).ok()?;
    // Its own copy: a slice would keep what the backend read around it in memory.
    let mut draft = record::decode(Bytes::copy_from_slice(&bytes)).ok()?;
    if let Some(charge) = budget.try_charge(draft.cost()) {
        draft.set_charge(charge);
    }
    let trigger = Name::new(facts.trigger.0, facts.trigger.1);
    Some(DeadLetter {
        id,
        hub: Hub {
            kind: if facts.is_channel { HubKind::Channel } else { HubKind::Broker },
            name: Name::new(facts.broker.0, facts.broker.1),
        },
        key: key(&trigger),
        trigger,
        destination: facts.destination,
        reason: Reason::parse(&facts.reason)?,
        detail: facts.detail,
        failed_at: UNIX_EPOCH + Duration::from_micros(facts.failed_at),
        attempts: History::decode(facts.history.get().as_bytes()).restore(budget),
        event: draft.finish().ok()?,
        sink: facts.sink.and_then(|sink| {
            let status = SinkStatus::parse(&sink.status)?;
            Some(SinkState { url: sink.url, status, attempts: sink.attempts })
        }),
    })
}

fn parts(name: &Name) -> (String, String) {
    (name.namespace.clone(), name.name.clone())
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use channel::{Attributes as _, Data, Draft, SpecVersion};

    use super::*;
    use crate::attempt::{Attempt, AttemptLog};

    #[test]
    fn a_letter_comes_back_with_everything_that_is_known_of_it() {
        let budget = Budget::new(1 << 20);
        let mut draft = Draft::new(SpecVersion::V10);
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t"), ("subject", "a%20b")] {
            draft.push_wire(name, value.as_bytes()).unwrap();
        }
        draft.set_data(Some(Data::opaque(Bytes::from_static(b"\x00\xff"))));
        let mut attempts = AttemptLog::default();
        let attempt = Attempt {
            at: UNIX_EPOCH + Duration::from_secs(5),
            took: Duration::from_millis(7),
            status: Some(503),
            error: None,
            answer: Bytes::from_static(b"busy"),
            answer_truncated: true,
        };
        attempts.push(attempt, &budget);
        let status = SinkStatus::Pending;
        let letter = DeadLetter {
            id: 7,
            hub: Hub::channel(Name::new("n", "b")),
            trigger: Name::new("n", "t"),
            key: TriggerKey(3),
            destination: "http://x/".to_owned(),
            reason: Reason::Exhausted,
            detail: Some("in words".to_owned()),
            failed_at: UNIX_EPOCH + Duration::from_micros(1_234_567),
            attempts,
            event: draft.finish().unwrap(),
            sink: Some(SinkState { url: "http://y/".to_owned(), status, attempts: 2 }),
        };
        let bytes = encode(&letter, letter.sink.as_ref());
        let back = decode(7, |_| TriggerKey(3), bytes.clone(), &budget).unwrap();
        assert_eq!(format!("{back:?}"), format!("{letter:?}"));
        assert_eq!(back.event.attribute("subject"), Some("a b"));
        assert_eq!(back.event.data(), letter.event.data());
        for cut in 0..bytes.len().min(200) {
            drop(decode(7, |_| TriggerKey(3), bytes.slice(..cut), &budget));
        }
        assert_eq!(id(&key(u64::MAX)), Some(u64::MAX));
        assert_eq!(id("paused/x"), None);
    }
}
