//! The hook of a GitHubSource, at a server that stands for GitHub.

use harness::{Answer, Broker, Manifests, Setup, Subscriber, Trigger, eventually};
use serde_json::{Value, json};

use crate::SOON;
use crate::github_source::{PUSH, deliver, github, until_pushes};
use crate::sources::{SECRET, beside, ready, source, ticks_go_on};

/// The source whose hook is made at `api`, which stands for GitHub.
fn managed(api: &Subscriber) -> String {
    let url = api.url("/api/v3");
    let more = format!("githubAPIURL: {url}\n  accessToken: {{env: HOOKS_TOKEN}}\n  eventTypes");
    github().replace("eventTypes", &more)
}

/// A program that has a token, and may be called from outside.
fn hooked(manifests: &Manifests) -> Setup {
    Setup::new()
        .path(manifests.path())
        .env("HOOKS_TOKEN", "a-token-for-hooks")
        .config(json!({"publicUrl": "https://events.example"}))
}

/// With a token and a public URL the program looks after the hook: here at a server that says what
/// GitHub would.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hook_at_github_is_made_and_removed_with_its_source() {
    let (subscriber, api) = (Subscriber::start().await, Subscriber::start().await);
    api.script(|call| match call.request.method.as_str() {
        "GET" => Answer::status(200).body("[]"),
        "POST" => Answer::status(201).body(r#"{"id": 7}"#),
        "DELETE" => Answer::status(204),
        _ => Answer::status(200).body("{}"),
    });
    let manifests = Manifests::new();
    manifests.broker(&Broker::named("default"));
    manifests.trigger(&Trigger::named("all").to(&subscriber));
    manifests.write("sources.yaml", managed(&api));
    let program = hooked(&manifests).start().await;
    let asked = |what: &'static str| {
        let received = api.received();
        let found = received
            .into_iter()
            .find(|it| format!("{} {}", it.request.method, it.request.target).starts_with(what));
        async move { found.ok_or(what) }
    };
    let made = eventually(SOON, || asked("POST /api/v3/repos/octo/hello/hooks")).await;
    let hook: Value = serde_json::from_slice(&made.request.body).unwrap();
    assert_eq!(hook["config"]["url"], "https://events.example/sources/default/hello");
    assert_eq!(hook["config"]["secret"], SECRET);
    let token = made.request.head.headers.text("authorization");
    assert_eq!(token.as_deref(), Some("Bearer a-token-for-hooks"));
    ready(&program, 1).await;
    eventually(SOON, || async {
        let hello = source(&program, "hello").await;
        if hello["webhookId"] == 7 { Ok(()) } else { Err(hello) }
    })
    .await;
    manifests.remove("sources.yaml");
    eventually(SOON, || asked("DELETE /api/v3/repos/octo/hello/hooks/7")).await;
    assert!(!program.process.stderr().contains("a-token-for-hooks"), "a token is not told");
    assert!(!program.process.stderr().contains(SECRET), "a secret is not told");
}

/// What GitHub says of a token is told with its field; deliveries and other sources go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_without_rights_is_told_and_stops_nothing() {
    let (subscriber, api) = (Subscriber::start().await, Subscriber::start().await);
    let manifests = Manifests::new();
    manifests.broker(&Broker::named("default"));
    manifests.trigger(&Trigger::named("all").to(&subscriber));
    manifests.write("sources.yaml", managed(&api) + &beside());
    api.always(Answer::status(403).body(r#"{"message":"Resource not accessible"}"#));
    let program = hooked(&manifests).start().await;
    for (status, told) in [
        (403, "cannot list webhooks: 403 Forbidden: spec.accessToken may not manage webhooks"),
        (401, "spec.accessToken is not taken"),
        (404, "spec.ownerAndRepository does not exist, or spec.accessToken may not see it"),
    ] {
        api.always(Answer::status(status).body("{}"));
        let is_told = || async {
            let hello = source(&program, "hello").await;
            let failure = hello["failure"].as_str().unwrap_or_default();
            if failure.contains(told) && hello["ready"] == false { Ok(()) } else { Err(hello) }
        };
        eventually(SOON * 2, is_told).await;
    }
    assert_eq!(deliver(&program, "guid-1", PUSH, &[]).await.status, 202);
    until_pushes(&subscriber, &[("guid-1", PUSH)]).await;
    ticks_go_on(&subscriber).await;
    assert!(!program.process.stderr().contains("a-token-for-hooks"), "a token is not told");
}
