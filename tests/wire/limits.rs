//! The limits of R-H-1: just below is taken, just above is refused with the right status.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use harness::http::Headers;
use harness::{Mode, Running, Sample};

use crate::{SOON, assert_only_the_good_one, plain, reached};

fn sample(id: &str) -> Sample {
    Sample::new("/wire", id, "t")
}

async fn status(running: &Running, sample: &Sample, mode: Mode) -> u16 {
    running.producer().send(sample, mode).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_one_mebibyte_is_413() {
    let (running, subscriber) = plain().await;
    let over = vec![b'x'; 1024 * 1024 + 1];
    assert_eq!(
        status(&running, &sample("1").data("text/plain", over.clone()), Mode::Binary).await,
        413
    );
    assert_eq!(
        status(&running, &sample("2").data("text/plain", over.clone()), Mode::Structured).await,
        413
    );
    // Without a length the end is not known: it must be counted.
    let chunk = format!("{:x}\r\n", over.len());
    let mut bytes = format!(
        "POST /default/default HTTP/1.1\r\nhost: x\r\n{}transfer-encoding: chunked\r\n\r\n{chunk}",
        crate::event_lines("3")
    )
    .into_bytes();
    bytes.extend(&over);
    bytes.extend(b"\r\n0\r\n\r\n");
    let answer = running.producer().raw(&bytes).await.unwrap();
    assert_eq!(answer.status, 413);
    // A length that announces too much is refused before the body comes.
    let head = format!(
        "POST /default/default HTTP/1.1\r\nhost: x\r\n{}content-length: 99999999\r\n\r\n",
        crate::event_lines("4")
    );
    assert_eq!(running.producer().raw(head.as_bytes()).await.unwrap().status, 413);
    assert_eq!(reached(&running, "ingress.bodyBytesMax").await, 4.0);
    assert_only_the_good_one(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_over_16_kib_or_over_64_fields_is_431() {
    let (running, subscriber) = plain().await;
    let (headers, body) = sample("1").binary();
    let mut long = headers.clone();
    for number in 0..8 {
        long.0.push((format!("x-{number}"), vec![b'x'; 2500]));
    }
    assert_eq!(running.producer().post(long.clone(), body.clone()).await.unwrap().status, 431);
    let mut many = headers.clone();
    many.0.extend((0..70).map(|number| (format!("x-{number}"), b"1".to_vec())));
    assert_eq!(running.producer().post(many, body.clone()).await.unwrap().status, 431);
    assert_eq!(reached(&running, "ingress.headBytesMax").await, 2.0);
    assert_only_the_good_one(&running, &subscriber).await;
    let mut enough = sample("2").binary().0;
    enough.0.extend((0..50).map(|number| (format!("x-{number}"), vec![b'x'; 200])));
    // Also on a connection that has brought a request before, of which more is read at a time.
    let mut kept = running.producer();
    assert_eq!(kept.post(enough, body.clone()).await.unwrap().status, 202);
    assert_eq!(kept.post(long, body).await.unwrap().status, 431);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_uri_over_2_kib_is_refused() {
    let (running, subscriber) = plain().await;
    let (headers, body) = sample("1").binary();
    let target = format!("/default/{}", "d".repeat(2100));
    let answer = running.producer().request("POST", &target, headers, Some(body)).await.unwrap();
    assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
    assert_eq!(reached(&running, "ingress.uriBytesMax").await, 1.0);
    assert_only_the_good_one(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_have_a_size_and_a_number() {
    let (running, subscriber) = plain().await;
    let cases = [
        (sample("1").with("subject", &"s".repeat(4097)), 400),
        (sample("2").with(&"n".repeat(65), "1"), 400),
        ((0..65).fold(sample("3"), |sample, number| sample.with(&format!("x{number}"), "1")), 400),
    ];
    for (sample, expected) in &cases {
        // In a header the same may be too much for the head before it is too much for an attribute.
        let got = status(&running, sample, Mode::Binary).await;
        assert!(got == *expected || got == 431, "{:?}: {got}", sample.key());
        assert_eq!(
            status(&running, sample, Mode::Structured).await,
            *expected,
            "{:?}",
            sample.key()
        );
    }
    assert_only_the_good_one(&running, &subscriber).await;
    let most = sample("4").with("subject", &"s".repeat(4000)).with(&"n".repeat(64), "1");
    assert_eq!(status(&running, &most, Mode::Binary).await, 202);
    let many = (0..40).fold(sample("5"), |sample, number| sample.with(&format!("x{number}"), "1"));
    assert_eq!(status(&running, &many, Mode::Binary).await, 202);
    subscriber.receives(3, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_1001_is_refused_and_one_of_1000_taken() {
    let (running, subscriber) = plain().await;
    let events: Vec<Sample> = (0..1001).map(|number| sample(&number.to_string())).collect();
    let answer = running.producer().batch(&events).await.unwrap();
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    assert_eq!(reached(&running, "ingress.batchEventsMax").await, 1.0);
    assert_only_the_good_one(&running, &subscriber).await;
    assert_eq!(running.producer().batch(&events[..1000]).await.unwrap().status, 202);
    subscriber.receives(1001, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_deeper_than_64_is_refused_and_never_a_crash() {
    let (running, subscriber) = plain().await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [70, 1000, 100_000, 500_000] {
        let event = sample("deep").data("application/json", nested(depth));
        assert_eq!(status(&running, &event, Mode::Structured).await, 400, "{depth}");
        let open = format!("{{\"specversion\":\"1.0\",\"data\":{}", "[".repeat(depth));
        let headers =
            Headers(vec![("content-type".into(), b"application/cloudevents+json".to_vec())]);
        assert_eq!(
            running.producer().post(headers, open.into()).await.unwrap().status,
            400,
            "{depth}"
        );
        let headers =
            Headers(vec![("content-type".into(), b"application/cloudevents-batch+json".to_vec())]);
        assert_eq!(
            running.producer().post(headers, nested(depth).into()).await.unwrap().status,
            400,
            "{depth}"
        );
    }
    assert_eq!(reached(&running, "ingress.jsonDepthMax").await, 12.0);
    assert_only_the_good_one(&running, &subscriber).await;
    let event = sample("shallow").data("application/json", nested(50));
    assert_eq!(status(&running, &event, Mode::Structured).await, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_body_is_read_to_its_end_so_that_its_sender_gets_the_answer() {
    let (running, _subscriber) = plain().await;
    let address = running.program.events();
    let body = vec![b'x'; 1 << 20];
    let head = format!(
        "POST /nobody/there HTTP/1.1\r\nhost: h\r\nce-id: 1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for round in 0..20 {
            stream.write_all(head.as_bytes()).unwrap();
            for part in body.chunks(100_000) {
                stream.write_all(part).unwrap_or_else(|error| panic!("round {round}: {error}"));
            }
            let mut answer = [0; 4096];
            let length = stream.read(&mut answer).unwrap();
            let answer = String::from_utf8_lossy(&answer[..length]);
            assert!(answer.starts_with("HTTP/1.1 404 "), "round {round}: {answer}");
        }
    })
    .await
    .unwrap();
}
