//! Dead letters as the API shows them.

use std::time::SystemTime;

use channel::{Attributes as _, Event, HubKind, Name, binding::json};
use dispatcher::{Attempt, DeadLetter, DeadLetters, SinkState};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Id;

/// A dead letter in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(super) struct LetterView {
    #[serde(flatten)]
    facts: Facts,
    event: EventView,
}

/// A dead letter with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WholeDeadLetter)]
pub(crate) struct WholeLetterView {
    #[serde(flatten)]
    facts: Facts,
    /// The event in the CloudEvents JSON format.
    #[schema(value_type = Object)]
    event: Box<RawValue>,
    /// What was tried, oldest first: of very many attempts the first and the last ones.
    attempt_log: Vec<AttemptView>,
}

/// What lists and single dead letters have in common.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetterFacts)]
struct Facts {
    /// Never given twice by this process.
    id: String,
    /// The broker that accepted the event, as `namespace/name`; null when a channel did.
    broker: Option<String>,
    /// The trigger that wanted it, as `namespace/name`; null when a subscription did.
    trigger: Option<String>,
    /// The channel that accepted the event, as `namespace/name`; null when a broker did.
    channel: Option<String>,
    /// The subscription that wanted it, as `namespace/name`; null when a trigger did.
    subscription: Option<String>,
    /// Where it should have gone.
    destination: String,
    /// Why it did not.
    #[schema(examples("exhausted", "refused", "aged", "overflow", "loop", "reply"))]
    reason: &'static str,
    /// When that was decided, in RFC 3339.
    failed_at: String,
    /// Attempts made.
    attempts: u32,
    /// Status of the last answer, when the last attempt got one.
    last_status: Option<u16>,
    /// What went wrong, when the status does not say it.
    last_error: Option<String>,
    /// What became of it at the dead letter sink, when there is one.
    sink: Option<SinkView>,
}

/// What identifies an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventBrief)]
struct EventView {
    id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

/// A dead letter's way to the dead letter sink.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterSink)]
struct SinkView {
    url: String,
    #[schema(examples("pending", "delivered", "refused"))]
    status: &'static str,
    /// Attempts made.
    attempts: u32,
}

/// One attempt that did not succeed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt)]
pub(super) struct AttemptView {
    /// When it began, in RFC 3339.
    at: String,
    /// How long it took, in milliseconds.
    duration_ms: u64,
    /// Status of the answer, when there was one.
    status: Option<u16>,
    /// What went wrong otherwise.
    error: Option<String>,
    /// The beginning of the answer's body, at most 1 KiB, bytes that are no UTF-8 replaced.
    answer: Option<String>,
    /// Whether the answer was longer than what is kept.
    answer_truncated: bool,
}

impl LetterView {
    /// Describes a letter that `store` keeps.
    pub(super) fn of(letter: &DeadLetter, store: &DeadLetters) -> Self {
        Self { facts: Facts::of(letter, store), event: EventView::of(&letter.event) }
    }

    /// Its id.
    pub(super) fn id(&self) -> &str {
        &self.facts.id
    }
}

impl WholeLetterView {
    /// Describes a letter that `store` keeps.
    pub(super) fn of(letter: &DeadLetter, store: &DeadLetters) -> Self {
        Self {
            facts: Facts::of(letter, store),
            event: whole(&letter.event),
            attempt_log: letter.attempts.kept().iter().map(AttemptView::of).collect(),
        }
    }
}

impl Facts {
    fn of(letter: &DeadLetter, store: &DeadLetters) -> Self {
        let id = Id { hub: letter.hub.clone(), number: letter.id };
        let of = |kind, name: &Name| (letter.hub.kind == kind).then(|| name.to_string());
        let last = letter.attempts.last();
        let error = letter.detail.as_ref().or(last.and_then(|attempt| attempt.error.as_ref()));
        let sink = store.sink_state(letter.id).or_else(|| letter.sink.clone());
        Self {
            id: id.to_string(),
            broker: of(HubKind::Broker, &letter.hub.name),
            trigger: of(HubKind::Broker, &letter.trigger),
            channel: of(HubKind::Channel, &letter.hub.name),
            subscription: of(HubKind::Channel, &letter.trigger),
            destination: letter.destination.clone(),
            reason: letter.reason.as_str(),
            failed_at: text(letter.failed_at),
            attempts: letter.attempts.made(),
            last_status: last.and_then(|attempt| attempt.status),
            last_error: error.cloned(),
            sink: sink.map(SinkView::of),
        }
    }
}

impl EventView {
    fn of(event: &Event) -> Self {
        Self {
            id: event.id().to_owned(),
            source: event.source().to_owned(),
            ty: event.ty().to_owned(),
            subject: event.attribute("subject").map(str::to_owned),
            time: event.attribute("time").map(str::to_owned),
        }
    }
}

impl SinkView {
    fn of(sink: SinkState) -> Self {
        Self { url: sink.url, status: sink.status.as_str(), attempts: sink.attempts }
    }
}

impl AttemptView {
    pub(super) fn of(attempt: &Attempt) -> Self {
        let answer = String::from_utf8_lossy(&attempt.answer).into_owned();
        Self {
            at: text(attempt.at),
            duration_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            status: attempt.status,
            error: attempt.error.clone(),
            // An answer without a body is an answer; no answer is none.
            answer: attempt.status.map(|_| answer),
            answer_truncated: attempt.answer_truncated,
        }
    }
}

/// To the millisecond, as storage keeps it: the same before a restart and after.
fn text(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time).to_string()
}

/// The event in the JSON format; `null` if that were no JSON, which the format's writer excludes.
fn whole(event: &Event) -> Box<RawValue> {
    let mut bytes = Vec::new();
    json::write(event, &mut bytes);
    let raw = String::from_utf8(bytes).ok().and_then(|text| RawValue::from_string(text).ok());
    raw.unwrap_or_else(|| RawValue::NULL.to_owned())
}
