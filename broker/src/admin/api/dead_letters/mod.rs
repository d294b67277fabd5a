//! `/api/v1/dead-letters`: the events that could not be delivered, and what to do with them.

mod choice;
mod id;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{StatusCode, Uri},
};
use futures_util::future::join_all;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{
    Admin,
    openapi::{BadRequest, NotFound, UnsupportedMediaType},
    request::{self, Params},
};
use crate::{
    control::{HubState, Inventory},
    ingress::Problem,
};
use choice::{Choice, ChoiceBody};
use id::Id;
use view::{LetterView, WholeLetterView};

/// Dead letters of a page when nobody says how many.
const PAGE_DEFAULT: usize = 100;

/// Most dead letters of a page.
const PAGE_MAX: usize = 1000;

/// Part of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterPage)]
pub(crate) struct PageView {
    /// By hub, brokers before channels, and of each the oldest first.
    items: Vec<LetterView>,
    /// How many there are with these filters, on all pages.
    total: usize,
    /// The id to go on `after`, when there are more.
    next: Option<String>,
}

/// What was sent again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Redriven {
    /// Dead letters that their triggers took on. Those of a trigger that is gone, or that is not
    /// ready, stay where they are.
    redriven: usize,
    /// Those that were asked for and have no trigger to go to, because it is gone or there never was
    /// one (`undecodable`). Absent when there are none.
    #[serde(skip_serializing_if = "is_zero")]
    without_trigger: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Purged {
    /// Dead letters that are gone.
    purged: usize,
}

/// Lists dead letters.
#[utoipa::path(
    get,
    path = "/api/v1/dead-letters",
    operation_id = "listDeadLetters",
    tag = "dead letters",
    params(
        ("trigger" = Option<String>, Query, description = "only those of this trigger, as namespace/name"),
        ("broker" = Option<String>, Query, description = "only those of this broker, as namespace/name"),
        ("subscription" = Option<String>, Query, description = "only those of this subscription, as namespace/name"),
        ("channel" = Option<String>, Query, description = "only those of this channel, as namespace/name"),
        ("reason" = Option<String>, Query, description = "only those for this reason: exhausted, refused, aged, overflow, loop or reply"),
        ("since" = Option<String>, Query, description = "only those that failed at or after this RFC 3339 time"),
        ("until" = Option<String>, Query, description = "only those that failed before this RFC 3339 time"),
        ("limit" = Option<usize>, Query, description = "most of a page, 1 to 1000; 100 when absent"),
        ("after" = Option<String>, Query, description = "only those that come after this id"),
    ),
    responses(
        (status = 200, description = "the dead letters", body = PageView),
        BadRequest,
    )
)]
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<PageView>, Problem> {
    let params = Params::read(
        uri.query(),
        &[
            "trigger",
            "broker",
            "subscription",
            "channel",
            "reason",
            "since",
            "until",
            "limit",
            "after",
        ],
    )?;
    let choice = Choice::of_query(&params)?;
    let limit = params.get("limit", page_limit)?.unwrap_or(PAGE_DEFAULT);
    let after = params.get("after", |text| text.parse::<Id>().map_err(|rule| rule.to_string()))?;
    Ok(Json(page(&admin.control.inventory.load(), &choice, limit, after.as_ref())))
}

fn page_limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    limit.ok_or_else(|| format!("must be a number from 1 to {PAGE_MAX}"))
}

/// At most `limit` dead letters, those after `after` only. A page may begin within one hub and
/// end within another.
fn page(inventory: &Inventory, choice: &Choice, limit: usize, after: Option<&Id>) -> PageView {
    let mut items: Vec<LetterView> = Vec::new();
    let (mut total, mut has_more) = (0, false);
    for (state, selection) in choice.hubs(inventory) {
        let hub = &state.fanout.hub;
        let start = match after {
            Some(after) if after.hub > *hub => u64::MAX,
            Some(after) if after.hub == *hub => after.number,
            _ => 0,
        };
        let store = &state.fanout.dead_letters;
        // One more than fits tells whether there is another page.
        let room = limit - items.len();
        let page = store.list(&selection, start, room + 1);
        total += page.total;
        has_more |= page.items.len() > room;
        items.extend(page.items.iter().take(room).map(|letter| LetterView::of(letter, store)));
    }
    let next = items.last().filter(|_| has_more).map(|last| last.id().to_owned());
    PageView { items, total, next }
}

/// Shows one dead letter: what was tried, and the whole event.
#[utoipa::path(
    get,
    path = "/api/v1/dead-letters/{id}",
    operation_id = "showDeadLetter",
    tag = "dead letters",
    params(("id" = String, Path, description = "as a list gave it")),
    responses(
        (status = 200, description = "the dead letter", body = WholeLetterView),
        NotFound,
    )
)]
pub(crate) async fn show(
    State(admin): State<Arc<Admin>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<WholeLetterView>, Problem> {
    let absent = || Problem::new(StatusCode::NOT_FOUND, "no dead letter of this id is kept");
    let Path(id) = path.map_err(|_| absent())?;
    let id: Id = id.parse().map_err(|_| absent())?;
    let inventory = admin.control.inventory.load();
    let Some(Ok(state)) = inventory.hub(&id.hub) else { return Err(absent()) };
    let store = &state.fanout.dead_letters;
    let letter = store.get(id.number).ok_or_else(absent)?;
    Ok(Json(WholeLetterView::of(&letter, store)))
}

/// Sends dead letters again, each to the trigger that gave it up.
#[utoipa::path(
    post,
    path = "/api/v1/dead-letters/redrive",
    operation_id = "redriveDeadLetters",
    tag = "dead letters",
    request_body = ChoiceBody,
    responses(
        (status = 200, description = "done", body = Redriven),
        BadRequest,
        UnsupportedMediaType,
    )
)]
pub(crate) async fn redrive(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<Json<Redriven>, Problem> {
    let choice = Choice::of_body(request::json(request).await?)?;
    let inventory = admin.control.inventory.load_full();
    let of_hubs = choice.hubs(&inventory).map(|(state, selection)| {
        let (control, hub) = (&admin.control, &state.fanout.hub);
        async move {
            let count = control.redrive(hub, &selection).await;
            tracing::info!(%hub, count, choice = ?selection, "dead letters were redriven");
            count
        }
    });
    let redriven = join_all(of_hubs).await.into_iter().sum();
    let without_trigger =
        choice.hubs(&inventory).map(|(state, chosen)| state.without_trigger(&chosen)).sum();
    Ok(Json(Redriven { redriven, without_trigger }))
}

/// Forgets dead letters for good.
#[utoipa::path(
    post,
    path = "/api/v1/dead-letters/purge",
    operation_id = "purgeDeadLetters",
    tag = "dead letters",
    request_body = ChoiceBody,
    responses(
        (status = 200, description = "done", body = Purged),
        BadRequest,
        UnsupportedMediaType,
    )
)]
pub(crate) async fn purge(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<Json<Purged>, Problem> {
    let choice = Choice::of_body(request::json(request).await?)?;
    let mut purged = 0;
    let inventory = admin.control.inventory.load_full();
    for (state, selection) in choice.hubs(&inventory) {
        let count = state.fanout.dead_letters.purge(&selection).await;
        let hub = &state.fanout.hub;
        tracing::info!(%hub, count, choice = ?selection, "dead letters were purged");
        purged += count;
    }
    Ok(Json(Purged { purged }))
}
