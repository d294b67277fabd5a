//! Connections that are kept, and those that must not be.

use super::*;
use crate::http::{ClientCounters, Phase};

#[track_caller]
fn check(stage: &Stage, opened: u64, reused: u64, resent: u64, idle: usize) {
    let expected = ClientCounters { opened, reused, resent, idle, waited: 0, surplus: 0 };
    let counters = ClientCounters { surplus: 0, ..stage.client.counters() };
    assert_eq!(counters, expected);
}

#[tokio::test]
async fn a_connection_serves_again() {
    let stage = Stage::new().await;
    let mut peer = stage.warm().await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    for answer in [ACCEPTED, chunked, "HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nbad"] {
        stage.round(&mut peer, answer).await.unwrap();
    }
    check(&stage, 1, 3, 0, 1);
}

#[tokio::test]
async fn many_answers_leave_one_connection_and_no_residue() {
    let stage = Stage::new().await;
    let mut peer = stage.warm().await;
    for size in 0..ANSWER_MAX * 3 {
        let body = "x".repeat(size % (ANSWER_MAX + 1));
        let answer = format!(
            "HTTP/1.1 200 OK\r\npad: {}\r\ncontent-length: {}\r\n\r\n{body}",
            "p".repeat(size * 31),
            body.len()
        );
        let heard = stage.round(&mut peer, &answer).await.unwrap();
        assert_eq!(heard.body, body);
        assert_eq!(heard.header("pad").unwrap().len(), size * 31);
    }
    check(&stage, 1, ANSWER_MAX as u64 * 3, 0, 1);
}

#[tokio::test]
async fn requests_at_a_time_have_a_connection_each_and_the_last_used_is_taken_first() {
    let stage = Stage::new().await;
    let (first, second, mut last) = tokio::join!(stage.send(b"a"), stage.send(b"b"), async {
        let mut peers = [stage.accept().await, stage.accept().await];
        for (kept, peer) in peers.iter_mut().enumerate() {
            while stage.client.counters().idle < kept {
                tokio::task::yield_now().await;
            }
            peer.request().await;
            peer.say(ACCEPTED).await;
        }
        peers
    });
    assert_eq!((first.unwrap().status, second.unwrap().status), (202, 202));
    check(&stage, 2, 0, 0, 2);
    stage.round(&mut last[1], ACCEPTED).await.unwrap();
    check(&stage, 2, 1, 0, 2);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_not_used() {
    let stage = Stage::new().await;
    drop(stage.warm().await);
    stage.until_nothing_is_kept().await;
    stage.warm().await;
    check(&stage, 2, 0, 0, 1);
}

#[tokio::test]
async fn a_connection_with_unasked_for_bytes_is_not_used() {
    let stage = Stage::new().await;
    let mut peer = stage.warm().await;
    peer.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    stage.until_nothing_is_kept().await;
    peer.closed().await;
}

#[tokio::test]
async fn a_close_at_the_moment_of_reuse_is_healed_by_a_fresh_connection() {
    let stage = Stage::new().await;
    let mut stale = stage.warm().await;
    let (result, (head, body)) = tokio::join!(stage.send(b"again"), async {
        stale.request().await;
        drop(stale);
        let mut peer = stage.accept().await;
        let request = peer.request().await;
        peer.say(ACCEPTED).await;
        request
    });
    assert_eq!(result.unwrap().status, 202);
    assert!(head.starts_with("POST /events?a=b HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, b"again", "the whole request once more");
    check(&stage, 2, 1, 1, 1);
}

#[tokio::test]
async fn a_reset_at_the_moment_of_reuse_is_healed_as_well() {
    let stage = Stage::new().await;
    let mut stale = stage.warm().await;
    let large = vec![b'x'; LARGE];
    let (result, received) = tokio::join!(stage.send(&large), async {
        stale.request_head().await;
        drop(stale);
        let mut peer = stage.accept().await;
        let (_, body) = peer.request().await;
        peer.say(ACCEPTED).await;
        body.len()
    });
    assert_eq!((result.unwrap().status, received), (202, LARGE));
    check(&stage, 2, 1, 1, 1);
}

#[tokio::test]
async fn a_request_is_sent_again_once_and_no_more() {
    let stage = Stage::new().await;
    let mut stale = stage.warm().await;
    let (result, ()) = tokio::join!(stage.send(b"again"), async {
        stale.request().await;
        drop(stale);
        stage.accept().await.request().await;
    });
    assert!(matches!(result, Err(SendError::Closed { phase: Phase::Head, .. })), "{result:?}");
    assert!(stage.is_deserted().await);
    check(&stage, 2, 1, 1, 0);
}

#[tokio::test]
async fn a_fresh_connection_that_closes_is_a_failure() {
    let stage = Stage::new().await;
    let (result, ()) = tokio::join!(stage.send(b"hello"), async {
        stage.accept().await.request().await;
    });
    assert!(matches!(result, Err(SendError::Closed { phase: Phase::Head, .. })), "{result:?}");
    check(&stage, 1, 0, 0, 0);
}

#[tokio::test]
async fn one_byte_of_an_answer_forbids_sending_again() {
    let stage = Stage::new().await;
    let mut peer = stage.warm().await;
    let (result, ()) = tokio::join!(stage.send(b"again"), async {
        peer.request().await;
        peer.say("H").await;
        drop(peer);
    });
    assert!(matches!(result, Err(SendError::Closed { phase: Phase::Head, .. })), "{result:?}");
    assert!(stage.is_deserted().await);
    check(&stage, 1, 1, 0, 0);
}

#[tokio::test]
async fn a_silent_kept_connection_times_out_and_is_not_sent_again() {
    let stage = Stage::new().await;
    let peer = stage.warm().await;
    let result = stage.send_within(b"again", MOMENT).await;
    assert_eq!(result.unwrap_err(), SendError::Timeout { phase: Phase::Head });
    assert!(stage.is_deserted().await);
    peer.closed().await;
    check(&stage, 1, 1, 0, 0);
}

#[tokio::test]
async fn a_dropped_send_closes_its_connection() {
    for said in
        ["", "HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"]
    {
        let stage = Stage::new().await;
        let mut peer = stage.warm().await;
        tokio::select! {
            biased;
            result = stage.send(b"again") => panic!("no whole answer was given: {result:?}"),
            () = async {
                peer.request().await;
                peer.say(said).await;
            } => {}
        }
        peer.closed().await;
        check(&stage, 1, 1, 0, 0);
        stage.warm().await;
        check(&stage, 2, 1, 0, 1);
    }
}

#[tokio::test]
async fn connections_to_a_host_are_bounded_and_waited_for_in_turn() {
    let settings = ClientSettings { connections_per_host: 1, ..ClientSettings::default() };
    let stage = Stage::with(settings).await;
    let (first, second, third, bodies) =
        tokio::join!(stage.send(b"1"), stage.send(b"2"), stage.send(b"3"), async {
            let mut peer = stage.accept().await;
            let mut bodies = Vec::new();
            for _ in 0..3 {
                bodies.extend(peer.request().await.1);
                assert!(stage.is_deserted().await);
                peer.say(ACCEPTED).await;
            }
            bodies
        });
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!(bodies, b"123");
    let counters = stage.client.counters();
    assert_eq!((counters.opened, counters.reused, counters.waited), (1, 2, 2));
}

#[tokio::test]
async fn the_deadline_covers_the_wait_for_a_connection() {
    let settings = ClientSettings { connections_per_host: 1, ..ClientSettings::default() };
    let stage = Stage::with(settings).await;
    let (first, ()) = tokio::join!(stage.send(b"1"), async {
        let mut peer = stage.accept().await;
        peer.request().await;
        let second = stage.send_within(b"2", MOMENT).await;
        assert_eq!(second.unwrap_err(), SendError::Timeout { phase: Phase::Queue });
        peer.say(ACCEPTED).await;
    });
    assert_eq!(first.unwrap().status, 202);
}

#[tokio::test]
async fn idle_and_aged_connections_expire() {
    let (second, idle) = (Duration::from_secs(1), ClientSettings::default().idle_timeout);
    let stage = Stage::new().await;
    let peer = stage.warm().await;
    stage.client.expire(Instant::now() + idle - second);
    check(&stage, 1, 0, 0, 1);
    stage.client.expire(Instant::now() + idle);
    check(&stage, 1, 0, 0, 0);
    peer.closed().await;

    let settings = ClientSettings { age_max: Duration::ZERO, ..ClientSettings::default() };
    let stage = Stage::with(settings).await;
    let _held = (stage.warm().await, stage.warm().await);
    check(&stage, 2, 0, 0, 1);
}

#[tokio::test]
async fn kept_connections_are_bounded_over_all_hosts() {
    let settings = ClientSettings { idle_max: 1, ..ClientSettings::default() };
    let mut stage = Stage::with(settings).await;
    let _first = stage.warm().await;
    let other = Stage::new().await;
    stage.listener = other.listener;
    stage.endpoint = other.endpoint;
    stage.warm().await.closed().await;
    check(&stage, 2, 0, 0, 1);
    assert_eq!(stage.client.counters().surplus, 1);
}
