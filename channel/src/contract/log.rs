//! What every channel keeps while it runs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{event, eventually, finish, next, publish, ready};
use crate::{Batch, Channel, Data, Depth, PublishError, Strength};

pub(super) async fn everything_published_is_lent_once_over_all_readers(channel: &dyn Channel) {
    let mut readers = [channel.reader(0), channel.reader(1)];
    for number in 0..100 {
        publish(channel, number % 2, event(number)).await.expect("there is room");
    }
    let mut seen = BTreeSet::new();
    for reader in &mut readers {
        while let Some(lease) = ready(&mut **reader).await {
            assert!(seen.insert(lease.event().id().to_owned()), "an event was lent twice");
            assert!(!lease.redelivered(), "a first loan says that it is the first");
            lease.settle();
        }
    }
    assert_eq!(seen.len(), 100, "an event that was stored was not lent");
    eventually("settled events no longer count", || channel.depth() == Depth::default()).await;
}

pub(super) async fn positions_grow_in_publish_order(channel: &dyn Channel) {
    let mut last = None;
    for number in 0..20 {
        let mut draft = event(number).edit();
        // A backend of several parts keeps positions only within one.
        draft.set("partitionkey", "k");
        let position = publish(channel, 1, finish(draft)).await.expect("there is room");
        assert!(last.is_none_or(|last| last < position), "positions must grow");
        last = Some(position);
    }
}

pub(super) async fn a_dropped_lease_is_lent_again(channel: &dyn Channel) {
    let mut reader = channel.reader(0);
    publish(channel, 0, event(1)).await.expect("there is room");
    let first = ready(&mut *reader).await.expect("it was stored");
    let position = first.position();
    drop(first);
    let again = ready(&mut *reader).await.expect("a dropped lease is lent again");
    assert!(again.redelivered());
    assert_eq!(again.position(), position);
    again.settle();
    assert!(ready(&mut *reader).await.is_none(), "a settled event was lent again");
}

pub(super) async fn settling_out_of_order_loses_nothing(channel: &dyn Channel) {
    let mut reader = channel.reader(0);
    for number in 0..3 {
        publish(channel, 0, event(number)).await.expect("there is room");
    }
    let mut leases = Vec::new();
    while let Some(lease) = ready(&mut *reader).await {
        leases.push(lease);
    }
    assert_eq!(leases.len(), 3);
    leases.pop().expect("three were stored").settle();
    drop(leases);
    let mut left = BTreeSet::new();
    while let Some(lease) = ready(&mut *reader).await {
        left.insert(lease.event().id().to_owned());
        lease.settle();
    }
    assert_eq!(left.into_iter().collect::<Vec<_>>(), ["0", "1"]);
}

pub(super) async fn an_event_comes_back_as_it_went_in(channel: &dyn Channel) {
    let mut reader = channel.reader(0);
    let sent = event(7);
    publish(channel, 0, sent.clone()).await.expect("there is room");
    let lease = ready(&mut *reader).await.expect("it was stored");
    assert_eq!(*lease.event(), sent);
    assert_eq!(lease.event().http_head(), sent.http_head(), "header values changed on the way");
    assert_eq!(lease.event().hops(), sent.hops());
    lease.settle();
}

pub(super) async fn a_batch_is_stored_whole_or_not_at_all(channel: &dyn Channel) {
    let mut reader = channel.reader(0);
    let five: Batch = (0..5).map(event).collect();
    let refused = channel.publish(0, five).await;
    assert!(matches!(refused, Err(PublishError::Full { .. })), "{refused:?}");
    assert!(ready(&mut *reader).await.is_none(), "half a batch was stored");
    channel.publish(0, (0..4).map(event).collect()).await.expect("four fit");
    assert_eq!(channel.depth().events, 4);
}

pub(super) async fn full_is_said_before_the_bound_is_passed(channel: &dyn Channel) {
    for number in 0..3 {
        publish(channel, 0, event(number)).await.expect("three fit");
    }
    let refused = publish(channel, 0, event(3)).await;
    let Err(PublishError::Full { retry_after, .. }) = refused else {
        panic!("the bound was passed: {refused:?}");
    };
    assert!(!retry_after.is_zero(), "a refused producer must be told when to come back");
    let mut reader = channel.reader(0);
    ready(&mut *reader).await.expect("it was stored").settle();
    eventually("settling makes room", || channel.depth().events == 2).await;
    publish(channel, 0, event(3)).await.expect("settling makes room");
}

pub(super) async fn too_large_is_said_with_the_limit(channel: &dyn Channel) {
    let limit = channel.event_bytes_max();
    let mut large = event(1).edit();
    large.set_data(Some(Data::opaque(Bytes::from(vec![0; limit + 1]))));
    let refused = publish(channel, 0, finish(large)).await;
    assert!(
        matches!(refused, Err(PublishError::TooLarge { limit: l, .. }) if l == limit),
        "{refused:?}"
    );
}

pub(super) async fn keys_stay_together_and_in_order(channel: &dyn Channel) {
    channel.keep_keys_together(true);
    for number in 0..100 {
        let mut draft = event(number).edit();
        draft.set("partitionkey", ["a", "b", "c"].get(number % 3).expect("one of three"));
        publish(channel, number % 4, finish(draft)).await.expect("there is room");
    }
    let mut home_of = BTreeMap::new();
    for worker in 0..4 {
        let mut reader = channel.reader(worker);
        let mut last = BTreeMap::new();
        while let Some(lease) = ready(&mut *reader).await {
            let key = crate::order_key(lease.event()).to_owned();
            let number: usize = lease.event().id().parse().expect("a number");
            let before = last.insert(key.clone(), number);
            assert!(before.is_none_or(|before| before < number), "key {key} is out of order");
            assert_eq!(*home_of.entry(key).or_insert(worker), worker, "a key has two readers");
            lease.settle();
        }
    }
    assert_eq!(home_of.len(), 3);
}

pub(super) async fn a_closed_channel_refuses_and_ends(channel: &dyn Channel) {
    let mut reader = channel.reader(0);
    publish(channel, 0, event(1)).await.expect("there is room");
    channel.close();
    let refused = publish(channel, 0, event(2)).await;
    assert!(matches!(refused, Err(PublishError::Down { .. })), "{refused:?}");
    let is_kept = channel.durability().strength != Strength::None;
    let lease = next(&mut *reader).await;
    match lease {
        Some(lease) => lease.settle(),
        None => assert!(is_kept, "what was stored is lent"),
    }
    assert!(next(&mut *reader).await.is_none(), "a closed channel has an end");
}
