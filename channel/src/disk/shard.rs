//! One worker's part of the log: events on their way to the disk, and stored ones that it may lend.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;
use crossbeam::queue::SegQueue;

use crate::{
    Batch, Beside, Event, Home, Lease, Position, PublishError, Reader,
    disk::{
        ack::{Ack, Acked},
        entries::Entries,
        gauges::Gauges,
        group::ENTRY_LEN,
        settings::PENDING_BYTES_MAX,
    },
    record,
};

/// What one worker publishes, lends and settles. Queues are bounded by what the channel admits.
#[derive(Debug)]
pub(super) struct Shard {
    gauges: Arc<Gauges>,
    pending: Mutex<Line>,
    ready: SegQueue<Kept>,
    /// Bytes of it that were not lent before.
    ahead: AtomicUsize,
    /// Positions that were settled and that the writer has not seen.
    settled: SegQueue<u64>,
    reader: AtomicWaker,
}

/// Events on their way to the disk, in groups: each of them may be read back as a whole.
#[derive(Debug, Default)]
struct Line {
    /// What goes first. The last group is empty, or there is none.
    full: VecDeque<Pending>,
    last: Pending,
    /// Bytes of all of it.
    bytes: usize,
    /// Whether the writer has ended.
    is_over: bool,
}

/// A group is not added to from this size on.
const GROUP_BYTES_MAX: usize = 2 << 20;

/// Places for events that an empty group keeps.
const EVENTS_KEPT: usize = 1024;

/// One worker's part of a group.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) entries: Entries,
    /// With the shard that will lend it.
    pub(super) events: Vec<(Event, usize)>,
    pub(super) ack: Option<Arc<Ack>>,
}

impl Pending {
    /// Makes it empty, and small where it grew large.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.events.clear();
        self.events.shrink_to(EVENTS_KEPT);
    }
}

/// A stored event in memory.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) event: Event,
    pub(super) position: u64,
    pub(super) redelivered: bool,
    /// Bytes that count as read ahead.
    pub(super) ahead: usize,
}

/// Bytes that an event takes in the log.
pub(super) fn stored_len(event: &Event) -> usize {
    record::encoded_len(event) + ENTRY_LEN
}

impl Shard {
    pub(super) fn new(gauges: Arc<Gauges>) -> Arc<Self> {
        Arc::new(Self {
            gauges,
            pending: Mutex::default(),
            ready: SegQueue::new(),
            ahead: AtomicUsize::new(0),
            settled: SegQueue::new(),
            reader: AtomicWaker::new(),
        })
    }

    fn pending(&self) -> MutexGuard<'_, Line> {
        // A panic while a record is encoded would leave half an entry: the group ends there.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts admitted events of `bytes` on their way; `owner` says which shard will lend one.
    pub(super) fn publish(
        &self,
        worker: usize,
        events: Batch,
        bytes: usize,
        owner: impl Fn(&Event) -> usize,
    ) -> Result<Acked, PublishError> {
        let mut pending = self.pending();
        if pending.is_over {
            return Err(PublishError::Down { reason: "it is closing".into() });
        }
        if pending.bytes + bytes > self.gauges.settings.pending_bytes_max {
            return Err(self.gauges.full(PENDING_BYTES_MAX));
        }
        let is_first = pending.bytes == 0;
        pending.bytes += bytes;
        let len = pending.last.entries.len();
        if len > 0 && len + bytes > GROUP_BYTES_MAX {
            let full = std::mem::take(&mut pending.last);
            pending.full.push_back(full);
        }
        let worker = u16::try_from(worker).unwrap_or_default();
        let group = &mut pending.last;
        for event in events {
            group.entries.put(worker, &event);
            let owner = owner(&event);
            group.events.push((event, owner));
        }
        let last = (group.events.len() as u64).saturating_sub(1);
        let acked = group.ack.get_or_insert_default().publish(last);
        drop(pending);
        if is_first {
            self.gauges.writer.ring();
        }
        Ok(acked)
    }

    /// Takes the next group that is on its way, in exchange for empty buffers.
    pub(super) fn take(&self, empty: &mut Pending) {
        let mut pending = self.pending();
        match pending.full.pop_front() {
            Some(full) => *empty = full,
            None => std::mem::swap(&mut pending.last, empty),
        }
        pending.bytes -= empty.entries.len();
    }

    /// Lets nothing more come.
    pub(super) fn close(&self) {
        self.pending().is_over = true;
    }

    /// Moves the positions that were settled to `positions`.
    pub(super) fn take_settled(&self, positions: &mut Vec<u64>) {
        // As many as there are now: workers may settle as fast as they are taken.
        for _ in 0..self.settled.len() {
            positions.extend(self.settled.pop());
        }
    }

    /// Bytes of stored events that are in memory and were not lent yet.
    pub(super) fn ahead(&self) -> usize {
        self.ahead.load(Ordering::Relaxed)
    }

    /// Keeps a stored event in memory, to be lent.
    pub(super) fn keep(&self, kept: Kept) {
        self.ahead.fetch_add(kept.ahead, Ordering::Relaxed);
        self.gauges.ahead.fetch_add(kept.ahead, Ordering::Relaxed);
        self.ready.push(kept);
    }

    pub(super) fn wake(&self) {
        self.reader.wake();
    }

    fn lend(self: &Arc<Self>) -> Option<Lease> {
        let kept = self.ready.pop()?;
        self.gauges.ahead.fetch_sub(kept.ahead, Ordering::Relaxed);
        let before = self.ahead.fetch_sub(kept.ahead, Ordering::Relaxed);
        if before == kept.ahead && self.gauges.is_behind.load(Ordering::Relaxed) {
            // It looks by itself every now and then; nobody should wait for that.
            self.gauges.feeder.ring();
        }
        let home: Arc<dyn Home> = Arc::<Self>::clone(self);
        Some(Lease::new(kept.event, Position(kept.position), kept.redelivered, home))
    }
}

fn subtract(count: &AtomicUsize, less: usize) {
    count.fetch_sub(less, Ordering::Relaxed);
}

impl Home for Shard {
    fn settle(&self, position: Position, event: &Event) {
        subtract(&self.gauges.events, 1);
        subtract(&self.gauges.bytes, stored_len(event));
        self.gauges.settled.fetch_add(1, Ordering::Relaxed);
        self.settled.push(position.0);
        let has_settled = &self.gauges.has_settled;
        if !has_settled.load(Ordering::Relaxed) && !has_settled.swap(true, Ordering::AcqRel) {
            self.gauges.writer.ring();
        }
    }

    fn lend_again(&self, position: Position, event: Event, _beside: Option<Beside>) {
        self.ready.push(Kept { event, position: position.0, redelivered: true, ahead: 0 });
        self.reader.wake();
    }
}

/// Lends what one shard keeps.
#[derive(Debug)]
pub(super) struct ShardReader(pub(super) Option<Arc<Shard>>);

impl Reader for ShardReader {
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Option<Lease>> {
        let Some(shard) = &self.0 else { return Poll::Ready(None) };
        let is_closed = || shard.gauges.is_closed.load(Ordering::Acquire);
        if is_closed() {
            return Poll::Ready(None);
        }
        let is_read = &shard.gauges.is_read;
        if !is_read.load(Ordering::Relaxed) && !is_read.swap(true, Ordering::AcqRel) {
            shard.gauges.feeder.ring();
        }
        if let Some(lease) = shard.lend() {
            return Poll::Ready(Some(lease));
        }
        shard.reader.register(cx.waker());
        // An event may have come between the look and the registration.
        match shard.lend() {
            Some(lease) => Poll::Ready(Some(lease)),
            None if is_closed() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
