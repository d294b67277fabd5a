//! Lane <-> the trigger's overflow: what must not wait in memory leaves, and comes back in its time.

use std::{
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use channel::{Event, Overflow, PublishError, Reader, Waiting, order_key};

use super::{Doomed, Entry, Lane, State, entry::Origin};
use crate::{Trigger, dead_letter::Reason};

/// Most entries that are stored in one go.
const BATCH_EVENTS: usize = 256;

/// Most bytes of their events, but for the last one. Storage has the batches of all workers at once.
const BATCH_BYTES: usize = 1 << 20;

/// Places for entries on their way that are kept when none are.
const PLACES_KEPT: usize = 1024;

/// How long to wait before entries that could not be stored are tried again.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// Entries on their way into the overflow from which on the worker takes producers' events more slowly.
pub(super) const LEAVING_PRESSED: usize = 512;

/// Such entries from which on it takes them only as fast as they are stored.
pub(super) const LEAVING_FLOODED: usize = 4096;

impl Lane {
    /// Lets an entry that was counted as waiting go into the overflow. The caller has counted it out
    /// of the lane's own bound.
    pub(super) fn leave(self: &Rc<Self>, state: &mut State, trigger: &Trigger, entry: Entry) {
        state.leaving.push_back(entry);
        if trigger.usage.overflow() {
            self.fanout.overflows.add();
        }
        if !state.mover {
            state.mover = true;
            self.worker.tasks.spawn_local(Rc::clone(self).move_out());
        }
    }

    /// Whether the overflow may take one more event of `bytes`.
    pub(super) fn has_room(&self, state: &State, trigger: &Trigger, bytes: usize) -> bool {
        let (depth, quota) = (trigger.overflow.depth(), self.fanout.quota);
        let events = depth.events + state.leaving.len() + state.storing;
        events == 0 || (events < quota.events && depth.bytes + bytes <= quota.bytes)
    }

    /// Lets everything of the log leave that has waited for as long as it may, or all of it.
    pub(crate) fn sweep(self: &Rc<Self>, now: Instant, all: bool) {
        let trigger = self.trigger();
        let mut state = self.state.borrow_mut();
        if state.retired || state.queue.len() == 0 {
            return;
        }
        let after = self.worker.settings.after;
        self.let_leave(&mut state, &trigger, |entry| {
            all || now.saturating_duration_since(entry.born) >= after
        });
        // What the overflow lent grows old here.
        self.pump(&mut state, &trigger, now);
    }

    pub(super) fn let_leave(
        self: &Rc<Self>,
        state: &mut State,
        trigger: &Trigger,
        leaves: impl Fn(&Entry) -> bool,
    ) {
        for entry in state.queue.take_of_log(leaves) {
            trigger.usage.stop_waiting(entry.event.cost());
            self.leave(state, trigger, entry);
        }
    }

    /// An ordered entry that has to wait for long: one of the log leaves with all that is behind it,
    /// one of the overflow stays, and its attempts are written down.
    pub(super) fn wait_in_order(
        self: &Rc<Self>,
        state: &mut State,
        trigger: &Trigger,
        entry: Entry,
        now: Instant,
        due: Instant,
    ) {
        let mut entry = entry;
        entry.not_before = Some(due);
        if let Origin::Overflow(position) = entry.origin {
            let amending = trigger.overflow.amend(position, entry.envelope(now, Some(due)));
            entry.attempts_stored = entry.attempts;
            self.worker.tasks.spawn_local(async move {
                if let Err(error) = amending.await {
                    tracing::warn!(%error, "the attempts of a waiting event were not written down");
                }
            });
            trigger.usage.wait_again(entry.event.cost());
            state.queue.push_delayed(entry, due);
            return;
        }
        let key = order_key(&entry.event).to_owned();
        self.leave(state, trigger, entry);
        for behind in state.queue.take_key(&key) {
            trigger.usage.stop_waiting(behind.event.cost());
            self.leave(state, trigger, behind);
        }
    }

    /// Stores what leaves, batch after batch in its order, until nothing does.
    async fn move_out(self: Rc<Self>) {
        loop {
            let (batch, overflow) = {
                let mut state = self.state.borrow_mut();
                let batch = take_batch(&mut state.leaving);
                give_room_back(&mut state.leaving);
                state.storing = batch.len();
                state.mover = !batch.is_empty();
                (batch, Arc::clone(&self.trigger.borrow().overflow))
            };
            if batch.is_empty() {
                return;
            }
            let now = Instant::now();
            let waiting: Vec<Waiting> = batch.iter().map(|entry| entry.waiting(now)).collect();
            let stored = overflow.put(waiting).await;
            if self.moved(batch, stored.map(|_position| ())) {
                self.borrow();
                continue;
            }
            tokio::time::sleep(STORE_AGAIN).await;
        }
    }

    /// Notes what became of a batch. Returns whether to go on at once.
    fn moved(self: &Rc<Self>, batch: Vec<Entry>, stored: Result<(), PublishError>) -> bool {
        let trigger = self.trigger();
        let mut state = self.state.borrow_mut();
        state.storing = 0;
        match stored {
            Ok(()) => {
                batch.into_iter().for_each(Entry::done);
                self.feel_pressure(&mut state);
                true
            }
            Err(PublishError::TooLarge { size, limit }) => {
                let whose = |entry: &Entry| entry.event.size() >= size.min(limit);
                let (large, rest): (VecDeque<_>, VecDeque<_>) = batch.into_iter().partition(whose);
                let detail = format!("it takes {size} bytes, and storage takes {limit} at most");
                let is_known = !large.is_empty();
                for entry in large {
                    state.tally.waiting -= 1;
                    state.tally.in_flight += 1;
                    let detail = Some(detail.clone());
                    let entry = Box::new(entry);
                    let doomed = Doomed { entry, reason: Reason::Overflow, detail };
                    self.doom(&mut state, &trigger, doomed);
                }
                put_first(&mut state.leaving, rest);
                is_known
            }
            Err(_) if state.retired => {
                batch.into_iter().for_each(|entry| state.purge(entry));
                true
            }
            Err(error) => {
                tracing::warn!(
                    trigger = %trigger.plan.name,
                    events = batch.len(),
                    %error,
                    "waiting events could not be stored and stay in memory for now"
                );
                put_first(&mut state.leaving, batch.into());
                false
            }
        }
    }

    /// Sees to it that somebody brings back what waits in the overflow.
    pub(crate) fn borrow(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        if state.borrower.is_some() || state.retired || state.stopping {
            return;
        }
        let reader = self.trigger.borrow().overflow.reader(self.worker.index);
        let task = self.worker.tasks.spawn_local(Rc::clone(self).bring_back(reader));
        state.borrower = Some(task.abort_handle());
    }

    async fn bring_back(self: Rc<Self>, mut reader: Box<dyn Reader>) {
        loop {
            while !self.lets_in() {
                self.let_in.notified().await;
            }
            let Some(lease) = poll_fn(|cx| reader.poll_lend(cx)).await else { return };
            let now = Instant::now();
            let entry = Entry::borrowed(lease, now, &self.fanout.budget);
            let trigger = self.trigger();
            let mut state = self.state.borrow_mut();
            trigger.usage.wait_again(entry.event.cost());
            state.queue.push(entry, trigger.plan.ordered);
            self.pump(&mut state, &trigger, now);
        }
    }

    fn lets_in(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let bytes_max = self.worker.settings.lane.bytes;
        let lets = state.wants_more(&self.trigger.borrow(), Instant::now(), bytes_max);
        state.borrower_waits = !lets;
        lets
    }

    /// Wakes the borrower when it may go on.
    pub(super) fn let_in(&self, state: &mut State, trigger: &Trigger, now: Instant) {
        if state.borrower_waits && state.wants_more(trigger, now, self.worker.settings.lane.bytes) {
            state.borrower_waits = false;
            self.let_in.notify_one();
        }
    }

    /// Goes on with another overflow in place of the one before.
    pub(super) fn change_overflow(&self, state: &mut State, before: &Arc<dyn Overflow>) {
        if Arc::ptr_eq(before, &self.trigger.borrow().overflow) {
            return;
        }
        if let Some(borrower) = state.borrower.take() {
            borrower.abort();
        }
        for entry in state.queue.take_borrowed() {
            self.trigger.borrow().usage.stop_waiting(entry.event.cost());
            // Dropped, not done: it is lent again by whoever reads its storage next.
        }
    }

    /// Says how the lane stands when the process ends: what storage does not know yet is written down,
    /// everything else stays where it is stored, and nothing starts any more.
    pub(crate) fn stop(self: &Rc<Self>) {
        let trigger = self.trigger();
        let mut state = self.state.borrow_mut();
        state.stopping = true;
        state.disarm();
        if let Some(borrower) = state.borrower.take() {
            borrower.abort();
        }
        let now = Instant::now();
        for entry in state.queue.drain() {
            trigger.usage.stop_waiting(entry.event.cost());
            if entry.attempts > entry.attempts_stored {
                self.keep_attempts(&mut state, &trigger, entry, now);
            }
        }
    }

    /// Writes down the attempts of an entry that nobody will make in this process.
    pub(super) fn keep_attempts(
        self: &Rc<Self>,
        state: &mut State,
        trigger: &Trigger,
        entry: Entry,
        now: Instant,
    ) {
        match entry.origin {
            Origin::Overflow(position) if trigger.plan.ordered => {
                let amending =
                    trigger.overflow.amend(position, entry.envelope(now, entry.not_before));
                state.amending += 1;
                let lane = Rc::clone(self);
                self.worker.tasks.spawn_local(async move {
                    if let Err(error) = amending.await {
                        tracing::warn!(%error, "the attempts of a waiting event are forgotten");
                    }
                    lane.state.borrow_mut().amending -= 1;
                    drop(entry);
                });
            }
            _ => self.leave(state, trigger, entry),
        }
    }

    /// Events that are under way or on their way into storage.
    pub(crate) fn busy(&self) -> usize {
        let state = self.state.borrow();
        usize::try_from(state.tally.in_flight).unwrap_or_default()
            + state.leaving.len()
            + state.storing
            + state.amending
    }
}

fn take_batch(leaving: &mut VecDeque<Entry>) -> Vec<Entry> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_EVENTS && bytes < BATCH_BYTES {
        let Some(entry) = leaving.pop_front() else { break };
        bytes += Event::cost(&entry.event);
        batch.push(entry);
    }
    batch
}

/// Places that were needed for a while are given back.
fn give_room_back(leaving: &mut VecDeque<Entry>) {
    if leaving.capacity() > PLACES_KEPT.max(leaving.len() * 4) {
        leaving.shrink_to(PLACES_KEPT.max(leaving.len() * 2));
    }
}

fn put_first(leaving: &mut VecDeque<Entry>, mut first: VecDeque<Entry>) {
    first.append(leaving);
    *leaving = first;
}
