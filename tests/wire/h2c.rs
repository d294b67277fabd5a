//! HTTP/2 without TLS: the preface is understood or the connection closed, and never taken for an event.

use std::time::Duration;

use crate::{assert_only_the_good_one, plain};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preface_with_settings_is_answered_with_settings() {
    let (running, subscriber) = plain().await;
    let mut wire = running.producer().connect().await;
    // An empty SETTINGS frame: length 0, type 4, no flags, stream 0.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    wire.write(preface).await.unwrap();
    let answer = wire.read_to_close(Duration::from_secs(2)).await;
    assert_eq!(answer.get(3), Some(&4), "the first frame is SETTINGS: {answer:?}");
    assert_only_the_good_one(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_after_the_preface_hurts_nobody() {
    let (running, subscriber) = plain().await;
    for garbage in [
        b"\0\0\0\x04\0\0\0\0\x07".as_slice(),
        b"\xff\xff\xff\x00\0\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut wire = running.producer().connect().await;
        wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        wire.write(garbage).await.ok();
        wire.read_to_close(Duration::from_secs(2)).await;
    }
    assert_only_the_good_one(&running, &subscriber).await;
}
