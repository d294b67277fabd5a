//! Dead letters of one broker: held in memory, bounded in number and bytes, and written to the
//! broker's ledger where it has one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use channel::{Budget, Ledger, Name, PublishError, Work};
use futures_util::future::join_all;

use super::{DeadLetter, Reason, SinkState, SinkStatus, stored};
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

/// What left or entered the dead letters without a worker taking part, for the books of a trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldTally {
    /// Events that were matched by an earlier process, or another one, and are told of here first.
    pub matched: i64,
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
    pub ids: Option<BTreeSet<u64>>,
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
    /// Whether it takes a letter whose id it takes.
    fn takes(&self, letter: &DeadLetter) -> bool {
        self.trigger.as_ref().is_none_or(|name| *name == letter.trigger)
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

/// A dead letter that was taken in.
pub struct Kept {
    /// The letter, with its id.
    pub letter: Arc<DeadLetter>,
    /// Resolves when the letter is stored, or could not be; `None` when memory is all there is.
    pub storing: Option<Work<Result<(), PublishError>>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("letter", &self.letter).finish_non_exhaustive()
    }
}

/// The dead letters of one broker. Every trigger's counters and bounds are kept under one lock:
/// nothing of this is on the way of an event that can be delivered.
#[derive(Debug)]
pub struct DeadLetters {
    limits: DeadLetterLimits,
    pub(super) ledger: Option<Arc<dyn Ledger>>,
    pub(super) budget: Arc<Budget>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) letters: BTreeMap<u64, Arc<DeadLetter>>,
    bytes: usize,
    last_id: u64,
    pub(super) tallies: HashMap<TriggerKey, HeldTally>,
    pub(super) sinks: HashMap<u64, SinkState>,
    /// Letters that were not kept because there were too many, and because of their bytes.
    refused: [u64; 2],
    /// The identity of each trigger that was spoken of, and whether a trigger has it.
    keys: HashMap<Name, (TriggerKey, bool)>,
    /// Ids that this process gave, where others write to the ledger too: its own changes come back.
    pub(super) own: HashSet<u64>,
}

impl DeadLetters {
    /// An empty store that writes to `ledger`. What it reads from there is charged to `budget`.
    pub fn new(
        limits: DeadLetterLimits,
        ledger: Option<Arc<dyn Ledger>>,
        budget: Arc<Budget>,
    ) -> Self {
        Self { limits, ledger, budget, state: Mutex::default() }
    }

    /// The identity for a trigger of that name: the one that stored dead letters of it have got,
    /// unless an earlier trigger of the name had it.
    pub fn claim_key(&self, trigger: &Name) -> TriggerKey {
        let mut state = self.lock();
        match state.keys.get_mut(trigger) {
            Some((key, claimed)) if !*claimed => {
                *claimed = true;
                *key
            }
            _ => {
                let key = TriggerKey::fresh();
                state.keys.insert(trigger.clone(), (key, true));
                key
            }
        }
    }

    /// Keeps a dead letter, whose `id` is chosen here; or gives it back when a bound is reached and
    /// somebody has to purge or redrive first.
    ///
    /// # Errors
    ///
    /// The letter itself, unkept.
    pub fn put(&self, mut letter: Box<DeadLetter>) -> Result<Kept, Box<DeadLetter>> {
        let is_shared = self.ledger.as_ref().is_some_and(|ledger| ledger.is_shared());
        let letter = {
            let mut state = self.lock();
            let cost = letter.cost();
            let has_too_many = state.letters.len() >= self.limits.events_max;
            // One that is larger than all may be is kept alone: its trigger would wait for ever.
            let is_too_large =
                state.bytes > 0 && state.bytes.saturating_add(cost) > self.limits.bytes_max;
            if has_too_many || is_too_large {
                let [of_events, of_bytes] = &mut state.refused;
                *(if has_too_many { of_events } else { of_bytes }) += 1;
                return Err(letter);
            }
            letter.id = state.last_id + 1;
            if is_shared {
                letter.id = letter.id.max(unlikely_twice(SystemTime::now(), fastrand::u64(..)));
                state.own.insert(letter.id);
            }
            let letter: Arc<DeadLetter> = Arc::from(letter);
            state.insert(Arc::clone(&letter));
            letter
        };
        let storing = self.store(&letter);
        Ok(Kept { letter, storing })
    }

    /// Writes a letter that is held to the ledger, again when that failed.
    pub(crate) fn store(&self, letter: &DeadLetter) -> Option<Work<Result<(), PublishError>>> {
        let ledger = self.ledger.as_ref()?;
        let sink = self.sink_state(letter.id);
        Some(ledger.put(&stored::key(letter.id), stored::encode(letter, sink.as_ref())))
    }

    /// The dead letter of that id.
    pub fn get(&self, id: u64) -> Option<Arc<DeadLetter>> {
        self.lock().letters.get(&id).map(Arc::clone)
    }

    /// Where a dead letter stands on its way to the sink.
    pub fn sink_state(&self, id: u64) -> Option<SinkState> {
        self.lock().sinks.get(&id).cloned()
    }

    /// Notes what became of a dead letter at the sink, if it is still kept; durably when it is final.
    pub(crate) async fn set_sink_state(&self, id: u64, sink: SinkState) {
        let is_final = sink.status != SinkStatus::Pending;
        let letter = {
            let mut state = self.lock();
            let Some(letter) = state.letters.get(&id).map(Arc::clone) else { return };
            state.sinks.insert(id, sink);
            letter
        };
        if is_final && let Some(storing) = self.store(&letter) {
            // Else a restart sends it once more, which is allowed.
            if let Err(error) = storing.await {
                tracing::debug!(%error, "what became of a dead letter at its sink was not stored");
            }
        }
    }

    /// Letters that are still on their way to a sink.
    pub(crate) fn pending_at_sinks(&self) -> Vec<Arc<DeadLetter>> {
        let state = self.lock();
        let pending = state.sinks.iter().filter(|(_, sink)| sink.status == SinkStatus::Pending);
        pending.filter_map(|(id, _)| state.letters.get(id).map(Arc::clone)).collect()
    }

    /// The dead letters that `selection` takes, oldest first, at most `limit` after the id `after`.
    pub fn list(&self, selection: &Selection, after: u64, limit: usize) -> Page {
        let state = self.lock();
        let total = state.chosen(selection, 0).count();
        let mut items: Vec<_> =
            state.chosen(selection, after).take(limit.saturating_add(1)).map(Arc::clone).collect();
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|letter| letter.id);
        Page { items, total, next }
    }

    /// Takes a dead letter out, for the worker that sends it again and keeps the books of it. It
    /// stays in the ledger until [`DeadLetters::forget`].
    pub fn take(&self, id: u64) -> Option<Arc<DeadLetter>> {
        self.lock().remove(id)
    }

    /// Puts back what was taken and could not be sent again.
    pub(crate) fn put_back(&self, letter: Arc<DeadLetter>) {
        self.lock().insert(letter);
    }

    /// Takes letters that are no longer held out of the ledger. One that stays there for a fault is
    /// held again after a restart.
    pub async fn forget(&self, ids: &[u64]) {
        let Some(ledger) = &self.ledger else { return };
        for some in ids.chunks(FORGET_AT_ONCE) {
            let removals = some.iter().map(|id| ledger.remove(&stored::key(*id)));
            for error in join_all(removals).await.into_iter().filter_map(Result::err) {
                tracing::warn!(%error, "a dead letter is gone but may be back after a restart");
            }
        }
    }

    /// Forgets what `selection` takes, on an operator's word. Returns how many.
    pub async fn purge(&self, selection: &Selection) -> usize {
        let ids = {
            let mut state = self.lock();
            let ids: Vec<u64> = state.chosen(selection, 0).map(|letter| letter.id).collect();
            state.forget(&ids, |tally| tally.purged += 1);
            ids
        };
        self.forget(&ids).await;
        ids.len()
    }

    /// Forgets what is older than the retention. Returns how many.
    pub async fn expire(&self, now: SystemTime) -> usize {
        let Some(oldest) = now.checked_sub(self.limits.retention) else { return 0 };
        let ids = {
            let mut state = self.lock();
            let selection = Selection { until: Some(oldest), ..Selection::default() };
            let ids: Vec<u64> = state.chosen(&selection, 0).map(|letter| letter.id).collect();
            state.forget(&ids, |tally| tally.expired += 1);
            ids
        };
        self.forget(&ids).await;
        ids.len()
    }

    /// How many are kept, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        let state = self.lock();
        (state.letters.len(), state.bytes)
    }

    /// How often a letter was not kept because a bound was reached, by the bound's name in the
    /// configuration. A letter that waits for room is tried again, and counted again, every second.
    pub fn bounds_reached(&self) -> [(&'static str, u64); 2] {
        let [events, bytes] = self.lock().refused;
        [("deadLetters.eventsMax", events), ("deadLetters.bytesMax", bytes)]
    }

    /// The part of each trigger's books that is kept here.
    pub fn tallies(&self) -> HashMap<TriggerKey, HeldTally> {
        self.lock().tallies.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made whole before anything can panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removals from the ledger that are under way at a time.
const FORGET_AT_ONCE: usize = 256;

/// An id that another process will hardly give: the time in nanoseconds, with chance in the last three
/// digits.
fn unlikely_twice(now: SystemTime, draw: u64) -> u64 {
    let micros = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    u64::try_from(micros).unwrap_or_default().saturating_mul(1000) + draw % 1000
}

impl State {
    /// The identity of the trigger of that name, now or when it comes.
    pub(super) fn key_of(&mut self, trigger: &Name) -> TriggerKey {
        self.keys.entry(trigger.clone()).or_insert_with(|| (TriggerKey::fresh(), false)).0
    }

    pub(super) fn insert(&mut self, letter: Arc<DeadLetter>) {
        self.last_id = self.last_id.max(letter.id);
        self.bytes += letter.cost();
        if let Some(sink) = &letter.sink {
            self.sinks.insert(letter.id, sink.clone());
        }
        self.letters.insert(letter.id, letter);
    }

    /// The letters that `selection` takes after the id `after`, oldest first. Of ids it looks at no
    /// others.
    fn chosen<'a>(
        &'a self,
        selection: &'a Selection,
        after: u64,
    ) -> Box<dyn Iterator<Item = &'a Arc<DeadLetter>> + 'a> {
        let first = after.saturating_add(1);
        match &selection.ids {
            Some(ids) => {
                let kept = ids.range(first..).filter_map(|id| self.letters.get(id));
                Box::new(kept.filter(|letter| selection.takes(letter)))
            }
            None => {
                let all = self.letters.range(first..).map(|(_, letter)| letter);
                Box::new(all.filter(|letter| selection.takes(letter)))
            }
        }
    }

    pub(super) fn forget(&mut self, ids: &[u64], count: impl Fn(&mut HeldTally)) {
        for &id in ids {
            if let Some(letter) = self.remove(id) {
                let tally = self.tallies.entry(letter.key).or_default();
                tally.dead -= 1;
                count(tally);
            }
        }
    }

    fn remove(&mut self, id: u64) -> Option<Arc<DeadLetter>> {
        let letter = self.letters.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(letter.cost());
        self.sinks.remove(&id);
        Some(letter)
    }
}

#[cfg(test)]
mod tests {
    use channel::{Draft, Hub, SpecVersion};

    use super::*;
    use crate::attempt::AttemptLog;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Letters 1, 2, ... of the triggers `a`, `b`, `a`, `b`, ..., each a second after the one before.
    fn store(count: u64, events_max: usize) -> DeadLetters {
        let limits = DeadLetterLimits { events_max, ..DeadLetterLimits::default() };
        let store = DeadLetters::new(limits, None, Budget::new(1 << 20));
        for number in 1..=count {
            store.put(letter(number)).unwrap();
        }
        store
    }

    fn letter(number: u64) -> Box<DeadLetter> {
        let mut draft = Draft::new(SpecVersion::V10);
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")] {
            draft.push_wire(name, value.as_bytes()).unwrap();
        }
        let name = if number % 2 == 1 { "a" } else { "b" };
        Box::new(DeadLetter {
            id: 0,
            hub: Hub::broker(Name::new("n", "b")),
            trigger: Name::new("n", name),
            key: TriggerKey(number % 2),
            destination: "http://x/".to_owned(),
            reason: Reason::Refused,
            detail: None,
            failed_at: at(number),
            attempts: AttemptLog::default(),
            event: draft.finish().unwrap(),
            sink: None,
        })
    }

    fn ids(page: &Page) -> Vec<u64> {
        page.items.iter().map(|letter| letter.id).collect()
    }

    #[test]
    fn what_is_chosen_is_listed_oldest_first_in_pages() {
        let store = store(6, 10);
        let all = Selection::default();
        let of_ids = |ids: &[u64]| Selection {
            ids: Some(ids.iter().copied().collect()),
            ..Selection::default()
        };
        let of_a = Selection { trigger: Some(Name::new("n", "a")), ..Selection::default() };
        let ids_of_a = Selection { trigger: of_a.trigger.clone(), ..of_ids(&[1, 2, 3]) };
        let late = Selection { since: Some(at(3)), until: Some(at(5)), ..Selection::default() };
        for (selection, after, limit, expected, total, next) in [
            (&all, 0, 10, &[1, 2, 3, 4, 5, 6][..], 6, None),
            (&all, 2, 2, &[3, 4], 6, Some(4)),
            (&all, u64::MAX, 2, &[], 6, None),
            (&of_a, 0, 2, &[1, 3], 3, Some(3)),
            (&late, 0, 10, &[3, 4], 2, None),
            (&of_ids(&[5, 2, 99]), 0, 10, &[2, 5], 2, None),
            (&of_ids(&[5, 2, 99]), 2, 10, &[5], 2, None),
            (&of_ids(&[]), 0, 10, &[], 0, None),
            (&ids_of_a, 0, 10, &[1, 3], 2, None),
        ] {
            let page = store.list(selection, after, limit);
            let found = (ids(&page), page.total, page.next);
            assert_eq!(found, (expected.to_vec(), total, next), "{selection:?} {after}");
        }
    }

    #[tokio::test]
    async fn what_is_forgotten_is_counted_with_its_trigger() {
        let store = store(6, 10);
        let ids = Some([1, 3, 4, 99].into_iter().collect());
        assert_eq!(store.purge(&Selection { ids, ..Selection::default() }).await, 3);
        assert_eq!(store.expire(at(3) + DeadLetterLimits::default().retention).await, 1);
        let tallies = store.tallies();
        assert_eq!(
            tallies[&TriggerKey(1)],
            HeldTally { dead: -2, purged: 2, ..HeldTally::default() }
        );
        assert_eq!(
            tallies[&TriggerKey(0)],
            HeldTally { dead: -2, purged: 1, expired: 1, matched: 0 }
        );
        assert_eq!(store.held().0, 2);
    }

    #[test]
    fn a_full_store_gives_a_letter_back_until_there_is_room() {
        let store = store(2, 2);
        let refused = store.put(letter(3)).unwrap_err();
        assert_eq!(store.take(1).unwrap().id, 1);
        assert_eq!(store.put(refused).unwrap().letter.id, 3);
        let reached = [("deadLetters.eventsMax", 1), ("deadLetters.bytesMax", 0)];
        assert_eq!(store.bounds_reached(), reached);

        let limits = DeadLetterLimits { bytes_max: 1, ..DeadLetterLimits::default() };
        let tiny = DeadLetters::new(limits, None, Budget::new(1 << 20));
        // One that is larger than all may be is kept alone.
        tiny.put(letter(1)).unwrap();
        assert!(tiny.put(letter(2)).is_err());
        assert_eq!(tiny.bounds_reached().map(|(_, count)| count), [0, 1]);
    }
}
