//! `POST /display`: a subscriber that shows the events it gets on the process's stdout.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use tokio::{sync::Mutex, task::spawn_blocking};

use super::{
    Admin,
    openapi::{BadRequest, ServiceUnavailable, UnsupportedMediaType},
    request,
};
use crate::{cli::Console, display, ingress::Problem};

/// Bytes of a request: the largest event that a broker takes, in any mode, and room for batches.
const BODY_BYTES_MAX: usize = 16 << 20;

/// The stdout that all requests share.
#[derive(Debug)]
pub(super) struct Screen {
    console: Console,
    /// One event is written at a time, so that a terminal that stands still holds up one thread.
    turn: Arc<Mutex<()>>,
}

impl Screen {
    /// Shows events on `console`.
    pub(super) fn new(console: Console) -> Self {
        Self { console, turn: Arc::default() }
    }

    async fn show(&self, text: String) -> Result<(), Problem> {
        let console = self.console;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let printed = spawn_blocking(move || {
            let _turn = turn;
            console.print(&text).map_err(|failure| failure.to_string())
        });
        let reason = match printed.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(error) => error.to_string(),
        };
        let detail = format!("the event cannot be shown: {reason}");
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
    }
}

/// Shows the events of a request, in any content mode, and answers once they are written.
#[utoipa::path(
    post,
    path = "/display",
    tag = "display",
    request_body(
        description = "an event, or a batch of them, in any mode of the HTTP binding",
        content(
            (Object = "application/cloudevents+json"),
            (Vec<Object> = "application/cloudevents-batch+json"),
            (String = "*/*"),
        ),
    ),
    responses(
        (status = 200, description = "shown"),
        BadRequest,
        UnsupportedMediaType,
        ServiceUnavailable,
    )
)]
pub(super) async fn display(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<(), Problem> {
    let (head, body) = request.into_parts();
    let body = request::body(body, BODY_BYTES_MAX).await?;
    let text = display::render(&head.headers, &body, admin.screen.console.style())
        .map_err(|error| Problem::new(error.status(), error.to_string()))?;
    admin.screen.show(text).await
}

/// Allows whoever asks to deliver here (CloudEvents webhooks 1.0.2, 4.2).
#[utoipa::path(
    options,
    path = "/display",
    tag = "display",
    responses((status = 200, description = "the sender named in webhook-request-origin may deliver at any rate"))
)]
pub(super) async fn handshake(asked: HeaderMap) -> HeaderMap {
    let any = HeaderValue::from_static("*");
    let origin = asked.get("webhook-request-origin").unwrap_or(&any).clone();
    let mut headers = HeaderMap::new();
    headers.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert("webhook-allowed-origin", origin);
    headers.insert("webhook-allowed-rate", any);
    headers
}
