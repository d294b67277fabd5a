//! Matched event -> delivered at once, queued in the lane, or on its way into the overflow.

use std::{rc::Rc, time::Instant};

use channel::{Event, order_key};

use super::{Doomed, Entry, Lane, State, Ticket};
use crate::{Trigger, dead_letter::Reason};

impl Lane {
    /// Takes on an event that the filter took.
    pub(crate) fn offer(self: &Rc<Self>, event: Event, ticket: Ticket, now: Instant) {
        let trigger = self.trigger.borrow();
        let mut state = self.state.borrow_mut();
        if state.stopping {
            // Its channel keeps it for the next process.
            return;
        }
        state.tally.matched += 1;
        let mut entry = Entry::new(event, ticket, now);
        let goes_first = state.queue.len() == 0 && !trigger.plan.ordered;
        if goes_first && let Some(pass) = state.admit(&trigger, now) {
            state.tally.in_flight += 1;
            state.start(&mut entry, pass, now);
            drop(state);
            self.spawn(entry);
            return;
        }
        let bytes = entry.event.cost();
        let waits_here = if trigger.plan.ordered {
            self.waits_in_order_here(&mut state, &trigger, &entry, now)
        } else {
            !state.is_shut(&trigger, now) && trigger.usage.wait(bytes, self.worker.settings.lane)
        };
        if waits_here {
            state.tally.waiting += 1;
            state.queue.push(entry, trigger.plan.ordered);
            self.pump(&mut state, &trigger, now);
        } else {
            self.overflow_or_bury(&mut state, &trigger, entry, now);
        }
    }

    /// Whether an event of an ordered trigger waits in the lane, which then counts it: with those of
    /// its key that are here; else only when nothing waits in the overflow.
    fn waits_in_order_here(
        self: &Rc<Self>,
        state: &mut State,
        trigger: &Trigger,
        entry: &Entry,
        now: Instant,
    ) -> bool {
        let (bytes, lane) = (entry.event.cost(), self.worker.settings.lane);
        if state.queue.is_here(order_key(&entry.event)) {
            if !trigger.usage.wait(bytes, lane) {
                // The lane is full: other keys make room for one that must stay together.
                self.let_leave(state, trigger, |_| true);
                if !state.queue.is_here(order_key(&entry.event)) {
                    return false;
                }
                trigger.usage.wait_again(bytes);
            }
            return true;
        }
        let overflows = !state.leaving.is_empty()
            || state.storing > 0
            || (trigger.usage.overflows() && trigger.overflow.depth().events > 0);
        !overflows && !state.is_shut(trigger, now) && trigger.usage.wait(bytes, lane)
    }

    /// Lets an event that finds no place in the lane wait in the overflow, or ends it when that is full.
    fn overflow_or_bury(
        self: &Rc<Self>,
        state: &mut State,
        trigger: &Trigger,
        mut entry: Entry,
        now: Instant,
    ) {
        if !self.has_room(state, trigger, entry.event.cost()) {
            state.tally.in_flight += 1;
            let detail = Some("more waits for its trigger than may".to_owned());
            let doomed = Doomed { entry: Box::new(entry), reason: Reason::Overflow, detail };
            let Err(kept) = self.bury(state, trigger, doomed) else {
                self.arm(state, now);
                return;
            };
            // No room among the dead letters either: it waits beyond the bound, until the channel
            // itself refuses, and is delivered when its turn comes.
            state.tally.in_flight -= 1;
            entry = *kept.entry;
        }
        state.tally.waiting += 1;
        self.leave(state, trigger, entry);
        self.feel_pressure(state);
    }
}
