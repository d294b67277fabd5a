//! Replicas that share a ledger, and what they make of each other's announcements.

use std::{
    sync::PoisonError,
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use super::*;
use crate::{Watch, Work};

/// A ledger that all replicas share, and that tells each change to each watcher.
#[derive(Debug, Default)]
struct Notes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Vec<Change>,
    watchers: Vec<mpsc::Sender<Change>>,
}

impl Notes {
    fn write(&self, change: Change) -> Work<Result<(), PublishError>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.watchers.retain(|watcher| watcher.try_send(change.clone()).is_ok());
        state.told.push(change);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Ledger for Notes {
    fn is_shared(&self) -> bool {
        true
    }

    fn put(&self, key: &str, value: Bytes) -> Work<Result<(), PublishError>> {
        self.write(Change::Put { key: key.into(), value })
    }

    fn remove(&self, key: &str) -> Work<Result<(), PublishError>> {
        self.write(Change::Removed { key: key.into() })
    }

    fn watch(&self) -> Box<dyn Watch> {
        let (sender, receiver) = mpsc::channel(1000);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.told.iter().for_each(|change| drop(sender.try_send(change.clone())));
        state.watchers.push(sender);
        Box::new(Told(receiver))
    }
}

struct Told(mpsc::Receiver<Change>);

impl Watch for Told {
    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.0.poll_recv(cx)
    }
}

fn removals(ledger: &Arc<Notes>) -> Arc<Removals> {
    let ledger: Arc<dyn Ledger> = Arc::<Notes>::clone(ledger);
    Removals::new(ledger, Handle::current(), TaskTracker::new(), CancellationToken::new())
}

#[tokio::test]
async fn what_is_stored_while_another_removes_is_put_again() {
    let ledger = Arc::new(Notes::default());
    let (one, other) = (removals(&ledger), removals(&ledger));
    other.check("t").await.expect("nothing is announced");
    let announced = one.announce("t").await.expect("announced");
    assert!(announced.is_fresh());
    for replica in [&one, &other, &removals(&ledger)] {
        let refused = replica.check("t").await;
        assert!(matches!(refused, Err(PublishError::Down { .. })), "{refused:?}");
        replica.check("u").await.expect("another is not meant");
    }
    one.withdraw(announced).await;
    other.check("t").await.expect("it was taken back");
    assert!(other.announced().is_empty());
}

#[tokio::test]
async fn many_questions_at_a_time_are_few_for_the_ledger() {
    let ledger = Arc::new(Notes::default());
    let replica = removals(&ledger);
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..100 {
        let replica = Arc::clone(&replica);
        asking.spawn(async move { replica.check(&number.to_string()).await });
    }
    for asked in asking.join_all().await {
        asked.expect("nothing is announced");
    }
    let state = ledger.0.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(state.told.len() <= 6, "{}", state.told.len());
}

#[tokio::test]
async fn an_announcement_of_somebody_who_is_gone_goes_stale() {
    let ledger = Arc::new(Notes::default());
    let old = clock::to_micros(SystemTime::now() - STALE - Duration::from_secs(1));
    let key = format!("{REMOVING}{}/gone-0", token("t"));
    ledger.put(&key, Bytes::from(old.to_string())).await.expect("stored");
    removals(&ledger).check("t").await.expect("stale");
}

#[test]
fn only_what_does_not_change_is_silent() {
    let (mut silences, start) = (Silences::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let after = Duration::from_secs(10);
    let note = |silences: &mut Silences, ends: &[(&str, u64)], seconds| {
        let found = ends.iter().map(|&(name, end)| (name.to_owned(), end));
        silences.note(found, at(seconds), after)
    };
    assert!(note(&mut silences, &[("a", 1), ("b", 1)], 0).is_empty());
    assert!(note(&mut silences, &[("a", 1), ("b", 2)], 5).is_empty());
    assert_eq!(note(&mut silences, &[("a", 1), ("b", 2)], 10), ["a"]);
    // It held something for a moment.
    assert!(note(&mut silences, &[("b", 2)], 11).is_empty());
    assert_eq!(note(&mut silences, &[("a", 1), ("b", 2)], 16), ["b"]);
}
