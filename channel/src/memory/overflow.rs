//! What waits for one trigger, in memory: lent when it is due, or in order.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::SystemTime,
};

use crate::{
    Beside, Depth, Envelope, Event, Home, Lease, Overflow, Position, Publish, PublishError, Reader,
    Waiting, Work, clock,
    due::{Due, DueReader, Look},
    key_worker,
};

/// The overflow of a trigger of a memory channel. Its events stay charged to the channel's budget.
#[derive(Clone)]
pub(super) struct MemoryOverflow(Arc<Shared>);

struct Shared {
    /// One queue for all workers, or one for each where order counts.
    ordered: bool,
    state: Mutex<State>,
}

struct State {
    queues: Vec<Queue>,
    next: u64,
    depth: Depth,
    closed: bool,
    wakers: Vec<Option<Waker>>,
}

/// By due time and turn, or by turn alone where order counts.
type Queue = BTreeMap<(SystemTime, u64), Kept>;

struct Kept {
    waiting: Waiting,
    redelivered: bool,
}

impl MemoryOverflow {
    pub(super) fn new(workers: usize, ordered: bool) -> Self {
        let workers = workers.max(1);
        let queues = if ordered { workers } else { 1 };
        Self(Arc::new(Shared {
            ordered,
            state: Mutex::new(State {
                queues: (0..queues).map(|_| Queue::new()).collect(),
                next: 0,
                depth: Depth::default(),
                closed: false,
                wakers: vec![None; workers],
            }),
        }))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made whole before anything can panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, state: &mut State, turn: u64, kept: Kept) {
        let due = if self.ordered { SystemTime::UNIX_EPOCH } else { kept.waiting.envelope.due_at };
        let place = key_worker(&kept.waiting.event, state.queues.len());
        if let Some(queue) = state.queues.get_mut(place) {
            queue.insert((due, turn), kept);
        }
        state.wakers.iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }
}

impl Home for Shared {
    fn settle(&self, _position: Position, event: &Event) {
        let mut state = self.lock();
        state.depth.events -= 1;
        state.depth.bytes -= event.cost();
    }

    fn lend_again(&self, position: Position, event: Event, beside: Option<Beside>) {
        let Some(Beside::Envelope(envelope)) = beside else { return };
        let kept = Kept { waiting: Waiting { event, envelope: *envelope }, redelivered: true };
        self.keep(&mut self.lock(), position.0, kept);
    }
}

impl Overflow for MemoryOverflow {
    fn put(&self, waiting: Vec<Waiting>) -> Publish {
        let mut state = self.0.lock();
        for waiting in waiting {
            state.depth.events += 1;
            state.depth.bytes += waiting.event.cost();
            let turn = state.next;
            state.next += 1;
            self.0.keep(&mut state, turn, Kept { waiting, redelivered: false });
        }
        Publish::done(Ok(Position(state.next.saturating_sub(1))))
    }

    /// There is no restart to remember anything for.
    fn amend(&self, position: Position, _envelope: Envelope) -> Publish {
        Publish::done(Ok(position))
    }

    fn reader(&self, worker: usize) -> Box<dyn Reader> {
        Box::new(DueReader::new(WorkersPart { shared: Arc::clone(&self.0), worker }))
    }

    fn depth(&self) -> Depth {
        self.0.lock().depth
    }

    fn clear(&self) -> Work<Result<usize, PublishError>> {
        let mut state = self.0.lock();
        let mut cleared = 0;
        let mut bytes = 0;
        for queue in &mut state.queues {
            cleared += queue.len();
            bytes += queue.values().map(|kept| kept.waiting.event.cost()).sum::<usize>();
            queue.clear();
        }
        state.depth.events -= cleared;
        state.depth.bytes -= bytes;
        Box::pin(std::future::ready(Ok(cleared)))
    }

    fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.wakers.iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }
}

impl fmt::Debug for MemoryOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryOverflow").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

/// Lends what one worker may have.
struct WorkersPart {
    shared: Arc<Shared>,
    worker: usize,
}

impl Due for WorkersPart {
    fn look(&mut self, cx: &Context<'_>) -> Look {
        let mut state = self.shared.lock();
        if state.closed {
            return Look::End;
        }
        let place = self.worker % state.queues.len();
        let Some(queue) = state.queues.get_mut(place) else { return Look::End };
        let wait = match queue.first_entry() {
            Some(first) => match first.key().0.duration_since(clock::now()) {
                Ok(wait) if !wait.is_zero() => Some(wait),
                _ => {
                    let ((_, turn), kept) = first.remove_entry();
                    let home: Arc<dyn Home> = Arc::<Shared>::clone(&self.shared);
                    let Waiting { event, envelope } = kept.waiting;
                    let lease = Lease::new(event, Position(turn), kept.redelivered, home);
                    return Look::Lend(lease.beside(Some(Beside::Envelope(Box::new(envelope)))));
                }
            },
            None => None,
        };
        let workers = state.wakers.len();
        if let Some(waker) = state.wakers.get_mut(self.worker % workers) {
            *waker = Some(cx.waker().clone());
        }
        Look::Wait(wait)
    }
}
