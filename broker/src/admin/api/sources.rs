//! `/api/v1/sources`: what makes events, whether it works, and what it counted.

use std::sync::Arc;

use ::sources::{Counts, SourceId};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, Uri},
};
use channel::Name;
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
use crate::{ingress::Problem, manifest::SourceKind, sourcing::SourceState};

/// A source.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Source)]
pub(crate) struct SourceView {
    /// Its kind, such as `PingSource`.
    #[schema(examples("PingSource"))]
    kind: &'static str,
    namespace: String,
    name: String,
    /// Whether it works.
    ready: bool,
    /// In one word, why not.
    reason: Option<&'static str>,
    /// In words, why not.
    message: Option<String>,
    /// Where its events go; null while that is not known.
    sink: Option<String>,
    /// Where it is called; null when it is not.
    address: Option<String>,
    /// The id of the webhook that the program made for it at GitHub; null when there is none.
    webhook_id: Option<u64>,
    /// What its events say of themselves, as far as that is known before they come.
    ce_attributes: Vec<SourceAttributes>,
    /// Why it is being started again; null when it is not.
    failure: Option<String>,
    /// When its last event was stored (RFC 3339).
    last_event: Option<String>,
    /// Why the last event or request that was refused was refused.
    last_refusal: Option<String>,
    counts: SourceCounts,
}

/// What events of a source say of themselves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceAttributes {
    #[serde(rename = "type")]
    kind: String,
    source: String,
}

/// What a source counted since the process started.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceCounts {
    /// Events that the sink stored.
    made: u64,
    /// Events that the sink will never take, and requests that were refused.
    refused: u64,
    /// Attempts to hand an event over that were made again.
    retried: u64,
    /// Deliveries that came twice and made no second event.
    repeated: u64,
    /// Ticks that made no event because a newer one did.
    skipped: u64,
    /// Starts after a failure.
    restarts: u64,
    /// Milliseconds from the time of the last event to its being stored.
    lag_millis: i64,
}

/// Lists all sources.
#[utoipa::path(
    get,
    path = "/api/v1/sources",
    operation_id = "listSources",
    tag = "resources",
    responses(
        (status = 200, description = "all sources", body = Items<SourceView>),
        BadRequest,
    )
)]
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<Items<SourceView>>, Problem> {
    Params::read(uri.query(), &[])?;
    let inventory = admin.control.inventory.load();
    let url = &admin.process.events_url;
    Ok(Json(inventory.sources.iter().map(|(id, state)| SourceView::of(url, id, state)).collect()))
}

/// Shows the sources of one name: there may be one of each kind.
#[utoipa::path(
    get,
    path = "/api/v1/sources/{namespace}/{name}",
    operation_id = "showSources",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "the sources", body = Items<SourceView>),
        NotFound,
    )
)]
pub(crate) async fn show(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Items<SourceView>>, Problem> {
    let name: Name = request::named(path)?;
    let inventory = admin.control.inventory.load();
    let mut named = inventory.sources.iter().filter(|(id, _)| id.name == name).peekable();
    if named.peek().is_none() {
        let detail = format!("there is no source {name}");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    let url = &admin.process.events_url;
    Ok(Json(named.map(|(id, state)| SourceView::of(url, id, state)).collect()))
}

impl SourceView {
    fn of(events_url: &str, id: &SourceId, state: &SourceState) -> Self {
        let report = state.report.as_ref();
        let is_called =
            SourceKind::ALL.iter().any(|kind| kind.is_called() && kind.as_str() == id.kind);
        let failure = state.trouble();
        let not_ready = state.not_ready.clone().or_else(|| state.waits_for());
        let attributes = state
            .attributes
            .iter()
            .map(|of| SourceAttributes { kind: of.kind.clone(), source: of.source.clone() });
        Self {
            kind: id.kind,
            namespace: id.name.namespace.clone(),
            name: id.name.name.clone(),
            ready: state.is_ready(),
            reason: not_ready.as_ref().map(|why| why.reason),
            message: not_ready.map(|why| why.message),
            sink: state.sink.clone(),
            address: is_called.then(|| format!("{events_url}/sources/{}", id.name)),
            webhook_id: state.webhook_id(),
            ce_attributes: attributes.collect(),
            failure,
            last_event: report.and_then(|it| it.last_event()).map(|time| time.to_string()),
            last_refusal: report.and_then(|it| it.last_refusal()),
            counts: report.map(|it| it.counts()).unwrap_or_default().into(),
        }
    }
}

impl From<Counts> for SourceCounts {
    fn from(counts: Counts) -> Self {
        let Counts { made, refused, retried, repeated, skipped, restarts, lag_millis } = counts;
        Self { made, refused, retried, repeated, skipped, restarts, lag_millis }
    }
}
