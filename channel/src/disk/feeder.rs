//! Stored events that are not in memory -> read from the log, in order, as there is room for them.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    Budget, Charge, Event, Invalid,
    disk::{
        gauges::Gauges,
        group::{Entry, Found, SECTOR, Window},
        journal::Place,
        settled::Settled,
        shard::{Kept, Shard},
        shelf::Shelf,
    },
    key_worker, record,
};

/// Where the log ends, and whether its readers are behind: what writer and feeder agree on.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<TailState>);

#[derive(Debug, Default)]
struct TailState {
    /// The position after the last stored event.
    end: u64,
    is_behind: bool,
    /// Where the feeder is to begin.
    from: Option<Place>,
}

impl Tail {
    /// A tail at `end`, with stored events from `from` on that are not in memory.
    pub(super) fn new(end: u64, from: Option<Place>) -> Self {
        Self(Mutex::new(TailState { end, is_behind: from.is_some(), from }))
    }

    fn lock(&self) -> MutexGuard<'_, TailState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that events were stored up to `end`. Returns whether they may be lent from memory;
    /// otherwise the feeder will read them, beginning at `place` if it was not at work.
    pub(super) fn extend(&self, end: u64, place: Place, has_room: bool) -> bool {
        let mut tail = self.lock();
        tail.end = end;
        if !tail.is_behind && !has_room {
            tail.is_behind = true;
            tail.from = Some(place);
        }
        !tail.is_behind
    }

    /// Whether the feeder, at `position`, has read all there is; then it is not behind any more.
    fn is_reached(&self, position: u64) -> bool {
        let mut tail = self.lock();
        if position >= tail.end {
            tail.is_behind = false;
        }
        !tail.is_behind
    }
}

/// Reads for all workers of a channel, on a thread of its own.
#[derive(Debug)]
pub(super) struct Feeder {
    pub(super) gauges: Arc<Gauges>,
    pub(super) tail: Arc<Tail>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) shards: Box<[Arc<Shard>]>,
    pub(super) keyed: Arc<AtomicBool>,
    pub(super) budget: Arc<Budget>,
    /// What was settled when the log was opened.
    pub(super) settled: Settled,
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

impl Feeder {
    /// Works until the channel ends.
    pub(super) fn run(mut self) {
        while !self.gauges.is_ending() {
            let Some(from) = self.tail.lock().from.take() else {
                thread::park();
                continue;
            };
            self.gauges.is_behind.store(true, Ordering::Relaxed);
            if let Err(error) = self.catch_up(from) {
                return self.gauges.fail("the log cannot be read back", &error);
            }
            self.gauges.is_behind.store(false, Ordering::Relaxed);
            // Everything that was there at the start has been read by now.
            self.settled = Settled::default();
        }
    }

    /// Reads from a place up to the end of the log, wherever that is by then.
    fn catch_up(&self, from: Place) -> Result<(), ReadError> {
        let mut position = from.position;
        let mut offset = from.offset;
        let damaged = ReadError::Damaged;
        let mut segment = self.shelf.get(from.segment).ok_or(damaged(position))?;
        let mut window = Window::new(Arc::clone(&segment.file));
        while !self.tail.is_reached(position) {
            let len = segment.file.len()?;
            let is_there = |found: &Found<'_>| match found {
                Found::Group(group) => group.header.end() >= position,
                Found::Nothing => false,
            };
            if !is_there(&window.group(offset, len)?) {
                // What is in the window may be older than what was stored since.
                window.forget();
                if !is_there(&window.group(offset, len)?) {
                    let next = self.shelf.after(segment.sequence);
                    segment =
                        next.filter(|next| next.first >= position).ok_or(damaged(position))?;
                    position = segment.first;
                    window = Window::new(Arc::clone(&segment.file));
                    offset = SECTOR as u64;
                }
                continue;
            }
            let Found::Group(found) = window.group(offset, len)? else { continue };
            for entry in found.entries().filter(|entry| entry.position >= position) {
                if !self.settled.contains(entry.position) && !self.lend(&entry)? {
                    return Ok(());
                }
            }
            position = found.header.end();
            offset += found.header.padded_len();
        }
        Ok(())
    }

    /// Keeps an event for its worker once there is room; returns whether it did before the end.
    fn lend(&self, entry: &Entry<'_>) -> Result<bool, ReadError> {
        // Of its own, so that one event does not hold on to the memory of many.
        let draft = record::decode(Bytes::copy_from_slice(entry.record))?;
        let data = draft.data().map_or(0, |data| data.bytes.len());
        let held = draft.cost() + entry.record.len().saturating_sub(data);
        let Some(charge) = self.room(held) else { return Ok(false) };
        let mut draft = draft;
        if let Some(charge) = charge {
            draft.set_charge(charge);
        }
        let event = draft.finish()?;
        if let Some(shard) = self.shards.get(self.owner(&event, entry.worker)) {
            let position = entry.position;
            shard.keep(Kept { event, position, redelivered: false, ahead: held });
            shard.wake();
        }
        Ok(true)
    }

    fn owner(&self, event: &Event, worker: u16) -> usize {
        let count = self.shards.len();
        let is_keyed = self.keyed.load(Ordering::Acquire);
        if is_keyed { key_worker(event, count) } else { usize::from(worker) % count.max(1) }
    }

    /// Waits for memory; `None` at the end. What could never fit is lent without a charge, one at
    /// a time: it was accepted.
    fn room(&self, bytes: usize) -> Option<Option<Charge>> {
        loop {
            if self.gauges.is_closed.load(Ordering::Acquire) {
                return None;
            }
            let ahead = self.gauges.ahead.load(Ordering::Relaxed);
            if ahead == 0 || ahead + bytes <= self.gauges.settings.read_ahead_bytes_max {
                let charge = self.budget.try_charge(bytes);
                if charge.is_some() || (ahead == 0 && bytes > self.budget.limit()) {
                    return Some(charge);
                }
            }
            thread::park_timeout(ROOM_WAIT);
        }
    }
}
