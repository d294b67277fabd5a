//! `/api/v1/brokers`: brokers, their channels and what came in.

use std::{fmt, sync::Arc};

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, Uri},
};
use channel::{Channel, Hub, Name};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        Admin,
        openapi::{BadRequest, NotFound},
        request::{self, Params},
    },
    Items,
};
use crate::{
    control::{Books, HubState, Inventory, NotReady},
    ingress::Problem,
};

/// A broker.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Broker)]
pub(crate) struct BrokerView {
    namespace: String,
    name: String,
    /// Whether it is at work and its channel can be reached.
    ready: bool,
    /// In one word, why not.
    reason: Option<&'static str>,
    /// In words, why not.
    message: Option<String>,
    /// Where its events are posted to.
    address: String,
    /// Where they are stored; null while its channel is not open.
    channel: Option<ChannelView>,
    /// Events answered 202 since the process started.
    accepted: u64,
    /// Requests refused since the process started.
    refused: u64,
    /// What its channel holds.
    stored: Stored,
    /// Its triggers, those that are not ready included.
    triggers: usize,
    /// Triggers that every event has to ask, because nothing of their filters can be looked up.
    triggers_unindexed: usize,
    /// Dead letters that it keeps.
    dead_letters: usize,
}

/// Where events are stored, and what that is worth.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Channel)]
pub(crate) struct ChannelView {
    /// The kind of `messaging.knative.dev`.
    #[schema(examples("InMemoryChannel"))]
    kind: &'static str,
    /// What a stored event survives: nothing, the end of the process, or power loss.
    #[schema(examples("none", "process", "power"))]
    durability: &'static str,
    /// Whether it survives the loss of one of the machines that store it.
    replicated: bool,
}

/// What a channel holds.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Stored {
    /// Events that have not reached their ends.
    events: usize,
    /// Their bytes.
    bytes: usize,
}

impl ChannelView {
    pub(crate) fn of(channel: &dyn Channel) -> Self {
        let durability = channel.durability();
        Self {
            kind: channel.kind(),
            durability: durability.strength.as_str(),
            replicated: durability.replicated,
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }
}

/// Why a broker is not ready: it is not at work, or its channel is down.
pub(crate) fn why_not(broker: &Result<HubState, NotReady>) -> Option<NotReady> {
    match broker {
        Ok(state) => state.down(),
        Err(why) => Some(why.clone()),
    }
}

impl fmt::Display for ChannelView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replicated = if self.replicated { "replicated" } else { "not replicated" };
        write!(f, "{}, durability {}, {replicated}", self.kind, self.durability)
    }
}

/// Lists all brokers.
#[utoipa::path(
    get,
    path = "/api/v1/brokers",
    operation_id = "listBrokers",
    tag = "resources",
    responses(
        (status = 200, description = "all brokers", body = Items<BrokerView>),
        BadRequest,
    )
)]
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<Items<BrokerView>>, Problem> {
    Params::read(uri.query(), &[])?;
    let books = admin.control.books().await;
    let inventory = admin.control.inventory.load();
    let view = View { inventory: &inventory, books: &books, events_url: &admin.process.events_url };
    Ok(Json(inventory.brokers.iter().map(|(name, broker)| view.broker(name, broker)).collect()))
}

/// Shows one broker.
#[utoipa::path(
    get,
    path = "/api/v1/brokers/{namespace}/{name}",
    operation_id = "showBroker",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "the broker", body = BrokerView),
        NotFound,
    )
)]
pub(crate) async fn show(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<BrokerView>, Problem> {
    let name = request::named(path)?;
    let books = admin.control.books().await;
    let inventory = admin.control.inventory.load();
    let view = View { inventory: &inventory, books: &books, events_url: &admin.process.events_url };
    let broker = inventory
        .brokers
        .get(&name)
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no broker {name}")))?;
    Ok(Json(view.broker(&name, broker)))
}

/// What a hub is described from.
pub(super) struct View<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) books: &'a Books,
    pub(super) events_url: &'a str,
}

/// What brokers and channels have in common.
pub(super) struct Facts {
    pub(super) why_not: Option<NotReady>,
    pub(super) address: String,
    pub(super) channel: Option<ChannelView>,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) stored: Stored,
    /// Its triggers or subscriptions.
    pub(super) takers: usize,
    pub(super) dead_letters: usize,
}

impl Facts {
    pub(super) fn of(view: &View<'_>, hub: &Hub, it: &Result<HubState, NotReady>) -> Self {
        let ingress = view.books.hubs.get(hub).map(|books| &books.ingress);
        let state = it.as_ref().ok();
        let depth = state.map(|state| state.channel.depth()).unwrap_or_default();
        let takers = view.inventory.takers(hub.kind).values();
        Self {
            why_not: why_not(it),
            address: format!("{}/{hub}", view.events_url),
            channel: state.map(|state| ChannelView::of(&*state.channel)),
            accepted: ingress.map_or(0, |ingress| ingress.accepted),
            refused: ingress.map_or(0, |ingress| ingress.refused.iter().sum()),
            stored: Stored { events: depth.events, bytes: depth.bytes },
            takers: takers.filter(|taker| taker.hub == *hub).count(),
            dead_letters: state.map_or(0, |state| state.fanout.dead_letters.held().0),
        }
    }
}

impl View<'_> {
    fn broker(&self, name: &Name, broker: &Result<HubState, NotReady>) -> BrokerView {
        let facts = Facts::of(self, &Hub::broker(name.clone()), broker);
        let state = broker.as_ref().ok();
        let counts = state.map(|state| state.fanout.routes.load().table().counts());
        BrokerView {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            ready: facts.why_not.is_none(),
            reason: facts.why_not.as_ref().map(|why| why.reason),
            message: facts.why_not.map(|why| why.message),
            address: facts.address,
            channel: facts.channel,
            accepted: facts.accepted,
            refused: facts.refused,
            stored: facts.stored,
            triggers: facts.takers,
            triggers_unindexed: counts.map_or(0, |counts| counts.unindexed),
            dead_letters: facts.dead_letters,
        }
    }
}
