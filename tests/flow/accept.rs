//! Events come in by every mode and go out as they came.

use harness::http::Headers;
use harness::{Mode, Sample};
use serde_json::json;

use crate::{SOON, greeting, plain};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_curl_of_the_readme_is_accepted_and_delivered_with_every_attribute() {
    let (running, subscriber) = plain().await;
    let headers = [
        ("User-Agent", "curl/8.0"),
        ("Accept", "*/*"),
        ("Ce-Id", "say-hello"),
        ("Ce-Specversion", "1.0"),
        ("Ce-Type", "greeting"),
        ("Ce-Source", "not-sendoff"),
        ("Content-Type", "application/json"),
    ];
    let headers =
        Headers(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect());
    let body = br#"{"msg":"Hello"}"#;
    let response = running.producer().post(headers, body.as_slice().into()).await.unwrap();
    assert_eq!(response.status, 202, "{}", response.text());
    assert!(response.body.is_empty());

    let seen = subscriber.first_event().await;
    let sent = greeting("say-hello").data("application/json", body.as_slice());
    assert_eq!(
        seen.differences(&sent, Mode::Binary, &["knativearrivaltime"]),
        Vec::<String>::new()
    );
    let arrival = seen.attribute("knativearrivaltime").expect("an arrival time");
    assert!(arrival.parse::<jiff::Timestamp>().is_ok() && arrival.ends_with('Z'), "{arrival}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_broker_is_404_in_every_spelling() {
    let (running, subscriber) = plain().await;
    for target in ["/default/other", "/other/default", "/Default/default", "/default/DEFAULT"] {
        let (headers, body) = greeting("x").binary();
        let answer = running.producer().request("POST", target, headers, Some(body)).await.unwrap();
        assert_eq!(answer.status, 404, "{target}");
        assert_eq!(
            answer.header("content-type").as_deref(),
            Some("application/problem+json"),
            "{target}"
        );
    }
    for target in ["/", "/default", "/a/b/c", "/healthz"] {
        let (headers, body) = greeting("x").binary();
        let answer = running.producer().request("POST", target, headers, Some(body)).await.unwrap();
        assert!(matches!(answer.status, 400 | 404), "{target}: {}", answer.status);
    }
    assert_eq!(subscriber.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mode_in_is_binary_out_with_the_same_bytes() {
    let (running, subscriber) = plain().await;
    let odd_json = "{ \"a\" : 1.50,\n \"b\": \"\\u00e9\" }";
    let samples = [
        greeting("json").data("application/json", odd_json),
        greeting("text").data("text/plain; charset=utf-8", "zwölf % \"Boxkämpfer\"\n"),
        greeting("bytes").data("application/octet-stream", vec![0_u8, 255, 10, 13, 0]),
        greeting("vendor").data("application/vnd.example+json", "[1, 2,3 ]"),
        greeting("none"),
        greeting("rich")
            .with("subject", "a b%20c \"d\" é€😀")
            .with("time", "2018-04-05T17:31:00.1200+02:00")
            .with("dataschema", "https://example.com/schema?a=1&b=%20")
            .with("partitionkey", "k")
            .with_integer("count", -7)
            .with_boolean("flag", true),
    ];
    let mut number = 0;
    for sample in &samples {
        for mode in [Mode::Binary, Mode::Structured, Mode::Batched] {
            number += 1;
            let id = format!("{}-{number}", sample.attribute("id").unwrap());
            running.send_as(&sample.clone().with("id", &id), mode).await;
        }
    }
    running.settled(SOON).await;
    for one in subscriber.received() {
        assert_eq!(one.event.as_ref().unwrap().mode, Mode::Binary);
    }
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let (running, subscriber) = plain().await;
    let good = [greeting("1"), greeting("2").json(&json!(2)), greeting("3")];
    let answer = running.producer().batch(&good).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    subscriber.receives(3, SOON).await;

    let bad = [greeting("4"), greeting("5").with("time", "lunchtime"), greeting("6")];
    let answer = running.producer().batch(&bad).await.unwrap();
    assert_eq!(answer.status, 400);
    let reason = answer.text();
    assert!(
        reason.contains("time") && reason.contains('1'),
        "names the event and the field: {reason}"
    );

    let answer = running.producer().batch(&[]).await.unwrap();
    assert!((200..300).contains(&answer.status), "an empty batch is legal: {}", answer.status);

    running.producer().send(&greeting("7"), Mode::Binary).await.unwrap();
    let received = subscriber.receives(4, SOON).await;
    let ids: Vec<String> = received.iter().map(|one| one.key().unwrap().id).collect();
    assert!(!ids.iter().any(|id| ["4", "5", "6"].contains(&id.as_str())), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn specversion_0_3_passes_as_0_3() {
    let (running, subscriber) = plain().await;
    let old = greeting("old")
        .with("specversion", "0.3")
        .with("schemaurl", "http://example.com/s")
        .json(&json!({}));
    running.send(&old).await;
    let seen = subscriber.first_event().await;
    assert_eq!(seen.attribute("specversion"), Some("0.3"));
    assert_eq!(seen.attribute("schemaurl"), Some("http://example.com/s"));
    running.settled(SOON).await;
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_values_leave_as_they_came_coded_or_not() {
    let (running, subscriber) = plain().await;
    let values: [(&[u8], &str); 6] = [
        (b"Euro%20%E2%82%AC", "Euro €"),
        (b"Euro%20%e2%82%ac", "Euro €"),
        (b"a b", "a b"),
        (b"%41%2541", "A%41"),
        ("zwölf €".as_bytes(), "zwölf €"),
        (b"/a:b?c=d&e", "/a:b?c=d&e"),
    ];
    for (number, (wire, text)) in values.iter().enumerate() {
        running.send(&greeting(&number.to_string()).with_wire("subject", wire, text)).await;
    }
    let received = subscriber.receives(values.len(), SOON).await;
    assert_eq!(received.len(), values.len());
    running.settled(SOON).await;
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_answers_the_webhook_handshake_on_any_path() {
    let (running, _) = plain().await;
    for target in ["/default/default", "/", "/no/such"] {
        let asked = Headers(vec![
            ("WebHook-Request-Origin".into(), b"eventemitter.example.com".to_vec()),
            ("WebHook-Request-Rate".into(), b"120".to_vec()),
        ]);
        let answer = running.producer().request("OPTIONS", target, asked, None).await.unwrap();
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.header("webhook-allowed-origin").as_deref(), Some("*"));
        assert_eq!(answer.header("webhook-allowed-rate").as_deref(), Some("*"));
        assert_eq!(answer.header("allow").as_deref(), Some("POST, OPTIONS"));
        assert!(answer.body.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_allowed_headers_go_on_to_a_subscriber() {
    let (running, subscriber) = plain().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let (mut headers, body) = greeting("h").json(&json!(1)).binary();
    for (name, value) in [
        ("x-request-id", "r1"),
        ("knative-thing", "k1"),
        ("traceparent", trace),
        ("tracestate", "vendor=1"),
        ("authorization", "Bearer secret"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("prefer", "wait=10"),
        ("kn-namespace", "elsewhere"),
        ("x-anything", "1"),
        ("te", "trailers"),
    ] {
        headers.0.push((name.into(), value.into()));
    }
    assert_eq!(running.producer().post(headers, body).await.unwrap().status, 202);
    let received = subscriber.receives(1, SOON).await;
    let request = &received[0].request;
    let fields = &request.head.headers;
    assert_eq!(request.method, "POST");
    assert_eq!(fields.text("prefer").as_deref(), Some("reply"));
    assert_eq!(fields.text("kn-namespace").as_deref(), Some("default"));
    assert_eq!(fields.text("x-request-id").as_deref(), Some("r1"));
    assert_eq!(fields.text("knative-thing").as_deref(), Some("k1"));
    assert_eq!(fields.text("tracestate").as_deref(), Some("vendor=1"));
    let parent = fields.text("traceparent").expect("trace context goes on");
    assert_eq!(parent.split('-').nth(1), trace.split('-').nth(1), "same trace");
    assert_eq!(fields.text("host").as_deref(), Some(subscriber.address().to_string().as_str()));
    for name in [
        "authorization",
        "cookie",
        "x-forwarded-for",
        "forwarded",
        "x-anything",
        "te",
        "accept-encoding",
    ] {
        assert!(fields.get(name).is_none(), "{name} went on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_carries_many_requests_and_pipelined_ones() {
    let (running, subscriber) = plain().await;
    let mut producer = running.producer();
    for number in 0..50 {
        let answer =
            producer.send(&greeting(&format!("k{number}")), Mode::Structured).await.unwrap();
        assert_eq!(answer.status, 202);
    }
    let one = |id: &str| {
        let (_, body) = greeting(id).structured();
        let body = String::from_utf8_lossy(&body).into_owned();
        format!(
            "POST /default/default HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut wire = producer.connect().await;
    wire.write((one("p1") + &one("p2") + &one("p3")).as_bytes()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(wire.read_response().await.unwrap().unwrap().status, 202);
    }
    assert_eq!(subscriber.receives(53, SOON).await.len(), 53);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_limit_of_the_specification_is_reached_with_room() {
    let (running, _) = plain().await;
    for bytes in [64 * 1024, 512 * 1024, 1000 * 1024] {
        let sample: Sample =
            greeting(&bytes.to_string()).data("application/octet-stream", vec![7_u8; bytes]);
        running.send(&sample).await;
    }
    running.settled(SOON).await;
    running.evidence().await.assert();
}
