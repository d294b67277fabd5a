//! What a peer may answer, and what becomes of it.

use super::*;
use crate::http::Phase;

/// What the client makes of an answer: status, body, whether it is cut, whether the connection is kept.
type Seen = (u16, String, bool, bool);

/// Has a peer say `text`, in one piece or dripping, and then close if `closes`.
async fn hear(text: &str, closes: bool, drips: bool) -> Result<Seen, SendError> {
    let stage = Stage::new().await;
    let (result, _peer) = tokio::join!(stage.send(b"hello"), async {
        let mut peer = stage.accept().await;
        peer.request().await;
        if drips {
            peer.drip(text).await;
        } else {
            peer.say(text).await;
        }
        (!closes).then_some(peer)
    });
    let answer = result?;
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    Ok((answer.status, body, answer.truncated, stage.client.counters().idle == 1))
}

async fn check(text: &str, status: u16, body: &str, kept: bool) {
    for drips in [false, true] {
        let seen = hear(text, false, drips).await;
        assert_eq!(seen, Ok((status, body.to_owned(), false, kept)), "{text:?}");
    }
}

#[tokio::test]
async fn an_answer_ends_where_it_says() {
    check(ACCEPTED, 202, "", true).await;
    check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, "hello", true).await;
    check("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true).await;
    check("HTTP/1.1 304 Not Modified\r\n\r\n", 304, "", true).await;
    check("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", 302, "", true).await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    check(&format!("{chunked}3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\n"), 200, "hello", true)
        .await;
    check(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\na: b\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        204,
        "",
        true,
    )
    .await;
}

#[tokio::test]
async fn a_connection_is_not_kept_against_its_peer_s_will() {
    check("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", false)
        .await;
    check("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", false).await;
    check("HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\n", 204, "", false).await;
    let twice = format!("{ACCEPTED}{ACCEPTED}");
    assert_eq!(hear(&twice, false, false).await, Ok((202, String::new(), false, false)));
}

#[tokio::test]
async fn a_body_may_end_with_its_connection() {
    for (text, body) in [
        ("HTTP/1.1 200 OK\r\n\r\nhello", "hello"),
        ("HTTP/1.0 200 OK\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\n\r\n", ""),
    ] {
        for drips in [false, true] {
            let seen = hear(text, true, drips).await;
            assert_eq!(seen, Ok((200, body.to_owned(), false, false)), "{text:?}");
        }
    }
}

#[tokio::test]
async fn no_more_of_a_body_is_read_than_was_asked_for() {
    let (fits, over) = ("x".repeat(ANSWER_MAX), "x".repeat(ANSWER_MAX + 1));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (text, truncated, kept) in [
        (format!("HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n{fits}"), false, true),
        (format!("HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n{over}"), true, false),
        (format!("{chunked}40\r\n{fits}\r\n0\r\n\r\n"), false, true),
        (format!("{chunked}41\r\n{over}\r\n0\r\n\r\n"), true, false),
        (format!("HTTP/1.1 200 OK\r\n\r\n{fits}"), false, false),
        (format!("HTTP/1.1 200 OK\r\n\r\n{over}"), true, false),
    ] {
        for drips in [false, true] {
            let seen = hear(&text, true, drips).await;
            assert_eq!(seen, Ok((200, fits.clone(), truncated, kept)), "{text:?}");
        }
    }
}

#[tokio::test]
async fn an_endless_answer_costs_the_peer_its_connection() {
    let long = "x".repeat(1000);
    let chunk = format!("3e8\r\n{long}\r\n");
    for (start, babble, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", &*long, Ok(200)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n", &long, Ok(200)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &chunk, Ok(200)),
        ("HTTP/1.1 200 OK\r\n", "a: b\r\n", Err(SendError::HeadTooLarge)),
        ("HTTP/1.1 200 OK\r\na: ", &long, Err(SendError::HeadTooLarge)),
        (
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            Err(SendError::Malformed("more than 16 interim answers")),
        ),
    ] {
        let stage = Stage::new().await;
        let (result, ()) = tokio::join!(stage.send(b"hello"), async {
            let mut peer = stage.accept().await;
            peer.request().await;
            peer.say(start).await;
            peer.say_for_ever(babble).await;
        });
        assert_eq!(result.map(|answer| answer.status), expected, "{start:?}");
    }
}

#[tokio::test]
async fn garbage_is_no_answer() {
    for text in [
        "<html>It works</html>",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nhello\r\n",
        "\0\0\0\0\0\0\0\0",
    ] {
        for drips in [false, true] {
            let result = hear(text, false, drips).await;
            assert!(matches!(result, Err(SendError::Malformed(_))), "{text:?}: {result:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_cut_half_way_is_a_lost_connection() {
    for (text, phase) in [
        ("", Phase::Head),
        ("HTTP/1.1 2", Phase::Head),
        ("HTTP/1.1 200 OK\r\na: b\r\n", Phase::Head),
        ("HTTP/1.1 100 Continue\r\n\r\n", Phase::Head),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", Phase::Body),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Phase::Body),
    ] {
        let expected = SendError::Closed { phase, reason: "closed by the peer".into() };
        assert_eq!(hear(text, true, false).await, Err(expected), "{text:?}");
    }
}

#[tokio::test]
async fn the_deadline_covers_request_head_and_body() {
    let large = vec![b'x'; LARGE];
    for (body, text, phase) in [
        (&b"hello"[..], "", Phase::Head),
        (b"hello", "HTTP/1.1 100 Continue\r\n\r\n", Phase::Head),
        (b"hello", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhell", Phase::Body),
        (b"hello", "HTTP/1.1 200 OK\r\n\r\n", Phase::Body),
        (&large, "", Phase::Write),
    ] {
        let stage = Stage::new().await;
        let (result, peer) = tokio::join!(stage.send_within(body, MOMENT), async {
            let mut peer = stage.accept().await;
            peer.say(text).await;
            peer
        });
        assert_eq!(result.unwrap_err(), SendError::Timeout { phase }, "{text:?}");
        peer.closed().await;
        assert_eq!(stage.client.counters().idle, 0);
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_sends_nothing() {
    let stage = Stage::new().await;
    let result = stage.send_within(b"hello", Duration::ZERO).await;
    assert_eq!(result.unwrap_err(), SendError::Timeout { phase: Phase::Queue });
    assert!(stage.is_deserted().await);
}

#[tokio::test]
async fn a_refusal_before_the_body_was_read_is_the_answer() {
    let refusal = "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
    for closes in [false, true] {
        let stage = Stage::new().await;
        let large = vec![b'x'; LARGE];
        let (result, _peer) = tokio::join!(stage.send(&large), async {
            let mut peer = stage.accept().await;
            peer.request_head().await;
            peer.say(refusal).await;
            (!closes).then_some(peer)
        });
        let answer = result.unwrap();
        assert_eq!((answer.status, &*answer.body), (413, &b"no"[..]), "closes: {closes}");
        assert_eq!(stage.client.counters().idle, 0, "the request is not whole");
    }
}

#[tokio::test]
async fn an_early_success_still_gets_the_whole_event() {
    let stage = Stage::new().await;
    let large: Vec<u8> = (0..=u8::MAX).cycle().take(LARGE).collect();
    let (result, received) = tokio::join!(stage.send(&large), async {
        let mut peer = stage.accept().await;
        peer.request_head().await;
        peer.say(ACCEPTED).await;
        peer.body(LARGE).await
    });
    assert_eq!(result.unwrap().status, 202);
    assert!(received == large, "every byte, in order");
    assert_eq!(stage.client.counters().idle, 1);
}

#[tokio::test]
async fn the_request_is_the_prefix_the_parts_and_the_body() {
    let stage = Stage::new().await;
    let ((head, body), result) = tokio::join!(
        async {
            let mut peer = stage.accept().await;
            let request = peer.request().await;
            peer.say("HTTP/1.1 503 No\r\nRetry-After: 3\r\ncontent-length: 0\r\n\r\n").await;
            request
        },
        stage.send(b"hello")
    );
    let host = stage.endpoint.authority();
    assert_eq!(
        head,
        format!(
            "POST /events?a=b HTTP/1.1\r\nhost: {host}\r\nuser-agent: catchment\r\n\
             ce-id: 1\r\ncontent-length: 5\r\n\r\n"
        )
    );
    assert_eq!(body, b"hello");
    let answer = result.unwrap();
    assert_eq!(answer.header("retry-after"), Some(&b"3"[..]));
    assert_eq!(answer.headers().count(), 2, "the status line is no header");
}
