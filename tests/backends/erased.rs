//! What a broker leaves behind: put there, looked for again, and found to be gone.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use channel::{
    Batch, Change, Channel, Data, Draft, Envelope, Event, Name, Reader, SpecVersion, Waiting, clock,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn event(number: usize) -> Event {
    let mut draft = Draft::new(SpecVersion::V10);
    draft.push_wire("id", number.to_string().as_bytes()).unwrap();
    draft.push_wire("source", b"/erased").unwrap();
    draft.push_wire("type", b"t").unwrap();
    draft.set_data(Some(Data::opaque(Bytes::from(format!("event {number}")))));
    draft.finish().unwrap()
}

fn waiting(number: usize) -> Waiting {
    let now = clock::now();
    let envelope =
        Envelope { attempts: 2, first_at: now, put_at: now, due_at: now, history: Bytes::new() };
    Waiting { event: event(number), envelope }
}

/// What is written down: a dead letter, and a pause.
fn notes(trigger: &Name) -> BTreeSet<String> {
    BTreeSet::from(["dead/1".to_owned(), format!("paused/{trigger}")])
}

/// Events in the log, some that wait for `triggers`, a dead letter and pauses.
pub(crate) async fn fill(channel: &dyn Channel, triggers: &[Name]) {
    for number in 0..10 {
        channel.publish(0, Batch::from_iter([event(number)])).await.unwrap();
    }
    for trigger in triggers {
        let overflow = channel.overflow(trigger, false);
        overflow.put((0..5).map(waiting).collect()).await.unwrap();
        for key in notes(trigger) {
            channel.ledger().unwrap().put(&key, Bytes::from_static(b"noted")).await.unwrap();
        }
    }
}

/// Everything of [`fill`] is there.
pub(crate) async fn has_all(channel: &dyn Channel, triggers: &[Name]) {
    lends(&mut *channel.reader(0), 10).await;
    let noted = noted(channel).await;
    for trigger in triggers {
        lends(&mut *channel.overflow(trigger, false).reader(0), 5).await;
        assert!(noted.is_superset(&notes(trigger)), "{noted:?}");
    }
}

/// Nothing of [`fill`] is there, and it can be used.
pub(crate) async fn is_new(channel: &dyn Channel, triggers: &[Name]) {
    let overflowing = channel.overflowing();
    assert!(triggers.iter().all(|trigger| !overflowing.contains(trigger)), "{overflowing:?}");
    assert_eq!(noted(channel).await, BTreeSet::new());
    channel.publish(0, Batch::from_iter([event(77)])).await.unwrap();
    let mut reader = channel.reader(0);
    let first = tokio::time::timeout(PATIENCE, poll_fn(|cx| reader.poll_lend(cx))).await;
    let first = first.expect("it was stored").expect("the channel is open");
    assert_eq!(first.event().id(), "77", "what was erased is lent");
    for trigger in triggers {
        let overflow = channel.overflow(trigger, false);
        overflow.put(vec![waiting(78)]).await.unwrap();
        let mut reader = overflow.reader(0);
        let first = tokio::time::timeout(PATIENCE, poll_fn(|cx| reader.poll_lend(cx))).await;
        let first = first.expect("it was stored").expect("the channel is open");
        assert_eq!(first.event().id(), "78", "what was erased is lent");
        first.settle();
    }
    first.settle();
}

/// Lends the events up to `count`, which stay there.
async fn lends(reader: &mut dyn Reader, count: usize) {
    let mut held = Vec::new();
    let mut missing: BTreeSet<_> = (0..count).map(|number| number.to_string()).collect();
    while !missing.is_empty() {
        let next = tokio::time::timeout(PATIENCE, poll_fn(|cx| reader.poll_lend(cx))).await;
        let Ok(Some(lease)) = next else { panic!("{missing:?} were stored and are gone") };
        missing.remove(lease.event().id());
        held.push(lease);
    }
}

async fn noted(channel: &dyn Channel) -> BTreeSet<String> {
    let mut watch = channel.ledger().unwrap().watch();
    let mut noted = BTreeSet::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, poll_fn(|cx| watch.poll_change(cx))).await;
        match next.expect("the ledger is told").expect("the channel is open") {
            Change::Put { key, .. } => drop(noted.insert(key)),
            Change::Removed { key } => drop(noted.remove(&key)),
            Change::Loaded => return noted,
        }
    }
}

pub(crate) async fn end(channel: Arc<dyn Channel>) {
    channel.close();
    channel.end(Instant::now() + Duration::from_secs(20)).await;
}
