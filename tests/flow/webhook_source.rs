//! WebhookSources: beside others, and what requests of every kind come to.

use bytes::Bytes;
use harness::Subscriber;
use harness::eventually;
use harness::http::{Headers, Response};
use harness::program::Program;
use serde_json::json;

use crate::SOON;
use crate::sources::{BROKER, SECRET, beside, ready, source, ticks_go_on, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_source_that_is_bad_leaves_the_others_alone() {
    let subscriber = Subscriber::start().await;
    let (program, manifests) = with(&beside(), &subscriber).await;
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
    ticks_go_on(&subscriber).await;
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

async fn post(program: &Program, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let headers =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    let headers = Headers(headers.collect());
    let mut producer = program.producer(&format!("sources/default/{path}"));
    producer.post(headers, Bytes::copy_from_slice(body.as_bytes())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_body_is_data_and_what_is_no_attribute_is_refused_with_its_name() {
    let subscriber = Subscriber::start().await;
    let documents = format!(
        "apiVersion: sources.catchment.dev/v1alpha1\nkind: WebhookSource\nmetadata: {{name: any}}\n\
         spec:\n  verification: {{none: true}}\n  event: {{type: \"t.{{body.kind|none}}\", \
         subject: \"{{body.s}}\", source: \"https://\u{e9}.example/{{path.0}}\", id: \"{{header.X-Id}}\"}}\n  \
         sink: {BROKER}\n---\n"
    );
    let (program, _manifests) = with(&(documents + &beside()), &subscriber).await;
    ready(&program, 2).await;
    let json = ("content-type", "application/json");
    for (id, body, kind, subject) in [
        ("null", "null", "t.none", None),
        ("empty", "", "t.none", None),
        ("broken", "{", "t.none", None),
        ("object", r#"{"kind":"a","s":{"b":1}}"#, "t.a", None),
        (
            "unicode",
            "{\"kind\":\"\u{4f60}\u{1f600}\",\"s\":\"\u{e9} 5% \\\"x\\\"\"}",
            "t.\u{4f60}\u{1f600}",
            Some("\u{e9} 5% \"x\""),
        ),
    ] {
        let answer = post(&program, "any/%C3%A9", &[json, ("x-id", id)], body).await;
        assert_eq!(answer.status, 202, "{id}: {}", answer.text());
        let event = eventually(SOON, || async {
            let events = subscriber.received().into_iter().map(|it| it.event.unwrap());
            events.into_iter().find(|it| it.key().id == id).ok_or(id)
        })
        .await;
        assert_eq!(event.attribute("type"), Some(kind));
        assert_eq!(event.attribute("subject"), subject);
        assert_eq!(event.attribute("source"), Some("https://%C3%A9.example/%C3%A9"));
        assert_eq!(event.data.unwrap_or_default(), body.as_bytes(), "{id}");
    }
    let long = format!(r#"{{"kind":"{}"}}"#, "x".repeat(5_000));
    let huge = "x".repeat((1 << 20) + 1);
    let coded = [json, ("content-encoding", "gzip")];
    for (path, headers, body, status, told) in [
        (
            "any",
            &[json][..],
            "{}",
            400,
            "source: is made of {path.0}, which the request does not have",
        ),
        ("any/a", &[json], &long, 400, "type: must not be longer than 4096 bytes"),
        ("any/a", &[json], r#"{"s":"a\u0007"}"#, 400, "subject: must not contain control"),
        ("any/a", &[json], "[".repeat(65).as_str(), 400, "body: must not have more than 64"),
        ("any/a", &coded, "{}", 415, "content-encoding: must be identity"),
        ("any/a", &[json], &huge, 413, "the body is larger than 1048576 bytes"),
    ] {
        let answer = post(&program, path, headers, body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(told), "{told}: {}", answer.text());
        let field = answer.json()["field"].clone();
        assert!(field.is_string(), "{}", answer.text());
    }
    ticks_go_on(&subscriber).await;
    let refused = source(&program, "any").await["counts"]["refused"].clone();
    assert_eq!(refused, json!(6));
}
