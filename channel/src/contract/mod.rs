//! The contract of [`Channel`], [`Overflow`](crate::Overflow) and [`Ledger`](crate::Ledger) as a
//! suite that every backend must pass.
//!
//! A backend's test implements [`Backend`] and calls [`check`] within a tokio runtime that has
//! timers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a suite of tests, behind a feature for tests"
)]

mod ledger;
mod log;
mod overflow;
mod restart;

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    Batch, Channel, Data, Event, Invalid, Lease, Position, PublishError, Reader, SpecVersion,
    Strength, draft::Draft,
};

/// How a case asks for a channel.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Readers, one a worker.
    pub workers: usize,
    /// Most unsettled events.
    pub events_max: usize,
}

/// How a backend makes channels for the suite.
#[allow(async_fn_in_trait, reason = "used within this workspace's tests only")]
pub trait Backend {
    /// An empty channel, alone.
    async fn fresh(&self, wanted: Wanted) -> Arc<dyn Channel>;

    /// The same storage again, after [`Channel::close`] and [`Channel::end`] of `before`, as a new
    /// process would. Called only when the channel's strength is more than none.
    async fn again(&self, before: Arc<dyn Channel>, wanted: Wanted) -> Arc<dyn Channel> {
        let _ = (before, wanted);
        unimplemented!("a channel that survives a restart must be opened again")
    }

    /// Whether it says full at `events_max`, and stores batches whole.
    fn is_bounded(&self) -> bool {
        true
    }

    /// How long nothing may come before nothing will: backends over a network take a while.
    fn patience(&self) -> Duration {
        Duration::from_millis(100)
    }
}

const ROOMY: Wanted = Wanted { workers: 2, events_max: 10_000 };

/// Runs every case of the contract.
///
/// # Panics
///
/// When the backend breaks a law of the contract; the message names it.
pub async fn check(backend: &impl Backend) {
    PATIENCE.scope(backend.patience(), check_all(backend)).await;
}

tokio::task_local! {
    static PATIENCE: Duration;
}

async fn check_all(backend: &impl Backend) {
    let fresh = async |workers, events_max| backend.fresh(Wanted { workers, events_max }).await;
    log::everything_published_is_lent_once_over_all_readers(&*fresh(2, 10_000).await).await;
    log::positions_grow_in_publish_order(&*fresh(2, 10_000).await).await;
    log::a_dropped_lease_is_lent_again(&*fresh(2, 10_000).await).await;
    log::settling_out_of_order_loses_nothing(&*fresh(2, 10_000).await).await;
    log::an_event_comes_back_as_it_went_in(&*fresh(2, 10_000).await).await;
    log::too_large_is_said_with_the_limit(&*fresh(2, 10_000).await).await;
    log::keys_stay_together_and_in_order(&*fresh(4, 1000).await).await;
    log::a_closed_channel_refuses_and_ends(&*fresh(2, 10_000).await).await;
    if backend.is_bounded() {
        log::a_batch_is_stored_whole_or_not_at_all(&*fresh(1, 4).await).await;
        log::full_is_said_before_the_bound_is_passed(&*fresh(1, 3).await).await;
    }
    overflow::nothing_is_lent_before_it_is_due(&*fresh(2, 10_000).await).await;
    overflow::what_is_put_is_lent_once_with_its_envelope(&*fresh(2, 10_000).await).await;
    overflow::an_ordered_overflow_keeps_its_order(&*fresh(2, 10_000).await).await;
    overflow::what_is_cleared_is_not_lent(&*fresh(2, 10_000).await).await;
    overflow::triggers_do_not_see_each_others_events(&*fresh(2, 10_000).await).await;
    let channel = fresh(2, 10_000).await;
    if let Some(notes) = channel.ledger() {
        ledger::a_note_is_told_until_it_is_removed(&*notes).await;
    }
    if channel.durability().strength != Strength::None {
        restart::what_was_not_settled_is_lent_again(backend).await;
        restart::what_waits_is_found_again(backend).await;
        restart::notes_are_found_again(backend).await;
    }
}

/// Ends a channel as a process does, and opens its storage again.
async fn restart(backend: &impl Backend, channel: Arc<dyn Channel>) -> Arc<dyn Channel> {
    channel.close();
    channel.end(Instant::now() + Duration::from_secs(10)).await;
    backend.again(channel, ROOMY).await
}

async fn publish(
    channel: &dyn Channel,
    worker: usize,
    event: Event,
) -> Result<Position, PublishError> {
    channel.publish(worker, Batch::from_iter([event])).await
}

/// What the reader lends within the backend's patience.
async fn ready(reader: &mut dyn Reader) -> Option<Lease> {
    let patience = PATIENCE.get();
    tokio::time::timeout(patience, poll_fn(|cx| reader.poll_lend(cx))).await.ok().flatten()
}

/// What the reader lends next, or `None` at its end.
async fn next(reader: &mut dyn Reader) -> Option<Lease> {
    let next = poll_fn(|cx| reader.poll_lend(cx));
    tokio::time::timeout(Duration::from_secs(20), next).await.expect("a reader stands still")
}

/// Waits until `holds`.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "not in 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
        // As the ingress does: whoever gets the event counts on from there.
        draft.carry("catchment-hops", b"17");
        Ok(draft)
    };
    finish(build().expect("a valid event"))
}

fn finish(draft: Draft) -> Event {
    draft.finish().expect("a valid event")
}
