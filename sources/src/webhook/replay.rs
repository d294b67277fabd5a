//! Deliveries that were accepted before, over restarts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use channel::PublishError;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{Notes, SourceId, notes::fingerprint};

/// Most ids of one source that are remembered; beyond, the oldest is forgotten, which costs at worst
/// a second event of the same id.
pub const IDS_MAX: usize = 100_000;

/// What the keys of the notes begin with.
const NOTES: &str = "seen";

/// The ids that one source has accepted.
#[derive(Clone, Debug)]
pub struct Replay(Arc<Memory>);

#[derive(Debug)]
struct Memory {
    notes: Notes,
    prefix: String,
    window: Duration,
    ids_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was noted by this process or found at its start, by the second it is forgotten.
    order: BTreeSet<(i64, String)>,
    /// Deliveries under way; closed when they end.
    under_way: HashMap<String, watch::Receiver<()>>,
}

/// What is known of a delivery.
#[derive(Debug)]
pub enum Claim {
    /// It was accepted before.
    Seen,
    /// It is new, and nobody else may accept it until this is dropped.
    Mine(Mine),
}

/// The right to accept a delivery.
#[derive(Debug)]
pub struct Mine {
    memory: Arc<Memory>,
    key: String,
    _open: watch::Sender<()>,
}

impl Replay {
    /// The memory of source `id`: of what was noted, and of what comes, for `window`.
    pub fn new(id: &SourceId, notes: Notes, window: Duration) -> Self {
        Self::bounded(id, notes, window, IDS_MAX)
    }

    pub(super) fn bounded(id: &SourceId, notes: Notes, window: Duration, ids_max: usize) -> Self {
        let source = fingerprint(&[id.kind, &id.name.namespace, &id.name.name], 8);
        let prefix = format!("{NOTES}/{source}/");
        let order = notes.under(&prefix).into_iter().map(|(key, value)| (expiry(&value), key));
        let state = State { order: order.collect(), under_way: HashMap::new() };
        Self(Arc::new(Memory { notes, prefix, window, ids_max, state: Mutex::new(state) }))
    }

    /// What is known of the delivery `id`. Waits while another copy of it is under way.
    pub async fn claim(&self, id: &str, now: Timestamp) -> Claim {
        let key = format!("{}{}", self.0.prefix, fingerprint(&[id], 16));
        loop {
            let noted = self.0.notes.get(&key);
            if noted.is_some_and(|value| expiry(&value) > now.as_second()) {
                return Claim::Seen;
            }
            let mut other = {
                let mut state = self.0.lock();
                match state.under_way.get(&key) {
                    Some(other) => other.clone(),
                    None => {
                        let (open, receiver) = watch::channel(());
                        state.under_way.insert(key.clone(), receiver);
                        return Claim::Mine(Mine { memory: Arc::clone(&self.0), key, _open: open });
                    }
                }
            };
            // An error says that it ended: then look again.
            while other.changed().await.is_ok() {}
        }
    }
}

impl Mine {
    /// Remembers that the delivery was accepted.
    ///
    /// # Errors
    ///
    /// When that could not be stored: until the process ends it is known all the same.
    pub async fn accepted(self, now: Timestamp) -> Result<(), PublishError> {
        let window = i64::try_from(self.memory.window.as_secs()).unwrap_or(i64::MAX);
        let until = now.as_second().saturating_add(window);
        let stored = self.memory.notes.put(&self.key, until.to_string()).await;
        for forgotten in self.memory.remember(until, &self.key, now) {
            self.memory.notes.remove(&forgotten).await?;
        }
        stored
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        self.memory.lock().under_way.remove(&self.key);
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a key. Returns those whose time is over, or that are too many.
    fn remember(&self, until: i64, key: &str, now: Timestamp) -> Vec<String> {
        let mut state = self.lock();
        state.order.insert((until, key.to_owned()));
        let mut forgotten = Vec::new();
        while let Some((until, _)) = state.order.first() {
            if *until > now.as_second() && state.order.len() <= self.ids_max {
                break;
            }
            let gone = state.order.pop_first().map(|(_, key)| key);
            // One that was accepted anew is not forgotten by its first time.
            forgotten.extend(gone.filter(|gone| gone != key));
        }
        forgotten
    }
}

/// The second that a note is forgotten; one that cannot be read is over.
fn expiry(value: &[u8]) -> i64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use channel::Name;

    use super::*;

    fn source(name: &str) -> SourceId {
        SourceId { kind: "WebhookSource", name: Name::new("default", name) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    async fn accept(replay: &Replay, id: &str, second: i64) -> bool {
        match replay.claim(id, at(second)).await {
            Claim::Seen => false,
            Claim::Mine(mine) => {
                mine.accepted(at(second)).await.unwrap();
                true
            }
        }
    }

    #[tokio::test]
    async fn an_id_is_accepted_once_for_as_long_as_it_is_remembered() {
        let notes = Notes::default();
        let replay = Replay::new(&source("a"), notes.clone(), Duration::from_secs(10));
        assert!(accept(&replay, "1", 100).await);
        assert!(!accept(&replay, "1", 109).await);
        let other = Replay::new(&source("b"), notes.clone(), Duration::from_secs(10));
        assert!(accept(&other, "1", 100).await, "sources do not share ids");
        let again = Replay::new(&source("a"), notes.clone(), Duration::from_secs(10));
        assert!(!accept(&again, "1", 109).await, "after a restart");
        assert!(accept(&again, "1", 110).await);
        assert!(accept(&again, "2", 200).await);
        assert_eq!(notes.under(&again.0.prefix).len(), 1, "what is over is forgotten");
    }

    #[tokio::test]
    async fn the_oldest_is_forgotten_when_there_are_too_many() {
        let notes = Notes::default();
        let replay = Replay::bounded(&source("a"), notes.clone(), Duration::from_secs(1000), 3);
        for second in 0..5 {
            assert!(accept(&replay, &second.to_string(), second).await);
        }
        assert_eq!(notes.under(&replay.0.prefix).len(), 3);
        assert!(!accept(&replay, "4", 5).await);
        assert!(accept(&replay, "0", 5).await);
    }

    #[tokio::test]
    async fn a_second_copy_waits_for_the_first() {
        let replay = Replay::new(&source("a"), Notes::default(), Duration::from_secs(10));
        let Claim::Mine(first) = replay.claim("1", at(0)).await else { panic!("new") };
        let second = replay.clone();
        let mut waiting = std::pin::pin!(accept(&second, "1", 1));
        assert_eq!(futures_util::poll!(&mut waiting), std::task::Poll::Pending);
        first.accepted(at(0)).await.unwrap();
        assert!(!waiting.await, "accepted once");
        let Claim::Mine(failed) = replay.claim("2", at(0)).await else { panic!("new") };
        drop(failed);
        assert!(accept(&replay, "2", 1).await, "what failed may come again");
    }
}
