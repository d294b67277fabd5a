//! Dead letters over several brokers: pages, filters, and what an operator does with them.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dispatcher::{Attempt, Reason};
use serde_json::{Value, json};

use super::{super::super::fixture::Bench, view::AttemptView};

const LIST: &str = "/api/v1/dead-letters";

/// Three dead letters in `default/default`, two in `default/second`.
fn bench() -> Bench {
    let bench = Bench::new();
    for reason in [Reason::Exhausted, Reason::Refused, Reason::Exhausted] {
        bench.bury("default/default", "default/orders", reason);
    }
    for reason in [Reason::Aged, Reason::Exhausted] {
        bench.bury("default/second", "default/late", reason);
    }
    bench
}

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_go_over_all_brokers_and_give_each_letter_once() {
    let bench = bench();
    let whole = bench.get(LIST).await.json();
    assert_eq!((&whole["total"], &whole["next"]), (&json!(5), &json!(null)));
    for limit in 1..=6 {
        let mut seen: Vec<String> = Vec::new();
        let mut after = String::new();
        loop {
            let page = bench.get(&format!("{LIST}?limit={limit}{after}")).await.json();
            assert_eq!(page["total"], 5);
            assert!(ids(&page).len() <= limit);
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(ids(&page).len(), limit);
            after = format!("&after={next}");
        }
        assert_eq!(seen, ids(&whole), "pages of {limit}");
    }
}

#[tokio::test]
async fn a_page_goes_on_where_its_last_letter_was_though_that_is_gone() {
    let bench = bench();
    let purge = json!({"ids": ["default.default.2"]});
    assert_eq!(bench.post(&format!("{LIST}/purge"), &purge).await.json(), json!({"purged": 1}));
    let page = bench.get(&format!("{LIST}?limit=1&after=default.default.2")).await.json();
    assert_eq!(ids(&page), ["default.default.3"]);
    let page = bench.get(&format!("{LIST}?after=default.gone.7")).await.json();
    assert_eq!(ids(&page), ["default.second.1", "default.second.2"]);
}

#[tokio::test]
async fn filters_all_hold_at_once() {
    let bench = bench();
    for (filter, expected) in [
        (
            "trigger=default/orders",
            &["default.default.1", "default.default.2", "default.default.3"][..],
        ),
        ("broker=default/second", &["default.second.1", "default.second.2"]),
        ("broker=other/down", &[]),
        ("reason=exhausted", &["default.default.1", "default.default.3", "default.second.2"]),
        ("reason=exhausted&broker=default/second", &["default.second.2"]),
        (
            "since=2026-01-31T12:01:00Z&trigger=default/orders",
            &["default.default.2", "default.default.3"],
        ),
        ("until=2026-01-31T12:01:00Z", &["default.default.1", "default.second.1"]),
        (
            "since=2026-01-31T13:01:00%2B01:00&until=2026-01-31T12:02:00Z",
            &["default.default.2", "default.second.2"],
        ),
    ] {
        let list = bench.get(&format!("{LIST}?{filter}")).await.json();
        assert_eq!(ids(&list), expected, "{filter}");
        assert_eq!(list["total"], expected.len(), "{filter}");
    }
}

#[tokio::test]
async fn a_letter_is_shown_briefly_and_whole() {
    let bench = bench();
    let brief = &bench.get(LIST).await.json()["items"][1];
    let expected = json!({
        "id": "default.default.2", "broker": "default/default", "trigger": "default/orders",
        "channel": null, "subscription": null, "destination": "http://127.0.0.1:9/", "reason": "refused",
        "failedAt": "2026-01-31T12:01:00Z", "attempts": 0, "lastStatus": null,
        "lastError": "it waited 86400 s",
        "sink": {"url": "http://127.0.0.1:10/", "status": "pending", "attempts": 0},
        "event": {"id": "e1", "source": "/s", "type": "t", "subject": "x"},
    });
    assert_eq!(*brief, expected);

    let mut whole = bench.get(&format!("{LIST}/default.default.2")).await.json();
    assert_eq!(whole["attemptLog"], json!([]));
    let event = json!({
        "specversion": "1.0", "id": "e1", "source": "/s", "type": "t", "subject": "x",
        "datacontenttype": "application/json", "data": {"a": 1},
    });
    assert_eq!(whole["event"], event);
    let members = whole.as_object_mut().unwrap();
    members.remove("attemptLog");
    members.insert("event".to_owned(), expected["event"].clone());
    assert_eq!(whole, expected);
    assert_eq!(bench.get(&format!("{LIST}/default.second.1")).await.json()["sink"], json!(null));
}

#[test]
fn an_attempt_tells_its_status_or_its_error() {
    let attempt = Attempt {
        at: SystemTime::UNIX_EPOCH,
        took: Duration::from_micros(12_900),
        status: Some(503),
        error: None,
        answer: Bytes::from_static(b"busy \xff"),
        answer_truncated: true,
    };
    let shown = serde_json::to_value(AttemptView::of(&attempt)).unwrap();
    let expected = json!({
        "at": "1970-01-01T00:00:00Z", "durationMs": 12, "status": 503, "error": null,
        "answer": "busy \u{fffd}", "answerTruncated": true,
    });
    assert_eq!(shown, expected);

    let error = Some("connection refused".to_owned());
    let answer_truncated = false;
    let attempt =
        Attempt { status: None, error, answer: Bytes::new(), answer_truncated, ..attempt };
    let shown = serde_json::to_value(AttemptView::of(&attempt)).unwrap();
    assert_eq!((&shown["status"], &shown["answer"]), (&json!(null), &json!(null)));
    assert_eq!(shown["error"], "connection refused");
}

#[tokio::test]
async fn purging_takes_just_what_is_chosen() {
    for (choice, purged) in [
        (
            json!({"ids": ["default.default.1", "default.second.2", "default.second.2", "1", "x.y.1"]}),
            2,
        ),
        (json!({"ids": []}), 0),
        (json!({"all": true}), 5),
        (json!({"trigger": "default/late"}), 2),
        (json!({"broker": "default/default"}), 3),
        (json!({"broker": "default/default", "reason": "refused"}), 1),
        (json!({"until": "2026-01-31T12:01:00Z"}), 2),
        (json!({"since": "2026-02-01T00:00:00Z"}), 0),
        (json!({"broker": "other/down"}), 0),
    ] {
        let bench = bench();
        let done = bench.post(&format!("{LIST}/purge"), &choice).await.json();
        assert_eq!(done, json!({"purged": purged}), "{choice}");
        assert_eq!(bench.get(LIST).await.json()["total"], 5 - purged, "{choice}");
    }
}

#[tokio::test]
async fn what_no_worker_takes_on_stays_a_dead_letter() {
    let bench = bench();
    let done = bench.post(&format!("{LIST}/redrive"), &json!({"all": true})).await;
    assert_eq!((done.status, done.json()), (200, json!({"redriven": 0, "withoutTrigger": 2})));
    assert_eq!(bench.get(LIST).await.json()["total"], 5);
}
