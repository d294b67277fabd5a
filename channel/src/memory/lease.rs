//! Kept -> lent to the worker's reader -> settled, or kept again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;
use crossbeam::queue::SegQueue;

use crate::{Beside, Event, Home, Lease, Position, Reader};

/// The part of a memory channel that one worker reads.
///
/// Any thread may put an event in; the queue is unbounded in itself because the channel counts
/// events before it puts them in.
pub(super) struct Shard {
    index: usize,
    shards: usize,
    queue: SegQueue<Kept>,
    next: AtomicU64,
    bytes: AtomicUsize,
    /// Unsettled events of the whole channel.
    events: Arc<AtomicUsize>,
    closed: AtomicBool,
    reader: AtomicWaker,
}

struct Kept {
    event: Event,
    position: Position,
    redelivered: bool,
}

impl Shard {
    pub(super) fn new(index: usize, shards: usize, events: Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            index,
            shards,
            queue: SegQueue::new(),
            next: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            events,
            closed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        })
    }

    /// Keeps an event that the channel has counted.
    pub(super) fn keep(&self, event: Event) -> Position {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        // Interleaved, so that positions differ between shards and grow within one.
        let position = Position(turn * self.shards as u64 + self.index as u64);
        self.bytes.fetch_add(event.cost(), Ordering::Relaxed);
        self.queue.push(Kept { event, position, redelivered: false });
        self.reader.wake();
        position
    }

    /// Events ever kept.
    pub(super) fn published(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Bytes stored and not settled.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.reader.wake();
    }
}

impl Home for Shard {
    fn settle(&self, _position: Position, event: &Event) {
        self.bytes.fetch_sub(event.cost(), Ordering::Relaxed);
        self.events.fetch_sub(1, Ordering::Relaxed);
    }

    fn lend_again(&self, position: Position, event: Event, _beside: Option<Beside>) {
        self.queue.push(Kept { event, position, redelivered: true });
        self.reader.wake();
    }
}

/// Lends what one shard keeps.
pub(super) struct ShardReader {
    shard: Option<Arc<Shard>>,
}

impl ShardReader {
    pub(super) fn new(shard: Option<Arc<Shard>>) -> Self {
        Self { shard }
    }

    fn lend(shard: &Arc<Shard>) -> Option<Lease> {
        let kept = shard.queue.pop()?;
        let home: Arc<dyn Home> = Arc::<Shard>::clone(shard);
        Some(Lease::new(kept.event, kept.position, kept.redelivered, home))
    }
}

impl Reader for ShardReader {
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Option<Lease>> {
        let Some(shard) = &self.shard else { return Poll::Ready(None) };
        if let Some(lease) = Self::lend(shard) {
            return Poll::Ready(Some(lease));
        }
        shard.reader.register(cx.waker());
        // An event may have come between the look and the registration.
        match Self::lend(shard) {
            Some(lease) => Poll::Ready(Some(lease)),
            None if shard.is_closed() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
