//! Events that were read -> the reader of the worker that they are for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;
use crossbeam::queue::SegQueue;

use super::{
    partition::{Inlet, Kept},
    spread::reader_of,
};
use crate::{Lease, Reader, key_worker};

/// One queue for each worker.
///
/// Queues are unbounded in themselves, because the window of each partition bounds what is in them.
pub(super) struct Mailboxes {
    boxes: Box<[Mailbox]>,
    is_keyed: AtomicBool,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Mailbox {
    queue: SegQueue<Kept>,
    reader: AtomicWaker,
}

impl Mailboxes {
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            boxes: (0..workers.max(1)).map(|_| Mailbox::default()).collect(),
            is_keyed: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Whether events of a key go to one worker, or those of a partition.
    pub(super) fn set_keyed(&self, is_keyed: bool) {
        self.is_keyed.store(is_keyed, Ordering::Release);
    }

    pub(super) fn is_keyed(&self) -> bool {
        self.is_keyed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.wake_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn reader(self: &Arc<Self>, worker: usize) -> Box<dyn Reader> {
        Box::new(MailboxReader { all: Arc::clone(self), worker: worker % self.boxes.len() })
    }

    fn wake_all(&self) {
        for mailbox in &self.boxes {
            mailbox.reader.wake();
        }
    }
}

impl Inlet for Mailboxes {
    fn keep(&self, kept: Kept) {
        let workers = self.boxes.len();
        let worker = if self.is_keyed() {
            key_worker(&kept.event, workers)
        } else {
            reader_of(kept.partition.number(), workers)
        };
        if let Some(mailbox) = self.boxes.get(worker) {
            mailbox.queue.push(kept);
            mailbox.reader.wake();
        }
    }

    fn ended(&self) {
        // Readers let go of what is no longer theirs.
        self.wake_all();
    }
}

struct MailboxReader {
    all: Arc<Mailboxes>,
    worker: usize,
}

impl MailboxReader {
    fn lend(mailbox: &Mailbox) -> Option<Lease> {
        std::iter::from_fn(|| mailbox.queue.pop()).find_map(Kept::lend)
    }
}

impl Reader for MailboxReader {
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Option<Lease>> {
        let Some(mailbox) = self.all.boxes.get(self.worker) else { return Poll::Ready(None) };
        if self.all.is_closed() {
            return Poll::Ready(None);
        }
        if let Some(lease) = Self::lend(mailbox) {
            return Poll::Ready(Some(lease));
        }
        mailbox.reader.register(cx.waker());
        // An event may have come between the look and the registration.
        match Self::lend(mailbox) {
            Some(lease) => Poll::Ready(Some(lease)),
            None if self.all.is_closed() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
