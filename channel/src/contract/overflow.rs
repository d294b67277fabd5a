//! What every overflow keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;

use super::{event, eventually, finish, next, ready};
use crate::{Channel, Depth, Envelope, Name, Waiting, clock, key_worker, order_key};

/// Something that waits, due after `delay`.
pub(super) fn waiting(number: usize, delay: Duration) -> Waiting {
    let now = clock::now();
    let envelope = Envelope {
        attempts: 3,
        first_at: now - Duration::from_secs(1),
        put_at: now,
        due_at: now + delay,
        history: Bytes::from(format!("history {number}")),
    };
    Waiting { event: event(number), envelope }
}

pub(super) async fn nothing_is_lent_before_it_is_due(channel: &dyn Channel) {
    let overflow = channel.overflow(&Name::new("n", "late"), false);
    let mut readers = [overflow.reader(0), overflow.reader(1)];
    let late = Duration::from_millis(1500);
    overflow.put(vec![waiting(1, late)]).await.expect("there is room");
    overflow.put(vec![waiting(2, Duration::ZERO)]).await.expect("there is room");
    let mut seen = BTreeSet::new();
    let start = clock::now();
    while seen.len() < 2 {
        assert!(start.elapsed().unwrap_or_default() < Duration::from_secs(20), "lent: {seen:?}");
        for reader in &mut readers {
            let Some(lease) = ready(&mut **reader).await else { continue };
            let due = lease.envelope().expect("it waited").due_at;
            assert!(clock::now() >= due, "lent before its time");
            seen.insert(lease.event().id().to_owned());
            lease.settle();
        }
    }
    eventually("settled events no longer count", || overflow.depth() == Depth::default()).await;
}

pub(super) async fn what_is_put_is_lent_once_with_its_envelope(channel: &dyn Channel) {
    let overflow = channel.overflow(&Name::new("n", "many"), false);
    let mut readers = [overflow.reader(0), overflow.reader(1)];
    let mut put = BTreeMap::new();
    for first in (0..100).step_by(10) {
        let some: Vec<_> = (first..first + 10).map(|n| waiting(n, Duration::ZERO)).collect();
        put.extend(some.iter().map(|one| (one.event.id().to_owned(), one.clone())));
        overflow.put(some).await.expect("there is room");
    }
    assert_eq!(overflow.depth().events, 100);
    let mut again = false;
    for reader in &mut readers {
        while let Some(lease) = ready(&mut **reader).await {
            if !std::mem::replace(&mut again, true) {
                // One is dropped: it must come again.
                continue;
            }
            let sent = put.remove(lease.event().id()).expect("an event was lent twice");
            let envelope = lease.envelope().expect("it waited");
            assert_eq!(*lease.event(), sent.event);
            assert_eq!(lease.event().http_head(), sent.event.http_head());
            assert_eq!(envelope.attempts, sent.envelope.attempts);
            assert_eq!(envelope.history, sent.envelope.history);
            lease.settle();
        }
    }
    for reader in &mut readers {
        // A dropped lease may come to a reader that was asked before.
        while let Some(lease) = ready(&mut **reader).await {
            put.remove(lease.event().id()).expect("an event was lent twice");
            lease.settle();
        }
    }
    assert!(put.is_empty(), "never lent: {:?}", put.keys());
    eventually("settled events no longer count", || overflow.depth() == Depth::default()).await;
}

pub(super) async fn an_ordered_overflow_keeps_its_order(channel: &dyn Channel) {
    let overflow = channel.overflow(&Name::new("n", "ordered"), true);
    let mut some = Vec::new();
    for number in 0..60 {
        // Later ones are due earlier: that must not matter.
        let mut one = waiting(number, Duration::from_millis(600 - number as u64 * 10));
        let mut draft = one.event.edit();
        draft.set("partitionkey", ["a", "b", "c"].get(number % 3).expect("one of three"));
        one.event = finish(draft);
        some.push(one);
    }
    for part in some.chunks(7) {
        overflow.put(part.to_vec()).await.expect("there is room");
    }
    let mut count = 0;
    for worker in 0..2 {
        let mut reader = overflow.reader(worker);
        let mut last = BTreeMap::new();
        while let Some(lease) = ready(&mut *reader).await {
            assert_eq!(key_worker(lease.event(), 2), worker, "a key has two readers");
            let key = order_key(lease.event()).to_owned();
            let number: usize = lease.event().id().parse().expect("a number");
            let before = last.insert(key.clone(), number);
            assert!(before.is_none_or(|before| before < number), "key {key} is out of order");
            lease.settle();
            count += 1;
        }
    }
    assert_eq!(count, 60, "events were not lent");
}

pub(super) async fn what_is_cleared_is_not_lent(channel: &dyn Channel) {
    let overflow = channel.overflow(&Name::new("n", "cleared"), false);
    let some = (0..10).map(|number| waiting(number, Duration::ZERO)).collect();
    overflow.put(some).await.expect("there is room");
    overflow.clear().await.expect("it can be cleared");
    eventually("cleared events no longer count", || overflow.depth().events == 0).await;
    let mut reader = overflow.reader(0);
    assert!(ready(&mut *reader).await.is_none(), "a cleared event was lent");
    overflow.put(vec![waiting(11, Duration::ZERO)]).await.expect("it can be used again");
    let mut other = overflow.reader(1);
    let lease = match ready(&mut *reader).await {
        Some(lease) => Some(lease),
        None => ready(&mut *other).await,
    };
    assert_eq!(lease.map(|lease| lease.event().id().to_owned()).as_deref(), Some("11"));
    overflow.close();
    assert!(next(&mut *reader).await.is_none(), "a closed overflow has an end");
}

pub(super) async fn triggers_do_not_see_each_others_events(channel: &dyn Channel) {
    let overflow = channel.overflow(&Name::new("n", "a-b"), false);
    let other = channel.overflow(&Name::new("n-a", "b"), false);
    overflow.put(vec![waiting(1, Duration::ZERO)]).await.expect("there is room");
    for worker in 0..2 {
        let mut reader = other.reader(worker);
        assert!(ready(&mut *reader).await.is_none(), "an event went to another trigger");
    }
    assert_eq!((overflow.depth().events, other.depth().events), (1, 0));
}
