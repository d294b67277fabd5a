//! What was read ahead of an overflow, lent when it is due, or in order.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::SystemTime,
};

use tokio::sync::mpsc;

use super::super::partition::{Inlet, Kept};
use crate::{
    Beside, Envelope, Position, Reader, clock,
    due::{Due, DueReader, Look},
    key_worker,
};

/// Entries of one trigger. The windows of its lanes bound how many there are.
pub(super) struct Shelf {
    is_ordered: bool,
    state: Mutex<State>,
    /// Takes the positions of settled entries about which there is a note.
    stale: mpsc::Sender<Position>,
}

struct State {
    /// One for all workers, or one for each where order counts.
    queues: Vec<BTreeMap<(SystemTime, Position), Kept>>,
    wakers: Vec<Option<Waker>>,
    is_closed: bool,
    /// What was learned of entries while they were on loan.
    amended: HashMap<Position, Envelope>,
    /// Positions below are cleared, by lane.
    cleared: BTreeMap<i32, Position>,
}

impl Shelf {
    /// A shelf that gives to `stale` the positions whose notes are to be removed.
    pub(super) fn new(
        workers: usize,
        is_ordered: bool,
        stale: mpsc::Sender<Position>,
    ) -> Arc<Self> {
        let workers = workers.max(1);
        let queues = if is_ordered { workers } else { 1 };
        Arc::new(Self {
            is_ordered,
            state: Mutex::new(State {
                queues: (0..queues).map(|_| BTreeMap::new()).collect(),
                wakers: vec![None; workers],
                is_closed: false,
                amended: HashMap::new(),
                cleared: BTreeMap::new(),
            }),
            stale,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made whole before anything can panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.wake_all();
    }

    /// Another reading of the topic begins, which may have been made anew: bounds of before say nothing.
    pub(super) fn begin(&self) {
        self.lock().cleared.clear();
    }

    /// What is known of an entry from now on.
    pub(super) fn amend(&self, position: Position, envelope: Envelope) {
        self.lock().amended.insert(position, envelope);
    }

    /// Nothing more is known of an entry than it says itself.
    pub(super) fn unamend(&self, position: Position) {
        self.lock().amended.remove(&position);
    }

    /// Lends nothing below these positions any more, by lane.
    pub(super) fn clear(&self, below: impl IntoIterator<Item = (i32, Position)>) {
        let mut state = self.lock();
        state.cleared.extend(below);
        let mut cleared = Vec::new();
        let State { queues, cleared: bounds, .. } = &mut *state;
        for queue in queues {
            for (place, kept) in std::mem::take(queue) {
                if is_cleared(bounds, &kept) {
                    cleared.push(kept);
                } else {
                    queue.insert(place, kept);
                }
            }
        }
        drop(state);
        for kept in cleared {
            self.forget(&kept);
        }
    }

    fn forget(&self, kept: &Kept) {
        kept.partition.forget(kept.position);
        self.settled(kept.position);
    }

    pub(super) fn reader(self: &Arc<Self>, worker: usize) -> Box<dyn Reader> {
        Box::new(DueReader::new(WorkersPart { shelf: Arc::clone(self), worker }))
    }
}

impl State {
    fn wake_all(&mut self) {
        self.wakers.iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }
}

fn is_cleared(bounds: &BTreeMap<i32, Position>, kept: &Kept) -> bool {
    bounds.get(&kept.partition.number()).is_some_and(|&below| kept.position < below)
}

impl Inlet for Shelf {
    fn keep(&self, mut kept: Kept) {
        let mut state = self.lock();
        if is_cleared(&state.cleared, &kept) {
            drop(state);
            return self.forget(&kept);
        }
        if let Some(envelope) = state.amended.get(&kept.position) {
            kept.beside = Some(Beside::Envelope(Box::new(envelope.clone())));
        }
        let due = match &kept.beside {
            Some(Beside::Envelope(envelope)) if !self.is_ordered => envelope.due_at,
            _ => SystemTime::UNIX_EPOCH,
        };
        let place = key_worker(&kept.event, state.queues.len());
        if let Some(queue) = state.queues.get_mut(place) {
            let place = (due, kept.position);
            // A loan of an assignment that is over must not take the place of what was read since.
            if kept.partition.is_ours() || !queue.contains_key(&place) {
                queue.insert(place, kept);
            }
        }
        state.wake_all();
    }

    fn settled(&self, position: Position) {
        if self.lock().amended.remove(&position).is_some() && self.stale.try_send(position).is_err()
        {
            // The note stays; it is about nothing, and costs its bytes.
            tracing::debug!(position = position.0, "a note about a settled event is not removed");
        }
    }

    fn ended(&self) {
        self.lock().wake_all();
    }
}

/// Lends what one worker may have.
struct WorkersPart {
    shelf: Arc<Shelf>,
    worker: usize,
}

impl Due for WorkersPart {
    fn look(&mut self, cx: &Context<'_>) -> Look {
        let mut state = self.shelf.lock();
        if state.is_closed {
            return Look::End;
        }
        let place = self.worker % state.queues.len().max(1);
        let mut wait = None;
        let Some(queue) = state.queues.get_mut(place) else { return Look::End };
        while let Some(first) = queue.first_entry() {
            let left = first.key().0.duration_since(clock::now()).unwrap_or_default();
            if !left.is_zero() {
                wait = Some(left);
                break;
            }
            // One whose lane is no longer ours is let go.
            if let Some(lease) = first.remove().lend() {
                return Look::Lend(lease);
            }
        }
        let workers = state.wakers.len().max(1);
        if let Some(waker) = state.wakers.get_mut(self.worker % workers) {
            *waker = Some(cx.waker().clone());
        }
        Look::Wait(wait)
    }
}
