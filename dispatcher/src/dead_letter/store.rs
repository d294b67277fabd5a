//! Dead letters of one broker, in memory, bounded in number and bytes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use channel::Name;

use super::{DeadLetter, Reason, SinkState};
use crate::TriggerKey;

/// Bounds of the dead letters of one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterLimits {
    /// Most that are kept. Default 10,000.
    pub events_max: usize,
    /// Most bytes of their events. Default 64 MiB.
    pub bytes_max: usize,
    /// How long they are kept. Default 7 days.
    pub retention: Duration,
}

impl Default for DeadLetterLimits {
    fn default() -> Self {
        const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
        Self { events_max: 10_000, bytes_max: 64 << 20, retention: WEEK }
    }
}

/// What left or entered the dead letters without a worker taking part, for the books of a trigger:
/// `dead` is never above zero here, since only workers put dead letters in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldTally {
    /// Change of the number of dead letters.
    pub dead: i64,
    /// Purged by an operator.
    pub purged: i64,
    /// Removed when their retention ended.
    pub expired: i64,
}

/// Which dead letters are meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Only these.
    pub ids: Option<Vec<u64>>,
    /// Only of this trigger.
    pub trigger: Option<Name>,
    /// Only for this reason.
    pub reason: Option<Reason>,
    /// Only those that failed at or after this time.
    pub since: Option<SystemTime>,
    /// Only those that failed before this time.
    pub until: Option<SystemTime>,
}

impl Selection {
    fn takes(&self, letter: &DeadLetter) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&letter.id))
            && self.trigger.as_ref().is_none_or(|name| *name == letter.trigger)
            && self.reason.is_none_or(|reason| reason == letter.reason)
            && self.since.is_none_or(|since| letter.failed_at >= since)
            && self.until.is_none_or(|until| letter.failed_at < until)
    }
}

/// Part of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// The dead letters, oldest first.
    pub items: Vec<Arc<DeadLetter>>,
    /// How many the selection takes in all.
    pub total: usize,
    /// The id to go on after, when there are more.
    pub next: Option<u64>,
}

/// The dead letters of one broker. Every trigger's counters and bounds are kept under one lock:
/// nothing of this is on the way of an event that can be delivered.
#[derive(Debug)]
pub struct DeadLetters {
    limits: DeadLetterLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    letters: BTreeMap<u64, Arc<DeadLetter>>,
    bytes: usize,
    last_id: u64,
    tallies: HashMap<TriggerKey, HeldTally>,
    sinks: HashMap<u64, SinkState>,
}

impl DeadLetters {
    /// An empty store.
    pub fn new(limits: DeadLetterLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Keeps a dead letter, whose `id` is chosen here, and returns it; or gives it back when a
    /// bound is reached and somebody has to purge or redrive first.
    ///
    /// # Errors
    ///
    /// The letter itself, unkept.
    pub fn put(&self, mut letter: Box<DeadLetter>) -> Result<Arc<DeadLetter>, Box<DeadLetter>> {
        let mut state = self.lock();
        let cost = letter.cost();
        let is_full = state.letters.len() >= self.limits.events_max
            // One that is larger than all may be is kept alone: its trigger would wait for ever.
            || (state.bytes > 0 && state.bytes.saturating_add(cost) > self.limits.bytes_max);
        if is_full {
            return Err(letter);
        }
        state.last_id += 1;
        state.bytes += cost;
        letter.id = state.last_id;
        let letter: Arc<DeadLetter> = Arc::from(letter);
        if let Some(sink) = &letter.sink {
            state.sinks.insert(letter.id, sink.clone());
        }
        state.letters.insert(letter.id, Arc::clone(&letter));
        Ok(letter)
    }

    /// The dead letter of that id.
    pub fn get(&self, id: u64) -> Option<Arc<DeadLetter>> {
        self.lock().letters.get(&id).map(Arc::clone)
    }

    /// Where a dead letter stands on its way to the sink.
    pub fn sink_state(&self, id: u64) -> Option<SinkState> {
        self.lock().sinks.get(&id).cloned()
    }

    /// Notes what became of a dead letter at the sink, if it is still kept.
    pub(crate) fn set_sink_state(&self, id: u64, sink: SinkState) {
        let mut state = self.lock();
        if state.letters.contains_key(&id) {
            state.sinks.insert(id, sink);
        }
    }

    /// The dead letters that `selection` takes, oldest first, at most `limit` after the id `after`.
    pub fn list(&self, selection: &Selection, after: u64, limit: usize) -> Page {
        let state = self.lock();
        let total = state.letters.values().filter(|letter| selection.takes(letter)).count();
        let mut items: Vec<_> = state
            .letters
            .range(after.saturating_add(1)..)
            .map(|(_, letter)| letter)
            .filter(|letter| selection.takes(letter))
            .take(limit.saturating_add(1))
            .map(Arc::clone)
            .collect();
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|letter| letter.id);
        Page { items, total, next }
    }

    /// Takes a dead letter out, for the worker that sends it again and keeps the books of it.
    pub fn take(&self, id: u64) -> Option<Arc<DeadLetter>> {
        self.lock().remove(id)
    }

    /// Forgets what `selection` takes, on an operator's word. Returns how many.
    pub fn purge(&self, selection: &Selection) -> usize {
        self.drop_all(|letter| selection.takes(letter), |tally| tally.purged += 1)
    }

    /// Forgets what is older than the retention. Returns how many.
    pub fn expire(&self, now: SystemTime) -> usize {
        let Some(oldest) = now.checked_sub(self.limits.retention) else { return 0 };
        self.drop_all(|letter| letter.failed_at < oldest, |tally| tally.expired += 1)
    }

    /// How many are kept, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        let state = self.lock();
        (state.letters.len(), state.bytes)
    }

    /// The part of each trigger's books that is kept here.
    pub fn tallies(&self) -> HashMap<TriggerKey, HeldTally> {
        self.lock().tallies.clone()
    }

    fn drop_all(
        &self,
        which: impl Fn(&DeadLetter) -> bool,
        count: impl Fn(&mut HeldTally),
    ) -> usize {
        let mut state = self.lock();
        let ids: Vec<u64> =
            state.letters.values().filter(|letter| which(letter)).map(|letter| letter.id).collect();
        for &id in &ids {
            if let Some(letter) = state.remove(id) {
                let tally = state.tallies.entry(letter.key).or_default();
                tally.dead -= 1;
                count(tally);
            }
        }
        ids.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made whole before anything can panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, id: u64) -> Option<Arc<DeadLetter>> {
        let letter = self.letters.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(letter.cost());
        self.sinks.remove(&id);
        Some(letter)
    }
}
