//! Several channels of one broker.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use channel::{
    Budget, Change, Channel as _, Envelope, Name, Nats, NatsSettings, PublishError, Waiting, clock,
};
use harness::eventually;
use harness::servers::nats::Options;

use super::{NatsPlan, ack_wait, event, fresh_name, next, open, other, publish, server, settings};
use tokio::runtime::Handle;

#[tokio::test]
async fn two_channels_share_the_events_and_the_end_of_one_loses_none() {
    let test = "two_channels_share_the_events_and_the_end_of_one_loses_none";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = ack_wait(2);
    let name = fresh_name();
    let (one, two) = (open(&server, &plan, &name).await, open(&server, &plan, &name).await);
    let (mut of_one, mut of_two) = (one.reader(0), two.reader(0));
    let mut sent = BTreeSet::new();
    for n in 0..2000 {
        publish(&one, event(&n.to_string())).await.unwrap();
        sent.insert(n.to_string());
    }
    // One has some of them when it goes without a word, settled and not settled.
    let (mut by_one, mut held) = (BTreeSet::new(), Vec::new());
    for n in 0..50 {
        let Some(lease) = next(&mut *of_one, Duration::from_secs(3)).await else { break };
        if n % 2 == 0 {
            by_one.insert(lease.event().id().to_owned());
            lease.settle();
        } else {
            held.push(lease);
        }
    }
    assert!(!held.is_empty(), "one channel took everything");
    drop((of_one, one));
    let mut by_two = BTreeSet::new();
    while by_one.union(&by_two).count() < sent.len() {
        let lease = next(&mut *of_two, Duration::from_secs(20)).await.unwrap_or_else(|| {
            panic!("lost: {:?}", sent.difference(&(&by_one | &by_two)).collect::<Vec<_>>())
        });
        by_two.insert(lease.event().id().to_owned());
        lease.settle();
    }
    drop(held);
}

/// An event that waits for `delay`.
fn waiting(id: &str, delay: Duration) -> Waiting {
    let now = clock::now();
    let envelope = Envelope {
        attempts: 3,
        first_at: now,
        put_at: now,
        due_at: now + delay,
        history: Bytes::from_static(b"history"),
    };
    Waiting { event: event(id), envelope }
}

#[tokio::test]
async fn what_waits_is_delivered_by_another_replica_and_then_gone_from_the_server() {
    let test = "what_waits_is_delivered_by_another_replica_and_then_gone_from_the_server";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = ack_wait(2);
    let (name, trigger) = (fresh_name(), Name::new("n", "t"));
    let (one, two) = (open(&server, &plan, &name).await, open(&server, &plan, &name).await);
    let of_one = one.overflow(&trigger, false);
    let mut ids = BTreeSet::new();
    for (n, delay) in [0, 0, 1, 2, 3600, 90].into_iter().enumerate() {
        let id = n.to_string();
        of_one.put(vec![waiting(&id, Duration::from_secs(delay))]).await.unwrap();
        if delay < 10 {
            ids.insert(id);
        }
    }
    // The one that put them goes without a word.
    drop((of_one, one));
    let of_two = two.overflow(&trigger, false);
    let mut reader = of_two.reader(0);
    let mut seen = BTreeSet::new();
    while !ids.is_subset(&seen) {
        let lease = next(&mut *reader, Duration::from_secs(30)).await.expect("it waits");
        assert_eq!(lease.envelope().unwrap().attempts, 3);
        seen.insert(lease.event().id().to_owned());
        lease.settle();
    }
    assert_eq!(seen, ids, "something was lent before it was due");
    let stream = format!("CATCHMENT_OVERFLOW_{}__{}_-n__t", name.namespace, name.name);
    eventually(Duration::from_secs(20), || async {
        let found = other(&server, "ask", &[&format!("$JS.API.STREAM.INFO.{stream}"), ""]).await;
        if found["state"]["messages"] == 2 { Ok(()) } else { Err(found["state"].clone()) }
    })
    .await;
    eventually(Duration::from_secs(20), || async {
        let depth = of_two.depth();
        if depth.events == 2 { Ok(()) } else { Err(depth) }
    })
    .await;
}

#[tokio::test]
async fn what_was_empty_for_long_is_removed_and_made_again() {
    let test = "what_was_empty_for_long_is_removed_and_made_again";
    let Some(server) = server(test, &Options::default()).await else { return };
    let (plan, name, trigger) = (NatsPlan::default(), fresh_name(), Name::new("n", "t"));
    let opening = || async {
        let settings = NatsSettings { overflow_removed_after_ms: 3000, ..settings(&server) };
        let budget = Budget::new(64 << 20);
        Nats::open(&settings, &plan, &name, 1, budget, &Handle::current()).await.unwrap()
    };
    let (one, two) = (opening().await, opening().await);
    let overflow = one.overflow(&trigger, true);
    let mut reader = overflow.reader(0);
    let stream = format!("CATCHMENT_OVERFLOW_{}__{}_-n__t", name.namespace, name.name);
    let is_there = || async {
        let found = other(&server, "ask", &[&format!("$JS.API.STREAM.INFO.{stream}"), ""]).await;
        found["error"].is_null()
    };
    for round in 0..3 {
        let numbers = round * 10..round * 10 + 3;
        for number in numbers.clone() {
            let put = || overflow.put(vec![waiting(&number.to_string(), Duration::ZERO)]);
            // The other replica may be removing it at this moment: then it is put again.
            while let Err(error) = put().await {
                let is_told =
                    matches!(error, PublishError::Down { .. } | PublishError::Unknown { .. });
                assert!(is_told, "round {round}: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        assert!(is_there().await, "round {round}");
        let mut wanted = numbers.map(|number| number.to_string()).peekable();
        while let Some(first) = wanted.peek() {
            let lease = next(&mut *reader, Duration::from_secs(30)).await.expect("it waits");
            let id = lease.event().id().to_owned();
            // One that was put again may come again, after it came.
            assert!(id == *first || id.len() < first.len() || id < *first, "round {round}: {id}");
            if id == *first {
                wanted.next();
            }
            let mut envelope = lease.envelope().unwrap().clone();
            assert_eq!(envelope.attempts, 3, "round {round}");
            envelope.attempts += 5;
            overflow.amend(lease.position(), envelope).await.unwrap();
            lease.settle();
        }
        let start = Instant::now();
        while is_there().await {
            assert!(start.elapsed() < Duration::from_secs(60), "round {round}: it stays");
            if let Some(again) = next(&mut *reader, Duration::from_millis(300)).await {
                again.settle();
            }
        }
        assert!(one.health().is_ok() && two.health().is_ok(), "round {round}");
    }
    assert_eq!(overflow.depth().events, 0);
}

#[tokio::test]
async fn what_is_put_twice_with_another_attempt_waits_twice() {
    let test = "what_is_put_twice_with_another_attempt_waits_twice";
    let Some(server) = server(test, &Options::default()).await else { return };
    let channel = open(&server, &NatsPlan::default(), &fresh_name()).await;
    let overflow = channel.overflow(&Name::new("n", "t"), false);
    let mut reader = overflow.reader(0);
    for _ in 0..3 {
        // As when it was tried again in vain within the window for duplicates.
        overflow.put(vec![waiting("1", Duration::ZERO)]).await.unwrap();
        let lease = next(&mut *reader, Duration::from_secs(10)).await;
        lease.expect("the server took it for the former one").settle();
    }
    assert_eq!(channel.duplicates(), 0);
}

#[tokio::test]
async fn notes_of_one_replica_are_told_to_the_other() {
    let test = "notes_of_one_replica_are_told_to_the_other";
    let Some(mut server) = server(test, &Options::default()).await else { return };
    let (plan, name) = (NatsPlan::default(), fresh_name());
    let (one, two) = (open(&server, &plan, &name).await, open(&server, &plan, &name).await);
    let (one, two) = (one.ledger().unwrap(), two.ledger().unwrap());
    assert!(one.is_shared());
    let mut watch = two.watch();
    let mut change = async || {
        let change = poll_fn(|cx| watch.poll_change(cx));
        tokio::time::timeout(Duration::from_secs(30), change).await.expect("it is told").unwrap()
    };
    assert_eq!(change().await, Change::Loaded);
    let put = |key: &str, value: &'static str| Change::Put { key: key.into(), value: value.into() };
    one.put("dead/a.b", "1".into()).await.unwrap();
    assert_eq!(change().await, put("dead/a.b", "1"));
    one.remove("dead/a.b").await.unwrap();
    assert_eq!(change().await, Change::Removed { key: "dead/a.b".into() });
    // After the server was away, what happened since is told.
    server.stop().await;
    server.restart().await;
    eventually(Duration::from_secs(30), || async { one.put("dead/c", "2".into()).await }).await;
    while change().await != put("dead/c", "2") {}
}

#[tokio::test]
async fn the_end_comes_by_the_deadline_when_the_server_stands_still() {
    let test = "the_end_comes_by_the_deadline_when_the_server_stands_still";
    let Some(server) = server(test, &Options::default()).await else { return };
    let channel = open(&server, &NatsPlan::default(), &fresh_name()).await;
    let mut reader = channel.reader(0);
    publish(&channel, event("1")).await.unwrap();
    let lease = next(&mut *reader, Duration::from_secs(10)).await.expect("it was stored");
    server.freeze();
    lease.settle();
    channel.close();
    let start = Instant::now();
    channel.end(start + Duration::from_secs(2)).await;
    assert!(start.elapsed() < Duration::from_secs(3), "it took {:?}", start.elapsed());
    server.thaw();
}
