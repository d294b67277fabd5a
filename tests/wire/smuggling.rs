//! One request must never be two, and a value never a header (R-H-4, R-H-5).

use std::time::Duration;

use harness::http::Wire;

use crate::{SOON, assert_only_the_good_one, event_lines, plain};

/// What hides in a body: a whole second event.
fn hidden() -> String {
    format!(
        "POST /default/default HTTP/1.1\r\nhost: x\r\n{}content-length: 0\r\n\r\n",
        event_lines("smuggled")
    )
}

/// Requests whose end is not sure: each must be refused and its connection closed.
fn ambiguous() -> Vec<(&'static str, String)> {
    let start = format!("POST /default/default HTTP/1.1\r\nhost: x\r\n{}", event_lines("outer"));
    let hidden = hidden();
    let length = hidden.len();
    let chunked = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    let with = |fields: &str, body: &str| format!("{start}{fields}\r\n{body}");
    vec![
        (
            "two lengths that differ",
            with(&format!("content-length: 0\r\ncontent-length: {length}\r\n"), &hidden),
        ),
        ("a list of lengths", with(&format!("content-length: 0, {length}\r\n"), &hidden)),
        ("a signed length", with("content-length: +0\r\n", &hidden)),
        ("a negative length", with("content-length: -1\r\n", &hidden)),
        ("a length in hex", with("content-length: 0x0\r\n", &hidden)),
        (
            "a length beyond any number",
            with("content-length: 99999999999999999999999\r\n", &hidden),
        ),
        ("an empty length", with("content-length: \r\n", &hidden)),
        ("an unknown coding", with("transfer-encoding: xchunked\r\n", &chunked)),
        ("a coding before chunked", with("transfer-encoding: gzip, chunked\r\n", &chunked)),
        ("chunked twice", with("transfer-encoding: chunked, chunked\r\n", &chunked)),
        (
            "two codings",
            with("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", &chunked),
        ),
        ("chunked not last", with("transfer-encoding: chunked, identity\r\n", &chunked)),
        ("a coding with a vertical tab", with("transfer-encoding: \x0bchunked\r\n", &chunked)),
        ("a blank before the colon", with("transfer-encoding : chunked\r\n", &chunked)),
        ("a blank before the colon of the length", with("content-length : 0\r\n", &hidden)),
        ("a folded line", with("transfer-encoding:\r\n chunked\r\n", &chunked)),
        ("a folded header", with("x-a: b\r\n c: d\r\ncontent-length: 0\r\n", &hidden)),
        (
            "a bare carriage return",
            with("x-a: b\rcontent-length: 5\r\ncontent-length: 0\r\n", &hidden),
        ),
        ("two hosts", with("host: y\r\ncontent-length: 0\r\n", "")),
        ("no host", with("content-length: 0\r\n", "").replacen("host: x\r\n", "", 1)),
        ("a null byte", with("x-a: b\0c\r\ncontent-length: 0\r\n", &hidden)),
        ("a field without a name", with(": x\r\ncontent-length: 0\r\n", &hidden)),
        (
            "a chunk size with a sign",
            with("transfer-encoding: chunked\r\n", &format!("+{chunked}")),
        ),
        (
            "a chunk size that is none",
            with("transfer-encoding: chunked\r\n", &format!("zz\r\n{hidden}")),
        ),
        (
            "a chunk size beyond any number",
            with("transfer-encoding: chunked\r\n", &format!("fffffffffffffffff\r\n{hidden}")),
        ),
        (
            "a chunk longer than its size",
            with("transfer-encoding: chunked\r\n", &format!("1\r\n{hidden}\r\n0\r\n\r\n")),
        ),
    ]
}

async fn assert_refused(name: &str, wire: &mut Wire, bytes: &str) {
    // A server may close before all is written.
    wire.write(bytes.as_bytes()).await.ok();
    wire.finish_writing().await.ok();
    let answer = wire.read_to_close(Duration::from_secs(10)).await;
    let text = String::from_utf8_lossy(&answer);
    let accepted = text.matches("HTTP/1.1 202").count();
    assert_eq!(accepted, 0, "{name}: {text}");
    assert!(text.matches("HTTP/1.1 ").count() <= 1, "{name}: answered more than once: {text}");
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 501"),
        "{name}: {text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_unsure_length_is_refused_and_its_connection_closed() {
    let (running, subscriber) = plain().await;
    for (name, bytes) in ambiguous() {
        let mut wire = running.producer().connect().await;
        assert_refused(name, &mut wire, &bytes).await;
    }
    assert_only_the_good_one(&running, &subscriber).await;
}

/// RFC 9112, 6.3: a server may go by the chunks alone, if it closes the connection after the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_beside_a_length_count_alone_and_end_the_connection() {
    let (running, subscriber) = plain().await;
    let start = format!("POST /default/default HTTP/1.1\r\nhost: x\r\n{}", event_lines("outer"));
    let hidden = hidden();
    for lengths in [
        "content-length: 0\r\ntransfer-encoding: chunked\r\n".to_owned(),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", hidden.len()),
    ] {
        let mut wire = running.producer().connect().await;
        let bytes = format!("{start}{lengths}\r\n2\r\n{{}}\r\n0\r\n\r\n{hidden}");
        wire.write(bytes.as_bytes()).await.ok();
        let answer = wire.read_to_close(Duration::from_secs(10)).await;
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{lengths}: {text}");
    }
    running.settled(SOON).await;
    for one in subscriber.received() {
        assert_eq!(one.key().unwrap().id, "outer", "what hid behind the chunks was taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lengths_that_agree_are_one_event_or_none() {
    let (running, subscriber) = plain().await;
    let mut wire = running.producer().connect().await;
    let same = format!(
        "POST /default/default HTTP/1.1\r\nhost: x\r\n{}content-length: 2\r\ncontent-length: 2\r\n\r\n{{}}{}",
        event_lines("outer"),
        ""
    );
    wire.write(same.as_bytes()).await.unwrap();
    wire.finish_writing().await.ok();
    wire.read_to_close(Duration::from_secs(10)).await;
    running.send(&harness::Sample::new("/wire", "the-good-one", "t")).await;
    running.settled(SOON).await;
    let received = subscriber.received();
    assert!(received.len() <= 2);
    for one in received {
        assert!(["outer", "the-good-one"].contains(&one.key().unwrap().id.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_with_bare_line_feeds_hides_nothing() {
    let (running, subscriber) = plain().await;
    let cases = [
        "POST /default/default HTTP/1.1\nhost: x\nce-id: 1\n\n".to_owned(),
        format!(
            "POST /default/default HTTP/1.1\r\nhost: x\r\nx-a: b\ncontent-length: 300\r\ncontent-length: 0\r\n\r\n{}",
            hidden()
        ),
        format!(
            "GET /default/default HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}",
            hidden().len(),
            hidden()
        ),
    ];
    for bytes in cases {
        let mut wire = running.producer().connect().await;
        wire.write(bytes.as_bytes()).await.ok();
        wire.finish_writing().await.ok();
        let answer = wire.read_to_close(Duration::from_secs(10)).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains(" 202 "), "{bytes:?}: {text}");
    }
    assert_only_the_good_one(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_line_is_taken_at_its_word() {
    let (running, subscriber) = plain().await;
    let rest = format!("host: x\r\n{}content-length: 0\r\n\r\n", event_lines("line"));
    let cases = [
        "POST /default/default HTTP/9.9\r\n",
        "POST  /default/default HTTP/1.1\r\n",
        "POST /default/def ault HTTP/1.1\r\n",
        "POST /default/default\r\n",
        "P\u{e9}ST /default/default HTTP/1.1\r\n",
        "POST http://elsewhere.example/default/other HTTP/1.1\r\n",
        "POST /default/%64efault%00 HTTP/1.1\r\n",
        "POST /default/../default/default HTTP/1.1\r\n",
    ];
    for line in cases {
        let mut wire = running.producer().connect().await;
        assert_refused(line, &mut wire, &format!("{line}{rest}")).await;
    }
    assert_only_the_good_one(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attribute_never_becomes_a_header() {
    let (running, subscriber) = plain().await;
    let values = [
        "a%0d%0aX-Evil:%201",
        "a%0D%0AX-Evil:%201%0d%0a%0d%0aPOST / HTTP/1.1",
        "a%250d%250aX-Evil:%25201",
        "a%00b",
        "a%e2%80%a8X-Evil: 1",
    ];
    let mut accepted = 0;
    for value in values {
        let mut producer = running.producer();
        let bytes = format!(
            "POST /default/default HTTP/1.1\r\nhost: x\r\n{}ce-subject: {value}\r\ncontent-length: 0\r\n\r\n",
            event_lines(&format!("evil{accepted}"))
        );
        let answer = producer.raw(bytes.as_bytes()).await.unwrap();
        assert!(matches!(answer.status, 202 | 400), "{value}: {}", answer.status);
        accepted += usize::from(answer.status == 202);
    }
    // Through JSON a control character can be written down plainly.
    for subject in ["a\\r\\nX-Evil: 1", "a\\nX-Evil: 1", "a\\u0000", "a\\u0085b"] {
        let body = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"j\",\"source\":\"/wire\",\"type\":\"t\",\"subject\":\"{subject}\"}}"
        );
        let headers = harness::http::Headers(vec![(
            "content-type".into(),
            b"application/cloudevents+json".to_vec(),
        )]);
        let answer = running.producer().post(headers, body.into()).await.unwrap();
        assert_eq!(answer.status, 400, "{subject}");
    }
    for one in subscriber.receives(accepted, SOON).await {
        assert!(one.request.head.headers.get("x-evil").is_none(), "{:?}", one.request.head.raw);
        assert!(
            !one.request.head.raw.windows(8).any(|bytes| bytes.eq_ignore_ascii_case(b"\r\nx-evil"))
        );
    }
    assert_eq!(subscriber.malformed(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_continue_is_answered_and_the_body_then_read() {
    let (running, subscriber) = plain().await;
    let mut wire = running.producer().connect().await;
    let head = format!(
        "POST /default/default HTTP/1.1\r\nhost: x\r\n{}expect: 100-continue\r\ncontent-length: 2\r\n\r\n",
        event_lines("expected")
    );
    wire.write(head.as_bytes()).await.unwrap();
    wire.write(b"{}").await.unwrap();
    assert_eq!(wire.read_response().await.unwrap().unwrap().status, 202);
    assert_eq!(subscriber.first_event().await.data.as_deref(), Some(b"{}".as_slice()));
    assert!(subscriber.received()[0].request.head.headers.get("expect").is_none());
}
