//! The thread that writes the log: takes what all workers have, stores it with one sync, answers.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Event, PublishError, clock,
    disk::{
        ack::Ack,
        gauges::Gauges,
        journal::{AppendError, Draft, Journal},
        settings::FREE_BYTES_MIN,
        shard::{Kept, Pending, Shard},
        space::Room,
        tail::Tail,
    },
};

/// Longest time until something settled is written down, unless a group of events comes first.
const NOTE_WAIT: Duration = Duration::from_millis(100);
/// How long one woken publish may take to wake the others of its batch.
const REST_WAIT: Duration = Duration::from_millis(1);
/// Places for settled positions that are kept.
const SETTLED_KEPT: usize = 4096;
/// How often settled segments are looked at for deletion.
const RECLAIM_WAIT: Duration = Duration::from_secs(60);

/// Owns the log's files.
#[derive(Debug)]
pub(super) struct Writer {
    journal: Journal,
    gauges: Arc<Gauges>,
    tail: Arc<Tail>,
    shards: Box<[Arc<Shard>]>,
    room: Arc<Room>,
    draft: Draft,
    /// One for each shard, swapped with its own.
    taken: Vec<Pending>,
    settled: Vec<u64>,
    /// Answers whose publishes may not all be woken yet.
    rest: Vec<Arc<Ack>>,
    note_at: Option<Instant>,
    reclaim_at: Instant,
    /// Segments after the last look for some to delete.
    segments: usize,
}

impl Writer {
    pub(super) fn new(
        journal: Journal,
        gauges: Arc<Gauges>,
        tail: Arc<Tail>,
        shards: Box<[Arc<Shard>]>,
        room: Arc<Room>,
    ) -> Self {
        let taken = shards.iter().map(|_| Pending::default()).collect();
        gauges.needed.store(journal.needed_bytes(), Ordering::Relaxed);
        Self {
            journal,
            gauges,
            tail,
            shards,
            room,
            draft: Draft::default(),
            taken,
            settled: Vec::new(),
            rest: Vec::new(),
            note_at: None,
            reclaim_at: Instant::now(),
            segments: 0,
        }
    }

    /// Works until the channel ends; then nothing is on its way, and everything settled is noted.
    pub(super) fn run(mut self) {
        loop {
            let is_ending = self.gauges.is_ending();
            for (shard, taken) in self.shards.iter().zip(&mut self.taken) {
                if is_ending {
                    shard.close();
                }
                shard.take(taken);
            }
            let now = Instant::now();
            self.room.check(now);
            self.take_settled(now, is_ending);
            let has_events = self.taken.iter().any(|taken| !taken.events.is_empty());
            let is_note_due = self.note_at.is_some_and(|at| at <= now) || is_ending;
            if has_events || (is_note_due && self.journal.has_fresh()) {
                self.store();
            }
            if is_ending && !has_events {
                return self.wake_rest();
            }
            self.reclaim(now);
            if !has_events {
                self.rest(now);
            }
        }
    }

    fn take_settled(&mut self, now: Instant, is_ending: bool) {
        if self.gauges.has_settled.swap(false, Ordering::AcqRel) || is_ending {
            self.shards.iter().for_each(|shard| shard.take_settled(&mut self.settled));
            self.journal.settle(&mut self.settled);
            self.settled.shrink_to(SETTLED_KEPT);
            self.note_at.get_or_insert(now + NOTE_WAIT);
            self.gauges.needed.store(self.journal.needed_bytes(), Ordering::Relaxed);
        }
    }

    /// Sleeps until there is something to do.
    fn rest(&mut self, now: Instant) {
        let reclaim_at = (self.journal.segments.len() > 1).then_some(self.reclaim_at);
        let until = [self.note_at, self.room.check_at(), reclaim_at].into_iter().flatten().min();
        if !self.rest.is_empty() {
            thread::park_timeout(REST_WAIT);
            self.wake_rest();
        } else if let Some(until) = until {
            thread::park_timeout(until.saturating_duration_since(now));
        } else {
            thread::park();
        }
    }

    fn wake_rest(&mut self) {
        self.rest.drain(..).for_each(|ack| ack.wake_rest());
    }

    /// Writes what was taken, and what was settled, as one group.
    fn store(&mut self) {
        self.note_at = None;
        self.draft.clear();
        for taken in &self.taken {
            self.draft.entries.append(&taken.entries);
            self.draft.events += u32::try_from(taken.events.len()).unwrap_or(u32::MAX);
        }
        if let Some(reason) = self.gauges.failed() {
            let error = PublishError::Down { reason: reason.to_owned() };
            return self.refuse(&error);
        }
        let stored = self.journal.append(&mut self.draft);
        // It must not hold on to the data of events that are gone.
        self.draft.entries.clear();
        match stored {
            Ok(place) => {
                let end = self.journal.next;
                let bytes: usize = self.taken.iter().map(|taken| taken.entries.len()).sum();
                self.gauges.needed.store(self.journal.needed_bytes(), Ordering::Relaxed);
                self.gauges.pending.fetch_sub(bytes, Ordering::Relaxed);
                let ahead = self.gauges.ahead.load(Ordering::Relaxed);
                let has_room = ahead + bytes <= self.gauges.settings.read_ahead_bytes_max;
                let is_live = self.tail.extend(end, place, has_room);
                self.answer(place.position, is_live);
                if !is_live {
                    self.gauges.feeder.ring();
                }
            }
            Err(AppendError::NoRoom) => {
                self.room.give_headroom();
                let error = self.gauges.full(FREE_BYTES_MIN);
                self.refuse(&error);
                self.note_alone();
            }
            Err(AppendError::Failed(error)) => {
                self.gauges.fail("the log cannot be written", &error);
                let reason = "the disk failed while it was written".into();
                self.refuse(&PublishError::Unknown { reason });
            }
        }
    }

    /// Writes down what was settled when there is no room for events.
    fn note_alone(&mut self) {
        self.draft.clear();
        match self.journal.append(&mut self.draft) {
            Ok(_) => {}
            Err(AppendError::NoRoom) => self.note_at = Some(Instant::now() + NOTE_WAIT),
            Err(AppendError::Failed(error)) => {
                self.gauges.fail("the log cannot be written", &error);
            }
        }
    }

    /// Lends what was stored, and tells its publishers.
    fn answer(&mut self, first: u64, is_live: bool) {
        self.wake_rest();
        let mut position = first;
        for taken in &mut self.taken {
            let start = position;
            for (event, owner) in taken.events.drain(..) {
                if is_live {
                    keep(&self.shards, event, owner, position);
                }
                position += 1;
            }
            taken.clear();
            if let Some(ack) = taken.ack.take() {
                if is_live {
                    self.shards.iter().for_each(|shard| shard.wake());
                }
                if ack.answer(Ok(start)) {
                    self.rest.push(ack);
                }
            }
        }
    }

    fn refuse(&mut self, error: &PublishError) {
        for taken in &mut self.taken {
            self.gauges.dismiss(taken.events.len(), taken.entries.len());
            taken.clear();
            if let Some(ack) = taken.ack.take() {
                ack.answer(Err(error.clone()));
                ack.wake_rest();
            }
        }
    }

    /// Deletes old segments: when there is a new one, when time has passed, when room is short.
    fn reclaim(&mut self, now: Instant) {
        let is_short = self.gauges.is_low.load(Ordering::Relaxed);
        let is_new = self.journal.segments.len() != self.segments;
        let is_due = self.reclaim_at <= now;
        if is_due {
            self.reclaim_at = now + RECLAIM_WAIT;
        }
        let can_be = !self.journal.has_fresh() && self.gauges.failed().is_none();
        if !can_be || !(is_short || is_new || is_due) {
            return;
        }
        if let Err(error) = self.journal.reclaim(clock::to_micros(clock::now()), is_short) {
            // What is not deleted now will be tried again: nothing is lost by it.
            tracing::warn!(error = %error, "an old segment of the log was not deleted");
        }
        self.segments = self.journal.segments.len();
    }
}

fn keep(shards: &[Arc<Shard>], event: Event, owner: usize, position: u64) {
    if let Some(shard) = shards.get(owner) {
        let ahead = event.cost();
        shard.keep(Kept { event, position, redelivered: false, ahead });
    }
}
