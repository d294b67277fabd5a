//! The contract of [`Channel`] as a suite that every backend must pass.
//!
//! A backend's test makes a fresh channel for each case and calls [`check`]. The suite needs no
//! runtime of its own: it polls.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a suite of tests, behind a feature for tests"
)]

use std::{
    collections::BTreeSet,
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;

use crate::{
    Batch, Channel, Data, Event, Invalid, Lease, Position, PublishError, Reader, SpecVersion,
    draft::Draft,
};

/// How a case asks for a channel.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Readers, one a worker.
    pub workers: usize,
    /// Most unsettled events.
    pub events_max: usize,
}

/// Runs every case of the contract against channels that `make` builds, each empty and alone.
///
/// # Panics
///
/// When the backend breaks a law of the contract; the message names it.
pub async fn check<F, C>(make: F)
where
    F: Fn(Wanted) -> C,
    C: Future<Output = Arc<dyn Channel>>,
{
    let roomy = Wanted { workers: 2, events_max: 10_000 };
    everything_published_is_lent_once_over_all_readers(&*make(roomy).await).await;
    positions_grow_in_publish_order(&*make(roomy).await).await;
    a_dropped_lease_is_lent_again(&*make(roomy).await).await;
    settling_out_of_order_loses_nothing(&*make(roomy).await).await;
    an_event_comes_back_as_it_went_in(&*make(roomy).await).await;
    a_batch_is_stored_whole_or_not_at_all(&*make(Wanted { workers: 1, events_max: 4 }).await).await;
    full_is_said_before_the_bound_is_passed(&*make(Wanted { workers: 1, events_max: 3 }).await)
        .await;
    too_large_is_said_with_the_limit(&*make(roomy).await).await;
    keys_stay_together_and_in_order(&*make(Wanted { workers: 4, events_max: 1000 }).await).await;
    a_closed_channel_lends_what_it_holds_and_ends(&*make(roomy).await).await;
}

async fn everything_published_is_lent_once_over_all_readers(channel: &dyn Channel) {
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
    assert_eq!(channel.depth().events, 0, "settled events still count");
    assert_eq!(channel.depth().bytes, 0, "settled events still hold bytes");
}

async fn positions_grow_in_publish_order(channel: &dyn Channel) {
    let mut last = None;
    for number in 0..20 {
        let position = publish(channel, 1, event(number)).await.expect("there is room");
        assert!(last.is_none_or(|last| last < position), "positions must grow");
        last = Some(position);
    }
}

async fn a_dropped_lease_is_lent_again(channel: &dyn Channel) {
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

async fn settling_out_of_order_loses_nothing(channel: &dyn Channel) {
    let mut reader = channel.reader(0);
    for number in 0..3 {
        publish(channel, 0, event(number)).await.expect("there is room");
    }
    let mut leases = Vec::new();
    while let Some(lease) = ready(&mut *reader).await {
        leases.push(lease);
    }
    leases.pop().expect("three were stored").settle();
    assert_eq!(channel.depth().events, 2);
    drop(leases);
    let mut left = BTreeSet::new();
    while let Some(lease) = ready(&mut *reader).await {
        left.insert(lease.event().id().to_owned());
        lease.settle();
    }
    assert_eq!(left.into_iter().collect::<Vec<_>>(), ["0", "1"]);
}

async fn an_event_comes_back_as_it_went_in(channel: &dyn Channel) {
    let mut reader = channel.reader(0);
    let sent = event(7);
    publish(channel, 0, sent.clone()).await.expect("there is room");
    let lease = ready(&mut *reader).await.expect("it was stored");
    assert_eq!(*lease.event(), sent);
    assert_eq!(lease.event().http_head(), sent.http_head(), "header values changed on the way");
    assert_eq!(lease.event().hops(), sent.hops());
    lease.settle();
}

async fn a_batch_is_stored_whole_or_not_at_all(channel: &dyn Channel) {
    let mut reader = channel.reader(0);
    let five: Batch = (0..5).map(event).collect();
    let refused = channel.publish(0, five).await;
    assert!(matches!(refused, Err(PublishError::Full { .. })), "{refused:?}");
    assert!(ready(&mut *reader).await.is_none(), "half a batch was stored");
    channel.publish(0, (0..4).map(event).collect()).await.expect("four fit");
    assert_eq!(channel.depth().events, 4);
}

async fn full_is_said_before_the_bound_is_passed(channel: &dyn Channel) {
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
    publish(channel, 0, event(3)).await.expect("settling makes room");
}

async fn too_large_is_said_with_the_limit(channel: &dyn Channel) {
    let limit = channel.event_bytes_max();
    let mut large = event(1).edit();
    large.set_data(Some(Data::opaque(Bytes::from(vec![0; limit + 1]))));
    let refused = publish(channel, 0, finish(large)).await;
    assert!(
        matches!(refused, Err(PublishError::TooLarge { limit: l, .. }) if l == limit),
        "{refused:?}"
    );
}

async fn keys_stay_together_and_in_order(channel: &dyn Channel) {
    channel.keep_keys_together(true);
    for number in 0..100 {
        let mut draft = event(number).edit();
        draft.set("partitionkey", ["a", "b", "c"].get(number % 3).expect("one of three"));
        publish(channel, number % 4, finish(draft)).await.expect("there is room");
    }
    let mut home_of = std::collections::BTreeMap::new();
    for worker in 0..4 {
        let mut reader = channel.reader(worker);
        let mut last = std::collections::BTreeMap::new();
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

async fn a_closed_channel_lends_what_it_holds_and_ends(channel: &dyn Channel) {
    publish(channel, 0, event(1)).await.expect("there is room");
    channel.close();
    let refused = publish(channel, 0, event(2)).await;
    assert!(matches!(refused, Err(PublishError::Down { .. })), "{refused:?}");
    let mut reader = channel.reader(0);
    let lease = poll_fn(|cx| reader.poll_lend(cx)).await;
    lease.expect("what was stored is lent").settle();
    assert!(poll_fn(|cx| reader.poll_lend(cx)).await.is_none(), "a closed channel has an end");
}

async fn publish(
    channel: &dyn Channel,
    worker: usize,
    event: Event,
) -> Result<Position, PublishError> {
    channel.publish(worker, Batch::from_iter([event])).await
}

/// What the reader lends now, without waiting for more.
async fn ready(reader: &mut dyn Reader) -> Option<Lease> {
    poll_fn(|cx| match reader.poll_lend(cx) {
        Poll::Ready(lease) => Poll::Ready(lease),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn event(number: usize) -> Event {
    let build = || -> Result<Draft, Invalid> {
        let mut draft = Draft::new(SpecVersion::V10);
        draft.push_wire("id", number.to_string().as_bytes())?;
        draft.push_wire("source", b"/contract")?;
        draft.push_wire("type", b"test")?;
        draft.push_wire("subject", b"a%20b")?;
        draft.set_data(Some(Data::opaque(Bytes::from(format!("event {number}")))));
        draft.set_hops(Some(17));
        Ok(draft)
    };
    finish(build().expect("a valid event"))
}

fn finish(draft: Draft) -> Event {
    draft.finish().expect("a valid event")
}
