//! T-F-5: subscribers that answer garbage, each beside one that is well.

use std::time::Duration;

use harness::answer::Raw;
use harness::{Answer, Delivery, Scene, Subscriber, Trigger, eventually, pick};

use crate::{HEALED, MIB, steady};

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// What is answered, under a name. None of them is a success that must be believed.
fn garbage() -> Vec<(&'static str, Answer)> {
    let ms = Duration::from_millis;
    let big = vec![b'x'; 60 * 1024];
    let endless = |first: &str, again: &[u8], every: Duration| {
        Answer::endless(first.as_bytes().to_vec(), again.to_vec(), every)
    };
    vec![
        ("endless-headers", endless(OK, b"x-more: and more of it\r\n", ms(0))),
        ("slow-headers", endless(OK, b"x-more: and more of it\r\n", ms(100))),
        ("endless-line", endless("HTTP/1.1 200 ", &big, ms(0))),
        ("too-short", Answer::raw(format!("{OK}content-length: 100\r\n\r\nshort"))),
        ("half-way", Answer::raw("HTTP/1.1 20")),
        ("only-head", Answer::raw(OK)),
        ("interim-flood", endless("", b"HTTP/1.1 102 Processing\r\n\r\n", ms(0))),
        ("interim-drip", endless("", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", ms(100))),
        ("http-0-9", Answer::raw("<html>it works</html>\n")),
        ("http-9-9", Answer::raw("HTTP/9.9 200 OK\r\n\r\n")),
        ("no-number", Answer::raw("HTTP/1.1 abc OK\r\n\r\n")),
        (
            "two-lengths",
            Answer::raw(format!("{OK}content-length: 1\r\ncontent-length: 2\r\n\r\nab")),
        ),
        ("bad-chunks", Answer::raw(format!("{OK}transfer-encoding: chunked\r\n\r\nzz\r\n"))),
        (
            "tls",
            Answer::Raw(Raw {
                first: b"\x15\x03\x01\0\x02\x02\x46".as_slice().into(),
                again: Vec::new().into(),
                every: ms(0),
            }),
        ),
        ("closed", Answer::Close),
    ]
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Answers whose meaning is open: the event ends, one way or the other.
fn open_answers() -> Vec<(&'static str, Answer)> {
    let big = chunk(&vec![b'x'; 60 * 1024]);
    let first = format!("{OK}transfer-encoding: chunked\r\n\r\n").into_bytes();
    vec![
        // A 200 is one, however much follows it: no more is read than a reply may be long.
        ("endless-body", Answer::endless(first, big, Duration::ZERO)),
        (
            "event-without-id",
            Answer::status(200).header("ce-specversion", "1.0").header("ce-type", "t"),
        ),
        (
            "event-of-no-version",
            Answer::status(200).header("ce-specversion", "7").header("ce-id", "1"),
        ),
        (
            "broken-json",
            Answer::status(200).header("content-type", "application/cloudevents+json").body("{"),
        ),
        (
            "batch",
            Answer::status(200)
                .header("content-type", "application/cloudevents-batch+json")
                .body("[]"),
        ),
        ("body-on-204", Answer::raw("HTTP/1.1 204 No Content\r\n\r\nsurprise")),
        ("more-than-said", Answer::raw(format!("{OK}content-length: 2\r\n\r\nOK and more"))),
        (
            "huge-text",
            Answer::status(200)
                .header("content-type", "text/plain")
                .body(vec![b'x'; 5 * 1024 * 1024]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_a_failure_that_hurts_nobody_else() {
    let well = Subscriber::start().await;
    let mut scene = Scene::new().trigger(Trigger::named("well"), &well);
    let delivery = || Delivery::retry(1, "PT0.05S").timeout("PT1S");
    for (name, answer) in garbage() {
        let subscriber = Subscriber::start().await;
        subscriber.always(answer);
        scene = scene.trigger(Trigger::named(name).delivery(delivery()), &subscriber);
    }
    for (name, answer) in open_answers() {
        let subscriber = Subscriber::start().await;
        subscriber.always(answer);
        scene = scene.unwatched(Trigger::named(name).delivery(delivery()), &subscriber);
    }
    let running = scene.start().await;
    let observer = running.observe();
    // Few enough that no breaker opens: each event must have come to its end.
    let events = pick(4, 9);
    running.load(steady("garbage", events, 20)).finish().await;
    running.settled(HEALED).await;
    eventually(HEALED, || async {
        let statuses = running.admin().triggers().await;
        let open =
            statuses.into_iter().filter(|one| one.counters.waiting + one.counters.in_flight > 0);
        let open: Vec<_> = open.collect();
        if open.is_empty() { Ok(()) } else { Err(open) }
    })
    .await;
    let evidence = running.evidence().await;
    for letter in &evidence.letters {
        assert_ne!(letter.listed.trigger, "default/well");
    }
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    verdicts.push(observer.bounded(200 * MIB, 500));
    harness::oracle::assert_all(verdicts);
}
