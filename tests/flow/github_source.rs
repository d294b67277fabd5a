//! GitHubSources: deliveries that are signed, forged, odd, repeated and not stored.

use std::collections::BTreeSet;

use bytes::Bytes;
use harness::http::{Headers, Response};
use harness::program::Program;
use harness::{Answer, Broker, Manifests, Setup, Subscriber, Trigger, eventually};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use crate::SOON;
use crate::sources::{BROKER, SECRET, beside, ready, source, ticks_go_on, with};

pub(crate) fn github() -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: github}}\nstringData: {{token: {SECRET}}}\n---\n\
         apiVersion: sources.knative.dev/v1alpha1\nkind: GitHubSource\nmetadata: {{name: hello}}\nspec:\n  \
         ownerAndRepository: octo/hello\n  eventTypes: [push]\n  \
         secretToken: {{secretKeyRef: {{name: github, key: token}}}}\n  sink: {BROKER}\n---\n"
    )
}

fn signature(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key");
    mac.update(body.as_bytes());
    let tag = mac.finalize().into_bytes();
    tag.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Delivers to the GitHubSource, signed, with these header fields over the usual ones.
pub(crate) async fn deliver(
    program: &Program,
    guid: &str,
    body: &str,
    over: &[(&str, &str)],
) -> Response {
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

pub(crate) const PUSH: &str = r#"{"ref":"refs/heads/main","repository":{"name":"hello"}}"#;

/// The events that are no ticks: ids and data.
fn pushes(subscriber: &Subscriber) -> Vec<(String, String)> {
    let received = subscriber.received().into_iter().map(|it| it.event.unwrap());
    let pushes = received.filter(|it| it.attribute("type") != Some("dev.knative.sources.ping"));
    let data = |data: Option<Bytes>| String::from_utf8(data.unwrap_or_default().to_vec()).unwrap();
    pushes.map(|it| (it.key().id, data(it.data))).collect()
}

pub(crate) async fn until_pushes(subscriber: &Subscriber, expected: &[(&str, &str)]) {
    let expected: BTreeSet<_> =
        expected.iter().map(|(id, data)| ((*id).to_owned(), (*data).to_owned())).collect();
    eventually(SOON, || async {
        let pushes = pushes(subscriber);
        let is_so = pushes.len() == expected.len() && pushes.iter().all(|it| expected.contains(it));
        if is_so { Ok(()) } else { Err(pushes) }
    })
    .await;
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
    let (program, _manifests) = with(&(github() + &beside()), &subscriber).await;
    ready(&program, 2).await;
    let good = format!("sha256={}", signature(PUSH));
    let sha1 = [("x-hub-signature-256", ""), ("x-hub-signature", "sha1=00")];
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let (opened, long_id) = ("[".repeat(10_000), "x".repeat(5_000));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    let other = format!("sha256={}", signature("another body"));
    for (over, body, status, told) in [
        (&[("x-hub-signature-256", "")][..], PUSH, 401, "x-hub-signature-256: is missing"),
        (&[("x-hub-signature-256", other.as_str())], PUSH, 401, "does not fit the body"),
        (&[("x-hub-signature-256", "sha256=abc")], PUSH, 401, "64 hexadecimal digits"),
        (&[("x-hub-signature-256", "sha256=")], PUSH, 401, "64 hexadecimal digits"),
        (&[("x-hub-signature-256", &good[..70])], PUSH, 401, "64 hexadecimal digits"),
        (
            &[("x-hub-signature-256", good.as_str()), ("x-hub-signature-256", good.as_str())],
            PUSH,
            401,
            "x-hub-signature-256: must not be there more than once",
        ),
        (&sha1, PUSH, 401, "alone (SHA-1) is not enough"),
        (&[("content-encoding", "gzip")], PUSH, 415, "content-encoding: must be identity"),
        (&[("x-github-event", "push pull")], PUSH, 400, "x-github-event: must be the name"),
        (
            &[("x-github-delivery", "1"), ("x-github-delivery", "2")],
            PUSH,
            400,
            "x-github-delivery: must not be there more than once",
        ),
        (&[("x-github-delivery", long_id.as_str())], PUSH, 400, "id: must not be longer than"),
        (&[], "", 400, "body: must be JSON"),
        (&[], "null", 400, "body: must be a JSON object"),
        (&[], "{\"a\":", 400, "body: must be JSON; it is not at line 1"),
        (&[], opened.as_str(), 400, "body: must not have more than 64 levels"),
        (&form, "a=1", 400, "body: must have a field payload"),
        (&form, "payload=%7B", 400, "body: must be JSON"),
        (&[("content-type", "text/plain")], PUSH, 415, "content-type: must be"),
        (&[], deep.as_str(), 400, "body: must not have more than 64 levels"),
        (&[("x-github-delivery", "")], PUSH, 400, "x-github-delivery: is missing"),
    ] {
        let answer = deliver(&program, "guid-1", body, over).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(told), "{told}: {}", answer.text());
        assert_eq!(answer.header("content-type").as_deref(), Some("application/problem+json"));
    }
    // More than a GitHub sends, and more than the channel takes.
    for bytes in [26 << 20, 2 << 20] {
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(bytes));
        let answer = deliver(&program, "guid-1", &body, &[]).await;
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert_eq!(answer.json()["field"], "body", "{}", answer.text());
    }
    ticks_go_on(&subscriber).await;
    assert_eq!(pushes(&subscriber), [], "nothing of all that is told");
}

/// A body in small chunks, without a length.
fn chunked(head: &str, body: &str) -> Vec<u8> {
    let mut request = format!("{head}\r\ntransfer-encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(7) {
        let piece = String::from_utf8_lossy(piece);
        request.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    request.push_str("0\r\n\r\n");
    request.into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_signed_is_taken_however_it_is_written() {
    let subscriber = Subscriber::start().await;
    let (program, _manifests) = with(&github(), &subscriber).await;
    ready(&program, 1).await;
    let form = "payload=%7B%22ref%22%3A%22main%22%7D";
    let of_form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(deliver(&program, "form", form, &of_form).await.status, 202);
    let upper = format!("sha256={}", signature(PUSH).to_uppercase());
    let upper = [("x-hub-signature-256", upper.as_str())];
    assert_eq!(deliver(&program, "upper", PUSH, &upper).await.status, 202);
    let nested =
        |depth: usize| format!("{}{{}}{}", "{\"a\":".repeat(depth - 1), "}".repeat(depth - 1));
    let deep = nested(64);
    assert_eq!(deliver(&program, "deep", &deep, &[]).await.status, 202);
    assert_eq!(deliver(&program, "deeper", &nested(65), &[]).await.status, 400);
    // A label that can be no attribute is left out, and the event told.
    let odd = format!(r#"{{"label":{{"name":"{}"}}}}"#, "x".repeat(5_000));
    assert_eq!(deliver(&program, "odd", &odd, &[("x-github-event", "label")]).await.status, 202);
    let head = format!(
        "POST /sources/default/hello HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         x-github-event: push\r\nx-github-delivery: chunks\r\nx-hub-signature-256: sha256={}",
        signature(PUSH)
    );
    let mut producer = program.producer("sources/default/hello");
    assert_eq!(producer.raw(&chunked(&head, PUSH)).await.unwrap().status, 202);
    let long = format!("{head}\r\nx-long: {}", "x".repeat(20_000));
    assert_eq!(producer.raw(&chunked(&long, PUSH)).await.unwrap().status, 431);
    until_pushes(
        &subscriber,
        &[
            ("form", r#"{"ref":"main"}"#),
            ("upper", PUSH),
            ("deep", &deep),
            ("odd", &odd),
            ("chunks", PUSH),
        ],
    )
    .await;
    assert_eq!(deliver(&program, "asked", "{}", &[("x-github-event", "ping")]).await.status, 200);
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let target = "/sources/default/hello";
        let answer = producer.request(method, target, Headers::default(), Some(Bytes::new())).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.json()["field"].as_str()), (405, Some("method")));
        assert_eq!(answer.header("allow").as_deref(), Some("POST, OPTIONS"), "{method}");
    }
    let mut nobody = program.producer("sources/default/nobody");
    let answer = nobody.post(Headers::default(), Bytes::new()).await.unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_that_come_at_once_make_one_event() {
    let subscriber = Subscriber::start().await;
    let (program, _manifests) = with(&github(), &subscriber).await;
    ready(&program, 1).await;
    for round in 0..20 {
        let guid = format!("round-{round}");
        let (one, other) =
            tokio::join!(deliver(&program, &guid, PUSH, &[]), deliver(&program, &guid, PUSH, &[]));
        assert_eq!((one.status, other.status), (202, 202));
    }
    let hello = source(&program, "hello").await;
    assert_eq!((&hello["counts"]["made"], &hello["counts"]["repeated"]), (&json!(20), &json!(20)));
    subscriber.receives(20, SOON).await;
    let ids: BTreeSet<_> = pushes(&subscriber).into_iter().map(|(id, _)| id).collect();
    assert_eq!((ids.len(), subscriber.count()), (20, 20));
}

/// A delivery that could not be stored is not remembered: it makes its event when it comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_for_a_full_broker_comes_through_when_it_is_sent_again() {
    let subscriber = Subscriber::start().await;
    subscriber.always(Answer::status(503));
    let manifests = Manifests::new();
    manifests.broker(&Broker::named("default").channel("InMemoryChannel", json!({})));
    manifests.trigger(&Trigger::named("all").to(&subscriber));
    manifests.write("sources.yaml", github());
    let bound = json!({"channel": {"memory": {"eventsMax": 4}}});
    let program = Setup::new().path(manifests.path()).config(bound).start().await;
    ready(&program, 1).await;
    let mut accepted = 0;
    let refused = loop {
        let answer = deliver(&program, &format!("guid-{accepted}"), PUSH, &[]).await;
        if answer.status != 202 {
            break answer;
        }
        accepted += 1;
        assert!(accepted <= 4, "no more than four can be stored");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some(), "{}", refused.text());
    subscriber.always(Answer::status(200));
    let guid = format!("guid-{accepted}");
    eventually(SOON, || async {
        let answer = deliver(&program, &guid, PUSH, &[]).await;
        if answer.status == 202 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    let has_come = || async {
        let ids: BTreeSet<_> = pushes(&subscriber).into_iter().map(|(id, _)| id).collect();
        if ids.contains(&guid) { Ok(()) } else { Err(ids) }
    };
    eventually(SOON, has_come).await;
    let hello = source(&program, "hello").await;
    assert_eq!(hello["counts"]["repeated"], 0, "{hello}");
}
