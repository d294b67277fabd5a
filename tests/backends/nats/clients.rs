//! What other clients of NATS write and read.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use channel::{Attributes as _, Channel as _, PublishError, binding::UNDECODABLE};
use harness::eventually;
use harness::servers::nats::Options;
use serde_json::{Value, json};

use super::{
    NatsPlan, beside, event_of, fresh_name, named, next, open, other, other_publishes, publish,
    server,
};

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_another_client_writes_is_delivered() {
    let test = "what_another_client_writes_is_delivered";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = beside("orders.>");
    let channel = open(&server, &plan, &fresh_name()).await;
    let mut reader = channel.reader(0);
    let least = |more: Value| {
        let mut headers =
            json!({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/other", "ce-type": "t"});
        headers.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        headers
    };
    let whole = r#"{"specversion":"1.0","id":"1","source":"/other","type":"t","datacontenttype":"text/plain","data":"x"}"#;
    for (headers, payload) in [
        (least(json!({"ce-datacontenttype": "text/plain"})), "x"),
        (least(json!({"content-type": "text/plain"})), "x"),
        (json!({"content-type": "application/cloudevents+json"}), whole),
        (json!({}), whole),
    ] {
        other_publishes(&server, "orders.new", headers.clone(), payload).await;
        let lease = next(&mut *reader, PATIENCE).await.expect("it was written");
        assert_eq!(lease.problem(), None, "{headers}");
        let event = lease.event();
        assert_eq!((event.id(), event.source(), event.ty()), ("1", "/other", "t"));
        assert_eq!(event.attribute("datacontenttype"), Some("text/plain"));
        assert_eq!(event.data().unwrap().bytes, "x");
        lease.settle();
    }
}

#[tokio::test]
async fn another_client_reads_what_we_write() {
    let test = "another_client_reads_what_we_write";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = named("ORDERS");
    let channel = open(&server, &plan, &fresh_name()).await;
    let mut draft = event_of("1", "hello").edit();
    draft.push_wire("traffic", "Euro%20%E2%82%AC".as_bytes()).unwrap();
    draft.carry("traceparent", b"00-1-2-03");
    draft.set_hops(Some(7));
    let position = publish(&channel, draft.finish().unwrap()).await.unwrap();
    let found = other(&server, "read", &["ORDERS", &position.0.to_string()]).await;
    assert_eq!(found["data"], STANDARD.encode("hello"));
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/tests"),
        ("ce-subject", "a%20b"),
        ("ce-traffic", "Euro%20%E2%82%AC"),
        ("ce-datacontenttype", "text/plain"),
        ("traceparent", "00-1-2-03"),
        ("catchment-hops", "7"),
    ] {
        assert_eq!(found["headers"][name], value, "{name} of {found}");
    }
    assert!(found["headers"]["Nats-Msg-Id"].as_str().unwrap().ends_with("-7"));
}

#[tokio::test]
async fn garbage_is_lent_with_its_reason_and_stops_nothing() {
    let test = "garbage_is_lent_with_its_reason_and_stops_nothing";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = beside("orders.>");
    let channel = open(&server, &plan, &fresh_name()).await;
    let mut reader = channel.reader(0);
    for (headers, payload) in [
        (json!({}), ""),
        (json!({}), "not an event"),
        (json!({"ce-specversion": "1.0"}), "x"),
        (json!({"ce-specversion": "7.0", "ce-id": "1"}), "x"),
        (json!({"content-type": "application/cloudevents+json"}), "{"),
        (json!({"catchment-hops": "many", "catchment-order": "= = ="}), "{}"),
    ] {
        other_publishes(&server, "orders.new", headers.clone(), payload).await;
        let lease = next(&mut *reader, PATIENCE).await.expect("it is lent");
        assert!(lease.problem().is_some(), "{headers}");
        assert_eq!(lease.event().ty(), UNDECODABLE);
        let data = lease.event().data().map(|data| data.bytes.clone()).unwrap_or_default();
        assert_eq!(data, payload);
        lease.settle();
    }
    publish(&channel, event_of("after", "hello")).await.unwrap();
    let lease = next(&mut *reader, PATIENCE).await.expect("the stream goes on");
    assert_eq!(lease.event().id(), "after");
    lease.settle();
}

#[tokio::test]
async fn headers_that_no_client_should_write_stop_nothing() {
    let test = "headers_that_no_client_should_write_stop_nothing";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = NatsPlan { ack_wait: Duration::from_secs(1), ..beside("orders.>") };
    let channel = open(&server, &plan, &fresh_name()).await;
    let mut reader = channel.reader(0);
    for (n, block) in [
        &b"NATS/1.0\r\n\r\n"[..],
        b"NATS/1.0\r\nce-id:\r\nce-id: 1\r\n\r\n",
        b"NATS/1.0 503\r\n\r\n",
        b"NATS/1.0 100 Idle\r\n\r\n",
        b"NATS/1.0\r\nno colon here\r\n\r\n",
        b"NATS/1.0\r\nwith space: x\r\n\r\n",
        b"NATS/1.0\r\nce-id: \xff\xfe\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let text = String::from_utf8_lossy(block).into_owned();
        let (headers, payload) = (STANDARD.encode(block), STANDARD.encode("x"));
        other(&server, "raw", &["orders.new", &headers, &payload]).await;
        let after = format!("after {n}");
        eventually(PATIENCE, || async { publish(&channel, event_of(&after, "hello")).await }).await;
        // Both come: what can be read, and what cannot, with its bytes.
        let (mut is_after, mut is_garbage) = (false, false);
        while !(is_after && is_garbage) {
            let lease = next(&mut *reader, PATIENCE).await;
            let lease = lease.unwrap_or_else(|| panic!("{text:?} stopped the stream"));
            is_after |= lease.event().id() == after;
            is_garbage |= lease.problem().is_some();
            lease.settle();
        }
    }
    // Nothing is left to end the connection over.
    eventually(PATIENCE, || async {
        let depth = channel.depth();
        if depth.events == 0 { channel.health() } else { Err(format!("{depth:?}")) }
    })
    .await;
    let again = next(&mut *reader, Duration::from_secs(3)).await;
    assert!(again.is_none(), "{again:?}");
}

#[tokio::test]
async fn a_message_that_ends_the_client_is_said_and_does_not_end_the_next_one() {
    let test = "a_message_that_ends_the_client_is_said_and_does_not_end_the_next_one";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = beside("orders.>");
    let name = fresh_name();
    let channel = open(&server, &plan, &name).await;
    let headers = STANDARD.encode(b"NATS/1.0\r\nce-id: a\rb\r\n\r\n");
    other(&server, "raw", &["orders.new", &headers, &STANDARD.encode("x")]).await;
    let said = eventually(PATIENCE, || async { channel.health().err().ok_or("it is well") }).await;
    assert!(said.contains("the channel must be opened again"), "{said}");
    let refused = publish(&channel, event_of("between", "hello")).await;
    assert!(matches!(refused, Err(PublishError::Down { .. })), "{refused:?}");
    drop(channel);
    let channel = open(&server, &plan, &name).await;
    let mut reader = channel.reader(0);
    let lease = next(&mut *reader, PATIENCE).await.expect("it is lent as bytes");
    assert!(lease.problem().is_some());
    lease.settle();
    publish(&channel, event_of("after", "hello")).await.unwrap();
    let lease = next(&mut *reader, PATIENCE).await.expect("the stream goes on");
    assert_eq!(lease.event().id(), "after");
    lease.settle();
    assert_eq!(channel.health(), Ok(()));
}
