//! A broker's streams and its bucket are deleted, and nobody else's.

use std::net::TcpListener;
use std::time::Duration;

use channel::{Erased, Hub, Name, NatsPlan, NatsSettings, nats};
use harness::servers::nats::{Nats as Server, Options};
use serde_json::json;
use tokio::runtime::Handle;

use super::{named, open, other, server, settings};
use crate::erased::{end, fill, has_all, is_new};

const WITHIN: Duration = Duration::from_secs(30);

async fn erase(server: &Server, hub: impl Into<Hub>) -> Erased {
    nats::erase(&settings(server), hub, WITHIN, &Handle::current()).await.unwrap()
}

/// Streams of 2 GiB are set aside whole.
fn small() -> NatsPlan {
    NatsPlan { bytes_max: Some(16 << 20), ..NatsPlan::default() }
}

#[tokio::test]
async fn a_broker_is_erased_and_those_with_names_as_close_as_can_be_are_not() {
    let test = "a_broker_is_erased_and_those_with_names_as_close_as_can_be_are_not";
    let Some(server) = server(test, &Options::default()).await else { return };
    let broker = |namespace: &str, name: &str| Hub::broker(Name::new(namespace, name));
    let name = broker("tests", "a");
    let long = "x".repeat(240);
    let others = [
        broker("tests", "a.overflow.tests.t"),
        broker("tests", "a.b"),
        broker("tests", "ab"),
        broker("tests-a", "a"),
        broker("tests", &format!("{long}b")),
        broker("tests", &format!("{long}c")),
        Hub::channel(name.name.clone()),
    ];
    let triggers = [Name::new("tests", "u"), Name::new("tests", "a.b"), Name::new("n", long)];
    for it in others.iter().chain([&name]) {
        let channel = open(&server, &small(), it).await;
        fill(&*channel, &triggers).await;
        end(channel).await;
    }
    // A copy that somebody keeps: it is called as an overflow is, and takes nothing.
    let copy = json!({
        "name": "COPY", "storage": "file", "description": "CATCHMENT tests__a overflow of tests/u",
        "mirror": { "name": "CATCHMENT_OVERFLOW_tests__a_-tests__u" },
    });
    let made = other(&server, "ask", &["$JS.API.STREAM.CREATE.COPY", &copy.to_string()]).await;
    assert_eq!(made["config"]["name"], "COPY", "{made}");
    for erased in [&name, &others[4]] {
        let found = erase(&server, erased).await;
        assert!(found.is_done(), "{found:?}");
        assert_eq!(found.removed.len(), 2 + triggers.len(), "{found:?}");
        if *erased == name {
            for it in ["stream CATCHMENT_LOG_tests__a", "bucket CATCHMENT_LEDGER_tests__a"] {
                assert!(found.removed.iter().any(|removed| removed == it), "{found:?}");
            }
        }
        assert_eq!(erase(&server, erased).await, Erased::default());
        for kept in others.iter().filter(|other| *other != erased) {
            let channel = open(&server, &small(), kept).await;
            has_all(&*channel, &triggers).await;
            end(channel).await;
        }
    }
    let kept = other(&server, "ask", &["$JS.API.STREAM.INFO.COPY", ""]).await;
    assert_eq!(kept["config"]["name"], "COPY", "{kept}");
    other(&server, "ask", &["$JS.API.STREAM.DELETE.COPY", ""]).await;
    for erased in [&name, &others[4]] {
        let channel = open(&server, &small(), erased).await;
        is_new(&*channel, &triggers).await;
        end(channel).await;
    }
}

#[tokio::test]
async fn a_stream_of_another_name_is_found_by_its_subject() {
    let test = "a_stream_of_another_name_is_found_by_its_subject";
    let Some(server) = server(test, &Options::default()).await else { return };
    let names = [Name::new("tests", "one"), Name::new("tests", "two")];
    for (name, stream) in names.iter().zip(["ONE", "CATCHMENT_LOG_tests__one"]) {
        let plan = NatsPlan { bytes_max: Some(16 << 20), ..named(stream) };
        end(open(&server, &plan, name).await).await;
    }
    let removed = erase(&server, &names[0]).await.removed;
    assert_eq!(removed.len(), 2, "{removed:?}");
    assert!(removed.contains(&"stream ONE".to_owned()), "{removed:?}");
    let removed = erase(&server, &names[1]).await.removed;
    assert!(removed.contains(&"stream CATCHMENT_LOG_tests__one".to_owned()), "{removed:?}");
}

#[tokio::test]
async fn a_server_that_is_away_or_stands_still_is_said_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("nats://{}", silent.local_addr().unwrap());
    for url in ["nats://127.0.0.1:1", &silent] {
        let settings = NatsSettings { url: url.to_owned(), ..NatsSettings::default() };
        let (name, within) = (Name::new("tests", "a"), Duration::from_secs(3));
        let erased = nats::erase(&settings, &name, within, &Handle::current()).await;
        let error = erased.expect_err("nobody answers").to_string();
        assert!(error.starts_with(&format!("NATS at {url} cannot be reached: ")), "{error}");
    }
}
