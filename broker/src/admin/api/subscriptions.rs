//! `/api/v1/subscriptions`: subscriptions, how they deliver, and what became of their events.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::Uri,
};
use channel::HubKind;
use dispatcher::Replies;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        Admin,
        openapi::{BadRequest, Conflict, NotFound, ServiceUnavailable},
        request::{self, Params},
    },
    Items,
    pause::{self, Outcome},
    triggers::{self, BreakerResetView, Counters, Facts, OverflowView, find},
};
use crate::{
    control::{Books, TriggerState},
    explain::DeliveryView,
    ingress::Problem,
};

/// A subscription. What only one at work has is null while it is not ready.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Subscription)]
pub(crate) struct SubscriptionView {
    namespace: String,
    name: String,
    /// Its channel, as `namespace/name`.
    channel: String,
    /// Where its events go; its reply when it names no subscriber.
    subscriber: Option<String>,
    /// Where that goes which the subscriber answers with; null when nobody wants it.
    reply: Option<String>,
    /// Where those go that could not be delivered, besides the dead letters that are always kept.
    dead_letter_sink: Option<String>,
    /// Whether it is at work.
    ready: bool,
    /// In one word, why not; or, of one at work, why it stands still: `DeadLettersFull`.
    #[schema(examples("SubscriberResolveFailed", "DeadLettersFull"))]
    reason: Option<&'static str>,
    /// The same in words.
    message: Option<String>,
    /// Who paused it, if somebody did: then nothing is delivered, and its events wait.
    #[schema(examples("operator", "manifest"))]
    paused: Option<&'static str>,
    /// Whether events of one key are delivered one after the other.
    ordered: Option<bool>,
    delivery: Option<DeliveryView>,
    /// The state of its subscriber's circuit breaker, the worst over all workers.
    #[schema(examples("closed", "open", "halfOpen"))]
    breaker: Option<&'static str>,
    /// Deliveries that one worker may have under way, the most over all workers.
    concurrency: Option<u32>,
    overflow: Option<OverflowView>,
    counters: Counters,
}

/// Lists subscriptions, all of them or those of a namespace or a channel.
#[utoipa::path(
    get,
    path = "/api/v1/subscriptions",
    operation_id = "listSubscriptions",
    tag = "resources",
    params(
        ("namespace" = Option<String>, Query, description = "only subscriptions of this namespace"),
        ("channel" = Option<String>, Query, description = "only subscriptions of this channel, as namespace/name"),
    ),
    responses(
        (status = 200, description = "the subscriptions", body = Items<SubscriptionView>),
        BadRequest,
    )
)]
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<Items<SubscriptionView>>, Problem> {
    let params = Params::read(uri.query(), &["namespace", "channel"])?;
    let namespace = params.text("namespace");
    let channel = params.get("channel", request::name)?;
    let books = admin.control.books().await;
    let inventory = admin.control.inventory.load();
    let wanted = inventory.subscriptions.values().filter(|it| {
        namespace.is_none_or(|namespace| it.name.namespace == namespace)
            && channel.as_ref().is_none_or(|channel| it.hub.name == *channel)
    });
    Ok(Json(wanted.map(|it| SubscriptionView::of(it, &books)).collect()))
}

/// Shows one subscription.
#[utoipa::path(
    get,
    path = "/api/v1/subscriptions/{namespace}/{name}",
    operation_id = "showSubscription",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "the subscription", body = SubscriptionView),
        NotFound,
    )
)]
pub(crate) async fn show(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<SubscriptionView>, Problem> {
    let name = request::named(path)?;
    let books = admin.control.books().await;
    let inventory = admin.control.inventory.load();
    let state = find(&inventory, HubKind::Channel, &name)?;
    Ok(Json(SubscriptionView::of(state, &books)))
}

/// Closes the circuit breaker of the subscription's subscriber, so that what waits is delivered at
/// once. The breaker is that of the subscriber's URL: others that deliver there go on too.
#[utoipa::path(
    post,
    path = "/api/v1/subscriptions/{namespace}/{name}/reset-breaker",
    operation_id = "resetBreakerOfSubscription",
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
    triggers::reset(&admin, HubKind::Channel, &request::named(path)?).await
}

/// How a subscription stands after it was paused or resumed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PausedSubscription {
    /// `namespace/name`.
    subscription: String,
    /// Whether it delivers nothing now.
    paused: bool,
    /// Whether that was a change.
    changed: bool,
    /// Whether an operator's pause outlives the process; the annotation `catchment.dev/paused` always does.
    durable: bool,
}

/// Pauses a subscription: nothing more is delivered, and its events wait in its overflow until it is
/// resumed. Deliveries under way end as they would.
#[utoipa::path(
    post,
    path = "/api/v1/subscriptions/{namespace}/{name}/pause",
    operation_id = "pauseSubscription",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "it is paused", body = PausedSubscription),
        NotFound,
        Conflict,
        ServiceUnavailable,
    )
)]
pub(crate) async fn pause(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<PausedSubscription>, Problem> {
    set(&admin, path, true).await
}

/// Lets a subscription that an operator paused go on, with what waits for it first.
#[utoipa::path(
    post,
    path = "/api/v1/subscriptions/{namespace}/{name}/resume",
    operation_id = "resumeSubscription",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "it delivers", body = PausedSubscription),
        NotFound,
        Conflict,
        ServiceUnavailable,
    )
)]
pub(crate) async fn resume(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<PausedSubscription>, Problem> {
    set(&admin, path, false).await
}

async fn set(
    admin: &Admin,
    path: Result<Path<(String, String)>, PathRejection>,
    paused: bool,
) -> Result<Json<PausedSubscription>, Problem> {
    let name = request::named(path)?;
    let outcome = pause::set(admin, HubKind::Channel, &name, paused).await?;
    let Outcome { paused, changed, durable } = outcome;
    Ok(Json(PausedSubscription { subscription: name.to_string(), paused, changed, durable }))
}

impl SubscriptionView {
    fn of(state: &TriggerState, books: &Books) -> Self {
        let facts = Facts::of(state, books);
        let plan = facts.plan;
        let reply = plan.and_then(|plan| match &plan.replies {
            Replies::To(receiver) => Some(receiver.url().to_owned()),
            Replies::Hub | Replies::Discarded => None,
        });
        Self {
            namespace: state.name.namespace.clone(),
            name: state.name.name.clone(),
            channel: state.hub.name.to_string(),
            subscriber: facts.subscriber,
            reply,
            dead_letter_sink: facts.dead_letter_sink,
            ready: plan.is_some(),
            reason: facts.why.as_ref().map(|why| why.reason),
            message: facts.why.map(|why| why.message),
            paused: facts.paused,
            ordered: plan.map(|plan| plan.ordered),
            delivery: facts.delivery,
            breaker: facts.breaker,
            concurrency: facts.concurrency,
            overflow: facts.overflow,
            counters: facts.counters,
        }
    }
}
