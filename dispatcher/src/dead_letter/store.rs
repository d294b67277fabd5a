//! Dead letters of one broker, in memory, bounded in number and bytes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
    /// Letters that were not kept because there were too many, and because of their bytes.
    refused: [u64; 2],
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
        let has_too_many = state.letters.len() >= self.limits.events_max;
        // One that is larger than all may be is kept alone: its trigger would wait for ever.
        let is_too_large =
            state.bytes > 0 && state.bytes.saturating_add(cost) > self.limits.bytes_max;
        if has_too_many || is_too_large {
            let [of_events, of_bytes] = &mut state.refused;
            *(if has_too_many { of_events } else { of_bytes }) += 1;
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
        let total = state.chosen(selection, 0).count();
        let mut items: Vec<_> =
            state.chosen(selection, after).take(limit.saturating_add(1)).map(Arc::clone).collect();
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
        let mut state = self.lock();
        let ids: Vec<u64> = state.chosen(selection, 0).map(|letter| letter.id).collect();
        state.forget(&ids, |tally| tally.purged += 1)
    }

    /// Forgets what is older than the retention. Returns how many.
    pub fn expire(&self, now: SystemTime) -> usize {
        let Some(oldest) = now.checked_sub(self.limits.retention) else { return 0 };
        let mut state = self.lock();
        let selection = Selection { until: Some(oldest), ..Selection::default() };
        let ids: Vec<u64> = state.chosen(&selection, 0).map(|letter| letter.id).collect();
        state.forget(&ids, |tally| tally.expired += 1)
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

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made whole before anything can panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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

    fn forget(&mut self, ids: &[u64], count: impl Fn(&mut HeldTally)) -> usize {
        for &id in ids {
            if let Some(letter) = self.remove(id) {
                let tally = self.tallies.entry(letter.key).or_default();
                tally.dead -= 1;
                count(tally);
            }
        }
        ids.len()
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
    use channel::{Draft, SpecVersion};

    use super::*;
    use crate::attempt::AttemptLog;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Letters 1, 2, ... of the triggers `a`, `b`, `a`, `b`, ..., each a second after the one before.
    fn store(count: u64, events_max: usize) -> DeadLetters {
        let limits = DeadLetterLimits { events_max, ..DeadLetterLimits::default() };
        let store = DeadLetters::new(limits);
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
            broker: Name::new("n", "b"),
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

    #[test]
    fn what_is_forgotten_is_counted_with_its_trigger() {
        let store = store(6, 10);
        let ids = Some([1, 3, 4, 99].into_iter().collect());
        assert_eq!(store.purge(&Selection { ids, ..Selection::default() }), 3);
        assert_eq!(store.expire(at(3) + DeadLetterLimits::default().retention), 1);
        let tallies = store.tallies();
        assert_eq!(tallies[&TriggerKey(1)], HeldTally { dead: -2, purged: 2, expired: 0 });
        assert_eq!(tallies[&TriggerKey(0)], HeldTally { dead: -2, purged: 1, expired: 1 });
        assert_eq!(store.held().0, 2);
    }

    #[test]
    fn a_full_store_gives_a_letter_back_until_there_is_room() {
        let store = store(2, 2);
        let refused = store.put(letter(3)).unwrap_err();
        assert_eq!(store.take(1).unwrap().id, 1);
        assert_eq!(store.put(refused).unwrap().id, 3);
        let reached = [("deadLetters.eventsMax", 1), ("deadLetters.bytesMax", 0)];
        assert_eq!(store.bounds_reached(), reached);

        let limits = DeadLetterLimits { bytes_max: 1, ..DeadLetterLimits::default() };
        let tiny = DeadLetters::new(limits);
        assert!(tiny.put(letter(1)).is_ok(), "one is kept, however large");
        assert!(tiny.put(letter(2)).is_err());
        assert_eq!(tiny.bounds_reached().map(|(_, count)| count), [0, 1]);
    }
}
