//! What an event would meet: which triggers want it and why, and what would become of it there.
//!
//! `catchment explain` and `POST /api/v1/explain` give the same answer, one from manifests and one
//! from what runs.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | triggers of an answer | [`TRIGGERS_MAX`] | those that want the event come first, the rest is counted |
//! | bytes of trees in an answer | [`TREES_BYTES_MAX`] | further triggers have no tree |

mod delivery;
#[cfg(test)]
mod tests;
mod text;

use channel::{Event, Name};
use dispatcher::{Explanation, Filter, TriggerPlan};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub(crate) use delivery::DeliveryView;

use crate::control::{NotReady, PausedBy, SinkFrom};

/// Most triggers in one answer.
pub const TRIGGERS_MAX: usize = 1000;

/// Most bytes of trees in one answer.
pub const TREES_BYTES_MAX: usize = 8 << 20;

/// A trigger that is asked about an event.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a Name,
    pub(crate) broker: &'a Name,
    pub(crate) filter: Filter,
    /// What it does, or why it does nothing.
    pub(crate) plan: Result<&'a TriggerPlan, NotReady>,
    pub(crate) sink_from: Option<SinkFrom>,
    pub(crate) paused: Option<PausedBy>,
}

/// What an event would meet at the triggers of a broker, or of several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    event: EventName,
    /// Triggers that were asked.
    total: usize,
    /// Triggers among them that want the event.
    matched: usize,
    /// Triggers among them that are not in the list: over 1,000, those that want the event come first.
    omitted: usize,
    /// In the order of their names.
    triggers: Vec<ExplainedTrigger>,
}

/// The event that was asked about.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExplainedEvent)]
pub(crate) struct EventName {
    id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
}

/// What an event would meet at one trigger.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainedTrigger {
    namespace: String,
    name: String,
    /// Its broker, as `namespace/name`.
    broker: String,
    /// Whether its filter accepts the event.
    matches: bool,
    /// The first thing in its filter that does not hold, in words.
    first_miss: Option<String>,
    /// Its filter in the nesting of the manifest. Every element has `path`, `dialect` (`all`, `any`,
    /// `not`, `attributes`, `exact`, `prefix`, `suffix`, `cesql`) and `result`. `children` are the
    /// elements within; `tests` say of each `attribute` the `check`, what was `expected`, what is
    /// `actual` (null: absent), the `result` and a `hint` at what is nearly right. `expression` has
    /// the text, whether it was `evaluated`, its `value`, `errors`, a `hint` and the `parts` within.
    /// Null when the answer would grow too large.
    #[schema(value_type = Option<Object>)]
    tree: Option<Box<RawValue>>,
    /// Whether it is at work, or would be.
    ready: bool,
    /// In one word, why not.
    #[schema(examples("SubscriberUnresolved"))]
    reason: Option<&'static str>,
    /// The same in words.
    message: Option<String>,
    /// Who paused it, if somebody did: the event would wait.
    #[schema(examples("operator", "manifest"))]
    paused: Option<&'static str>,
    /// Where it would be sent. Null while the trigger is not ready.
    subscriber: Option<String>,
    delivery: Option<DeliveryView>,
    /// Where it would be sent too when it is given up, besides the dead letters that are always kept.
    dead_letter_sink: Option<String>,
    /// Whose manifest names that sink.
    #[schema(examples("trigger", "broker"))]
    dead_letter_sink_from: Option<&'static str>,
    /// Where an event goes that the subscriber answers with: its broker, as `namespace/name`.
    replies_to: String,
    /// The tree for people.
    #[serde(skip)]
    lines: String,
}

impl Explained {
    /// Asks `subjects` about `event`, which a broker has admitted.
    pub(crate) fn new(event: &Event, subjects: Vec<Subject<'_>>) -> Self {
        let total = subjects.len();
        let asked = subjects.into_iter().map(|it| (it.filter.accepts(event), it));
        let mut asked: Vec<(bool, Subject<'_>)> = asked.collect();
        let matched = asked.iter().filter(|(accepts, _)| *accepts).count();
        if total > TRIGGERS_MAX {
            asked.sort_by_key(|(accepts, _)| !*accepts);
            asked.truncate(TRIGGERS_MAX);
        }
        asked.sort_by(|(_, left), (_, right)| left.name.cmp(right.name));
        let mut room = TREES_BYTES_MAX;
        let triggers: Vec<ExplainedTrigger> =
            asked.iter().map(|(_, it)| ExplainedTrigger::new(it, event, &mut room)).collect();
        let event = EventName {
            id: event.id().to_owned(),
            source: event.source().to_owned(),
            ty: event.ty().to_owned(),
        };
        let omitted = total.saturating_sub(triggers.len());
        Self { event, total, matched, omitted, triggers }
    }
}

impl ExplainedTrigger {
    /// `room` is what trees may still take.
    fn new(subject: &Subject<'_>, event: &Event, room: &mut usize) -> Self {
        let Subject { name, broker, filter, plan, sink_from, paused } = subject;
        let explanation = dispatcher::explain(filter, event);
        let told = told(&explanation, room);
        let (plan, why) = (plan.as_ref().ok(), plan.as_ref().err());
        let sink = plan.and_then(|plan| plan.dead_letter_sink.as_ref());
        let (tree, lines) = told.unzip();
        Self {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            broker: broker.to_string(),
            matches: explanation.matches,
            first_miss: explanation.first_miss,
            tree,
            ready: plan.is_some(),
            reason: why.map(|why| why.reason),
            message: why.map(|why| why.message.clone()),
            paused: paused.map(PausedBy::as_str),
            subscriber: plan.map(|plan| plan.subscriber.url().to_owned()),
            delivery: plan.map(|plan| DeliveryView::of(&plan.delivery)),
            dead_letter_sink: sink.map(|sink| sink.url().to_owned()),
            dead_letter_sink_from: sink_from.map(SinkFrom::as_str),
            replies_to: broker.to_string(),
            lines: lines.unwrap_or_default(),
        }
    }
}

/// The tree as JSON and as lines, if there is room for it.
fn told(explanation: &Explanation, room: &mut usize) -> Option<(Box<RawValue>, String)> {
    let tree = serde_json::value::to_raw_value(&explanation.tree).ok()?;
    *room = room.checked_sub(tree.get().len())?;
    Some((tree, explanation.to_string()))
}
