//! Subject and extensions of GitHub's events, as Knative's source gives them.

use std::borrow::Cow;

use serde_json::Value;

use crate::webhook::scalar;

/// What an event is about, by its payload.
pub(super) fn subject<'a>(event: &str, payload: &'a Value) -> Option<Cow<'a, str>> {
    let pointer = match event {
        "check_run" => "/check_run/id",
        "check_suite" => "/check_suite/id",
        "create" | "delete" => "/ref_type",
        "deployment" | "deployment_status" => "/deployment/id",
        "fork" => "/forkee/id",
        "installation"
        | "installation_repositories"
        | "integration_installation"
        | "integration_installation_repositories" => "/installation/id",
        "issues" => "/issue/number",
        "label" => "/label/name",
        "member" | "membership" => "/member/id",
        "milestone" => "/milestone/number",
        "organization" | "org_block" | "project_card" | "project_column" | "project" => "/action",
        "page_build" => "/id",
        "ping" => "/hook_id",
        "public" | "repository" | "team_add" | "watch" => "/repository/id",
        "pull_request" => "/pull_request/number",
        "pull_request_review" => "/review/id",
        "pull_request_review_comment" => "/comment/id",
        "release" => "/release/tag_name",
        "repository_vulnerability_alert" => "/alert/id",
        "security_advisory" => "/security_advisory/ghsa_id",
        "status" => "/sha",
        "team" => "/team/id",
        "commit_comment" | "issue_comment" => return last_segment(payload, "/comment/html_url"),
        "push" => return last_segment(payload, "/compare"),
        "gollum" => return Some(Cow::Owned(pages(payload))),
        // An event that Knative's source does not know has no subject.
        _ => return None,
    };
    payload.pointer(pointer).and_then(scalar)
}

/// The extensions of an event and where in its payload their values are.
pub(super) fn extensions<'a>(
    event: &str,
    payload: &'a Value,
) -> impl Iterator<Item = (&'static str, &'a Value)> {
    let own: &'static [(&'static str, &'static str)] = match event {
        "create" | "delete" => &[("ref", "/ref")],
        "installation"
        | "installation_repositories"
        | "integration_installation"
        | "integration_installation_repositories"
        | "pull_request_review_comment" => &[("installation", "/installation/id")],
        "issues" => &[("label", "/label/name"), ("assignee", "/assignee/login")],
        "label" => &[("label", "/label/name")],
        "membership" => &[("scope", "/scope")],
        "pull_request" => &[
            ("installation", "/installation/id"),
            ("number", "/number"),
            ("label", "/label/name"),
            ("assignee", "/assignee/login"),
        ],
        "pull_request_review" => {
            &[("installation", "/installation/id"), ("review", "/review/state")]
        }
        "push" => &[
            ("installation", "/installation/id"),
            ("pusher", "/pusher/name"),
            ("ref", "/ref"),
            ("created", "/created"),
            ("deleted", "/deleted"),
            ("forced", "/forced"),
        ],
        "release" => &[("installation", "/installation/id"), ("release", "/release/name")],
        "status" => &[("state", "/state"), ("name", "/name"), ("context", "/context")],
        _ => &[],
    };
    let owner = ["/repository/owner/login", "/organization/login"];
    let owner = owner.into_iter().find_map(|pointer| payload.pointer(pointer));
    let common =
        [("repository", "/repository/name"), ("sender", "/sender/login"), ("action", "/action")];
    let found = move |&(name, pointer): &(&'static str, &'static str)| {
        payload.pointer(pointer).map(|value| (name, value))
    };
    let common: Vec<_> = common.iter().filter_map(found).collect();
    owner
        .map(|owner| ("owner", owner))
        .into_iter()
        .chain(common)
        .chain(own.iter().filter_map(found))
}

/// What stands after the last slash of a URL.
fn last_segment<'a>(payload: &'a Value, pointer: &str) -> Option<Cow<'a, str>> {
    let url = payload.pointer(pointer)?.as_str()?;
    Some(Cow::Borrowed(url.rsplit_once('/').map_or(url, |(_, last)| last)))
}

/// The names of the wiki pages of a `gollum` event.
fn pages(payload: &Value) -> String {
    let pages = payload.pointer("/pages").and_then(Value::as_array).into_iter().flatten();
    let names = pages.filter_map(|page| page.pointer("/page_name").and_then(Value::as_str));
    names.collect::<Vec<_>>().join(",")
}
