//! `/api/v1/triggers`: triggers, how they deliver, and what became of their events.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, Uri},
};
use channel::{HubKind, Name};
use dispatcher::TriggerPlan;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        Admin,
        openapi::{BadRequest, Conflict, NotFound},
        request::{self, Params},
    },
    Items,
};
use crate::{
    control::{Books, BreakerReset, Inventory, NotReady, PausedBy, TriggerBooks, TriggerState},
    explain::DeliveryView,
    ingress::Problem,
};

/// A trigger. What only a trigger at work has is null while it is not ready.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Trigger)]
pub(crate) struct TriggerView {
    namespace: String,
    name: String,
    /// Its broker, as `namespace/name`.
    broker: String,
    /// Where its events go.
    subscriber: Option<String>,
    /// Where those go that could not be delivered, besides the dead letters that are always kept.
    dead_letter_sink: Option<String>,
    /// Whether it is at work.
    ready: bool,
    /// In one word, why not; or, of one at work, why it stands still: `DeadLettersFull`.
    #[schema(examples("SubscriberUnresolved", "DeadLettersFull"))]
    reason: Option<&'static str>,
    /// The same in words.
    message: Option<String>,
    /// Who paused it, if somebody did: then nothing is delivered, and its events wait.
    #[schema(examples("operator", "manifest"))]
    paused: Option<&'static str>,
    /// Whether events of one key are delivered one after the other.
    ordered: Option<bool>,
    /// `spec.filter` and `spec.filters` as written.
    #[schema(value_type = Object)]
    filter: serde_json::Value,
    delivery: Option<DeliveryView>,
    /// The state of its subscriber's circuit breaker, the worst over all workers.
    #[schema(examples("closed", "open", "halfOpen"))]
    breaker: Option<&'static str>,
    /// Deliveries that one worker may have under way, the most over all workers.
    concurrency: Option<u32>,
    overflow: Option<OverflowView>,
    counters: Counters,
}

/// What waits beside the log, in storage of the same kind; part of what `counters.waiting` counts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Overflow)]
pub(crate) struct OverflowView {
    events: usize,
    bytes: usize,
}

/// What became of events since the process started, or the trigger was created.
///
/// They add up whenever they are read:
/// `matched = delivered + dead + expired + purged + waiting + inFlight`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counters {
    /// Events that the filter took.
    matched: i64,
    /// Events that the subscriber took.
    delivered: i64,
    /// Dead letters that are kept now.
    dead: i64,
    /// Dead letters whose retention ended.
    expired: i64,
    /// Events that an operator purged.
    purged: i64,
    /// Events that wait for their turn or for another attempt.
    waiting: i64,
    /// Events that are being delivered, or wait for room among the dead letters.
    in_flight: i64,
}

/// What a reset of a circuit breaker changed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BreakerReset)]
pub(crate) struct BreakerResetView {
    /// Whose breaker it is.
    subscriber: String,
    /// The state it was in, the worst over all workers.
    #[schema(examples("closed", "open", "halfOpen"))]
    before: &'static str,
    /// Workers whose breaker was not closed, and is now.
    reset: usize,
    /// Workers that did not answer in time; theirs is as it was.
    silent_workers: usize,
}

/// Lists triggers, all of them or those of a namespace or a broker.
#[utoipa::path(
    get,
    path = "/api/v1/triggers",
    operation_id = "listTriggers",
    tag = "resources",
    params(
        ("namespace" = Option<String>, Query, description = "only triggers of this namespace"),
        ("broker" = Option<String>, Query, description = "only triggers of this broker, as namespace/name"),
    ),
    responses(
        (status = 200, description = "the triggers", body = Items<TriggerView>),
        BadRequest,
    )
)]
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<Items<TriggerView>>, Problem> {
    let params = Params::read(uri.query(), &["namespace", "broker"])?;
    let namespace = params.text("namespace");
    let broker = params.get("broker", request::name)?;
    let books = admin.control.books().await;
    let inventory = admin.control.inventory.load();
    let wanted = inventory.triggers.values().filter(|trigger| {
        namespace.is_none_or(|namespace| trigger.name.namespace == namespace)
            && broker.as_ref().is_none_or(|broker| trigger.hub.name == *broker)
    });
    Ok(Json(wanted.map(|trigger| TriggerView::of(trigger, &books)).collect()))
}

/// Shows one trigger.
#[utoipa::path(
    get,
    path = "/api/v1/triggers/{namespace}/{name}",
    operation_id = "showTrigger",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "the trigger", body = TriggerView),
        NotFound,
    )
)]
pub(crate) async fn show(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<TriggerView>, Problem> {
    let name = request::named(path)?;
    let books = admin.control.books().await;
    let inventory = admin.control.inventory.load();
    let trigger = find(&inventory, HubKind::Broker, &name)?;
    Ok(Json(TriggerView::of(trigger, &books)))
}

pub(super) fn unknown(kind: HubKind, name: &Name) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {} {name}", kind.taker()))
}

/// The trigger, or subscription, of that name.
///
/// # Errors
///
/// 404 when there is none.
pub(super) fn find<'a>(
    inventory: &'a Inventory,
    kind: HubKind,
    name: &Name,
) -> Result<&'a TriggerState, Problem> {
    inventory.takers(kind).get(name).ok_or_else(|| unknown(kind, name))
}

/// Closes the circuit breaker of the trigger's subscriber, so that what waits is delivered at once.
/// The breaker is that of the subscriber's URL: other triggers that deliver there go on too.
#[utoipa::path(
    post,
    path = "/api/v1/triggers/{namespace}/{name}/reset-breaker",
    operation_id = "resetBreaker",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "done", body = BreakerResetView),
        NotFound,
        Conflict,
    )
)]
pub(crate) async fn reset_breaker(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<BreakerResetView>, Problem> {
    reset(&admin, HubKind::Broker, &request::named(path)?).await
}

/// Resets the breaker of a trigger or a subscription.
pub(super) async fn reset(
    admin: &Admin,
    kind: HubKind,
    name: &Name,
) -> Result<Json<BreakerResetView>, Problem> {
    let inventory = admin.control.inventory.load_full();
    let state = find(&inventory, kind, name)?;
    let taker = kind.taker();
    let running = state.running.as_ref().map_err(|why| {
        let detail = format!("{taker} {name} is not ready: {}: {}", why.reason, why.message);
        Problem::new(StatusCode::CONFLICT, detail)
    })?;
    let url = running.plan.subscriber.url();
    let BreakerReset { before, reset, silent_workers } = admin.control.reset_breaker(url).await;
    tracing::info!(%taker, %name, before = before.as_str(), reset, "a breaker was reset");
    let (subscriber, before) = (url.to_owned(), before.as_str());
    Ok(Json(BreakerResetView { subscriber, before, reset, silent_workers }))
}

/// What triggers and subscriptions have in common.
pub(super) struct Facts<'a> {
    /// `None` while it is not ready.
    pub(super) plan: Option<&'a TriggerPlan>,
    pub(super) why: Option<NotReady>,
    pub(super) subscriber: Option<String>,
    pub(super) dead_letter_sink: Option<String>,
    pub(super) paused: Option<&'static str>,
    pub(super) delivery: Option<DeliveryView>,
    pub(super) breaker: Option<&'static str>,
    pub(super) concurrency: Option<u32>,
    pub(super) overflow: Option<OverflowView>,
    pub(super) counters: Counters,
}

impl<'a> Facts<'a> {
    pub(super) fn of(state: &'a TriggerState, books: &Books) -> Self {
        let of_hub = books.hubs.get(&state.hub);
        let books = of_hub.and_then(|hub| hub.triggers.get(&state.name));
        let books = books.cloned().unwrap_or_default();
        let running = state.running.as_ref().ok();
        let plan = running.map(|trigger| &*trigger.plan);
        let sink = plan.and_then(|plan| plan.dead_letter_sink.as_ref());
        Self {
            plan,
            why: state.running.as_ref().err().cloned().or_else(|| stalled(&books, state.hub.kind)),
            subscriber: plan.map(|plan| plan.subscriber.url().to_owned()),
            dead_letter_sink: sink.map(|sink| sink.url().to_owned()),
            paused: state.paused.map(PausedBy::as_str),
            delivery: plan.map(|plan| DeliveryView::of(&plan.delivery)),
            breaker: plan.map(|_| books.breaker.as_str()),
            concurrency: plan.map(|_| books.concurrency),
            overflow: running.map(|trigger| {
                let depth = trigger.overflow.depth();
                OverflowView { events: depth.events, bytes: depth.bytes }
            }),
            counters: Counters::of(&books),
        }
    }
}

impl TriggerView {
    fn of(state: &TriggerState, books: &Books) -> Self {
        let facts = Facts::of(state, books);
        Self {
            namespace: state.name.namespace.clone(),
            name: state.name.name.clone(),
            broker: state.hub.name.to_string(),
            subscriber: facts.subscriber,
            dead_letter_sink: facts.dead_letter_sink,
            ready: facts.plan.is_some(),
            reason: facts.why.as_ref().map(|why| why.reason),
            message: facts.why.map(|why| why.message),
            paused: facts.paused,
            ordered: facts.plan.map(|plan| plan.ordered),
            filter: state.filter_as_written(),
            delivery: facts.delivery,
            breaker: facts.breaker,
            concurrency: facts.concurrency,
            overflow: facts.overflow,
            counters: facts.counters,
        }
    }
}

/// Why a trigger at work stands still, if it does.
fn stalled(books: &TriggerBooks, kind: HubKind) -> Option<NotReady> {
    let events = books.stalled;
    let (hub, taker) = (kind.as_str(), kind.taker());
    (events > 0).then(|| NotReady {
        reason: "DeadLettersFull",
        message: format!(
            "{events} events that could not be delivered wait for room among the {hub}'s dead \
             letters, and the {taker} delivers nothing until then: redrive or purge dead letters"
        ),
    })
}

impl Counters {
    fn of(books: &TriggerBooks) -> Self {
        Self {
            matched: books.tally.matched,
            delivered: books.tally.delivered,
            dead: books.dead,
            expired: books.expired,
            purged: books.purged,
            waiting: books.tally.waiting,
            in_flight: books.tally.in_flight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::fixture::Bench, *};

    #[test]
    fn a_trigger_that_waits_for_room_among_the_dead_letters_is_ready_and_says_so() {
        let bench = Bench::new();
        let inventory = bench.control.inventory.load();
        let orders = &inventory.triggers[&"default/orders".parse().unwrap()];
        let mut books = Books::default();
        let of_broker = books.hubs.entry(orders.hub.clone()).or_default();
        of_broker.triggers.entry(orders.name.clone()).or_default().stalled = 2;
        let view = TriggerView::of(orders, &books);
        assert_eq!((view.ready, view.reason), (true, Some("DeadLettersFull")));
        assert!(view.message.unwrap().starts_with("2 events"));
    }
}
