//! Which path is answered by what, and what every answer has in common.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};

use super::{Admin, api, display, health, metrics, openapi};
use crate::ingress::Problem;

/// Time for one request, from the end of its head to the beginning of its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Every path of the listener.
pub(super) fn routes() -> [(&'static str, MethodRouter<Arc<Admin>>); 27] {
    [
        ("/healthz", get(health::healthz)),
        ("/readyz", get(health::readyz)),
        ("/metrics", get(metrics::metrics)),
        ("/display", post(display::display).options(display::handshake)),
        ("/api/v1/openapi.json", get(openapi::document)),
        ("/api/v1/problems", get(api::problems::list)),
        ("/api/v1/brokers", get(api::brokers::list)),
        ("/api/v1/brokers/{namespace}/{name}", get(api::brokers::show)),
        ("/api/v1/triggers", get(api::triggers::list)),
        ("/api/v1/triggers/{namespace}/{name}", get(api::triggers::show)),
        ("/api/v1/triggers/{namespace}/{name}/reset-breaker", post(api::triggers::reset_breaker)),
        ("/api/v1/triggers/{namespace}/{name}/pause", post(api::pause::pause)),
        ("/api/v1/triggers/{namespace}/{name}/resume", post(api::pause::resume)),
        ("/api/v1/channels", get(api::channels::list)),
        ("/api/v1/channels/{namespace}/{name}", get(api::channels::show)),
        ("/api/v1/subscriptions", get(api::subscriptions::list)),
        ("/api/v1/subscriptions/{namespace}/{name}", get(api::subscriptions::show)),
        (
            "/api/v1/subscriptions/{namespace}/{name}/reset-breaker",
            post(api::subscriptions::reset_breaker),
        ),
        ("/api/v1/subscriptions/{namespace}/{name}/pause", post(api::subscriptions::pause)),
        ("/api/v1/subscriptions/{namespace}/{name}/resume", post(api::subscriptions::resume)),
        ("/api/v1/sources", get(api::sources::list)),
        ("/api/v1/sources/{namespace}/{name}", get(api::sources::show)),
        ("/api/v1/explain", post(api::explain::explain)),
        ("/api/v1/dead-letters", get(api::dead_letters::list)),
        ("/api/v1/dead-letters/redrive", post(api::dead_letters::redrive)),
        ("/api/v1/dead-letters/purge", post(api::dead_letters::purge)),
        ("/api/v1/dead-letters/{id}", get(api::dead_letters::show)),
    ]
}

/// The listener's answers to requests; every refusal is a problem document.
pub(super) fn router(admin: Arc<Admin>) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(in_time))
        .with_state(admin)
}

async fn unknown_path(uri: Uri) -> Problem {
    let detail = format!("nothing is at {}; /api/v1/openapi.json lists what there is", uri.path());
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            let detail = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
            IntoResponse::into_response(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
    }
}
