//! What of one trigger is in memory: a few rows read ahead, and which ones are on loan.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;

use crate::{
    Beside, Depth, Envelope, Event, Home, Lease, Position, Reader, clock,
    disk::waiting::keeper::{Command, Inbox},
    key_worker,
};

/// Most rows of one trigger and worker that are read ahead.
pub(super) const AHEAD_MAX: usize = 64;
/// Most bytes of them, unless one alone is larger.
pub(super) const AHEAD_BYTES_MAX: usize = 256 << 10;

/// The overflow of one trigger, as workers and the keeper share it.
#[derive(Debug)]
pub(in crate::disk) struct Queue {
    pub(super) trigger: Arc<str>,
    pub(super) is_ordered: bool,
    inbox: Arc<Inbox>,
    state: Mutex<State>,
    readers: Box<[AtomicWaker]>,
    /// Whether the keeper has been asked for more rows.
    is_asked: AtomicBool,
}

#[derive(Debug)]
pub(super) struct State {
    /// For all workers together, or one for each where order counts; by due time and sequence, or
    /// by sequence alone.
    ready: Vec<Ready>,
    /// Rows that must not be read again, by sequence: in memory, on loan, or settled and not yet
    /// deleted. With their bytes until they are settled.
    held: HashMap<u64, Option<usize>>,
    settled: Vec<u64>,
    pub(super) depth: Depth,
    /// When the first row that is not in memory is due.
    pub(super) next_due: Option<u64>,
    pub(super) is_closed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Ready {
    rows: BTreeMap<(u64, u64), Kept>,
    bytes: usize,
    /// Where to read on, in the order of sequences.
    pub(super) cursor: u64,
    /// Whether there may be more to read.
    pub(super) has_more: bool,
}

impl Ready {
    pub(super) fn has_room(&self) -> bool {
        self.rows.len() < AHEAD_MAX && self.bytes < AHEAD_BYTES_MAX
    }

    fn wants_more(&self) -> bool {
        self.has_more && self.rows.len() <= AHEAD_MAX / 2 && self.bytes <= AHEAD_BYTES_MAX / 2
    }
}

#[derive(Debug)]
struct Kept {
    event: Event,
    envelope: Envelope,
    redelivered: bool,
}

impl Kept {
    fn cost(&self) -> usize {
        self.event.cost() + self.envelope.history.len()
    }
}

impl Queue {
    pub(super) fn new(
        trigger: Arc<str>,
        is_ordered: bool,
        workers: usize,
        inbox: Arc<Inbox>,
    ) -> Arc<Self> {
        let workers = workers.max(1);
        let places = if is_ordered { workers } else { 1 };
        Arc::new(Self {
            trigger,
            is_ordered,
            inbox,
            state: Mutex::new(State {
                ready: (0..places).map(|_| Ready::default()).collect(),
                held: HashMap::new(),
                settled: Vec::new(),
                depth: Depth::default(),
                next_due: None,
                is_closed: false,
            }),
            readers: (0..workers).map(|_| AtomicWaker::new()).collect(),
            is_asked: AtomicBool::new(false),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes readers after rows were put in place.
    pub(super) fn wake(&self) {
        self.readers.iter().for_each(AtomicWaker::wake);
    }

    /// Asks the keeper for rows, once until it has come.
    pub(super) fn ask(self: &Arc<Self>) {
        if !self.is_asked.swap(true, Ordering::AcqRel) {
            self.inbox.tell(Command::Refill(Arc::clone(self)));
        }
    }

    /// What the keeper does before it looks for rows.
    pub(super) fn answer_ask(&self) {
        self.is_asked.store(false, Ordering::Release);
    }

    /// Takes the sequences that were settled.
    pub(super) fn take_settled(&self) -> Vec<u64> {
        std::mem::take(&mut self.lock().settled)
    }

    /// Puts a row of `len` bytes in place for its worker; the caller has looked for room.
    pub(super) fn keep(&self, due: u64, sequence: u64, row: (Event, Envelope), len: usize) {
        let (event, envelope) = row;
        let mut state = self.lock();
        state.held.insert(sequence, Some(len));
        self.place(&mut state, due, sequence, Kept { event, envelope, redelivered: false });
    }

    fn place(&self, state: &mut State, due: u64, sequence: u64, kept: Kept) {
        let place = key_worker(&kept.event, state.ready.len());
        let due = if self.is_ordered { 0 } else { due };
        if let Some(ready) = state.ready.get_mut(place) {
            ready.bytes += kept.cost();
            ready.rows.insert((due, sequence), kept);
        }
    }

    /// Lets go of rows that were settled and are deleted.
    pub(super) fn forget(&self, sequences: &[u64]) {
        let mut state = self.lock();
        for sequence in sequences {
            state.held.remove(sequence);
        }
    }

    /// Forgets all rows; those on loan will not be known when they come back.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        for ready in &mut state.ready {
            *ready = Ready { cursor: ready.cursor, ..Ready::default() };
        }
        state.held.clear();
        state.settled.clear();
        state.depth = Depth::default();
        state.next_due = None;
    }

    /// Begins with what is stored for it.
    pub(super) fn begin(&self, depth: Depth) {
        self.lock().depth = depth;
    }

    /// Counts rows that were stored.
    pub(super) fn add(&self, rows: usize, bytes: usize) {
        let mut state = self.lock();
        state.depth.events += rows;
        state.depth.bytes += bytes;
    }

    /// Lends nothing more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake();
    }

    /// What lends one worker its rows.
    pub(super) fn reader(self: &Arc<Self>, worker: usize) -> Box<dyn Reader> {
        Box::new(QueueReader { queue: Arc::clone(self), worker })
    }

    fn lend(self: &Arc<Self>, worker: usize) -> Poll<Option<Lease>> {
        let mut state = self.lock();
        if state.is_closed {
            return Poll::Ready(None);
        }
        let place = worker % state.ready.len();
        let Some(ready) = state.ready.get_mut(place) else { return Poll::Ready(None) };
        let first = ready.rows.pop_first();
        if let Some((_, kept)) = &first {
            ready.bytes -= kept.cost();
        }
        let wants_more = ready.wants_more();
        if wants_more {
            ready.has_more = false;
        }
        drop(state);
        if wants_more {
            self.ask();
        }
        let Some(((_, sequence), kept)) = first else { return Poll::Pending };
        let home: Arc<dyn Home> = Arc::<Self>::clone(self);
        let lease = Lease::new(kept.event, Position(sequence), kept.redelivered, home);
        Poll::Ready(Some(lease.beside(Some(Beside::Envelope(Box::new(kept.envelope))))))
    }
}

impl State {
    pub(super) fn is_held(&self, sequence: u64) -> bool {
        self.held.contains_key(&sequence)
    }

    pub(super) fn has_room(&self) -> bool {
        self.ready.iter().all(Ready::has_room)
    }

    pub(super) fn ready(&mut self) -> &mut [Ready] {
        &mut self.ready
    }
}

impl Home for Queue {
    fn settle(&self, position: Position, _event: &Event) {
        let mut state = self.lock();
        // What was cleared in the meantime is gone already.
        let Some(bytes) = state.held.get_mut(&position.0).and_then(Option::take) else { return };
        state.depth.events = state.depth.events.saturating_sub(1);
        state.depth.bytes = state.depth.bytes.saturating_sub(bytes);
        state.settled.push(position.0);
        drop(state);
        self.inbox.tell_settled();
    }

    fn lend_again(&self, position: Position, event: Event, beside: Option<Beside>) {
        let Some(Beside::Envelope(envelope)) = beside else { return };
        let mut state = self.lock();
        if !state.is_held(position.0) || state.is_closed {
            return;
        }
        let due = clock::to_micros(envelope.due_at);
        let kept = Kept { event, envelope: *envelope, redelivered: true };
        self.place(&mut state, due, position.0, kept);
        drop(state);
        self.wake();
    }
}

#[derive(Debug)]
struct QueueReader {
    queue: Arc<Queue>,
    worker: usize,
}

impl Reader for QueueReader {
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Option<Lease>> {
        if let Poll::Ready(lease) = self.queue.lend(self.worker) {
            return Poll::Ready(lease);
        }
        let readers = &self.queue.readers;
        if let Some(waker) = readers.get(self.worker % readers.len()) {
            waker.register(cx.waker());
        }
        // A row may have come between the look and the registration.
        self.queue.lend(self.worker)
    }
}
