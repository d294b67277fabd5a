//! `/healthz` and `/readyz`: whether the process lives, and whether it is of use.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use channel::{HubKind, Name};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    api::{
        brokers::{ChannelView, why_not},
        problems::ProblemView,
    },
    openapi::BadRequest,
    request::Params,
};
use crate::{
    control::{Books, Control, HubState, NotReady, TriggerState},
    display::escape,
    ingress::Problem,
};

/// Whether the process is of use.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Readiness {
    /// Whether events are accepted: the first full set of resources is at work, and the process is
    /// not shutting down. A resource that is not ready does not change this.
    ready: bool,
    /// Why not.
    reason: Option<&'static str>,
    /// Whether the process is shutting down.
    draining: bool,
    /// The parts; in JSON always there.
    #[serde(flatten)]
    #[schema(value_type = Parts)]
    parts: Option<Parts>,
}

/// The parts of the process, as far as they can be not ready.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parts {
    /// Workers that did not answer in time.
    silent_workers: usize,
    /// All brokers.
    brokers: Vec<Part>,
    /// The triggers that are not ready.
    triggers: Vec<Part>,
    /// All channels.
    channels: Vec<Part>,
    /// The subscriptions that are not ready.
    subscriptions: Vec<Part>,
    /// What is wrong with manifests; what they said when they were last good is at work.
    problems: Vec<ProblemView>,
    /// What cannot be followed of the cluster for now, and why; what is known of it is at work.
    cluster: BTreeMap<String, String>,
}

/// A resource and whether it is at work.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    /// `namespace/name`.
    name: String,
    /// Whether it is at work.
    ready: bool,
    /// In one word, why not.
    reason: Option<&'static str>,
    /// In words, why not.
    message: Option<String>,
    /// Where the events of a broker or a channel are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<ChannelView>,
}

/// Says that the process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, description = "the process lives", body = String, content_type = "text/plain"))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Says whether the process is of use; with `verbose`, or as JSON, also what of it is not.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    params(("verbose" = Option<String>, Query, description = "lists brokers and channels, triggers and subscriptions that are not ready, and problems of manifests")),
    responses(
        (status = 200, description = "ready", content((String = "text/plain"), (Readiness = "application/json"))),
        (status = 503, description = "not ready", content((String = "text/plain"), (Readiness = "application/json"))),
        BadRequest,
    )
)]
pub(super) async fn readyz(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::read(uri.query(), &["verbose"])?;
    let is_verbose = params.get("verbose", switch)?.unwrap_or(false);
    let wants_json = accepts_json(&headers);
    let control = &admin.control;
    let mut readiness = Readiness::of(control);
    if is_verbose || wants_json {
        let books = control.books().await;
        readiness.parts = Some(Parts::of(control, &books));
    }
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(if wants_json {
        (status, Json(readiness)).into_response()
    } else {
        (status, readiness.text()).into_response()
    })
}

/// A parameter that is on when it is just there.
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.unwrap_or_default().split(',').any(|range| {
        let media = range.split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case("application/json")
    })
}

/// How a line of the verbose text begins.
fn sign(is_fine: bool) -> &'static str {
    if is_fine { "[+]" } else { "[-]" }
}

impl Readiness {
    fn of(control: &Control) -> Self {
        let ready = control.is_ready();
        let draining = control.is_draining();
        let reason = match (ready, draining) {
            (true, _) => None,
            (false, true) => Some("the process is shutting down"),
            (false, false) if control.is_loaded() => Some("channels are being opened"),
            (false, false) => Some("the resources are not loaded yet"),
        };
        Self { ready, reason, draining, parts: None }
    }

    fn text(&self) -> String {
        let mut text = match self.reason {
            None => "ready\n".to_owned(),
            Some(reason) => format!("not ready: {reason}\n"),
        };
        if let Some(parts) = &self.parts {
            // Writing to a string cannot fail.
            parts.write(&mut text).unwrap_or_default();
        }
        text
    }
}

impl Parts {
    fn of(control: &Control, books: &Books) -> Self {
        let inventory = control.inventory.load();
        let hub = |(name, state): (&Name, &Result<HubState, NotReady>)| {
            let channel = state.as_ref().ok().map(|state| ChannelView::of(&*state.channel));
            let not_ready = why_not(state);
            Part {
                name: name.to_string(),
                ready: not_ready.is_none(),
                reason: not_ready.as_ref().map(|why| why.reason),
                message: not_ready.map(|why| why.message),
                channel,
            }
        };
        let taker = |state: &TriggerState| {
            let why = state.running.as_ref().err()?;
            Some(Part {
                name: state.name.to_string(),
                ready: false,
                reason: Some(why.reason),
                message: Some(why.message.clone()),
                channel: None,
            })
        };
        Self {
            silent_workers: books.silent_workers,
            brokers: inventory.brokers.iter().map(hub).collect(),
            triggers: inventory.triggers.values().filter_map(taker).collect(),
            channels: inventory.channels.iter().map(hub).collect(),
            subscriptions: inventory.subscriptions.values().filter_map(taker).collect(),
            problems: inventory.problems.iter().map(ProblemView::of).collect(),
            cluster: BTreeMap::clone(&control.troubles.all()),
        }
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        if self.silent_workers > 0 {
            writeln!(out, "[-] workers that do not answer: {}", self.silent_workers)?;
        }
        let of_kinds = [
            (HubKind::Broker, &self.brokers, &self.triggers),
            (HubKind::Channel, &self.channels, &self.subscriptions),
        ];
        for (kind, hubs, takers) in of_kinds {
            for hub in hubs {
                write!(out, "{} {} {}", sign(hub.ready), kind.as_str(), hub.name)?;
                match &hub.channel {
                    Some(channel) if hub.ready => writeln!(out, ": {channel}")?,
                    // What it is worth does not count while it is down.
                    Some(channel) => {
                        let message = hub.message.as_deref().unwrap_or_default();
                        writeln!(out, ": {}: {}", channel.kind(), escape(message, false))?;
                    }
                    None => hub.write_reason(out)?,
                }
            }
            for taker in takers {
                write!(out, "[-] {} {}", kind.taker(), taker.name)?;
                taker.write_reason(out)?;
            }
        }
        for problem in &self.problems {
            writeln!(out, "[-] manifest {problem}")?;
        }
        for why in self.cluster.values() {
            writeln!(out, "[-] cluster: {}", escape(why, false))?;
        }
        Ok(())
    }
}

impl Part {
    fn write_reason(&self, out: &mut String) -> std::fmt::Result {
        if let (Some(reason), Some(message)) = (self.reason, &self.message) {
            write!(out, ": {reason}: {}", escape(message, false))?;
        }
        out.write_char('\n')
    }
}
