//! The description of everything the admin listener serves, as an OpenAPI document.

use axum::Json;
use utoipa::{IntoResponses, OpenApi, openapi::OpenApi as Document};

use super::{api, display, health, metrics};
use crate::ingress::Problem;

/// A parameter, a member or the event is wrong; `field` names it where it has a name.
#[derive(IntoResponses)]
#[response(status = 400, content_type = "application/problem+json")]
#[allow(dead_code, reason = "described here, made from problems of that status")]
pub(super) struct BadRequest(Problem);

/// There is none of that name.
#[derive(IntoResponses)]
#[response(status = 404, content_type = "application/problem+json")]
#[allow(dead_code, reason = "described here, made from problems of that status")]
pub(super) struct NotFound(Problem);

/// The body is declared as something that is not read here.
#[derive(IntoResponses)]
#[response(status = 415, content_type = "application/problem+json")]
#[allow(dead_code, reason = "described here, made from problems of that status")]
pub(super) struct UnsupportedMediaType(Problem);

/// It cannot be done now, or not in time.
#[derive(IntoResponses)]
#[response(status = 503, content_type = "application/problem+json")]
#[allow(dead_code, reason = "described here, made from problems of that status")]
pub(super) struct ServiceUnavailable(Problem);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Catchment admin API",
        description = "What a Catchment broker does with its events, and the dead letters it keeps.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        health::healthz,
        health::readyz,
        metrics::metrics,
        display::display,
        display::handshake,
        document,
        api::problems::list,
        api::brokers::list,
        api::brokers::show,
        api::triggers::list,
        api::triggers::show,
        api::dead_letters::list,
        api::dead_letters::redrive,
        api::dead_letters::purge,
        api::dead_letters::show,
    ),
    tags(
        (name = "resources", description = "brokers, triggers and their manifests"),
        (name = "dead letters", description = "events that could not be delivered"),
        (name = "health", description = "whether the process lives and is of use"),
        (name = "metrics", description = "what is counted"),
        (name = "display", description = "a subscriber that shows its events"),
    )
)]
struct Description;

/// Says what there is, as OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "resources",
    responses((status = 200, description = "this document", body = Object))
)]
pub(super) async fn document() -> Json<Document> {
    Json(Description::openapi())
}
