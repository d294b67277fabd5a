//! Requests that come late, stop half way, or never end (R-H-2).

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{assert_only_the_good_one, event_lines, plain, reached};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_drips_is_cut_off_after_ten_seconds() {
    let (running, subscriber) = plain().await;
    let mut wire = running.producer().connect().await;
    let from = Instant::now();
    wire.write(b"POST /default/default HTTP/1.1\r\n").await.unwrap();
    loop {
        assert!(from.elapsed() < Duration::from_secs(25), "still open");
        if wire.write(b"x-a: b\r\n").await.is_err()
            || wire.is_closed_within(Duration::from_millis(500)).await
        {
            break;
        }
    }
    assert!(from.elapsed() > Duration::from_secs(5), "cut after {:?}", from.elapsed());
    assert_eq!(reached(&running, "ingress.headTimeout").await, 1.0);
    assert_only_the_good_one(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_is_408_or_cut_off() {
    let (running, subscriber) = plain().await;
    let mut wire = running.producer().connect().await;
    let head = format!(
        "POST /default/default HTTP/1.1\r\nhost: x\r\n{}content-length: 100000\r\n\r\n",
        event_lines("drip")
    );
    wire.write(head.as_bytes()).await.unwrap();
    let from = Instant::now();
    let mut answer = Vec::new();
    while from.elapsed() < Duration::from_secs(25) {
        if wire.write(b"x").await.is_err() {
            break;
        }
        answer.extend(wire.read_to_close(Duration::from_millis(300)).await);
        if !answer.is_empty() {
            break;
        }
    }
    assert!(from.elapsed() < Duration::from_secs(24), "still open");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    assert_eq!(reached(&running, "ingress.bodyRateMin").await, 1.0);
    assert_only_the_good_one(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_cut_short_is_never_an_event() {
    let (running, subscriber) = plain().await;
    let start = format!("POST /default/default HTTP/1.1\r\nhost: x\r\n{}", event_lines("short"));
    let cases = [
        format!("{start}content-length: 100\r\n\r\n{{\"half\":"),
        format!("{start}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        format!("{start}transfer-encoding: chunked\r\n\r\n5\r\nhel"),
        format!("{start}transfer-encoding: chunked\r\n\r\n"),
        format!("{start}content-length: 0\r\n"),
        start.clone(),
    ];
    for bytes in cases {
        let mut wire = running.producer().connect().await;
        wire.write(bytes.as_bytes()).await.unwrap();
        wire.finish_writing().await.unwrap();
        let answer = wire.read_to_close(Duration::from_secs(10)).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains(" 202 "), "{bytes:?}: {text}");
    }
    assert_only_the_good_one(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_length_and_no_chunks_is_an_empty_body() {
    let (running, subscriber) = plain().await;
    let mut producer = running.producer();
    let bytes = format!(
        "POST /default/default HTTP/1.1\r\nhost: x\r\n{}\r\n",
        event_lines("the-good-one-before")
    );
    let answer = producer.raw(bytes.as_bytes()).await.unwrap();
    assert!(matches!(answer.status, 202 | 411), "{}", answer.status);
    if answer.status == 202 {
        assert_eq!(subscriber.first_event().await.data, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_make_a_body_as_well() {
    let (running, subscriber) = plain().await;
    let mut wire = running.producer().connect().await;
    let head = format!(
        "POST /default/default HTTP/1.1\r\nhost: x\r\n{}content-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n",
        event_lines("chunks")
    );
    wire.write(head.as_bytes()).await.unwrap();
    for piece in
        ["5\r\nhello\r\n", "1;name=value\r\n \r\n", "5\r\nworld\r\n", "0\r\nx-trailer: 1\r\n\r\n"]
    {
        sleep(Duration::from_millis(20)).await;
        wire.write(piece.as_bytes()).await.unwrap();
    }
    assert_eq!(wire.read_response().await.unwrap().unwrap().status, 202);
    let seen = subscriber.first_event().await;
    assert_eq!(seen.data.as_deref(), Some(b"hello world".as_slice()));
    assert!(subscriber.received()[0].request.head.headers.get("x-trailer").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_from_one_address_have_a_bound_and_others_are_not_hurt() {
    let (running, subscriber) = plain().await;
    let mut held = running.producer();
    let answer = held
        .send(&harness::Sample::new("/wire", "held", "t"), harness::Mode::Binary)
        .await
        .unwrap();
    assert_eq!(answer.status, 202);
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(held.connect().await);
    }
    let answer = held
        .send(&harness::Sample::new("/wire", "again", "t"), harness::Mode::Binary)
        .await
        .unwrap();
    assert_eq!(answer.status, 202, "the connection that was there goes on");
    drop(idle);
    running.send(&harness::Sample::new("/wire", "after", "t")).await;
    subscriber.receives(3, crate::SOON).await;
}
