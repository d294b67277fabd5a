//! `/api/v1/triggers/.../pause` and `/resume`: an operator lets a trigger's events wait, and go on.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use channel::Name;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        Admin,
        openapi::{Conflict, NotFound, ServiceUnavailable},
        request,
    },
    triggers::unknown,
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
    set(&admin, request::named(path)?, true).await
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
    set(&admin, request::named(path)?, false).await
}

async fn set(admin: &Admin, name: Name, paused: bool) -> Result<Json<Paused>, Problem> {
    let inventory = admin.control.inventory.load_full();
    let trigger = inventory.triggers.get(&name).ok_or_else(|| unknown(&name))?;
    let Some(Ok(broker)) = inventory.brokers.get(&trigger.broker) else {
        let detail = format!("the broker {} of trigger {name} is not ready", trigger.broker);
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    let changed = broker.pauses.set(&name, paused).await.map_err(|error| {
        let detail = format!("it could not be written down: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    admin.control.look_again().await;
    tracing::info!(trigger = %name, paused, changed, "an operator said whether a trigger is paused");
    let inventory = admin.control.inventory.load();
    let by = inventory.triggers.get(&name).and_then(|trigger| trigger.paused);
    if !paused && by == Some(PausedBy::Manifest) {
        let detail = format!(
            "the manifest of trigger {name} pauses it: take its annotation {} away",
            dispatcher::PAUSED
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let durable = broker.pauses.are_durable();
    Ok(Json(Paused { trigger: name.to_string(), paused: by.is_some(), changed, durable }))
}
