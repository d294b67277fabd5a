//! Sources: ticks and webhooks that become events, over real sockets, and over a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use harness::http::{Headers, Response};
use harness::program::Program;
use harness::{Answer, Broker, Manifests, Setup, Subscriber, Trigger, eventually};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::SOON;

const SECRET: &str = "a-secret-of-thirty-two-characters";

/// A broker, a trigger that wants everything, and these documents.
async fn with(documents: &str, subscriber: &Subscriber) -> (Program, Manifests) {
    let manifests = Manifests::new();
    manifests.broker(&Broker::named("default"));
    manifests.trigger(&Trigger::named("all").to(subscriber));
    manifests.write("sources.yaml", documents);
    let program = Setup::new().path(manifests.path()).start().await;
    (program, manifests)
}

fn ping(name: &str, schedule: &str, sink: &str) -> String {
    format!(
        "apiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {{name: {name}}}\nspec:\n  \
         schedule: \"{schedule}\"\n  contentType: application/json\n  data: '{{\"n\": 1}}'\n  \
         ceOverrides: {{extensions: {{region: eu}}}}\n  sink: {sink}\n---\n"
    )
}

const BROKER: &str = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";

fn github() -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: github}}\nstringData: {{token: {SECRET}}}\n---\n\
         apiVersion: sources.knative.dev/v1alpha1\nkind: GitHubSource\nmetadata: {{name: hello}}\nspec:\n  \
         ownerAndRepository: octo/hello\n  eventTypes: [push]\n  \
         secretToken: {{secretKeyRef: {{name: github, key: token}}}}\n  sink: {BROKER}\n---\n"
    )
}

/// All sources by name, once so many are ready.
async fn ready(program: &Program, count: usize) {
    let all = || async {
        let sources = program.admin().get("/api/v1/sources").await.json();
        let items = sources["items"].as_array().map_or(&[][..], Vec::as_slice);
        let ready = items.iter().filter(|source| source["ready"] == true).count();
        if ready == count { Ok(()) } else { Err(sources) }
    };
    eventually(SOON, all).await;
}

async fn source(program: &Program, name: &str) -> Value {
    let sources = program.admin().get(&format!("/api/v1/sources/default/{name}")).await.json();
    sources["items"][0].clone()
}

fn signature(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key");
    mac.update(body.as_bytes());
    let tag = mac.finalize().into_bytes();
    tag.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Delivers to the GitHubSource, signed, with these header fields over the usual ones.
async fn deliver(program: &Program, guid: &str, body: &str, over: &[(&str, &str)]) -> Response {
    let signature = format!("sha256={}", signature(body));
    let usual = [
        ("x-github-event", "push"),
        ("x-github-delivery", guid),
        ("content-type", "application/json"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let is_over = |name: &str| over.iter().any(|(other, _)| *other == name);
    let kept = usual.iter().filter(|(name, _)| !is_over(name));
    let all = kept.chain(over).filter(|(_, value)| !value.is_empty());
    let headers =
        all.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let mut producer = program.producer("sources/default/hello");
    producer.post(Headers(headers), Bytes::copy_from_slice(body.as_bytes())).await.unwrap()
}

const PUSH: &str = r#"{"ref":"refs/heads/main","repository":{"name":"hello"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_source_makes_events_for_a_broker_and_for_a_url() {
    let (by_broker, by_url) = (Subscriber::start().await, Subscriber::start().await);
    let uri = format!("{{uri: \"{}\"}}", by_url.url("/direct"));
    let documents = ping("beat", "* * * * * *", BROKER) + &ping("direct", "@every 1s", &uri);
    let (program, _manifests) = with(&documents, &by_broker).await;
    for (subscriber, name) in [(&by_broker, "beat"), (&by_url, "direct")] {
        let received = subscriber.receives(2, SOON).await;
        let mut ids = BTreeSet::new();
        for one in &received {
            let event = one.event.as_ref().unwrap();
            assert_eq!(event.attribute("type"), Some("dev.knative.sources.ping"));
            let source = format!("/apis/v1/namespaces/default/pingsources/{name}");
            assert_eq!(event.attribute("source"), Some(source.as_str()));
            assert_eq!(event.attribute("region"), Some("eu"));
            assert_eq!(event.data.as_deref(), Some(&b"{\"n\": 1}"[..]));
            assert!(event.attribute("time").is_some_and(|time| time.ends_with('Z')));
            assert!(ids.insert(event.attribute("id").unwrap().to_owned()), "an id twice");
        }
    }
    let beat = source(&program, "beat").await;
    assert!(beat["counts"]["made"].as_u64() >= Some(2), "{beat}");
    assert_eq!(beat["ceAttributes"][0]["type"], "dev.knative.sources.ping");
    let metrics = program.admin().metrics().await;
    let made =
        r#"catchment_source_events_total{kind="PingSource",source="default/beat",outcome="made"}"#;
    assert!(metrics.contains(made), "{metrics}");
}

/// The times of the ticks that came, each of which has one id.
fn ticks(subscriber: &Subscriber) -> BTreeSet<String> {
    let mut ids = BTreeMap::new();
    for one in subscriber.received() {
        let event = one.event.unwrap();
        let (id, time) = (event.attribute("id").unwrap(), event.attribute("time").unwrap());
        let digits: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
        assert!(id.starts_with(&digits), "{id} is not of {time}");
        let known = ids.entry(time.to_owned()).or_insert_with(|| id.to_owned());
        assert_eq!(known, id, "a tick has one id");
    }
    ids.into_keys().collect()
}

/// The notes say how far a source came: after a kill it goes on, and what it repeats has the same id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_source_goes_on_after_a_kill() {
    let subscriber = Subscriber::start().await;
    let (mut program, _manifests) = with(&ping("beat", "* * * * * *", BROKER), &subscriber).await;
    subscriber.receives(2, SOON).await;
    program.kill().await;
    let before = ticks(&subscriber);
    program.start_again().await;
    let goes_on = || async {
        let now = ticks(&subscriber);
        if now.len() >= before.len() + 3 { Ok(()) } else { Err(now) }
    };
    eventually(SOON, goes_on).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_of_github_makes_one_event_however_often_it_comes() {
    let subscriber = Subscriber::start().await;
    let (mut program, _manifests) = with(&github(), &subscriber).await;
    ready(&program, 1).await;
    assert_eq!(deliver(&program, "guid-1", PUSH, &[]).await.status, 202);
    assert_eq!(deliver(&program, "guid-1", PUSH, &[]).await.status, 202);
    let event = subscriber.first_event().await;
    assert_eq!(event.attribute("id"), Some("guid-1"));
    assert_eq!(event.attribute("type"), Some("dev.knative.source.github.push"));
    assert_eq!(event.attribute("source"), Some("https://github.com/octo/hello"));
    assert_eq!(event.data.as_deref(), Some(PUSH.as_bytes()));
    program.kill().await;
    program.start_again().await;
    ready(&program, 1).await;
    assert_eq!(deliver(&program, "guid-1", PUSH, &[]).await.status, 202);
    assert_eq!(deliver(&program, "guid-2", PUSH, &[]).await.status, 202);
    let has_both = || async {
        let seen = subscriber.received();
        let ids: BTreeSet<_> = seen.into_iter().map(|it| it.event.unwrap().key().id).collect();
        if ids.contains("guid-2") { Ok(ids) } else { Err(ids) }
    };
    let ids = eventually(SOON, has_both).await;
    assert_eq!(ids, BTreeSet::from(["guid-1".to_owned(), "guid-2".to_owned()]));
    let source = source(&program, "hello").await;
    assert_eq!(
        (source["counts"]["made"].as_u64(), source["counts"]["repeated"].as_u64()),
        (Some(1), Some(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_signed_as_it_should_be_is_refused_with_its_header() {
    let subscriber = Subscriber::start().await;
    let (program, _manifests) = with(&github(), &subscriber).await;
    ready(&program, 1).await;
    let sha1 = [("x-hub-signature-256", ""), ("x-hub-signature", "sha1=00")];
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    let other = format!("sha256={}", signature("another body"));
    for (over, body, status, told) in [
        (&[("x-hub-signature-256", "")][..], PUSH, 401, "x-hub-signature-256: is missing"),
        (&[("x-hub-signature-256", other.as_str())], PUSH, 401, "does not fit the body"),
        (&[("x-hub-signature-256", "sha256=abc")], PUSH, 401, "64 hexadecimal digits"),
        (&sha1, PUSH, 401, "alone (SHA-1) is not enough"),
        (&[("content-type", "text/plain")], PUSH, 415, "content-type: must be"),
        (&[], deep.as_str(), 400, "body: must not have more than 64 levels"),
        (&[("x-github-delivery", "")], PUSH, 400, "x-github-delivery: is missing"),
    ] {
        let answer = deliver(&program, "guid-1", body, over).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(told), "{told}: {}", answer.text());
        assert_eq!(answer.header("content-type").as_deref(), Some("application/problem+json"));
    }
    let long = "x".repeat(2 << 20);
    let answer = deliver(&program, "guid-1", &format!("{{\"a\":\"{long}\"}}"), &[]).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let form = "payload=%7B%22ref%22%3A%22main%22%7D";
    let of_form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(deliver(&program, "guid-2", form, &of_form).await.status, 202);
    assert_eq!(subscriber.first_event().await.data.as_deref(), Some(&b"{\"ref\":\"main\"}"[..]));
    assert_eq!(deliver(&program, "guid-3", "{}", &[("x-github-event", "ping")]).await.status, 200);
    let mut nobody = program.producer("sources/default/nobody");
    let answer = nobody.post(Headers::default(), Bytes::new()).await.unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_source_that_is_bad_leaves_the_others_alone() {
    let subscriber = Subscriber::start().await;
    let (program, manifests) = with(&ping("beat", "* * * * * *", BROKER), &subscriber).await;
    ready(&program, 1).await;
    let hook = |verification: &str| {
        format!(
            "apiVersion: sources.catchment.dev/v1alpha1\nkind: WebhookSource\nmetadata: {{name: hook}}\n\
             spec:\n  verification: {verification}\n  event: {{type: \"hook.{{body.kind|event}}\"}}\n  \
             sink: {BROKER}\n"
        )
    };
    manifests.write("hook.yaml", hook("{nobody: true}"));
    let is_told = || async {
        let problems = program.admin().problems().await;
        let fields: Vec<_> = problems.iter().map(|it| it["field"].clone()).collect();
        let has = |field: &str| fields.contains(&json!(field));
        if has("spec.verification.nobody") { Ok(()) } else { Err(problems) }
    };
    eventually(SOON, is_told).await;
    let before = subscriber.count();
    subscriber.receives(before + 1, SOON).await;
    // A secret that is not there is said, and the source waits for it.
    manifests
        .write("hook.yaml", hook("{bearer: {}, secrets: [{secretKeyRef: {name: s, key: k}}]}"));
    let waits = || async {
        let hook = source(&program, "hook").await;
        if hook["reason"] == "SecretsNotFound" { Ok(hook) } else { Err(hook) }
    };
    let waiting = eventually(SOON, waits).await;
    assert!(
        waiting["message"].as_str().unwrap().contains("spec.verification.secrets[0]"),
        "{waiting}"
    );
    let call = async || {
        let authorization = ("authorization".to_owned(), format!("Bearer {SECRET}").into_bytes());
        let media_type = ("content-type".to_owned(), b"application/json".to_vec());
        let headers = Headers(vec![authorization, media_type]);
        let mut producer = program.producer("sources/default/hook");
        producer.post(headers, Bytes::from(r#"{"kind":"made"}"#)).await.unwrap()
    };
    assert_eq!(call().await.status, 503);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": SECRET}});
    manifests.write("secret.yaml", harness::manifest::yaml(&secret));
    ready(&program, 2).await;
    assert_eq!(call().await.status, 202);
    let has_come = || async {
        let kinds = subscriber.received().into_iter();
        let kinds: Vec<_> = kinds
            .map(|it| it.event.unwrap().attribute("type").unwrap_or_default().to_owned())
            .collect();
        if kinds.contains(&"hook.made".to_owned()) { Ok(()) } else { Err(kinds) }
    };
    eventually(SOON, has_come).await;
    // A source that is removed is called no more.
    manifests.remove("hook.yaml");
    let is_gone = || async {
        let status = call().await.status;
        if status == 404 { Ok(()) } else { Err(status) }
    };
    eventually(SOON, is_gone).await;
}

/// A sink that answers with an error gets the event again; the source says that it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_away_gets_the_event_when_it_is_back() {
    let (by_broker, by_url) = (Subscriber::start().await, Subscriber::start().await);
    by_url.take_down().await;
    let uri = format!("{{uri: \"{}\"}}", by_url.url("/direct"));
    let (program, _manifests) = with(&ping("direct", "@every 1s", &uri), &by_broker).await;
    let is_retried = || async {
        let direct = source(&program, "direct").await;
        if direct["counts"]["retried"].as_u64() > Some(0) { Ok(()) } else { Err(direct) }
    };
    eventually(SOON, is_retried).await;
    by_url.bring_back().await;
    by_url.receives(1, SOON + Duration::from_secs(20)).await;
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
    let url = api.url("/api/v3");
    let documents = github().replace(
        "eventTypes",
        &format!("githubAPIURL: {url}\n  accessToken: {{env: HOOKS_TOKEN}}\n  eventTypes"),
    );
    manifests.write("sources.yaml", documents);
    let program = Setup::new()
        .path(manifests.path())
        .env("HOOKS_TOKEN", "a-token-for-hooks")
        .config(json!({"publicUrl": "https://events.example"}))
        .start()
        .await;
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
    manifests.remove("sources.yaml");
    eventually(SOON, || asked("DELETE /api/v3/repos/octo/hello/hooks/7")).await;
    assert!(!program.process.stderr().contains("a-token-for-hooks"), "a token is not told");
    assert!(!program.process.stderr().contains(SECRET), "a secret is not told");
}
