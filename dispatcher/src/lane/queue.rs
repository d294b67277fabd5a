//! The events of a lane that wait: in order of arrival, of due time, and behind their key.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap, VecDeque},
    time::Instant,
};

use channel::order_key;

use super::entry::Entry;

/// Waiting entries; pure: the caller says what time it is.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// May start now.
    ready: VecDeque<Entry>,
    /// May start at their time.
    delayed: BinaryHeap<Delayed>,
    /// Keys that have an entry ready, delayed or under way.
    keys: HashMap<Box<str>, Key>,
    behind: usize,
    /// Entries that the overflow lent, and their bytes.
    borrowed: (usize, usize),
    turn: u64,
}

/// A key whose events are delivered one after the other.
#[derive(Debug, Default)]
struct Key {
    /// The entries that wait behind the one that holds it.
    behind: VecDeque<Entry>,
    /// Whether its entries came from the log. Those of one key never wait in both places.
    is_of_log: bool,
}

#[derive(Debug)]
struct Delayed {
    due: Instant,
    turn: u64,
    entry: Entry,
}

impl Queue {
    /// Takes on an entry; `ordered` ones wait behind an earlier one of their key.
    pub(crate) fn push(&mut self, mut entry: Entry, ordered: bool) {
        self.count(&entry, true);
        if ordered {
            entry.holds_key = true;
            let key = order_key(&entry.event);
            if let Some(key) = self.keys.get_mut(key) {
                key.behind.push_back(entry);
                self.behind += 1;
                return;
            }
            let is_of_log = entry.is_of_log();
            self.keys.insert(key.into(), Key { is_of_log, behind: VecDeque::new() });
        }
        self.put_first(entry);
    }

    /// Takes on an entry that must not start before `due`. It keeps the place of its key.
    pub(crate) fn push_delayed(&mut self, entry: Entry, due: Instant) {
        self.count(&entry, true);
        self.delay(entry, due);
    }

    fn delay(&mut self, mut entry: Entry, due: Instant) {
        entry.not_before = Some(due);
        self.turn += 1;
        self.delayed.push(Delayed { due, turn: self.turn, entry });
    }

    /// Puts an entry where its time says, nothing of its key being before it.
    fn put_first(&mut self, entry: Entry) {
        match entry.not_before {
            Some(due) => self.delay(entry, due),
            None => self.ready.push_back(entry),
        }
    }

    /// Whether events of that key, from the log, are in this lane: then the next one belongs behind.
    pub(crate) fn is_here(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|key| key.is_of_log)
    }

    /// Lets the next entry of a key go on, after the one that held it has ended.
    pub(crate) fn end_key(&mut self, key: &str) {
        let Some(found) = self.keys.get_mut(key) else { return };
        match found.behind.pop_front() {
            Some(next) => {
                self.behind -= 1;
                self.put_first(next);
            }
            None => {
                self.keys.remove(key);
            }
        }
    }

    /// Takes out what waits behind an entry of the log, and forgets the key: all of it leaves.
    pub(crate) fn take_key(&mut self, key: &str) -> VecDeque<Entry> {
        let behind = self.keys.remove(key).map(|key| key.behind).unwrap_or_default();
        self.behind -= behind.len();
        for entry in &behind {
            self.count(entry, false);
        }
        behind
    }

    /// The entry that may start at `now`: retries first, because they have waited.
    pub(crate) fn peek(&self, now: Instant) -> Option<&Entry> {
        match self.delayed.peek() {
            Some(delayed) if delayed.due <= now => Some(&delayed.entry),
            _ => self.ready.front(),
        }
    }

    /// Takes out what [`Queue::peek`] shows.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Entry> {
        let entry = if self.delayed.peek().is_some_and(|delayed| delayed.due <= now) {
            self.delayed.pop().map(|delayed| delayed.entry)
        } else {
            self.ready.pop_front()
        };
        if let Some(entry) = &entry {
            self.count(entry, false);
        }
        entry
    }

    /// When the next delayed entry may start.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.delayed.peek().map(|delayed| delayed.due)
    }

    /// Entries that wait for nothing but a free place.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Entries that wait.
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.delayed.len() + self.behind
    }

    /// Waiting entries that the overflow lent, and their bytes.
    pub(crate) fn borrowed(&self) -> (usize, usize) {
        self.borrowed
    }

    /// Takes out the waiting entries of the log that `leaves` takes; with a key's first one all that
    /// wait behind it, in their order. A key whose first one is under way stays.
    pub(crate) fn take_of_log(&mut self, leaves: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let goes = |entry: &Entry| entry.is_of_log() && leaves(entry);
        if !self.ready.iter().chain(self.delayed.iter().map(|d| &d.entry)).any(goes) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        let (leaving, staying) = std::mem::take(&mut self.ready).into_iter().partition(goes);
        self.ready = staying;
        let (late, staying): (Vec<Delayed>, Vec<Delayed>) =
            std::mem::take(&mut self.delayed).into_iter().partition(|d| goes(&d.entry));
        self.delayed = staying.into();
        let late = late.into_iter().map(|delayed| delayed.entry);
        let leaving: VecDeque<Entry> = leaving;
        for first in leaving.into_iter().chain(late) {
            self.count(&first, false);
            let behind = first.holds_key.then(|| order_key(&first.event).to_owned());
            gone.push(first);
            if let Some(key) = behind {
                gone.extend(self.take_key(&key));
            }
        }
        gone
    }

    /// Takes out what the overflow lent.
    pub(crate) fn take_borrowed(&mut self) -> Vec<Entry> {
        let (staying, gone) = self.drain().into_iter().partition(Entry::is_of_log);
        let staying: Vec<Entry> = staying;
        for entry in staying {
            let holds_key = entry.holds_key;
            self.push(entry, holds_key);
        }
        gone
    }

    /// Takes all entries out.
    pub(crate) fn drain(&mut self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.ready.drain(..).collect();
        entries.extend(self.delayed.drain().map(|delayed| delayed.entry));
        entries.extend(self.keys.drain().flat_map(|(_, key)| key.behind));
        self.behind = 0;
        self.borrowed = (0, 0);
        entries
    }

    /// All waiting entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let delayed = self.delayed.iter().map(|delayed| &delayed.entry);
        self.ready.iter().chain(delayed).chain(self.keys.values().flat_map(|key| &key.behind))
    }

    fn count(&mut self, entry: &Entry, comes: bool) {
        if entry.is_of_log() {
            return;
        }
        let (events, bytes) = &mut self.borrowed;
        if comes {
            *events += 1;
            *bytes += entry.event.cost();
        } else {
            *events -= 1;
            *bytes -= entry.event.cost();
        }
    }
}

impl Ord for Delayed {
    /// The earliest is the greatest, since the heap gives out the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.turn).cmp(&(self.due, self.turn))
    }
}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Delayed {}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use channel::{Beside, Draft, Event, Home, Lease, Position, SpecVersion};

    use super::{super::entry::SharedLease, *};

    fn event(id: &str, key: &str) -> Event {
        let mut draft = Draft::new(SpecVersion::V10);
        for (name, value) in [("id", id), ("source", "/s"), ("type", "t"), ("partitionkey", key)] {
            draft.push_wire(name, value.as_bytes()).unwrap();
        }
        draft.finish().unwrap()
    }

    fn entry(id: &str, key: &str, now: Instant) -> Entry {
        struct Nobody;
        impl Home for Nobody {
            fn settle(&self, _position: Position, _event: &Event) {}
            fn lend_again(&self, _position: Position, _event: Event, _beside: Option<Beside>) {}
        }
        let event = event(id, key);
        let lease = Lease::new(event.clone(), Position(0), false, Arc::new(Nobody));
        Entry::new(event, SharedLease::new(lease).ticket(), now)
    }

    fn popped(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now)).map(|entry| entry.event.id().to_owned()).collect()
    }

    #[test]
    fn unordered_entries_leave_as_they_came() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for id in ["1", "2", "3"] {
            queue.push(entry(id, "k", now), false);
        }
        assert_eq!(queue.len(), 3);
        assert_eq!(popped(&mut queue, now), ["1", "2", "3"]);
    }

    #[test]
    fn a_key_lets_one_entry_out_at_a_time() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for (id, key) in [("1", "a"), ("2", "a"), ("3", "b"), ("4", "a")] {
            queue.push(entry(id, key, now), true);
        }
        assert_eq!(popped(&mut queue, now), ["1", "3"]);
        queue.end_key("a");
        assert_eq!(popped(&mut queue, now), ["2"]);
        queue.end_key("b");
        queue.end_key("a");
        queue.push(entry("5", "a", now), true);
        assert_eq!(queue.len(), 2);
        assert_eq!(popped(&mut queue, now), ["4"]);
        queue.end_key("a");
        assert_eq!(popped(&mut queue, now), ["5"]);
        queue.end_key("a");
        assert!(queue.keys.is_empty(), "keys without events are forgotten");
    }

    #[test]
    fn a_delayed_entry_starts_at_its_time_and_keeps_its_key() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = Queue::default();
        queue.push(entry("1", "a", now), true);
        queue.push(entry("2", "a", now), true);
        let first = queue.pop(now).unwrap();
        queue.push_delayed(first, later);
        assert!(queue.pop(now).is_none());
        assert_eq!(queue.next_due(), Some(later));
        assert_eq!(popped(&mut queue, later), ["1"]);
        queue.end_key("a");
        assert_eq!(popped(&mut queue, later), ["2"]);
    }

    #[test]
    fn everything_can_be_taken_out() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for (id, key) in [("1", "a"), ("2", "a"), ("3", "b")] {
            queue.push(entry(id, key, now), true);
        }
        queue.push_delayed(entry("4", "c", now), now);
        assert_eq!(queue.iter().count(), 4);
        assert_eq!(queue.drain().len(), 4);
        assert_eq!(queue.len(), 0);
    }
}
