//! A desk that tasks fill, workers read, and leases come back to.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    task::Context,
};

use atomic_waker::AtomicWaker;
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Beside, Depth, Envelope, Event, Home, Lease, Position, Reader, clock,
    due::{Due, DueReader, Look},
    nats::desk::{Desk, Mode, Next, Ready, Wake},
    overflow::DELAY_CLASSES,
};

/// What is to be told to the server of a message.
#[derive(Debug)]
pub(super) enum Act {
    /// It is settled.
    Settle(u64),
    /// It is for whoever wants it, at once.
    GiveBack(u64),
}

/// Subjects of one stream that are read side by side, at most: classes of delay, and what is ordered.
pub(super) const LANES: usize = DELAY_CLASSES + 1;

/// The messages of one stream that this process has.
pub(super) struct Source {
    desk: Mutex<Desk>,
    wakers: Box<[AtomicWaker]>,
    acts: mpsc::Sender<Act>,
    /// Told when there may be room for more messages of a lane.
    rooms: [Notify; LANES],
    pub(super) gauge: Gauge,
    /// Nothing more is taken or lent.
    pub(super) closed: CancellationToken,
    /// Whoever pulls has a token of it: nothing is given back while a request is out that could
    /// have it sent here again.
    pub(super) pulling: TaskTracker,
    /// What came up to this sequence number is not wanted any more.
    pub(super) cleared: AtomicU64,
    /// What became of envelopes since their messages came.
    pub(super) amended: Mutex<std::collections::HashMap<u64, Envelope>>,
}

impl Source {
    /// A source, and what the task that acknowledges is to read. `slots` messages are here at most.
    pub(super) fn new(
        workers: usize,
        mode: Mode,
        slots: usize,
    ) -> (Arc<Self>, mpsc::Receiver<Act>) {
        // A message has at most one act before it is forgotten, and may come back once by then.
        let (acts, told) = mpsc::channel(slots.saturating_mul(2).max(16));
        let source = Arc::new(Self {
            desk: Mutex::new(Desk::new(workers, mode)),
            wakers: (0..workers.max(1)).map(|_| AtomicWaker::new()).collect(),
            acts,
            rooms: Default::default(),
            gauge: Gauge::default(),
            closed: CancellationToken::new(),
            pulling: TaskTracker::new(),
            cleared: AtomicU64::new(0),
            amended: Mutex::default(),
        });
        (source, told)
    }

    /// The books. Held for a moment only: every method of [`Desk`] is short.
    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the event of a message that came ready to be lent.
    pub(super) fn offer(&self, sequence: u64, ready: Ready) {
        let wake = self.desk().offer(sequence, ready);
        self.wake(&wake);
    }

    /// Hands out by key, or in turn.
    pub(super) fn keep_keys_together(&self, keyed: bool) {
        self.desk().set_mode(if keyed { Mode::Keyed } else { Mode::Spread });
        self.wake(&Wake::Everybody);
    }

    /// Told when a message of a lane is gone.
    pub(super) fn room(&self, lane: usize) -> Option<&Notify> {
        self.rooms.get(lane)
    }

    /// Forgets a message that is acknowledged, which makes room.
    pub(super) fn remove(&self, sequence: u64) {
        let removed = self.desk().remove(sequence);
        if let Some(room) = removed.and_then(|(_, lane)| self.room(lane)) {
            room.notify_one();
        }
    }

    /// Forgets what is not lent, up to a sequence number, and takes nothing of it any more.
    pub(super) fn clear(&self, last: u64) {
        self.cleared.fetch_max(last, Ordering::AcqRel);
        self.desk().clear(last);
        self.rooms.iter().for_each(Notify::notify_one);
    }

    /// Lends nothing more; what is here and not lent goes back to the server.
    pub(super) fn close(&self) {
        self.close_with(false);
    }

    /// As [`Source::close`], when [`Source::give_up`] follows: what has an order waits for that.
    pub(super) fn close_at_end(&self) {
        self.close_with(true);
    }

    fn close_with(&self, gives_up_soon: bool) {
        let back = self.desk().close(gives_up_soon);
        self.give_back(back);
        self.closed.cancel();
        self.wake(&Wake::Everybody);
    }

    /// Gives back all that is not settled.
    pub(super) fn give_up(&self) {
        let back = self.desk().give_up();
        self.give_back(back);
    }

    fn give_back(&self, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            if self.acts.try_send(Act::GiveBack(sequence)).is_err() {
                // The server lends it again by itself after the ack wait.
                self.remove(sequence);
            }
        }
    }

    fn wake(&self, wake: &Wake) {
        match wake {
            Wake::Nobody => {}
            Wake::Worker(worker) => {
                if let Some(waker) = self.wakers.get(*worker) {
                    waker.wake();
                }
            }
            Wake::Everybody => self.wakers.iter().for_each(AtomicWaker::wake),
        }
    }

    pub(super) fn reader(self: &Arc<Self>, worker: usize) -> Box<dyn Reader> {
        self.desk().come(worker);
        Box::new(DueReader::new(WorkersPart { source: Arc::clone(self), worker }))
    }
}

impl Home for Source {
    fn settle(&self, position: Position, event: &Event) {
        if self.desk().settle(position.0) {
            self.gauge.add(-1, event.size());
            if self.acts.try_send(Act::Settle(position.0)).is_err() {
                // Its place is gone with the task at the end of the process: a duplicate later.
                tracing::debug!(position = position.0, "settled after the end");
            }
        }
    }

    fn lend_again(&self, position: Position, event: Event, beside: Option<Beside>) {
        let amended = self.amended.lock().unwrap_or_else(PoisonError::into_inner);
        let beside = match amended.get(&position.0) {
            Some(envelope) => Some(Beside::Envelope(Box::new(envelope.clone()))),
            None => beside,
        };
        drop(amended);
        let due_at = match &beside {
            Some(Beside::Envelope(envelope)) => envelope.due_at,
            _ => clock::now(),
        };
        let ready = Ready { event, beside, redelivered: true, due_at };
        let again = self.desk().again(position.0, ready);
        match again {
            Some(wake) => self.wake(&wake),
            None => self.give_back([position.0]),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("depth", &self.gauge.depth()).finish_non_exhaustive()
    }
}

/// What is stored and not settled, as far as it is known: what the server said last, and what this
/// process did since.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    events: AtomicI64,
    bytes: AtomicI64,
    publishing: AtomicI64,
    changes: AtomicI64,
    is_stale: AtomicBool,
}

impl Gauge {
    /// Counts `events` more, of `bytes` each.
    pub(super) fn add(&self, events: i64, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.events.fetch_add(events, Ordering::Relaxed);
        self.bytes.fetch_add(events.saturating_mul(bytes), Ordering::Relaxed);
        self.touch();
    }

    /// Says that something is on its way, until what comes back is dropped.
    pub(super) fn publishing(self: &Gauge, by: i64) {
        self.publishing.fetch_add(by, Ordering::Relaxed);
        self.touch();
    }

    fn touch(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Whether something changed since the server was last asked, which counts as asked now.
    pub(super) fn take_stale(&self) -> bool {
        self.is_stale.swap(false, Ordering::Relaxed)
    }

    /// To be read before the server is asked.
    pub(super) fn moment(&self) -> Option<i64> {
        let is_quiet = self.publishing.load(Ordering::Relaxed) == 0;
        is_quiet.then(|| self.changes.load(Ordering::Relaxed))
    }

    /// Takes over what the server said, if nothing happened since `moment`, or always without one.
    pub(super) fn set(&self, depth: Depth, moment: Option<i64>) {
        if moment.is_some() && moment != self.moment() {
            self.is_stale.store(true, Ordering::Relaxed);
            return;
        }
        self.events.store(i64::try_from(depth.events).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.bytes.store(i64::try_from(depth.bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub(super) fn depth(&self) -> Depth {
        let events = usize::try_from(self.events.load(Ordering::Relaxed)).unwrap_or_default();
        let bytes = usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or_default();
        Depth { events, bytes: if events == 0 { 0 } else { bytes } }
    }
}

/// Lends what one worker may have.
struct WorkersPart {
    source: Arc<Source>,
    worker: usize,
}

impl WorkersPart {
    fn next(&self) -> Look {
        let next = self.source.desk().next(self.worker, clock::now());
        match next {
            Next::End => Look::End,
            Next::Wait(wait) => Look::Wait(wait),
            Next::Event(sequence, ready) => {
                let home: Arc<dyn Home> = Arc::<Source>::clone(&self.source);
                let Ready { event, beside, redelivered, .. } = ready;
                let lease = Lease::new(event, Position(sequence), redelivered, home);
                Look::Lend(lease.beside(beside))
            }
        }
    }
}

impl Due for WorkersPart {
    fn look(&mut self, cx: &Context<'_>) -> Look {
        let next = self.next();
        if !matches!(next, Look::Wait(_)) {
            return next;
        }
        let place = self.worker % self.source.wakers.len().max(1);
        if let Some(waker) = self.source.wakers.get(place) {
            waker.register(cx.waker());
        }
        // Something may have come between the look and the registration.
        self.next()
    }
}

impl Drop for WorkersPart {
    fn drop(&mut self) {
        self.source.desk().leave(self.worker);
        self.source.wake(&Wake::Everybody);
    }
}
