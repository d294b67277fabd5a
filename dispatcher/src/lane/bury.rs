//! Lane -> dead letters: what is given up is stored there before its lease is settled.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use channel::{PublishError, Work, order_key};

use super::{Doomed, Entry, Lane, State, Ticket};
use crate::{
    Replies, Trigger,
    attempt::AttemptLog,
    dead_letter::{DeadLetter, Kept, Reason, SinkState, SinkStatus},
};

/// How long to wait before a dead letter that could not be stored is tried again.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// What is left of an entry that became a letter.
struct Grave {
    ticket: Ticket,
    holds_key: bool,
}

impl Lane {
    /// Puts an entry, counted as under way, into the dead letters, now or when they have room.
    pub(super) fn doom(self: &Rc<Self>, state: &mut State, trigger: &Trigger, doomed: Doomed) {
        if let Err(doomed) = self.bury(state, trigger, doomed) {
            state.doomed.push_back(doomed);
        }
    }

    /// Puts an entry into the dead letters; gives it back when they are full.
    pub(super) fn bury(
        self: &Rc<Self>,
        state: &mut State,
        trigger: &Trigger,
        doomed: Doomed,
    ) -> Result<(), Doomed> {
        let Doomed { mut entry, reason, detail } = doomed;
        let letter = self.letter(trigger, &mut entry, reason, detail);
        match self.fanout.dead_letters.put(letter) {
            Ok(Kept { letter, storing }) => {
                let grave = Grave { ticket: entry.ticket, holds_key: entry.holds_key };
                match storing {
                    None => self.buried(state, trigger, &letter, grave),
                    Some(storing) => {
                        let lane = Rc::clone(self);
                        self.worker.tasks.spawn_local(lane.store(letter, storing, grave));
                    }
                }
                Ok(())
            }
            Err(letter) => {
                let DeadLetter { attempts, detail, .. } = *letter;
                entry.log = Some(Box::new(attempts));
                Err(Doomed { entry, reason, detail })
            }
        }
    }

    /// Waits until a letter is stored, for as long as it takes: until then its event is not settled.
    async fn store(
        self: Rc<Self>,
        letter: Arc<DeadLetter>,
        mut storing: Work<Result<(), PublishError>>,
        grave: Grave,
    ) {
        let dead_letters = &self.fanout.dead_letters;
        while let Err(error) = storing.await {
            tracing::warn!(dead_letter = letter.id, %error, "a dead letter could not be stored yet");
            tokio::time::sleep(STORE_AGAIN).await;
            if self.state.borrow().leaves_stored {
                // Not settled: whoever opens the storage again goes on with it.
                return;
            }
            let still_held = dead_letters.get(letter.id).is_some();
            match dead_letters.store(&letter).filter(|_| still_held) {
                Some(again) => storing = again,
                None => break,
            }
        }
        let trigger = self.trigger();
        let mut state = self.state.borrow_mut();
        self.buried(&mut state, &trigger, &letter, grave);
        if !state.retired {
            self.pump(&mut state, &trigger, Instant::now());
        }
    }

    /// The entry has reached its end.
    fn buried(
        self: &Rc<Self>,
        state: &mut State,
        trigger: &Trigger,
        letter: &Arc<DeadLetter>,
        grave: Grave,
    ) {
        state.tally.in_flight -= 1;
        state.tally.dead += 1;
        let place = Reason::ALL.iter().position(|&each| each == letter.reason);
        if let Some(count) = place.and_then(|at| state.tally.dead_by_reason.get_mut(at)) {
            *count += 1;
        }
        if grave.holds_key {
            state.queue.end_key(order_key(&letter.event));
        }
        grave.ticket.done();
        if let Some(sink) = &trigger.plan.dead_letter_sink {
            self.worker.send_to_sink(&self.fanout, &trigger.plan, sink, Arc::clone(letter));
        }
    }

    fn letter(
        &self,
        trigger: &Trigger,
        entry: &mut Entry,
        reason: Reason,
        detail: Option<String>,
    ) -> Box<DeadLetter> {
        let plan = &trigger.plan;
        let sink = plan.dead_letter_sink.as_ref().map(|sink| SinkState {
            url: sink.url().to_owned(),
            status: SinkStatus::Pending,
            attempts: 0,
        });
        let destination = match &plan.replies {
            Replies::To(receiver) if reason == Reason::Reply => receiver,
            _ => &plan.subscriber,
        };
        Box::new(DeadLetter {
            id: 0,
            hub: self.fanout.hub.clone(),
            trigger: plan.name.clone(),
            key: trigger.key,
            destination: destination.url().to_owned(),
            reason,
            detail,
            failed_at: SystemTime::now(),
            attempts: entry.log.take().map_or_else(AttemptLog::default, |log| *log),
            event: entry.event.clone(),
            sink,
        })
    }

    /// Notes that a dead letter was taken out and waits in the overflow again.
    pub(crate) fn redriven(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.tally.dead -= 1;
            state.tally.redriven += 1;
            state.tally.waiting += 1;
        }
        if self.trigger().usage.overflow() {
            self.fanout.overflows.add();
        }
        self.borrow();
    }
}
