//! Deliveries of GitHub through the endpoint of a source.

use std::sync::Arc;

use bytes::Bytes;
use channel::{Attributes as _, Event};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sha2::Sha256;

use super::*;
use crate::{
    Notes, Secret, SecretSpec, SourceId,
    testing::{Kept, sink},
    webhook::{Answer, Endpoint, REMEMBERED, Refused, Replay, Request},
};

const KEY: &str = "a-secret-of-24-characters";

fn spec() -> GitHubSourceSpec {
    let secret = SecretSpec { env: Some("TOKEN".to_owned()), ..SecretSpec::default() };
    GitHubSourceSpec {
        owner_and_repository: "octo/hello".to_owned(),
        event_types: vec!["push".to_owned()],
        secret_token: Some(secret),
        sink: Some(channel::Destination::from_uri("http://a")),
        ..GitHubSourceSpec::default()
    }
}

fn plan(spec: &GitHubSourceSpec) -> Result<GitHubPlan, Vec<String>> {
    let mut problems = Vec::new();
    let resolve = |_: &SecretSpec| Ok(Some(Secret::new(KEY)));
    let plan = GitHubPlan::new(spec, &resolve, &mut problems);
    plan.ok_or_else(|| problems.iter().map(ToString::to_string).collect())
}

struct Source {
    endpoint: Endpoint,
    kept: Arc<Kept>,
}

impl Source {
    fn new(spec: &GitHubSourceSpec, notes: Notes) -> Self {
        let plan = plan(spec).unwrap();
        let (id, kept) = (SourceId { kind: KIND, name: Name::new("default", "hello") }, sink());
        let replay = Replay::new(&id, notes, REMEMBERED);
        let ways = (plan.verifier, plan.mapper);
        let endpoint =
            Endpoint::new(id, ways, replay, plan.body_bytes_max, kept.clone(), Arc::default());
        Self { endpoint, kept }
    }

    async fn deliver(
        &self,
        event: &str,
        guid: &str,
        (media_type, body): (&str, &str),
    ) -> Result<Answer, Refused> {
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let tag = mac.finalize().into_bytes();
        let tag: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        let signature = format!("sha256={tag}");
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-github-event", event),
            ("x-github-delivery", guid),
            ("content-type", media_type),
            ("x-hub-signature-256", signature.as_str()),
        ] {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request =
            Request { method: &Method::POST, path: "", query: "", headers: &headers, body: &body };
        self.endpoint.receive(0, &request, "2026-01-01T00:00:00Z".parse().unwrap()).await
    }

    fn last(&self) -> Event {
        self.kept.events.lock().unwrap().last().unwrap().clone()
    }
}

const PUSH: &str = r#"{"ref":"refs/heads/main","created":false,"deleted":false,"forced":true,
    "compare":"https://github.com/octo/hello/compare/a1...b2","pusher":{"name":"joe"},
    "repository":{"id":1,"name":"hello","owner":{"login":"octo"}},"sender":{"login":"joe"}}"#;

#[tokio::test]
async fn a_push_is_told_as_knative_tells_it() {
    let source = Source::new(&spec(), Notes::default());
    let answer = source.deliver("push", "guid-1", ("application/json", PUSH)).await.unwrap();
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let event = source.last();
    for (name, value) in [
        ("id", "guid-1"),
        ("type", "dev.knative.source.github.push"),
        ("source", "https://github.com/octo/hello"),
        ("subject", "a1...b2"),
        ("time", "2026-01-01T00:00:00Z"),
        ("datacontenttype", "application/json"),
        ("owner", "octo"),
        ("repository", "hello"),
        ("sender", "joe"),
        ("pusher", "joe"),
        ("ref", "refs/heads/main"),
        ("forced", "true"),
    ] {
        assert_eq!(event.attribute(name), Some(value), "{name}");
    }
    assert_eq!(event.attribute("action"), None);
    assert_eq!(event.data().unwrap().bytes, PUSH, "byte for byte");
}

#[tokio::test]
async fn a_guid_that_comes_again_makes_no_second_event_even_after_a_restart() {
    let notes = Notes::default();
    let source = Source::new(&spec(), notes.clone());
    for _ in 0..2 {
        let answer = source.deliver("push", "guid-1", ("application/json", PUSH)).await.unwrap();
        assert_eq!(answer.status, StatusCode::ACCEPTED);
    }
    assert_eq!(source.kept.ids(), ["guid-1"]);
    assert_eq!(source.endpoint.report().counts().repeated, 1);
    let source = Source::new(&spec(), notes);
    source.deliver("push", "guid-1", ("application/json", PUSH)).await.unwrap();
    assert!(source.kept.ids().is_empty());
}

#[tokio::test]
async fn a_delivery_that_could_not_be_stored_may_come_again() {
    let source = Source::new(&spec(), Notes::default());
    let down = channel::PublishError::Down { reason: "no route".to_owned() };
    source.kept.refusals.lock().unwrap().push(down.into());
    let refused = source.deliver("push", "guid-1", ("application/json", PUSH)).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    source.deliver("push", "guid-1", ("application/json", PUSH)).await.unwrap();
    assert_eq!(source.kept.ids(), ["guid-1"]);
}

#[tokio::test]
async fn a_form_carries_the_same_json() {
    let source = Source::new(&spec(), Notes::default());
    let form = "payload=%7B%22action%22%3A%22opened%22%2C%22issue%22%3A%7B%22number%22%3A7%7D%7D";
    source.deliver("issues", "1", ("application/x-www-form-urlencoded", form)).await.unwrap();
    let event = source.last();
    assert_eq!(
        (event.attribute("subject"), event.attribute("action")),
        (Some("7"), Some("opened"))
    );
    assert_eq!(event.attribute("datacontenttype"), Some("application/json"));
    assert_eq!(event.data().unwrap().bytes, r#"{"action":"opened","issue":{"number":7}}"#);
}

#[tokio::test]
async fn a_ping_is_answered_and_told_only_when_it_is_asked_for() {
    let source = Source::new(&spec(), Notes::default());
    let ping = ("application/json", r#"{"zen":"x","hook_id":9}"#);
    let answer = source.deliver("ping", "1", ping).await.unwrap();
    assert_eq!((answer.status, source.kept.ids().len()), (StatusCode::OK, 0));
    let mut spec = spec();
    spec.event_types.push("ping".to_owned());
    let source = Source::new(&spec, Notes::default());
    source.deliver("ping", "1", ping).await.unwrap();
    assert_eq!(source.last().attribute("subject"), Some("9"));
}

#[tokio::test]
async fn what_is_no_delivery_of_github_is_refused_with_its_part() {
    let source = Source::new(&spec(), Notes::default());
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    for (event, guid, media_type, body, status, told) in [
        ("push", "1", "application/json", "{", 400, "body: must be JSON"),
        ("push", "1", "application/json", "[]", 400, "body: must be a JSON object"),
        ("push", "1", "application/json", deep.as_str(), 400, "body: must not have more than 64"),
        ("push", "1", "text/plain", "{}", 415, "content-type: must be application/json"),
        ("push", "1", "application/x-www-form-urlencoded", "a=1", 400, "body: must have a field"),
        ("", "1", "application/json", "{}", 400, "x-github-event: is missing"),
        ("no event", "1", "application/json", "{}", 400, "x-github-event: must be the name"),
        ("push", "", "application/json", "{}", 400, "x-github-delivery: is missing"),
    ] {
        let refused = source.deliver(event, guid, (media_type, body)).await.unwrap_err();
        assert_eq!(refused.status.as_u16(), status, "{event} {body}");
        assert!(refused.reason().starts_with(told), "{}", refused.reason());
    }
    assert!(source.kept.ids().is_empty());
}

#[test]
fn everything_that_is_wrong_in_a_spec_is_told_with_its_field() {
    let wrong = |change: fn(&mut GitHubSourceSpec)| {
        let mut spec = spec();
        change(&mut spec);
        plan(&spec).unwrap_err()
    };
    for (problems, field) in [
        (wrong(|spec| spec.owner_and_repository.clear()), "spec.ownerAndRepository: "),
        (wrong(|spec| spec.owner_and_repository.push_str("/x")), "spec.ownerAndRepository: "),
        (wrong(|spec| spec.event_types.clear()), "spec.eventTypes: "),
        (wrong(|spec| spec.event_types.push("Push".to_owned())), "spec.eventTypes[1]: "),
        (wrong(|spec| spec.secret_token = None), "spec.secretToken: is required"),
        (wrong(|spec| spec.sink = None), "spec.sink: "),
        (wrong(|spec| spec.github_api_url = Some("github".to_owned())), "spec.githubAPIURL: "),
        (
            wrong(|spec| {
                spec.github_api_url = Some("http://git.example.com/api/v3".to_owned());
                spec.access_token = spec.secret_token.clone();
            }),
            "spec.githubAPIURL: must be https",
        ),
        (
            wrong(|spec| spec.access_token = Some(SecretSpec::default())),
            "spec.accessToken: expected exactly one",
        ),
    ] {
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(field), "{problems:?}");
    }
    let mut problems = Vec::new();
    let short = |_: &SecretSpec| Ok(Some(Secret::new("short")));
    assert!(GitHubPlan::new(&spec(), &short, &mut problems).is_none());
    assert_eq!(problems[0].to_string(), "spec.secretToken: must have at least 16 bytes");
}

#[test]
fn events_of_an_enterprise_server_name_it() {
    let mut spec = spec();
    spec.github_api_url = Some("https://git.example.com/api/v3".to_owned());
    spec.owner_and_repository = "octo".to_owned();
    let plan = plan(&spec).unwrap();
    assert_eq!(plan.api_url.as_str(), "https://git.example.com/api/v3/");
    assert_eq!(plan.ce_attributes()[0].source, "https://git.example.com/octo");
    assert_eq!(plan.ce_attributes()[0].kind, "dev.knative.source.github.push");
}
