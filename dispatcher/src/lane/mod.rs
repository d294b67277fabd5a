//! Matched event -> its turn: a bounded lane per trigger and worker, with order, concurrency and breaker.

mod bury;
mod entry;
mod overflow;
mod queue;
mod state;
mod take_on;
mod tally;

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

pub(crate) use entry::{Doomed, Entry, SharedLease, Ticket};
pub use tally::{AttemptEnd, DURATION_BOUNDS, Tally};

use crate::{
    Fanout, IN_FLIGHT_DEFAULT, Trigger,
    attempt::Attempt,
    breaker,
    concurrency::Concurrency,
    dead_letter::Reason,
    delivery,
    outcome::{self, Sent},
    retry_budget::RetryBudget,
    worker::Worker,
};
use queue::Queue;
use state::State;

/// Waiting events from which on a lane is pressed, and below which it no longer is.
const PRESSED: [usize; 2] = [32, 64];

/// Attempts that take longer on average are slow for the subscriber's sake, not for want of the
/// worker's time.
const PRESSED_PACE_MAX: f64 = 0.02;

/// How much the last attempt counts in the average.
const PACE_WEIGHT: f64 = 0.05;

/// One trigger in one worker.
pub(crate) struct Lane {
    pub(crate) worker: Rc<Worker>,
    pub(crate) fanout: Arc<Fanout>,
    trigger: RefCell<Arc<Trigger>>,
    state: RefCell<State>,
    /// Wakes the task that brings back what waits in the overflow.
    let_in: Notify,
}

/// How a delivery ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The subscriber took the event.
    Delivered,
    /// It is to be tried again, not before this long from now.
    Again(Duration),
    /// It goes to the dead letters.
    Dead(Reason, Option<String>),
}

/// A look at a lane from outside.
#[derive(Clone, Debug)]
pub struct LaneReport {
    /// The trigger.
    pub trigger: Arc<Trigger>,
    /// Its books.
    pub tally: Tally,
    /// The state of its subscriber's breaker.
    pub breaker: breaker::State,
    /// Deliveries that it may have under way.
    pub concurrency: u32,
    /// Events, counted as under way, that wait for room among the dead letters. While there are any
    /// the lane delivers nothing.
    pub stalled: usize,
}

impl Lane {
    pub(crate) fn new(worker: Rc<Worker>, fanout: Arc<Fanout>, trigger: Arc<Trigger>) -> Rc<Self> {
        let now = Instant::now();
        let state = State {
            queue: Queue::default(),
            tally: Tally::default(),
            in_flight: 0,
            starves: false,
            turns: 0,
            left_until: None,
            concurrency: Concurrency::new(trigger.plan.in_flight_max),
            budget: RetryBudget::new(now),
            breaker: worker.breaker(trigger.plan.subscriber.url(), now),
            doomed: VecDeque::new(),
            leaving: VecDeque::new(),
            storing: 0,
            amending: 0,
            mover: false,
            borrower: None,
            borrower_waits: false,
            retired: false,
            leaves_stored: false,
            is_parked: false,
            stopping: false,
            is_pressed: false,
            is_flooded: false,
            pace: 0.0,
            blocked_until: None,
            timer: None,
        };
        Rc::new(Self {
            worker,
            fanout,
            trigger: RefCell::new(trigger),
            state: RefCell::new(state),
            let_in: Notify::new(),
        })
    }

    pub(crate) fn trigger(&self) -> Arc<Trigger> {
        Arc::clone(&self.trigger.borrow())
    }

    /// Goes on with a changed plan; deliveries under way end as they began.
    pub(crate) fn update(self: &Rc<Self>, trigger: Arc<Trigger>, now: Instant) {
        self.unpark(now);
        if Arc::ptr_eq(&self.trigger.borrow(), &trigger) {
            return;
        }
        {
            let mut state = self.state.borrow_mut();
            let before = self.trigger.replace(Arc::clone(&trigger));
            if before.plan.subscriber.url() != trigger.plan.subscriber.url() {
                state.breaker = self.worker.breaker(trigger.plan.subscriber.url(), now);
            }
            state.concurrency.set_limit_max(trigger.plan.in_flight_max);
            self.change_overflow(&mut state, &before.overflow);
        }
        if trigger.usage.overflows() {
            self.borrow();
        }
        if trigger.plan.paused {
            self.sweep(now, true);
        }
        self.wake(now);
    }

    /// Lets the lane of a trigger that is not ready stand still: its events wait in the overflow until
    /// it is ready again. What is under way ends.
    pub(crate) fn park(self: &Rc<Self>) {
        self.state.borrow_mut().is_parked = true;
        self.sweep(Instant::now(), true);
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.state.borrow().is_parked
    }

    /// Goes on after [`Lane::park`].
    fn unpark(self: &Rc<Self>, now: Instant) {
        if std::mem::take(&mut self.state.borrow_mut().is_parked) {
            self.wake(now);
        }
    }

    /// Ends the lane of a deleted trigger: what waits is purged, what is under way ends.
    pub(crate) fn retire(self: &Rc<Self>) {
        let trigger = self.trigger();
        let mut state = self.state.borrow_mut();
        state.retired = true;
        state.disarm();
        state.sate(&trigger);
        if std::mem::take(&mut state.is_pressed) {
            self.worker.press(false);
        }
        if std::mem::take(&mut state.is_flooded) {
            self.worker.flood(&self.fanout.hub, false);
        }
        if let Some(borrower) = state.borrower.take() {
            borrower.abort();
        }
        for entry in state.queue.drain() {
            trigger.usage.stop_waiting(entry.event.cost());
            state.purge(entry);
        }
        for entry in std::mem::take(&mut state.leaving) {
            state.purge(entry);
        }
        state.purge_doomed();
    }

    /// Ends the lane of a broker that is gone and whose events outlive it: what waits stays where it is
    /// stored, what is under way ends.
    pub(crate) fn abandon(self: &Rc<Self>) {
        self.state.borrow_mut().leaves_stored = true;
        self.retire();
    }

    /// Looks whether something may start.
    pub(crate) fn wake(self: &Rc<Self>, now: Instant) {
        let trigger = self.trigger();
        self.pump(&mut self.state.borrow_mut(), &trigger, now);
    }

    /// Events that have not reached their end.
    pub(crate) fn pending(&self) -> usize {
        self.busy() + self.state.borrow().queue.len()
    }

    /// Ids of waiting events, for a last word before they are lost.
    pub(crate) fn waiting_ids(&self) -> Vec<String> {
        let state = self.state.borrow();
        state.queue.iter().chain(&state.leaving).map(|entry| entry.event.id().to_owned()).collect()
    }

    pub(crate) fn report(&self) -> LaneReport {
        let state = self.state.borrow();
        LaneReport {
            trigger: self.trigger(),
            tally: state.tally.clone(),
            breaker: state.breaker.borrow().state(),
            concurrency: state.concurrency.limit().get(),
            stalled: state.doomed.len(),
        }
    }

    /// Writes an attempt into the books, and into the entry's log when it failed.
    pub(crate) fn note_attempt(
        &self,
        entry: &mut Entry,
        sent: &Sent,
        took: Duration,
        failed: Option<Attempt>,
    ) {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        state.tally.count_attempt(AttemptEnd::of(sent), took, entry.attempts > 0);
        state.pace += (took.as_secs_f64() - state.pace) * PACE_WEIGHT;
        entry.attempts += 1;
        entry.postponed = false;
        let verdict = outcome::verdict(sent);
        if let Some((breaker, pass)) = entry.pass.take() {
            let has_changed = breaker.borrow_mut().record(pass, now, verdict, fastrand::f64());
            if has_changed {
                self.tell_of_breaker(breaker.borrow().state());
            }
        }
        if outcome::is_overload(sent) {
            state.concurrency.overload(now);
        } else if verdict == breaker::Verdict::Success {
            state.concurrency.success();
        }
        if let Some(attempt) = failed {
            entry.log.get_or_insert_default().push(attempt, &self.fanout.budget);
        }
    }

    fn tell_of_breaker(&self, state: breaker::State) {
        let trigger = self.trigger();
        let (trigger, subscriber) = (&trigger.plan.name, trigger.plan.subscriber.url());
        if state == breaker::State::Closed {
            tracing::info!(%trigger, subscriber, "subscriber is back: deliveries go on");
        } else {
            tracing::warn!(%trigger, subscriber, "subscriber is down: its events wait, no attempt is spent");
        }
    }

    /// Counts a reply that was taken as an event.
    pub(crate) fn note_reply(&self) {
        self.state.borrow_mut().tally.replies += 1;
    }

    /// Notes that the receiver of a reply did not take it: of an attempt that has been counted.
    pub(crate) fn note_refused_reply(&self, entry: &mut Entry, attempt: Attempt) {
        entry.log.get_or_insert_default().push(attempt, &self.fanout.budget);
    }

    /// Brings a delivery to its end and says which entry the caller goes on with.
    pub(crate) fn conclude(self: &Rc<Self>, entry: Entry, end: End) -> Option<Entry> {
        let now = Instant::now();
        let trigger = self.trigger();
        let mut state = self.state.borrow_mut();
        state.in_flight -= 1;
        trigger.usage.end();
        state.share(&trigger, now);
        match end {
            End::Delivered => {
                state.tally.in_flight -= 1;
                state.tally.delivered += 1;
                state.end(entry);
            }
            End::Again(_) if state.retired => {
                state.tally.in_flight -= 1;
                state.tally.waiting += 1;
                state.purge(entry);
            }
            End::Again(wait) => {
                state.tally.in_flight -= 1;
                state.tally.waiting += 1;
                self.wait(&mut state, &trigger, entry, now, now + wait);
            }
            End::Dead(reason, detail) => {
                self.doom(&mut state, &trigger, Doomed { entry: Box::new(entry), reason, detail });
                if state.retired {
                    // Nobody would look again whether the dead letters have room.
                    state.purge_doomed();
                }
            }
        }
        let next = self.next(&mut state, &trigger, now);
        if next.is_some() {
            // The limit may have grown, the breaker closed, or another worker's delivery ended.
            self.start_all(&mut state, &trigger, now);
        }
        self.arm(&mut state, now);
        self.let_in(&mut state, &trigger, now);
        self.feel_pressure(&mut state);
        next
    }

    /// Lets an entry wait for its next attempt: in the lane when that is soon.
    fn wait(
        self: &Rc<Self>,
        state: &mut State,
        trigger: &Trigger,
        mut entry: Entry,
        now: Instant,
        due: Instant,
    ) {
        let in_hand = due.saturating_duration_since(entry.born);
        let is_soon = in_hand < self.worker.settings.after;
        if is_soon && !state.is_held(trigger) {
            trigger.usage.wait_again(entry.event.cost());
            state.queue.push_delayed(entry, due);
        } else if state.stopping {
            entry.not_before = Some(due);
            self.keep_attempts(state, trigger, entry, now);
        } else if trigger.plan.ordered {
            self.wait_in_order(state, trigger, entry, now, due);
        } else {
            entry.not_before = Some(due);
            self.leave(state, trigger, entry);
        }
    }

    /// Starts what may start.
    fn pump(self: &Rc<Self>, state: &mut State, trigger: &Trigger, now: Instant) {
        while let Some(doomed) = state.doomed.pop_front() {
            if let Err(doomed) = self.bury(state, trigger, doomed) {
                state.doomed.push_front(doomed);
                break;
            }
        }
        self.start_all(state, trigger, now);
        self.arm(state, now);
        self.let_in(state, trigger, now);
        self.feel_pressure(state);
    }

    fn start_all(self: &Rc<Self>, state: &mut State, trigger: &Trigger, now: Instant) {
        while let Some(entry) = self.next(state, trigger, now) {
            self.spawn(entry);
        }
    }

    /// Tells the worker when events wait here for want of its own time.
    fn feel_pressure(&self, state: &mut State) {
        let [least, most] = PRESSED;
        let bound = if state.is_pressed { least } else { most };
        // A trigger that wants few deliveries at a time waits for its own sake.
        let is_held_back = self.trigger.borrow().plan.in_flight_max < IN_FLIGHT_DEFAULT;
        let is_behind = state.queue.ready_len() >= bound
            && !is_held_back
            && state.pace <= PRESSED_PACE_MAX
            && state.blocked_until.is_none()
            && state.doomed.is_empty();
        let leaving = state.leaving.len();
        let is_pressed = is_behind || leaving >= overflow::LEAVING_PRESSED;
        if is_pressed != state.is_pressed {
            state.is_pressed = is_pressed;
            self.worker.press(is_pressed);
        }
        let is_flooded = leaving >= overflow::LEAVING_FLOODED
            || (state.is_flooded && leaving >= overflow::LEAVING_PRESSED);
        if is_flooded != state.is_flooded {
            state.is_flooded = is_flooded;
            self.worker.flood(&self.fanout.hub, is_flooded);
        }
    }

    /// Takes the next entry that may start out of the queue, counted as under way.
    fn next(self: &Rc<Self>, state: &mut State, trigger: &Trigger, now: Instant) -> Option<Entry> {
        state.blocked_until = None;
        loop {
            let Some(waiting) = state.queue.peek(now) else {
                state.sate(trigger);
                return None;
            };
            let age = waiting.age(now);
            if age >= self.worker.settings.age_max {
                let entry = Box::new(state.take(trigger, now)?);
                let detail = Some(format!("it waited {} s", age.as_secs()));
                self.doom(state, trigger, Doomed { entry, reason: Reason::Aged, detail });
                continue;
            }
            let is_retry = waiting.attempts > 0;
            let was_postponed = waiting.postponed;
            let pass = state.admit(trigger, now)?;
            if is_retry && let Some(wait) = state.postpones(was_postponed, now) {
                state.give_up(trigger, pass);
                let mut entry = state.queue.pop(now)?;
                entry.postponed = true;
                state.tally.postponed += 1;
                state.queue.push_delayed(entry, now + wait);
                continue;
            }
            let mut entry = state.take(trigger, now)?;
            state.start(&mut entry, pass, now);
            return Some(entry);
        }
    }

    pub(crate) fn spawn(self: &Rc<Self>, entry: Entry) {
        self.worker.tasks.spawn_local(delivery::run(Rc::clone(self), entry));
    }

    /// Sees to it that the lane looks again when something may start.
    fn arm(self: &Rc<Self>, state: &mut State, now: Instant) {
        let Some(at) = state.look_again_at(now) else { return };
        if state.timer.as_ref().is_some_and(|(armed, _)| *armed <= at) {
            return;
        }
        state.disarm();
        let lane = Rc::downgrade(self);
        let handle = self.worker.tasks.spawn_local(async move {
            tokio::time::sleep_until(at.into()).await;
            if let Some(lane) = lane.upgrade() {
                lane.state.borrow_mut().timer = None;
                lane.wake(Instant::now());
            }
        });
        state.timer = Some((at, handle.abort_handle()));
    }
}

#[cfg(test)]
mod tests;
