//! What is read ahead is bounded, and reading goes on when there is room.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use channel::{Batch, Budget, Change, Channel, Data, Event, Kafka, KafkaPlan, Ledger, Name};

use super::support::{control, event, lent, open, servers, settings, unique, waiting};

const PATIENCE: Duration = Duration::from_secs(20);

/// An event of one partition.
fn keyed(number: usize, bytes: usize) -> Event {
    let mut draft = event(number).edit();
    draft.set("partitionkey", "k");
    draft.set_data(Some(Data::opaque(Bytes::from(vec![b'x'; bytes]))));
    draft.finish().unwrap()
}

async fn publish_all(channel: &dyn Channel, events: impl Iterator<Item = Event>) {
    let events: Vec<_> = events.collect();
    for some in events.chunks(500) {
        channel.publish(0, Batch::from_iter(some.iter().cloned())).await.expect("there is room");
    }
}

#[tokio::test]
async fn a_partition_is_read_ahead_as_far_as_its_window() {
    let Some(kafka) = servers("the window of a partition").await else { return };
    let channel = open(&kafka.bootstrap(), &unique(), 1).await;
    const ALL: usize = 12_000;
    const WINDOW: usize = 10_000;
    publish_all(&*channel, (0..ALL).map(|number| keyed(number, 10))).await;
    let mut reader = channel.reader(0);
    let mut held = Vec::new();
    while held.len() < WINDOW {
        held.push(lent(&mut *reader, PATIENCE).await.expect("it was stored"));
    }
    assert!(lent(&mut *reader, Duration::from_secs(1)).await.is_none(), "the window is passed");
    assert_eq!(channel.depth().events, ALL);
    // All but the first: what may be committed does not move, and reading goes on all the same.
    let first = held.remove(0);
    for lease in held {
        lease.settle();
    }
    for _ in WINDOW..ALL {
        lent(&mut *reader, PATIENCE).await.expect("reading goes on").settle();
    }
    assert_eq!(channel.depth().events, 1);
    first.settle();
    assert_eq!(channel.depth().events, 0);
}

#[tokio::test]
async fn no_more_is_read_than_there_is_memory_for() {
    let Some(kafka) = servers("memory for what is read").await else { return };
    let budget = Budget::new(64 << 10);
    let (name, plan) = (unique(), KafkaPlan::default());
    let whole = Arc::clone(&budget);
    let channel = Kafka::open(settings(&kafka.bootstrap()), plan, &name, 1, whole, control()).await;
    let channel = channel.expect("a channel");
    publish_all(&*channel, (0..200).map(|number| keyed(number, 4000))).await;
    let mut reader = channel.reader(0);
    let mut seen = BTreeSet::new();
    let mut held = Vec::new();
    while seen.len() < 200 {
        match lent(&mut *reader, Duration::from_secs(2)).await {
            Some(lease) => {
                assert!(budget.used() <= budget.limit());
                assert!(seen.insert(lease.event().id().to_owned()), "lent twice");
                held.push(lease);
            }
            None => {
                assert!(held.len() > 5, "only {} fit into 64 KiB", held.len());
                for lease in held.drain(..) {
                    lease.settle();
                }
            }
        }
    }
    drop(held);
}

/// The notes about attempts; others tell which topics are there, and stay with them.
async fn notes(ledger: &dyn Ledger) -> BTreeSet<String> {
    let mut watch = ledger.watch();
    let mut notes = BTreeSet::new();
    loop {
        match poll_fn(|cx| watch.poll_change(cx)).await.expect("it goes on") {
            Change::Put { key, .. } => drop(notes.insert(key)),
            Change::Removed { key } => drop(notes.remove(&key)),
            Change::Loaded => {
                notes.retain(|key| key.starts_with("amend/"));
                return notes;
            }
        }
    }
}

#[tokio::test]
async fn a_note_about_an_attempt_goes_with_its_event() {
    let Some(kafka) = servers("notes about attempts").await else { return };
    let channel = open(&kafka.bootstrap(), &unique(), 1).await;
    let ledger = channel.ledger().expect("it has one");
    let overflow = channel.overflow(&Name::new("n", "t"), true);
    overflow.put((0..3).map(waiting).collect()).await.expect("there is room");
    let mut reader = overflow.reader(0);
    for number in 0..2 {
        let lease = lent(&mut *reader, PATIENCE).await.expect("it waits");
        let mut envelope = lease.envelope().expect("it waited").clone();
        envelope.attempts = 7;
        overflow.amend(lease.position(), envelope).await.expect("there is room");
        let key = format!("amend/n/t/{}", lease.position().0);
        assert_eq!(notes(&*ledger).await, BTreeSet::from([key]), "{number}");
        drop(lease);
        let lease = lent(&mut *reader, PATIENCE).await.expect("it is lent again");
        assert_eq!(lease.envelope().expect("it waited").attempts, 7);
        lease.settle();
        let start = Instant::now();
        while !notes(&*ledger).await.is_empty() {
            assert!(start.elapsed() < PATIENCE, "the note stays");
        }
    }
    assert_eq!(overflow.clear().await, Ok(1));
    assert_eq!(overflow.depth().events, 0);
}
