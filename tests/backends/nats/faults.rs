//! Servers that go, come back, stand still, are full, or are meddled with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use channel::{Channel as _, Data, Name, Nats, Publish, PublishError, Reader};
use harness::eventually;
use harness::servers::nats::{Nats as Server, Options, build};
use harness::{pick, say_not_run};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Batch, NatsPlan, ack_wait, end, event, event_of, fresh_name, named, next, open, other, publish,
    server, settings,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Publishes one after the other until told to stop; what was stored, and what is not known.
#[derive(Default)]
struct Sent {
    stored: BTreeSet<String>,
    refused: usize,
    unknown: usize,
}

async fn keep_publishing(channel: Arc<Nats>, producer: usize, until: Instant) -> Sent {
    let mut sent = Sent::default();
    for n in 0.. {
        if Instant::now() >= until {
            break;
        }
        let id = format!("{producer}-{n}");
        match publish(&channel, event(&id)).await {
            Ok(_) => drop(sent.stored.insert(id)),
            Err(PublishError::Unknown { .. }) => sent.unknown += 1,
            Err(_) => {
                sent.refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    sent
}

/// Settles events until all of `expected` came.
async fn drain(reader: &mut dyn Reader, expected: &BTreeSet<String>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while !expected.is_subset(&seen) {
        let Some(lease) = next(reader, PATIENCE).await else {
            let lost: Vec<_> = expected.difference(&seen).take(5).collect();
            panic!("lost after it was told stored: {lost:?} of {}", expected.len());
        };
        seen.insert(lease.event().id().to_owned());
        lease.settle();
    }
    seen
}

/// Publishes while `trouble` happens, and checks that nothing that was told stored is lost.
async fn through(channel: &Arc<Nats>, length: Duration, trouble: impl Future<Output = ()>) -> Sent {
    let until = Instant::now() + length;
    let mut producers = JoinSet::new();
    for producer in 0..4 {
        producers.spawn(keep_publishing(Arc::clone(channel), producer, until));
    }
    trouble.await;
    let mut all = Sent::default();
    while let Some(sent) = producers.join_next().await {
        let mut sent = sent.unwrap();
        all.stored.append(&mut sent.stored);
        all.refused += sent.refused;
        all.unknown += sent.unknown;
    }
    let mut reader = channel.reader(0);
    drain(&mut *reader, &all.stored).await;
    println!("{} stored, {} refused, {} unknown", all.stored.len(), all.refused, all.unknown);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_it_told_stored() {
    let test = "a_server_that_is_killed_loses_nothing_it_told_stored";
    let options = Options { sync_always: true, ..Options::default() };
    let Some(mut server) = server(test, &options).await else { return };
    let name = fresh_name();
    let short = ack_wait(2);
    let channel = open(&server, &short, &name).await;
    let sent = through(&channel, pick(Duration::from_secs(5), Duration::from_secs(60)), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.kill().await;
        eventually(PATIENCE, || async { channel.health().err().ok_or("it is well") }).await;
        server.restart().await;
        eventually(PATIENCE, || async { channel.health() }).await;
    })
    .await;
    assert!(!sent.stored.is_empty() && sent.unknown + sent.refused > 0);
    end(channel).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_makes_outcomes_unknown_and_loses_nothing() {
    let test = "a_server_that_stands_still_makes_outcomes_unknown_and_loses_nothing";
    let Some(server) = server(test, &Options::default()).await else { return };
    let channel = open(&server, &NatsPlan::default(), &fresh_name()).await;
    let sent = through(&channel, Duration::from_secs(8), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.freeze();
        // A signal takes a moment to reach every thread: what comes before may still be stored.
        let outcome = eventually(PATIENCE, || async {
            let outcome = tokio::time::timeout(PATIENCE, publish(&channel, event("frozen"))).await;
            if matches!(outcome, Ok(Ok(_))) { Err("stored still") } else { Ok(outcome) }
        })
        .await;
        assert!(matches!(outcome, Ok(Err(PublishError::Unknown { .. }))), "{outcome:?}");
        server.thaw();
    })
    .await;
    assert!(sent.unknown > 0);
}

#[tokio::test]
async fn what_was_settled_while_the_server_was_away_does_not_come_again() {
    let test = "what_was_settled_while_the_server_was_away_does_not_come_again";
    let Some(mut server) = server(test, &Options::default()).await else { return };
    let plan = ack_wait(1);
    let name = fresh_name();
    let channel = open(&server, &plan, &name).await;
    let mut reader = channel.reader(0);
    let mut held = Vec::new();
    for n in 0..20 {
        publish(&channel, event(&n.to_string())).await.unwrap();
        held.push(next(&mut *reader, PATIENCE).await.expect("it was stored"));
    }
    server.kill().await;
    held.into_iter().for_each(channel::Lease::settle);
    server.restart().await;
    publish_until_stored(&channel, "last").await;
    // Longer than the ack wait: the server has sent them all again by now, if it ever does.
    let last = next(&mut *reader, PATIENCE).await.expect("it was stored");
    assert_eq!(last.event().id(), "last", "it was settled, and lent again");
    last.settle();
    let again = next(&mut *reader, Duration::from_secs(4)).await;
    assert!(again.is_none(), "it was settled, and lent again: {again:?}");
    drop(reader);
    end(channel).await;
    let channel = open(&server, &plan, &name).await;
    let again = next(&mut *channel.reader(0), Duration::from_secs(3)).await;
    assert!(again.is_none(), "it was settled, and lent to the next process: {again:?}");
}

async fn publish_until_stored(channel: &Nats, id: &str) {
    eventually(PATIENCE, || async { publish(channel, event(id)).await }).await;
}

#[tokio::test]
async fn a_lease_that_is_held_for_longer_than_the_ack_wait_does_not_come_again() {
    let test = "a_lease_that_is_held_for_longer_than_the_ack_wait_does_not_come_again";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = ack_wait(1);
    let name = fresh_name();
    let (channel, replica) = (open(&server, &plan, &name).await, open(&server, &plan, &name).await);
    let (mut reader, mut other) = (channel.reader(0), replica.reader(0));
    publish(&channel, event("1")).await.unwrap();
    let lease = match next(&mut *reader, Duration::from_secs(2)).await {
        Some(lease) => lease,
        None => next(&mut *other, PATIENCE).await.expect("it was stored"),
    };
    for reader in [&mut reader, &mut other] {
        let again = next(&mut **reader, Duration::from_secs(2)).await;
        assert!(again.is_none(), "it was lent twice: {again:?}");
    }
    lease.settle();
}

#[tokio::test]
async fn a_full_stream_refuses_and_makes_room_of_what_is_settled() {
    let test = "a_full_stream_refuses_and_makes_room_of_what_is_settled";
    let Some(server) = server(test, &Options::default()).await else { return };
    for (limit, plan) in [
        ("maxMsgs", NatsPlan { messages_max: Some(20), ..NatsPlan::default() }),
        ("maxBytes", NatsPlan { bytes_max: Some(20_000), ..NatsPlan::default() }),
    ] {
        let channel = open(&server, &plan, &fresh_name()).await;
        let mut reader = channel.reader(0);
        let mut stored = BTreeSet::new();
        let refused = loop {
            let id = stored.len().to_string();
            match publish(&channel, event_of(&id, &"x".repeat(500))).await {
                Ok(_) => drop(stored.insert(id)),
                Err(refused) => break refused,
            }
        };
        let bound = format!("spec.stream.config.{limit}");
        assert!(
            matches!(&refused, PublishError::Full { bound: b, .. } if *b == bound),
            "{refused:?}"
        );
        let reached = channel.bounds_reached();
        assert!(reached.contains(&(bound.as_str(), 1)), "{reached:?}");
        assert!(stored.len() > 5);
        drain(&mut *reader, &stored).await;
        publish_until_stored(&channel, "room").await;
    }
}

#[tokio::test]
async fn a_consumer_that_is_deleted_is_made_again_and_loses_nothing() {
    let test = "a_consumer_that_is_deleted_is_made_again_and_loses_nothing";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = named("LOG");
    let channel = open(&server, &plan, &fresh_name()).await;
    let mut reader = channel.reader(0);
    let mut before = BTreeSet::new();
    for n in 0..100 {
        publish(&channel, event(&n.to_string())).await.unwrap();
        before.insert(n.to_string());
    }
    drain(&mut *reader, &before).await;
    eventually(PATIENCE, || async {
        let asked = other(&server, "ask", &["$JS.API.CONSUMER.INFO.LOG.CATCHMENT", ""]).await;
        if asked["num_ack_pending"] == 0 { Ok(()) } else { Err(asked) }
    })
    .await;
    // The channel has looked since: it knows up to where all is settled.
    tokio::time::sleep(Duration::from_secs(3)).await;
    other(&server, "ask", &["$JS.API.CONSUMER.DELETE.LOG.CATCHMENT", ""]).await;
    let mut after = BTreeSet::new();
    for n in 0..100 {
        let id = format!("after {n}");
        publish_until_stored(&channel, &id).await;
        after.insert(id);
    }
    let seen = drain(&mut *reader, &after).await;
    assert_eq!(seen.intersection(&before).count(), 0, "what was settled came again");
    eventually(PATIENCE, || async { channel.health() }).await;
}

#[tokio::test]
async fn a_stream_that_is_changed_behind_our_back_is_reported_by_its_field() {
    let test = "a_stream_that_is_changed_behind_our_back_is_reported_by_its_field";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = named("LOG");
    let name = fresh_name();
    let channel = open(&server, &plan, &name).await;
    let found = other(&server, "ask", &["$JS.API.STREAM.INFO.LOG", ""]).await;
    let mut config = found["config"].clone();
    config["discard"] = json!("old");
    other(&server, "ask", &["$JS.API.STREAM.UPDATE.LOG", &config.to_string()]).await;
    let told = eventually(PATIENCE, || async { channel.health().err().ok_or("it is well") }).await;
    assert_eq!(told, "stream LOG: discard is Old, and must be New");
    // Opening it again puts it right, and then all is well.
    let again = open(&server, &plan, &name).await;
    eventually(PATIENCE, || async { channel.health() }).await;
    assert_eq!(again.health(), Ok(()));
}

#[tokio::test]
async fn an_event_that_the_server_would_not_take_is_refused_before() {
    let test = "an_event_that_the_server_would_not_take_is_refused_before";
    let options = Options { max_payload: Some(256 << 10), ..Options::default() };
    let Some(server) = server(test, &options).await else { return };
    for (message_bytes_max, limit) in
        [(None, (256 << 10) - (72 << 10)), (Some(10_000), 10_000 - 1024)]
    {
        let plan = NatsPlan { message_bytes_max, ..NatsPlan::default() };
        let channel = open(&server, &plan, &fresh_name()).await;
        assert_eq!(channel.event_bytes_max(), limit);
        let with_data = |bytes: usize| {
            let mut draft = event("1").edit();
            draft.set_data(Some(Data::opaque(Bytes::from(vec![b'x'; bytes]))));
            draft.finish().unwrap()
        };
        let head = with_data(limit - 1000).size() - (limit - 1000);
        let sized = |size: usize| with_data(size - head);
        publish(&channel, sized(limit)).await.expect("it fits");
        let refused = publish(&channel, sized(limit + 10)).await;
        let is_told = matches!(refused, Err(PublishError::TooLarge { limit: l, .. }) if l == limit);
        assert!(is_told, "{refused:?}");
    }
}

#[tokio::test]
async fn an_event_that_is_sent_twice_is_stored_once_and_of_two_sources_twice() {
    let test = "an_event_that_is_sent_twice_is_stored_once_and_of_two_sources_twice";
    let Some(server) = server(test, &Options::default()).await else { return };
    let channel = open(&server, &NatsPlan::default(), &fresh_name()).await;
    let first = publish(&channel, event("1")).await.unwrap();
    assert_eq!(publish(&channel, event("1")).await.unwrap(), first);
    assert_eq!(channel.duplicates(), 1);
    let mut other = event("1").edit();
    other.set("source", "/another");
    assert!(publish(&channel, other.finish().unwrap()).await.unwrap() > first);
    let mut reader = channel.reader(0);
    for _ in 0..2 {
        next(&mut *reader, PATIENCE).await.expect("two were stored").settle();
    }
    assert!(next(&mut *reader, Duration::from_secs(1)).await.is_none(), "one was stored twice");
}

#[tokio::test]
async fn publishes_are_stored_in_the_order_of_the_calls() {
    let test = "publishes_are_stored_in_the_order_of_the_calls";
    let Some(server) = server(test, &Options::default()).await else { return };
    let channel = open(&server, &NatsPlan::default(), &fresh_name()).await;
    let mut sent: Vec<Publish> = Vec::new();
    for n in 0..500 {
        sent.push(channel.publish(0, Batch::from_iter([event(&n.to_string())])));
    }
    // Whatever order they are waited for in.
    let mut positions = Vec::new();
    for publish in sent.into_iter().rev() {
        positions.push(publish.await.unwrap());
    }
    assert!(positions.is_sorted_by(|later, earlier| later > earlier));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_leader_of_three_loses_nothing() {
    let test = "the_end_of_a_leader_of_three_loses_nothing";
    if let Err(why) = build() {
        return say_not_run(test, &why);
    }
    let mut three = Server::start_three(&Options::default()).await;
    let name = Name::new("tests", "replicated");
    let replicated = NatsPlan {
        replicas: 3,
        bytes_max: Some(64 << 20),
        ack_wait: Duration::from_secs(2),
        ..named("LOG")
    };
    let urls: Vec<String> = three.iter().map(Server::url).collect();
    let settings = channel::NatsSettings { url: urls.join(","), ..settings(&three[0]) };
    // A cluster that has just come up has no leader yet.
    let channel = eventually(PATIENCE, || async {
        let budget = channel::Budget::new(64 << 20);
        let runtime = tokio::runtime::Handle::current();
        Nats::open(&settings, &replicated, &name, 2, budget, &runtime).await
    })
    .await;
    assert!(channel.durability().replicated);
    let found = other(&three[0], "ask", &["$JS.API.STREAM.INFO.LOG", ""]).await;
    let leader =
        found["cluster"]["leader"].as_str().unwrap().trim_start_matches('n').parse::<usize>();
    let leader = leader.unwrap();
    let sent = through(&channel, Duration::from_secs(12), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        three[leader].kill().await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        three[leader].restart().await;
    })
    .await;
    assert!(sent.stored.len() > 100);
    end(channel).await;
}
