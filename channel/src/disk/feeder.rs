//! Stored events that are not in memory -> read from the log, in order, as there is room for them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    Budget, Draft, Event, Invalid,
    disk::{
        gauges::Gauges,
        group::{Entry, Found, SECTOR, Window},
        journal::Place,
        settled::Settled,
        shard::{Kept, Shard},
        shelf::{OnShelf, Shelf},
        tail::Tail,
    },
    give_back, key_worker, record,
};

/// Reads for all workers of a channel, on a thread of its own.
///
/// Each worker has a place of its own in the log, so that one that takes nothing holds up no other.
/// What was lent is remembered beyond the first of these places: an event is lent once even if it
/// comes to belong to another worker meanwhile.
#[derive(Debug)]
pub(super) struct Feeder {
    pub(super) gauges: Arc<Gauges>,
    pub(super) tail: Arc<Tail>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) shards: Box<[Arc<Shard>]>,
    pub(super) keyed: Arc<AtomicBool>,
    pub(super) budget: Arc<Budget>,
    /// What need not be lent: at first what was settled when the log was opened.
    pub(super) seen: Settled,
}

/// How long until the next look for room in memory.
const ROOM_WAIT: Duration = Duration::from_millis(20);

/// Why an event of the log could not be lent.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the log cannot be read")]
    Io(#[from] io::Error),
    #[error("the log is damaged at position {0}")]
    Damaged(u64),
    #[error("an event of the log cannot be read")]
    Corrupt(#[from] record::Corrupt),
    #[error("an event of the log is not valid")]
    Invalid(#[from] Invalid),
}

/// One worker's place in the log.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    place: Place,
    /// Whether the worker has no room for now.
    is_stopped: bool,
}

/// Whether an event was kept for its worker.
enum Lent {
    Yes,
    /// Its worker has no room.
    Worker(usize),
    /// There is no memory for it.
    Nobody,
}

impl Feeder {
    /// Works until the channel ends.
    pub(super) fn run(mut self) {
        while !self.gauges.is_ending() {
            // Before anybody reads it may still be said that keys are to be kept together.
            let is_read = self.gauges.is_read.load(Ordering::Acquire);
            let Some(from) = is_read.then(|| self.tail.take_from()).flatten() else {
                thread::park();
                continue;
            };
            self.gauges.is_behind.store(true, Ordering::Relaxed);
            if let Err(error) = self.catch_up(from) {
                return self.gauges.fail("the log cannot be read back", &error);
            }
            self.gauges.is_behind.store(false, Ordering::Relaxed);
            self.seen = Settled::default();
            give_back();
        }
    }

    /// Reads from a place up to the end of the log, wherever that is by then.
    fn catch_up(&mut self, from: Place) -> Result<(), ReadError> {
        let mut cursors = vec![Cursor { place: from, is_stopped: false }; self.shards.len()];
        let mut was_keyed = false;
        while !self.gauges.is_closed.load(Ordering::Acquire) {
            let least = cursors.iter().map(|cursor| cursor.place);
            let least = least.min_by_key(|place| place.position).unwrap_or(from);
            if self.tail.is_reached(least.position) {
                return Ok(());
            }
            // Below there is nothing to remember.
            self.seen.insert_range(0, least.position);
            let is_keyed = self.keyed.load(Ordering::Acquire);
            if std::mem::replace(&mut was_keyed, is_keyed) != is_keyed {
                // What one worker has left may belong to another now.
                cursors.iter_mut().for_each(|cursor| cursor.place = least);
            }
            for (cursor, shard) in cursors.iter_mut().zip(&self.shards) {
                cursor.is_stopped = shard.ahead() > self.share() / 2;
            }
            let open = cursors.iter().filter(|cursor| !cursor.is_stopped);
            let first = open.map(|cursor| cursor.place).min_by_key(|place| place.position);
            let end = self.tail.end();
            let before: Vec<_> = cursors.iter().map(|cursor| cursor.place.position).collect();
            if let Some(first) = first.filter(|first| first.position < end) {
                self.pass(first, end, &mut cursors)?;
            }
            if cursors.iter().map(|cursor| cursor.place.position).eq(before) {
                thread::park_timeout(ROOM_WAIT);
            }
        }
        Ok(())
    }

    /// Bytes that one worker may have in memory.
    fn share(&self) -> usize {
        self.gauges.settings.read_ahead_bytes_max / self.shards.len().max(1)
    }

    /// Reads on from `first` for the workers that have room, until none of them has, or up to `end`.
    fn pass(&mut self, first: Place, end: u64, cursors: &mut [Cursor]) -> Result<(), ReadError> {
        let (mut place, mut segment) = match self.shelf.get(first.segment) {
            Some(segment) => (first, segment),
            // All in it was lent and settled since, and it was deleted.
            None => self.next_segment(first)?,
        };
        let mut window = Window::new(Arc::clone(&segment.file));
        let is_wanted = |cursors: &[Cursor], position| {
            cursors.iter().any(|one| !one.is_stopped && one.place.position <= position)
        };
        while place.position < end && is_wanted(cursors, place.position) {
            let len = segment.file.len()?;
            let Found::Group(group) = window.group(place.offset, len)? else {
                (place, segment) = self.next_segment(place)?;
                window = Window::new(Arc::clone(&segment.file));
                continue;
            };
            for entry in group.entries() {
                if self.seen.contains(entry.position) {
                    continue;
                }
                let here = Place { position: entry.position, ..place };
                match self.lend(&entry, cursors)? {
                    Lent::Yes => drop(self.seen.insert(entry.position)),
                    Lent::Worker(owner) => stop(cursors.get_mut(owner), here),
                    Lent::Nobody => {
                        let open = cursors.iter_mut().filter(|cursor| !cursor.is_stopped);
                        open.for_each(|cursor| stop(Some(cursor), here));
                        return Ok(());
                    }
                }
            }
            place.offset += group.header.padded_len();
            place.position = group.header.end();
            for cursor in cursors.iter_mut().filter(|cursor| !cursor.is_stopped) {
                if cursor.place.position <= place.position {
                    cursor.place = place;
                }
            }
        }
        Ok(())
    }

    /// The start of the segment after the one of `place`, which is read to its end.
    fn next_segment(&self, place: Place) -> Result<(Place, OnShelf), ReadError> {
        let next = self.shelf.after(place.segment).filter(|next| next.first >= place.position);
        let next = next.ok_or(ReadError::Damaged(place.position))?;
        let offset = SECTOR as u64;
        Ok((Place { segment: next.sequence, offset, position: next.first }, next))
    }

    /// Keeps an event for its worker if there is room.
    fn lend(&self, entry: &Entry<'_>, cursors: &[Cursor]) -> Result<Lent, ReadError> {
        let is_keyed = self.keyed.load(Ordering::Acquire);
        let count = self.shards.len().max(1);
        let is_stopped = |owner: usize| cursors.get(owner).is_none_or(|one| one.is_stopped);
        let publisher = usize::from(entry.worker) % count;
        if !is_keyed && is_stopped(publisher) {
            return Ok(Lent::Worker(publisher));
        }
        // Of its own, so that one event does not hold on to the memory of many.
        let draft = record::decode(Bytes::copy_from_slice(entry.record))?;
        let data = draft.data().map_or(0, |data| data.bytes.len());
        let held = draft.cost() + entry.record.len().saturating_sub(data);
        let Some(event) = self.charged(draft, held)? else { return Ok(Lent::Nobody) };
        let owner = if is_keyed { key_worker(&event, count) } else { publisher };
        let Some(shard) = self.shards.get(owner).filter(|_| !is_stopped(owner)) else {
            return Ok(Lent::Worker(owner));
        };
        let ahead = shard.ahead();
        if ahead > 0 && ahead + held > self.share() {
            return Ok(Lent::Worker(owner));
        }
        shard.keep(Kept { event, position: entry.position, redelivered: false, ahead: held });
        shard.wake();
        Ok(Lent::Yes)
    }

    /// The event with its memory, or `None` when there is none now. What could never fit goes
    /// without, when nothing else is read ahead: it was accepted.
    fn charged(&self, mut draft: Draft, held: usize) -> Result<Option<Event>, ReadError> {
        match self.budget.try_charge(held) {
            Some(charge) => draft.set_charge(charge),
            None if held > self.budget.limit()
                && self.shards.iter().all(|one| one.ahead() == 0) => {}
            None => return Ok(None),
        }
        Ok(Some(draft.finish()?))
    }
}

/// Stops a worker at an event that it has no room for; it goes on there.
fn stop(cursor: Option<&mut Cursor>, here: Place) {
    let Some(cursor) = cursor else { return };
    if !cursor.is_stopped || here.position < cursor.place.position {
        cursor.place = here;
    }
    cursor.is_stopped = true;
}
