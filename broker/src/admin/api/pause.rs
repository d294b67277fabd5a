//! `/api/v1/triggers/.../pause` and `/resume`: an operator lets a trigger's events wait, and go on;
//! those of a subscription too.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use channel::{HubKind, Name};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        Admin,
        openapi::{Conflict, NotFound, ServiceUnavailable},
        request,
    },
    triggers::find,
};
use crate::{control::PausedBy, ingress::Problem};

/// How a trigger stands after it was paused or resumed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Paused {
    /// `namespace/name`.
    trigger: String,
    /// Whether it delivers nothing now.
    paused: bool,
    /// Whether that was a change.
    changed: bool,
    /// Whether an operator's pause outlives the process; the annotation `catchment.dev/paused` always does.
    durable: bool,
}

/// Pauses a trigger: nothing more is delivered, and its events wait in its overflow until it is
/// resumed. Deliveries under way end as they would.
#[utoipa::path(
    post,
    path = "/api/v1/triggers/{namespace}/{name}/pause",
    operation_id = "pauseTrigger",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "it is paused", body = Paused),
        NotFound,
        Conflict,
        ServiceUnavailable,
    )
)]
pub(crate) async fn pause(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Paused>, Problem> {
    set_trigger(&admin, request::named(path)?, true).await
}

/// Lets a trigger that an operator paused go on, with what waits for it first.
#[utoipa::path(
    post,
    path = "/api/v1/triggers/{namespace}/{name}/resume",
    operation_id = "resumeTrigger",
    tag = "resources",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "it delivers", body = Paused),
        NotFound,
        Conflict,
        ServiceUnavailable,
    )
)]
pub(crate) async fn resume(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Paused>, Problem> {
    set_trigger(&admin, request::named(path)?, false).await
}

/// What came of pausing or resuming.
pub(super) struct Outcome {
    pub(super) paused: bool,
    pub(super) changed: bool,
    pub(super) durable: bool,
}

async fn set_trigger(admin: &Admin, name: Name, paused: bool) -> Result<Json<Paused>, Problem> {
    let Outcome { paused, changed, durable } = set(admin, HubKind::Broker, &name, paused).await?;
    Ok(Json(Paused { trigger: name.to_string(), paused, changed, durable }))
}

/// Pauses or resumes a trigger or a subscription.
pub(super) async fn set(
    admin: &Admin,
    kind: HubKind,
    name: &Name,
    paused: bool,
) -> Result<Outcome, Problem> {
    let inventory = admin.control.inventory.load_full();
    let state = find(&inventory, kind, name)?;
    let taker = kind.taker();
    let Some(Ok(hub)) = inventory.hub(&state.hub) else {
        let detail = format!("the {} of {taker} {name} is not ready", state.hub.in_words());
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    let changed = hub.pauses.set(name, paused).await.map_err(|error| {
        let detail = format!("it could not be written down: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    admin.control.look_again().await;
    tracing::info!(%taker, %name, paused, changed, "an operator said whether it is paused");
    let inventory = admin.control.inventory.load();
    let by = inventory.takers(kind).get(name).and_then(|state| state.paused);
    if !paused && by == Some(PausedBy::Manifest) {
        let detail = format!(
            "the manifest of {taker} {name} pauses it: take its annotation {} away",
            dispatcher::PAUSED
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    Ok(Outcome { paused: by.is_some(), changed, durable: hub.pauses.are_durable() })
}
