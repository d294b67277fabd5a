//! The format vectors of `$CATCHMENT_VECTORS/cloudevents-format-tests/json`, posted to a running program.

use std::path::PathBuf;

use harness::http::Headers;
use harness::{Running, say_not_run};
use serde_json::Value;

use crate::plain;

/// The tests of one file; `None` when there is no folder of vectors.
fn tests(file: &str) -> Option<Vec<Value>> {
    let Ok(folder) = std::env::var("CATCHMENT_VECTORS") else {
        say_not_run(&format!("the vectors of {file}"), "CATCHMENT_VECTORS is not set");
        return None;
    };
    let path = PathBuf::from(folder).join("cloudevents-format-tests/json").join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let all: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap();
    Some(all["tests"].as_array().unwrap().clone())
}

async fn post(running: &Running, content_type: &str, body: &Value) -> (u16, String) {
    let headers = Headers(vec![("content-type".into(), content_type.into())]);
    let answer = running.producer().post(headers, body.to_string().into()).await.unwrap();
    (answer.status, answer.text())
}

async fn check(file: &str, member: &str, content_type: &str, is_right: fn(u16) -> bool) {
    let Some(tests) = tests(file) else { return };
    let (running, _) = plain().await;
    let mut wrong = Vec::new();
    for test in &tests {
        let (status, text) = post(&running, content_type, &test[member]).await;
        if !is_right(status) {
            wrong.push(format!("{}: {status} {text}", test["id"]));
        }
    }
    assert!(!tests.is_empty());
    assert!(wrong.is_empty(), "{} of {} in {file}: {wrong:#?}", wrong.len(), tests.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_valid_event_is_accepted() {
    check("valid-events.json", "event", "application/cloudevents+json", |status| status == 202)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_invalid_event_is_refused() {
    check("invalid-events.json", "event", "application/cloudevents+json", |status| status == 400)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_valid_batch_is_accepted() {
    check("valid-batches.json", "batch", "application/cloudevents-batch+json", |status| {
        (200..300).contains(&status)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_invalid_batch_is_refused() {
    check("invalid-batches.json", "batch", "application/cloudevents-batch+json", |status| {
        status == 400
    })
    .await;
}
