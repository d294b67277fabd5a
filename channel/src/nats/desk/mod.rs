//! Messages that came and are not acknowledged yet: which of them may be lent, to whom, and when.
//!
//! Pure bookkeeping. A message that comes again while it is here is never lent a second time: only
//! the address for its acknowledgement changes.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use async_nats::Subject;

use crate::{Beside, Event, key_worker};

/// How messages are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// To the workers that read, in turn.
    Spread,
    /// By key, in the order of the stream.
    Keyed,
    /// To whoever asks first, when they are due.
    Due,
}

/// An event that may be lent.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) event: Event,
    pub(super) beside: Option<Beside>,
    pub(super) redelivered: bool,
    /// Not before; looked at only in [`Mode::Due`].
    pub(super) due_at: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Here,
    Lent,
    Settled,
    /// About to be given back to the server.
    Returned,
}

/// What a message is that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was not here: offer its event.
    New,
    /// It is here already.
    Known,
}

/// Whom to wake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    Nobody,
    Worker(usize),
    Everybody,
}

/// What a worker gets.
#[derive(Debug)]
pub(super) enum Next {
    Event(u64, Ready),
    /// Nothing yet; perhaps after this time.
    Wait(Option<Duration>),
    /// Nothing ever again.
    End,
}

/// By due time and sequence number.
type Queue = BTreeMap<(SystemTime, u64), Ready>;

#[derive(Debug, Default)]
struct Line {
    queue: Queue,
    is_read: bool,
}

/// A message that came and is not acknowledged.
#[derive(Debug)]
struct Out {
    reply: Subject,
    state: State,
    lane: usize,
}

/// The messages of one source.
#[derive(Debug)]
pub(super) struct Desk {
    mode: Mode,
    lines: Vec<Line>,
    /// What any worker may have.
    common: Queue,
    out: BTreeMap<u64, Out>,
    /// Messages here by the lane that they came on.
    lanes: Vec<usize>,
    settled: usize,
    turn: usize,
    is_closed: bool,
    waits_to_give_up: bool,
}

impl Desk {
    /// An empty desk for `workers`, at least one.
    pub(super) fn new(workers: usize, mode: Mode) -> Self {
        Self {
            mode,
            lines: (0..workers.max(1)).map(|_| Line::default()).collect(),
            common: Queue::new(),
            out: BTreeMap::new(),
            lanes: Vec::new(),
            settled: 0,
            turn: 0,
            is_closed: false,
            waits_to_give_up: false,
        }
    }

    /// Messages here, the settled ones that are not acknowledged yet included.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Messages that are settled and not acknowledged yet.
    pub(super) fn settled(&self) -> usize {
        self.settled
    }

    /// Messages here that came on one lane.
    pub(super) fn lane_len(&self, lane: usize) -> usize {
        self.lanes.get(lane).copied().unwrap_or_default()
    }

    /// A message came. `None` when nothing is taken any more.
    pub(super) fn arrive(&mut self, sequence: u64, reply: Subject, lane: usize) -> Option<Arrival> {
        if let Some(known) = self.out.get_mut(&sequence) {
            known.reply = reply;
            return Some(Arrival::Known);
        }
        if self.is_closed {
            return None;
        }
        self.insert(sequence, reply, lane);
        Some(Arrival::New)
    }

    /// A message came after the end. Whether it is to be given back at once: else it is known already,
    /// or given back in its order with the others.
    pub(super) fn arrive_late(&mut self, sequence: u64, reply: Subject, lane: usize) -> bool {
        if let Some(known) = self.out.get_mut(&sequence) {
            known.reply = reply;
            return false;
        }
        if self.waits_to_give_up {
            self.insert(sequence, reply, lane);
        }
        !self.waits_to_give_up
    }

    fn insert(&mut self, sequence: u64, reply: Subject, lane: usize) {
        self.out.insert(sequence, Out { reply, state: State::Here, lane });
        if self.lanes.len() <= lane {
            self.lanes.resize(lane + 1, 0);
        }
        if let Some(count) = self.lanes.get_mut(lane) {
            *count += 1;
        }
    }

    /// The event of a message that came. Nothing happens when the message was taken away since.
    pub(super) fn offer(&mut self, sequence: u64, ready: Ready) -> Wake {
        match self.out.get_mut(&sequence) {
            Some(out) if !self.is_closed => out.state = State::Here,
            _ => return Wake::Nobody,
        }
        let workers = self.lines.len();
        let due_at = if self.mode == Mode::Due { ready.due_at } else { SystemTime::UNIX_EPOCH };
        let worker = match self.mode {
            Mode::Keyed => Some(key_worker(&ready.event, workers)),
            Mode::Due => None,
            Mode::Spread => {
                let order = (0..workers).map(|step| (self.turn + step) % workers);
                let is_read = |&worker: &usize| self.lines.get(worker).is_some_and(|l| l.is_read);
                order.into_iter().find(is_read)
            }
        };
        match worker.and_then(|worker| self.lines.get_mut(worker).map(|line| (worker, line))) {
            Some((worker, line)) => {
                line.queue.insert((due_at, sequence), ready);
                self.turn = worker + 1;
                Wake::Worker(worker)
            }
            None => {
                self.common.insert((due_at, sequence), ready);
                Wake::Everybody
            }
        }
    }

    /// The next event of a worker.
    pub(super) fn next(&mut self, worker: usize, now: SystemTime) -> Next {
        if self.is_closed {
            return Next::End;
        }
        let count = self.lines.len();
        let Some(line) = self.lines.get_mut(worker % count) else { return Next::End };
        let mut wait: Option<Duration> = None;
        for queue in [&mut line.queue, &mut self.common] {
            let Some(first) = queue.first_entry() else { continue };
            match first.key().0.duration_since(now) {
                Ok(left) if !left.is_zero() => {
                    wait = Some(wait.map_or(left, |wait| wait.min(left)));
                }
                _ => {
                    let ((_, sequence), ready) = first.remove_entry();
                    if let Some(out) = self.out.get_mut(&sequence) {
                        out.state = State::Lent;
                    }
                    return Next::Event(sequence, ready);
                }
            }
        }
        Next::Wait(wait)
    }

    /// An event that was lent is settled; whether it is to be acknowledged.
    pub(super) fn settle(&mut self, sequence: u64) -> bool {
        match self.out.get_mut(&sequence) {
            Some(out) if out.state == State::Lent => {
                out.state = State::Settled;
                self.settled += 1;
                true
            }
            _ => false,
        }
    }

    /// An event that was lent is to be lent again. `None` when nothing is lent any more: then it is
    /// to be given back.
    pub(super) fn again(&mut self, sequence: u64, ready: Ready) -> Option<Wake> {
        if self.is_closed {
            let waits = self.waits_to_give_up;
            if let Some(out) = self.out.get_mut(&sequence) {
                out.state = if waits { State::Here } else { State::Returned };
            }
            return waits.then_some(Wake::Nobody);
        }
        Some(self.offer(sequence, ready))
    }

    /// Where to acknowledge a message, while it is here.
    pub(super) fn reply(&self, sequence: u64) -> Option<Subject> {
        self.out.get(&sequence).map(|out| out.reply.clone())
    }

    /// Forgets a message: it is acknowledged, or for another to have. Its address and its lane, if
    /// it was here.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<(Subject, usize)> {
        let out = self.out.remove(&sequence)?;
        self.settled -= usize::from(out.state == State::Settled);
        if let Some(count) = self.lanes.get_mut(out.lane) {
            *count -= 1;
        }
        Some((out.reply, out.lane))
    }

    /// Forgets what is not lent, up to a sequence number.
    pub(super) fn clear(&mut self, last: u64) {
        for queue in self.lines.iter_mut().map(|line| &mut line.queue).chain([&mut self.common]) {
            queue.retain(|&(_, sequence), _| sequence > last);
        }
        let is_cleared = |sequence: u64, out: &Out| sequence <= last && out.state == State::Here;
        let cleared = self.out.iter().filter(|&(&sequence, out)| is_cleared(sequence, out));
        let cleared: Vec<u64> = cleared.map(|(&sequence, _)| sequence).collect();
        for sequence in cleared {
            self.remove(sequence);
        }
    }

    /// Addresses of the messages that work goes on for.
    pub(super) fn unsettled(&self) -> Vec<Subject> {
        let unsettled =
            self.out.values().filter(|out| matches!(out.state, State::Here | State::Lent));
        unsettled.map(|out| out.reply.clone()).collect()
    }

    /// A worker begins to read: it may have what nobody was there for.
    pub(super) fn come(&mut self, worker: usize) {
        let count = self.lines.len();
        if let Some(line) = self.lines.get_mut(worker % count) {
            line.is_read = true;
        }
    }

    /// A worker reads no more: what it was to have is for the others, unless its key keeps it there.
    pub(super) fn leave(&mut self, worker: usize) {
        let count = self.lines.len();
        let Some(line) = self.lines.get_mut(worker % count) else { return };
        line.is_read = false;
        if self.mode != Mode::Keyed {
            self.common.append(&mut line.queue);
        }
    }

    /// Hands out by key, or not; what waits is sorted anew.
    pub(super) fn set_mode(&mut self, mode: Mode) {
        if std::mem::replace(&mut self.mode, mode) == mode {
            return;
        }
        let mut all = std::mem::take(&mut self.common);
        for line in &mut self.lines {
            all.append(&mut line.queue);
        }
        for ((_, sequence), ready) in all {
            self.offer(sequence, ready);
        }
    }

    /// Lends nothing more. What was not lent and is to be given back, in the order of the stream.
    ///
    /// With `gives_up_soon`, what has an order is given back only by [`Desk::give_up`], all together:
    /// the server lends first what it got back first.
    pub(super) fn close(&mut self, gives_up_soon: bool) -> Vec<u64> {
        self.is_closed = true;
        self.common.clear();
        self.lines.iter_mut().for_each(|line| line.queue.clear());
        self.waits_to_give_up = gives_up_soon && self.mode == Mode::Keyed;
        if self.waits_to_give_up {
            return Vec::new();
        }
        self.give_back(|state| state == State::Here)
    }

    /// All that is not settled and is to be given back, in the order of the stream.
    pub(super) fn give_up(&mut self) -> Vec<u64> {
        self.is_closed = true;
        self.waits_to_give_up = false;
        self.give_back(|state| matches!(state, State::Here | State::Lent))
    }

    /// What is given back stays here until the server is told.
    fn give_back(&mut self, which: impl Fn(State) -> bool) -> Vec<u64> {
        let back = self.out.iter_mut().filter(|(_, out)| which(out.state));
        back.map(|(&sequence, out)| {
            out.state = State::Returned;
            sequence
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
