//! `/api/v1/channels`: channels of their own, what keeps their events, and what came in.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, Uri},
};
use channel::Hub;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        Admin,
        openapi::{BadRequest, NotFound},
        request::{self, Params},
    },
    Items,
    brokers::{ChannelView, Facts, Stored, View},
};
use crate::{
    control::{HubState, NotReady},
    ingress::Problem,
};

/// A channel, whatever its kind.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessagingChannel)]
pub(crate) struct MessagingChannelView {
    namespace: String,
    name: String,
    /// The kind of `messaging.knative.dev` that keeps its events.
    #[schema(examples("InMemoryChannel"))]
    kind: &'static str,
    /// Whether it is at work and what keeps its events can be reached.
    ready: bool,
    /// In one word, why not.
    reason: Option<&'static str>,
    /// In words, why not.
    message: Option<String>,
    /// Where its events are posted to.
    address: String,
    /// Where they are stored; null while that is not open.
    channel: Option<ChannelView>,
    /// Events answered 202 since the process started.
    accepted: u64,
    /// Requests refused since the process started.
    refused: u64,
    /// What it holds.
    stored: Stored,
    /// Its subscriptions, those that are not ready included.
    subscriptions: usize,
    /// Dead letters that it keeps.
    dead_letters: usize,
}

/// Lists all channels.
#[utoipa::path(
    get,
    path = "/api/v1/channels",
    operation_id = "listChannels",
    tag = "resources",
    responses(
        (status = 200, description = "all channels", body = Items<MessagingChannelView>),
        BadRequest,
    )
)]
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<Items<MessagingChannelView>>, Problem> {
    Params::read(uri.query(), &[])?;
    let books = admin.control.books().await;
    let inventory = admin.control.inventory.load();
    let view = View { inventory: &inventory, books: &books, events_url: &admin.process.events_url };
    let channels = inventory.channels.iter();
    Ok(Json(
        channels
            .map(|(name, state)| {
                MessagingChannelView::of(&view, &Hub::channel(name.clone()), state)
            })
            .collect(),
    ))
}

/// Shows one channel.
#[utoipa::path(
    get,
    path = "/api/v1/channels/{namespace}/{name}",
    operation_id = "showChannel",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "the channel", body = MessagingChannelView),
        NotFound,
    )
)]
pub(crate) async fn show(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<MessagingChannelView>, Problem> {
    let hub = Hub::channel(request::named(path)?);
    let books = admin.control.books().await;
    let inventory = admin.control.inventory.load();
    let view = View { inventory: &inventory, books: &books, events_url: &admin.process.events_url };
    let state = inventory.hub(&hub).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no {}", hub.in_words()))
    })?;
    Ok(Json(MessagingChannelView::of(&view, &hub, state)))
}

impl MessagingChannelView {
    fn of(view: &View<'_>, hub: &Hub, state: &Result<HubState, NotReady>) -> Self {
        let kind = view.inventory.kinds.get(hub).copied().unwrap_or_default();
        let facts = Facts::of(view, hub, state);
        Self {
            namespace: hub.name.namespace.clone(),
            name: hub.name.name.clone(),
            kind,
            ready: facts.why_not.is_none(),
            reason: facts.why_not.as_ref().map(|why| why.reason),
            message: facts.why_not.map(|why| why.message),
            address: facts.address,
            channel: facts.channel,
            accepted: facts.accepted,
            refused: facts.refused,
            stored: facts.stored,
            subscriptions: facts.takers,
            dead_letters: facts.dead_letters,
        }
    }
}
