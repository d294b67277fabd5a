//! Replicas of one broker.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use channel::{Depth, KafkaPlan, PublishError};
use harness::servers::kcat;

use super::support::{
    event, lent, open, open_with, publish, servers, settings, topic, unique, waiting,
};

const EVENTS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn replicas_share_the_work_and_one_takes_over_from_another() {
    let Some(kafka) = servers("two replicas of a broker").await else { return };
    let (bootstrap, name) = (kafka.bootstrap(), unique());
    let one = open(&bootstrap, &name, 1).await;
    let other = open(&bootstrap, &name, 1).await;
    for number in 0..EVENTS {
        let channel = if number % 2 == 0 { &one } else { &other };
        publish(&**channel, event(number)).await.expect("there is room");
    }
    let (mut reader, mut other_reader) = (one.reader(0), other.reader(0));
    let mut seen = BTreeSet::new();
    let mut of_other = 0;
    let mut held = Vec::new();
    let quiet = Duration::from_millis(200);
    let start = Instant::now();
    // Partitions are on their way to the other for a while.
    while of_other < 100 {
        assert!(start.elapsed() < Duration::from_secs(30), "the other replica gets nothing");
        if let Some(lease) = lent(&mut *other_reader, quiet).await {
            of_other += 1;
            if of_other % 2 == 0 {
                seen.insert(lease.event().id().to_owned());
                lease.settle();
            } else {
                held.push(lease);
            }
        }
        if let Some(lease) = lent(&mut *reader, Duration::from_millis(10)).await {
            seen.insert(lease.event().id().to_owned());
            lease.settle();
        }
    }
    // What it holds comes back to nobody but the other replica.
    drop(other_reader);
    drop(other);
    drop(held);
    while seen.len() < EVENTS {
        let lease = lent(&mut *reader, Duration::from_secs(20)).await;
        let lease = lease.unwrap_or_else(|| panic!("{} of {EVENTS} were lent", seen.len()));
        seen.insert(lease.event().id().to_owned());
        lease.settle();
    }
    while let Some(lease) = lent(&mut *reader, Duration::from_secs(1)).await {
        lease.settle();
    }
    assert_eq!(one.depth(), Depth::default());
    assert!(one.health().is_ok());
}

#[tokio::test]
async fn what_waits_is_taken_over_by_another_replica() {
    let Some(kafka) = servers("the overflow of two replicas").await else { return };
    let (bootstrap, name) = (kafka.bootstrap(), unique());
    let trigger = channel::Name::new("n", "t");
    let one = open(&bootstrap, &name, 1).await;
    let other = open(&bootstrap, &name, 1).await;
    let overflow = one.overflow(&trigger, false);
    overflow.put((0..10).map(waiting).collect()).await.expect("there is room");
    assert_eq!(overflow.depth().events, 10);
    overflow.close();
    drop(one);
    // The other replica looks every 30 s what there is.
    let start = Instant::now();
    while !other.overflowing().contains(&trigger) {
        assert!(start.elapsed() < Duration::from_secs(60), "it is not found");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let overflow = other.overflow(&trigger, false);
    let mut reader = overflow.reader(0);
    let mut seen = BTreeSet::new();
    while seen.len() < 10 {
        let lease = lent(&mut *reader, Duration::from_secs(20)).await.expect("it waits");
        assert_eq!(lease.envelope().map(|envelope| envelope.attempts), Some(2));
        seen.insert(lease.event().id().to_owned());
        lease.settle();
    }
    assert_eq!(overflow.depth().events, 0);
}

#[tokio::test]
async fn what_was_empty_for_long_is_removed_and_made_again() {
    let what = "an overflow that is removed";
    let Some(kafka) = servers(what).await.filter(|_| kcat::is_there(what)) else { return };
    let (bootstrap, name) = (kafka.bootstrap(), unique());
    let opening = || async {
        let mut settings = settings(&bootstrap);
        settings.overflow_removed_after = Duration::from_secs(6);
        open_with(settings, KafkaPlan::default(), &name, 1).await
    };
    let (one, other) = (opening().await, opening().await);
    let trigger = channel::Name::new("n", "t");
    let overflow = one.overflow(&trigger, true);
    let mut reader = overflow.reader(0);
    let topic = format!("{}.overflow.n.t", topic(&name));
    let is_made = || {
        let listed = Command::new("kcat").args(["-b", &bootstrap, "-L"]).output();
        let listed = listed.expect("kcat answers").stdout;
        String::from_utf8_lossy(&listed).contains(&format!("\"{topic}\""))
    };
    for round in 0..3 {
        // The other replica may be removing it at this moment: then it is put again.
        let numbers = round * 10..round * 10 + 3;
        while let Err(error) = overflow.put(numbers.clone().map(waiting).collect()).await {
            let is_told =
                |error| matches!(error, PublishError::Down { .. } | PublishError::Unknown { .. });
            assert!(is_told(error), "round {round}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(is_made(), "round {round}");
        let mut wanted = numbers.map(|number| number.to_string()).peekable();
        while let Some(next) = wanted.peek() {
            let lease = lent(&mut *reader, Duration::from_secs(30)).await.expect("it waits");
            let id = lease.event().id().to_owned();
            // One that was put again may come again, after it came.
            assert!(id == *next || id.len() < next.len() || id < *next, "round {round}: {id}");
            if id == *next {
                wanted.next();
            }
            let mut envelope = lease.envelope().expect("it waited").clone();
            assert_eq!(envelope.attempts, 2, "round {round}");
            envelope.attempts += 5;
            overflow.amend(lease.position(), envelope).await.expect("there is room");
            lease.settle();
        }
        let start = Instant::now();
        while is_made() {
            assert!(start.elapsed() < Duration::from_secs(90), "round {round}: it stays");
            if let Some(again) = lent(&mut *reader, Duration::from_millis(300)).await {
                again.settle();
            }
        }
        assert_eq!(overflow.depth().events, 0, "round {round}");
    }
    assert!(one.health().is_ok() && other.health().is_ok());
}

#[tokio::test]
async fn what_is_on_loan_while_partitions_move_is_settled_by_one_and_lost_by_none() {
    let Some(kafka) = servers("partitions that move").await else { return };
    let (bootstrap, name) = (kafka.bootstrap(), unique());
    let one = open(&bootstrap, &name, 1).await;
    for number in 0..EVENTS {
        publish(&*one, event(number)).await.expect("there is room");
    }
    let mut reader = one.reader(0);
    let mut held = Vec::new();
    while held.len() < EVENTS {
        held.push(lent(&mut *reader, Duration::from_secs(20)).await.expect("it was stored"));
    }
    // The other gets half of the partitions, after a while in which nothing on loan is settled.
    let other = open(&bootstrap, &name, 1).await;
    let mut other_reader = other.reader(0);
    let first = lent(&mut *other_reader, Duration::from_secs(30)).await.expect("partitions move");
    for lease in held {
        lease.settle();
    }
    let mut again = BTreeSet::from([first.event().id().to_owned()]);
    first.settle();
    while let Some(lease) = lent(&mut *other_reader, Duration::from_secs(2)).await {
        again.insert(lease.event().id().to_owned());
        lease.settle();
    }
    assert!(again.len() < EVENTS, "partitions that stayed are lent again");
    drop(other);
    // What was settled by either is committed: nobody is lent anything any more.
    let none = lent(&mut *reader, Duration::from_secs(8)).await;
    assert!(none.is_none(), "{none:?}");
    assert_eq!(one.depth(), Depth::default());
}

#[tokio::test]
async fn what_waits_is_found_by_a_trigger_that_has_changed_its_order() {
    let Some(kafka) = servers("a trigger that changes its order").await else { return };
    let channel = open(&kafka.bootstrap(), &unique(), 1).await;
    let trigger = channel::Name::new("n", "t");
    let mut seen = BTreeSet::new();
    for (turn, ordered) in [false, true, false].into_iter().enumerate() {
        let overflow = channel.overflow(&trigger, ordered);
        let some = (turn * 10..turn * 10 + 10).map(|number| {
            let mut one = waiting(number);
            // Lanes of an overflow without order.
            one.envelope.due_at += Duration::from_secs(if number % 2 == 0 { 1 } else { 40 });
            one
        });
        overflow.put(some.collect()).await.expect("there is room");
        overflow.close();
    }
    let overflow = channel.overflow(&trigger, true);
    overflow.put(vec![waiting(30)]).await.expect("there is room");
    let mut reader = overflow.reader(0);
    while seen.len() < 31 {
        let lease = lent(&mut *reader, Duration::from_secs(20)).await;
        let lease = lease.unwrap_or_else(|| panic!("lent: {seen:?}"));
        assert!(seen.insert(lease.event().id().to_owned()), "lent twice: {lease:?}");
        lease.settle();
    }
    assert_eq!(overflow.depth().events, 0);
}

#[tokio::test]
async fn one_that_is_held_makes_none_of_the_others_come_again() {
    let Some(kafka) = servers("what is settled out of order").await else { return };
    const ALL: usize = 2000;
    let name = unique();
    let channel = open(&kafka.bootstrap(), &name, 1).await;
    for number in 0..ALL {
        publish(&*channel, event(number)).await.expect("it is stored");
    }
    let mut reader = channel.reader(0);
    let mut held = Vec::new();
    for number in 0..ALL {
        let lease = lent(&mut *reader, PATIENCE).await.expect("it was stored");
        // The first, and some further on.
        if number % 700 == 0 { held.push(lease) } else { lease.settle() }
    }
    channel.end(Instant::now() + PATIENCE).await;
    let expected: BTreeSet<_> = held.iter().map(|lease| lease.event().id().to_owned()).collect();
    drop((reader, held, channel));

    let channel = open(&kafka.bootstrap(), &name, 1).await;
    let mut reader = channel.reader(0);
    let mut again = BTreeSet::new();
    while again.len() < expected.len() {
        let lease = lent(&mut *reader, PATIENCE).await.expect("what was held comes again");
        again.insert(lease.event().id().to_owned());
        lease.settle();
    }
    assert_eq!(again, expected);
    assert!(lent(&mut *reader, Duration::from_secs(2)).await.is_none(), "more came again");
    assert_eq!(channel.depth().events, 0);
}
