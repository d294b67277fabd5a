//! `POST /display`: a subscriber that shows the events it gets on the process's stdout.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use bytes::Bytes;
use tokio::{sync::Mutex, task::spawn_blocking};

use super::{
    Admin,
    openapi::{BadRequest, ServiceUnavailable, UnsupportedMediaType},
    request::{self, Params},
};
use crate::{
    cli::Console,
    display::{self, Style},
    ingress::Problem,
};

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
///
/// With a `name` that stands above them, so that triggers that share this display can be told
/// apart; not in JSON lines, where a line is an event.
#[utoipa::path(
    post,
    path = "/display",
    tag = "display",
    params(("name" = Option<String>, Query, description = "a line above the events, in text: who got them")),
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
    let params = Params::read(head.uri.query(), &["name"])?;
    let body = request::body(body, BODY_BYTES_MAX).await?;
    let style = admin.screen.console.style();
    admin.screen.show(shown(params.text("name"), &head.headers, &body, style)?).await
}

/// What a request looks like on the screen.
fn shown(
    name: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
    style: Style,
) -> Result<String, Problem> {
    let events = display::render(headers, body, style)?;
    Ok(match name {
        Some(name) if style != Style::JsonLines && !events.is_empty() => {
            format!("[{}]\n{events}", display::escape(name, false))
        }
        _ => events,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_above_the_events_of_its_request() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]
        {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, style, first_line) in [
            (Some("orders"), Style::Plain, "[orders]"),
            (Some("a\n\u{1b}[2J"), Style::Plain, "[a\\u000a\\u001b[2J]"),
            (None, Style::Plain, "☁️  cloudevents.Event"),
            (
                Some("orders"),
                Style::JsonLines,
                r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#,
            ),
        ] {
            let text = shown(name, &headers, &Bytes::new(), style).unwrap();
            assert_eq!(text.lines().next(), Some(first_line), "{name:?}");
        }
    }
}
