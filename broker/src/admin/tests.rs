//! What the admin listener answers, asked as a client asks.

use std::{sync::Arc, time::SystemTime};

use axum::http::Method;
use channel::{Budget, Channel, Hub};
use dispatcher::Reason;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{
    Process,
    fixture::{self, Bench, Reply},
    serve,
};
use crate::{
    channels::fake::Fake,
    cli::{Color, Console, Format},
    control::{Control, Inventory},
    ingress::Connections,
    spec::ChannelKind,
};

/// The members that every problem document has.
#[track_caller]
fn check_problem(reply: &Reply, status: u16, field: Option<&str>) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.media(), "application/problem+json", "{}", reply.text());
    let problem = reply.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], "about:blank");
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    assert_eq!(problem.get("field").and_then(Value::as_str), field, "{problem}");
}

#[tokio::test]
async fn whatever_is_refused_is_refused_with_a_problem_that_names_it() {
    let bench = Bench::new();
    for (target, status, field) in [
        ("/", 404, None),
        ("/api/v1", 404, None),
        ("/api/v1/brokers/", 404, None),
        ("/api/v1/brokers/default/none", 404, None),
        ("/api/v1/brokers/default/%ff", 404, None),
        ("/api/v1/brokers?x=1", 400, Some("x")),
        ("/api/v1/triggers/default/none", 404, None),
        ("/api/v1/triggers?broker=default", 400, Some("broker")),
        ("/api/v1/triggers?brokr=default/default", 400, Some("brokr")),
        ("/api/v1/triggers?namespace=a&namespace=b", 400, Some("namespace")),
        ("/api/v1/dead-letters/1", 404, None),
        ("/api/v1/dead-letters/%ff", 404, None),
        ("/api/v1/dead-letters/default.default.1", 404, None),
        ("/api/v1/dead-letters/a.b.1", 404, None),
        ("/api/v1/dead-letters?limit=0", 400, Some("limit")),
        ("/api/v1/dead-letters?limit=1001", 400, Some("limit")),
        ("/api/v1/dead-letters?limit=ten", 400, Some("limit")),
        ("/api/v1/dead-letters?after=1", 400, Some("after")),
        ("/api/v1/dead-letters?reason=bad", 400, Some("reason")),
        ("/api/v1/dead-letters?since=yesterday", 400, Some("since")),
        ("/api/v1/dead-letters?until=", 400, Some("until")),
        ("/api/v1/dead-letters?trigger=a/b/c", 400, Some("trigger")),
        ("/api/v1/dead-letters?all=true", 400, Some("all")),
        ("/readyz?verbose=perhaps", 400, Some("verbose")),
        ("/metrics?name=x", 400, Some("name")),
    ] {
        let reply = bench.get(target).await;
        assert_eq!(reply.status, status, "{target}");
        check_problem(&reply, status, field);
    }
}

#[tokio::test]
async fn only_a_trigger_at_work_has_a_breaker_to_reset() {
    let bench = Bench::new();
    let reset = |trigger: &str| format!("/api/v1/triggers/default/{trigger}/reset-breaker");
    check_problem(&bench.post(&reset("none"), &json!({})).await, 404, None);
    check_problem(&bench.post(&reset("broken"), &json!({})).await, 409, None);
    let done = bench.call(Method::POST, &reset("orders"), &[], "").await;
    let expected = json!({
        "subscriber": "http://127.0.0.1:9/take?x=1", "before": "closed", "reset": 0,
        "silentWorkers": 0,
    });
    assert_eq!((done.status, done.json()), (200, expected));
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let bench = Bench::new();
    for (method, target, allow) in [
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::DELETE, "/api/v1/brokers", "GET,HEAD"),
        (Method::GET, "/api/v1/dead-letters/purge", "POST"),
        (Method::GET, "/display", "POST,OPTIONS"),
    ] {
        let reply = bench.call(method, target, &[], "").await;
        check_problem(&reply, 405, None);
        assert_eq!(reply.headers["allow"], allow, "{target}");
    }
}

#[tokio::test]
async fn a_choice_of_dead_letters_must_be_clear() {
    let bench = Bench::new();
    let many: Vec<String> = (0..10_001).map(|id| format!("default.default.{id}")).collect();
    for (body, field) in [
        (json!({}), None),
        (json!({"all": false}), Some("all")),
        (json!({"all": true, "trigger": "a/b"}), None),
        (json!({"all": true, "ids": []}), None),
        (json!({"ids": ["default.default.1"], "reason": "aged"}), None),
        (json!({"ids": [1]}), Some("ids[0]")),
        (json!({"ids": many}), Some("ids")),
        (json!({"triger": "a/b"}), Some("triger")),
        (json!({"trigger": "a"}), Some("trigger")),
        (json!({"reason": "bad"}), Some("reason")),
        (json!({"since": "1h"}), Some("since")),
        (json!([]), None),
    ] {
        for action in ["redrive", "purge"] {
            let reply = bench.post(&format!("/api/v1/dead-letters/{action}"), &body).await;
            check_problem(&reply, 400, field);
        }
    }
}

#[tokio::test]
async fn a_change_takes_json_that_says_so() {
    let bench = Bench::new();
    let purge = "/api/v1/dead-letters/purge";
    let all = r#"{"all":true}"#;
    for media in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        let reply = bench.call(Method::POST, purge, &[("content-type", media)], all).await;
        check_problem(&reply, 415, Some("content-type"));
    }
    check_problem(&bench.call(Method::POST, purge, &[], all).await, 415, Some("content-type"));
    let json = [("content-type", "Application/JSON; charset=utf-8")];
    for body in ["", "{", r#"{"all":true}}"#] {
        check_problem(&bench.call(Method::POST, purge, &json, body).await, 400, None);
    }
    let long = format!(r#"{{"trigger":"{}"}}"#, "x".repeat(1 << 20));
    check_problem(&bench.call(Method::POST, purge, &json, &long).await, 413, None);
    assert_eq!(bench.call(Method::POST, purge, &json, all).await.status, 200);
}

#[tokio::test]
async fn brokers_are_shown_with_what_their_202_is_worth() {
    let bench = Bench::new();
    bench.bury("default/default", "default/orders", Reason::Aged);
    let list = bench.get("/api/v1/brokers").await.json();
    let down = json!({
        "namespace": "other", "name": "down", "ready": false, "reason": "ChannelUnknown",
        "message": "there is no channel \u{1b}[2J", "address": "http://127.0.0.1:8080/other/down",
        "channel": null, "accepted": 0, "refused": 0, "stored": {"events": 0, "bytes": 0},
        "triggers": 0, "triggersUnindexed": 0, "deadLetters": 0,
    });
    let default = json!({
        "namespace": "default", "name": "default", "ready": true, "reason": null, "message": null,
        "address": "http://127.0.0.1:8080/default/default",
        "channel": {"kind": "InMemoryChannel", "durability": "none", "replicated": false},
        "accepted": 0, "refused": 0, "stored": {"events": 0, "bytes": 0},
        "triggers": 2, "triggersUnindexed": 0, "deadLetters": 1,
    });
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    assert_eq!((&list["items"][0], &list["items"][2]), (&default, &down));
    assert_eq!(bench.get("/api/v1/brokers/default/default").await.json(), default);
}

#[tokio::test]
async fn triggers_are_shown_as_written_and_as_they_are() {
    let bench = Bench::new();
    let filter = json!({"filter": {"attributes": {"type": "a"}}, "filters": []});
    let zero = json!({
        "matched": 0, "delivered": 0, "dead": 0, "expired": 0, "purged": 0, "waiting": 0, "inFlight": 0,
    });
    let orders = json!({
        "namespace": "default", "name": "orders", "broker": "default/default",
        "subscriber": "http://127.0.0.1:9/take?x=1", "deadLetterSink": "http://127.0.0.1:10/",
        "ready": true, "reason": null, "message": null, "paused": null, "ordered": true,
        "filter": filter,
        "delivery": {
            "retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S",
            "timeout": "PT10S", "retryAfterMax": "PT1H", "format": null,
        },
        "breaker": "closed", "concurrency": 0, "overflow": {"events": 0, "bytes": 0},
        "counters": zero,
    });
    let broken = json!({
        "namespace": "default", "name": "broken", "broker": "default/default",
        "subscriber": null, "deadLetterSink": null, "ready": false,
        "reason": "SubscriberUnresolved", "message": "spec.subscriber: is required",
        "paused": null, "ordered": null, "filter": filter, "delivery": null, "breaker": null,
        "concurrency": null, "overflow": null, "counters": zero,
    });
    let both = json!({"items": [broken, orders]});
    assert_eq!(bench.get("/api/v1/triggers").await.json(), both);
    assert_eq!(bench.get("/api/v1/triggers?broker=default/default").await.json(), both);
    assert_eq!(bench.get("/api/v1/triggers?namespace=default").await.json(), both);
    for none in ["broker=other/down", "namespace=other"] {
        let list = bench.get(&format!("/api/v1/triggers?{none}")).await.json();
        assert_eq!(list, json!({"items": []}));
    }
    assert_eq!(bench.get("/api/v1/triggers/default/orders").await.json(), both["items"][1]);
}

#[tokio::test]
async fn problems_say_where_and_since_when() {
    let problems = Bench::new().get("/api/v1/problems").await.json();
    let expected = json!({"items": [{
        "severity": "error", "file": "a.yaml", "line": 3, "column": 5, "field": "spec.brokr",
        "message": "is no field of a Trigger", "suggestion": "broker",
        "since": "2026-01-31T12:00:00Z",
    }]});
    assert_eq!(problems, expected);
}

#[tokio::test]
async fn an_event_display_takes_what_a_subscriber_takes() {
    let bench = Bench::new();
    let structured = [("content-type", "application/cloudevents+json")];
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    // A batch of none writes nothing on the test's own stdout.
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let taken = bench.call(Method::POST, "/display", &batch, "[]").await;
    assert_eq!((taken.status, taken.text()), (200, ""));
    check_problem(&bench.call(Method::POST, "/display", &structured, "{").await, 400, None);
    let avro = [("content-type", "application/cloudevents+avro")];
    check_problem(
        &bench.call(Method::POST, "/display", &avro, event).await,
        415,
        Some("content-type"),
    );
    let asked = [("webhook-request-origin", "sender.example")];
    let allowed = bench.call(Method::OPTIONS, "/display", &asked, "").await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.headers["webhook-allowed-origin"], "sender.example");
    assert_eq!(allowed.headers["webhook-allowed-rate"], "*");
}

#[tokio::test]
async fn ready_means_loaded_and_not_shutting_down() {
    let bench = Bench::new();
    let healthy = bench.get("/healthz").await;
    assert_eq!((healthy.status, healthy.text()), (200, "ok\n"));
    let ready = bench.get("/readyz").await;
    assert_eq!((ready.status, ready.text()), (200, "ready\n"));
    assert!(ready.media().starts_with("text/plain"));
    bench.control.set_ending();
    let ending = bench.get("/readyz").await;
    assert_eq!((ending.status, ending.text()), (503, "not ready: the process is shutting down\n"));
    assert_eq!(bench.get("/healthz").await.status, 200);

    let (empty, _looks) =
        Control::new(Vec::new(), Budget::new(1), Connections::new(1, 1), Arc::default());
    let loading = Bench::of(Arc::clone(&empty)).get("/readyz").await;
    let text = "not ready: the resources are not loaded yet\n";
    assert_eq!((loading.status, loading.text()), (503, text));
    empty.set_loaded();
    let opening = Bench::of(empty).get("/readyz").await;
    assert_eq!((opening.status, opening.text()), (503, "not ready: channels are being opened\n"));
}

#[tokio::test]
async fn verbose_readiness_names_what_is_not_ready() {
    let bench = Bench::new();
    let expected = "\
ready
[+] broker default/default: InMemoryChannel, durability none, not replicated
[+] broker default/second: InMemoryChannel, durability none, not replicated
[-] broker other/down: ChannelUnknown: there is no channel \\u001b[2J
[-] trigger default/broken: SubscriberUnresolved: spec.subscriber: is required
[-] manifest a.yaml:3:5: spec.brokr: is no field of a Trigger (did you mean broker?)
";
    assert_eq!(bench.get("/readyz?verbose").await.text(), expected);
    assert_eq!(bench.get("/readyz?verbose=false").await.text(), "ready\n");

    let accept = [("accept", "text/html, application/json;q=0.9")];
    let json = bench.call(Method::GET, "/readyz", &accept, "").await.json();
    assert_eq!((&json["ready"], &json["reason"]), (&json!(true), &json!(null)));
    assert_eq!((&json["draining"], &json["silentWorkers"]), (&json!(false), &json!(0)));
    let down = json!({
        "name": "other/down", "ready": false, "reason": "ChannelUnknown",
        "message": "there is no channel \u{1b}[2J",
    });
    assert_eq!(json["brokers"][2], down);
    assert_eq!(json["brokers"][0]["channel"]["kind"], "InMemoryChannel");
    assert_eq!(json["triggers"].as_array().unwrap().len(), 1);
    assert_eq!(json["problems"][0]["line"], 3);
}

#[tokio::test]
async fn a_channel_that_is_down_is_told_each_time_and_the_process_stays_ready() {
    let bench = Bench::new();
    let budget = Budget::new(1 << 20);
    let fake = Fake::new(ChannelKind::Kafka, Arc::clone(&budget));
    let name = fixture::name("default/default");
    let channel: Arc<dyn Channel> = Arc::<Fake>::clone(&fake);
    let state = fixture::on(channel, "default/default", &budget, Vec::new());
    bench.control.inventory.store(Arc::new(Inventory {
        brokers: [(name.clone(), Ok(state))].into(),
        kinds: [(Hub::broker(name), fake.kind())].into(),
        ..Inventory::default()
    }));
    let verbose = async || bench.get("/readyz?verbose").await.text().to_owned();
    let broker = async || bench.get("/api/v1/brokers/default/default").await.json();
    let up = r#"catchment_channel_up{broker="default/default",kind="KafkaChannel"}"#;
    let metrics = async || bench.get("/metrics").await.text().to_owned();
    let fine = "ready\n[+] broker default/default: KafkaChannel, durability process, replicated\n";
    assert_eq!(verbose().await, fine);
    assert!(metrics().await.contains(&format!("{up} 1\n")));

    fake.set_health(Err("all 3 servers are down\u{1b}".to_owned()));
    let down = "ready\n[-] broker default/default: KafkaChannel: all 3 servers are down\\u001b\n";
    assert_eq!(verbose().await, down);
    assert_eq!(bench.get("/readyz").await.status, 200);
    let shown = broker().await;
    assert_eq!((&shown["ready"], &shown["reason"]), (&json!(false), &json!("ChannelDown")));
    assert_eq!(shown["message"], "all 3 servers are down\u{1b}");
    assert_eq!(shown["channel"]["kind"], "KafkaChannel");
    let accept = [("accept", "application/json")];
    let parts = bench.call(Method::GET, "/readyz", &accept, "").await.json();
    assert_eq!(parts["brokers"][0]["reason"], "ChannelDown");
    let told = metrics().await;
    assert!(told.contains(&format!("{up} 0\n")), "{told}");
    assert!(told.contains(r#"catchment_broker_ready{broker="default/default"} 0"#), "{told}");

    fake.set_health(Ok(()));
    assert_eq!((verbose().await.as_str(), &broker().await["reason"]), (fine, &json!(null)));
}

#[tokio::test]
async fn a_listener_serves_until_it_is_told_to_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let control = Arc::clone(&Bench::new().control);
    let process = Process {
        events_url: String::new(),
        console: Console::new(Format::Text, Color::Never),
        started_at: SystemTime::now(),
    };
    let stop = CancellationToken::new();
    let ask = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        stop.cancel();
        // The connection is idle, so stopping closes it.
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    };
    tokio::join!(serve(listener, control, process, stop.clone()), ask);
}
