//! What a lane holds, and what may start of it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use channel::order_key;
use tokio::task::AbortHandle;

use super::{Doomed, Entry, Tally, queue::Queue};
use crate::{
    Trigger,
    breaker::{self, Admit, Breaker},
    concurrency::Concurrency,
    retry_budget::{RetryBudget, Spend},
};

/// How long a lane with nothing under way waits for the deliveries of other workers to end.
const OTHERS_BUSY_WAIT: Duration = Duration::from_millis(5);

/// Deliveries that a lane may let follow one another while another worker's lane starves.
const TURNS_MAX: u32 = 16;

/// Entries of an ordered overflow that a lane holds, so that a key that waits does not hold up the others.
const ORDERED_WINDOW: usize = 256;

/// How long a lane waits before it looks again whether the dead letters have room.
const DEAD_LETTERS_FULL_WAIT: Duration = Duration::from_secs(1);

pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) tally: Tally,
    pub(super) in_flight: u32,
    /// Whether other workers have every delivery that the trigger may have under way.
    pub(super) starves: bool,
    /// Deliveries since this lane last left a place to others.
    pub(super) turns: u32,
    /// Until when it leaves one.
    pub(super) left_until: Option<Instant>,
    pub(super) concurrency: Concurrency,
    pub(super) budget: RetryBudget,
    pub(super) breaker: Rc<RefCell<Breaker>>,
    /// Entries that ended while the dead letters were full. While there are any, nothing starts.
    pub(super) doomed: VecDeque<Doomed>,
    /// Entries on their way into the overflow, in their order; counted as waiting.
    pub(super) leaving: VecDeque<Entry>,
    /// Entries of the batch that is being stored there.
    pub(super) storing: usize,
    /// Entries whose attempts are being written down before the process ends.
    pub(super) amending: usize,
    /// Whether a task runs that stores what leaves.
    pub(super) mover: bool,
    /// The task that borrows from the overflow, and whether it waits to be let.
    pub(super) borrower: Option<AbortHandle>,
    pub(super) borrower_waits: bool,
    pub(super) retired: bool,
    /// It ended with its broker, whose storage keeps what has not reached its end.
    pub(super) leaves_stored: bool,
    /// Its trigger is not ready for now.
    pub(super) is_parked: bool,
    /// The process ends: nothing starts any more, because what waits outlives it.
    pub(super) stopping: bool,
    /// Whether events wait because the worker takes them in faster than it delivers.
    pub(super) is_pressed: bool,
    /// Whether more is on its way into the overflow than memory should hold.
    pub(super) is_flooded: bool,
    /// What an attempt takes on average, in seconds.
    pub(super) pace: f64,
    /// When what blocks the next entry is over, if time alone ends it.
    pub(super) blocked_until: Option<Instant>,
    pub(super) timer: Option<(Instant, AbortHandle)>,
}

impl State {
    /// The breaker's pass for one delivery, which is then counted as under way; `None` when none
    /// may start.
    pub(super) fn admit(&mut self, trigger: &Trigger, now: Instant) -> Option<breaker::Ticket> {
        self.blocked_until = None;
        let is_busy = self.in_flight >= self.concurrency.limit().get();
        if self.is_held(trigger) || is_busy || !self.doomed.is_empty() {
            return None;
        }
        self.left_until = self.left_until.filter(|until| now < *until);
        if self.left_until.is_some() {
            self.blocked_until = self.left_until;
            return None;
        }
        if !trigger.usage.start(trigger.plan.in_flight_max.get()) {
            self.wait_for_others(trigger, now);
            return None;
        }
        self.sate(trigger);
        let admit = self.breaker.borrow_mut().admit(now);
        match admit {
            Admit::Go(pass) | Admit::Probe(pass) => {
                self.in_flight += 1;
                Some(pass)
            }
            Admit::WaitUntil(at) => {
                trigger.usage.end();
                self.blocked_until = Some(at);
                None
            }
        }
    }

    /// Whether nothing may start until somebody says otherwise.
    pub(super) fn is_held(&self, trigger: &Trigger) -> bool {
        self.retired || self.stopping || self.is_parked || trigger.plan.paused
    }

    /// Whether nothing will start soon, for another reason than that others are under way.
    pub(super) fn is_shut(&self, trigger: &Trigger, now: Instant) -> bool {
        self.is_held(trigger)
            || matches!(self.breaker.borrow().state(), breaker::State::Open { until } if now < until)
    }

    /// Whether the lane wants more of what the overflow holds: about as much as it can deliver; one
    /// entry while it is shut, so that the first of them grows old where it is seen.
    pub(super) fn wants_more(&self, trigger: &Trigger, now: Instant, bytes_max: usize) -> bool {
        if self.retired || self.stopping || !self.doomed.is_empty() {
            return false;
        }
        let (events, bytes) = self.queue.borrowed();
        let window = if self.is_shut(trigger, now) {
            1
        } else if trigger.plan.ordered {
            ORDERED_WINDOW
        } else {
            2 * usize::try_from(self.concurrency.limit().get()).unwrap_or(1)
        };
        events == 0 || (events < window && bytes < bytes_max)
    }

    /// A delivery of this lane that ends looks again by itself; another worker's does not.
    fn wait_for_others(&mut self, trigger: &Trigger, now: Instant) {
        if self.in_flight == 0 {
            self.blocked_until = Some(now + OTHERS_BUSY_WAIT);
            if !self.starves {
                self.starves = true;
                trigger.usage.starve(true);
            }
        }
    }

    /// The lane got its share, or wants none any more.
    pub(super) fn sate(&mut self, trigger: &Trigger) {
        if std::mem::take(&mut self.starves) {
            trigger.usage.starve(false);
        }
    }

    /// Leaves the place of a delivery that has just ended to a worker that has none, now and then:
    /// the next event would take it before that worker could look.
    pub(super) fn share(&mut self, trigger: &Trigger, now: Instant) {
        self.turns += 1;
        if self.turns >= TURNS_MAX && trigger.usage.is_wanted() {
            self.turns = 0;
            self.left_until = Some(now + OTHERS_BUSY_WAIT);
        }
    }

    /// Takes back what [`State::admit`] gave.
    pub(super) fn give_up(&mut self, trigger: &Trigger, pass: breaker::Ticket) {
        self.in_flight -= 1;
        trigger.usage.end();
        self.breaker.borrow_mut().withdraw(pass);
    }

    /// Lets an entry go that was admitted.
    pub(super) fn start(&mut self, entry: &mut Entry, pass: breaker::Ticket, now: Instant) {
        if entry.attempts == 0 {
            self.budget.first_attempt(now);
        }
        entry.pass = Some((Rc::clone(&self.breaker), pass));
    }

    /// How long the retry budget puts off a retry that is due.
    pub(super) fn postpones(&mut self, was_postponed: bool, now: Instant) -> Option<Duration> {
        match self.budget.retry(now, was_postponed, fastrand::f64()) {
            Spend::Now => None,
            Spend::Later(wait) => Some(wait),
        }
    }

    pub(super) fn take(&mut self, trigger: &Trigger, now: Instant) -> Option<Entry> {
        let entry = self.queue.pop(now)?;
        trigger.usage.stop_waiting(entry.event.cost());
        self.tally.waiting -= 1;
        self.tally.in_flight += 1;
        Some(entry)
    }

    /// An entry that reached its end without the dead letters.
    pub(super) fn end(&mut self, entry: Entry) {
        if entry.holds_key {
            self.queue.end_key(order_key(&entry.event));
        }
        entry.done();
    }

    /// Ends a waiting entry that nobody will deliver. Dropped, not done, it stays where it is stored.
    pub(super) fn purge(&mut self, entry: Entry) {
        self.tally.waiting -= 1;
        self.tally.purged += 1;
        if !self.leaves_stored {
            entry.done();
        }
    }

    /// Ends what the dead letters had no room for, with its trigger.
    pub(super) fn purge_doomed(&mut self) {
        for doomed in std::mem::take(&mut self.doomed) {
            self.tally.in_flight -= 1;
            self.tally.purged += 1;
            if !self.leaves_stored {
                doomed.entry.done();
            }
        }
    }

    /// When something may start that may not start now, if time alone decides it.
    pub(super) fn look_again_at(&self, now: Instant) -> Option<Instant> {
        if self.retired || self.stopping {
            None
        } else if self.doomed.is_empty() {
            // One that is due already waits for something else than its time.
            let due = self.queue.next_due().filter(|due| *due > now);
            [due, self.blocked_until].into_iter().flatten().min()
        } else {
            Some(now + DEAD_LETTERS_FULL_WAIT)
        }
    }

    pub(super) fn disarm(&mut self) {
        if let Some((_, handle)) = self.timer.take() {
            handle.abort();
        }
    }
}
