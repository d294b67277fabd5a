//! The contract of every backend: events are put, kept, lent, and given back settled.

use std::{
    fmt,
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use smallvec::SmallVec;

use crate::{Attributes, Charge, Event, Lease, Ledger, Name, Overflow, Publish, PublishError};

/// Where an event lies in its channel. Stable; grows in publish order of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Which crash an acknowledged event survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// None: events live in the process.
    None,
    /// The process being killed.
    Process,
    /// Power loss.
    Power,
}

impl Strength {
    /// The name that status, metrics and headers show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Process => "process",
            Self::Power => "power",
        }
    }
}

/// What "stored" means for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// Which crash a stored event survives.
    pub strength: Strength,
    /// Whether it survives the loss of one of the backend's machines.
    pub replicated: bool,
}

/// Events published together: all are stored, or none is.
pub type Batch = SmallVec<[Event; 1]>;

/// Work of a backend on its way.
pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The key that orders events: `partitionkey`, or one key for all events without it.
pub fn order_key(event: &Event) -> &str {
    event.attribute("partitionkey").unwrap_or_default()
}

/// The worker, of `workers`, that a key belongs to when keys are kept together.
pub fn key_worker(event: &Event, workers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    order_key(event).hash(&mut hasher);
    usize::try_from(hasher.finish() >> 32).unwrap_or_default() % workers.max(1)
}

/// How much a channel holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Events stored and not settled.
    pub events: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// A log with a live reader for each worker.
///
/// It knows no triggers: it stores events and lends them, once over all readers, until they are
/// settled. What is lent and not settled is lent again: at once when the [`Lease`] is dropped,
/// after a restart when the backend survives one.
pub trait Channel: fmt::Debug + Send + Sync {
    /// The kind of `messaging.knative.dev` that it implements.
    fn kind(&self) -> &'static str;

    /// What "stored" means here.
    fn durability(&self) -> Durability;

    /// Most bytes of an event ([`Event::size`]) that the backend takes.
    fn event_bytes_max(&self) -> usize;

    /// Takes memory for events before they are read from a socket.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] when there is no room for `bytes` more.
    fn reserve(&self, bytes: usize) -> Result<Charge, PublishError>;

    /// Stores all events or none. `worker` is the caller's; its own reader will lend them, unless
    /// [`Channel::keep_keys_together`] asks for another.
    fn publish(&self, worker: usize, events: Batch) -> Publish;

    /// Whether events of one key (`partitionkey`, or else none) must be lent by one reader, so that
    /// they stay in the order in which they were published whichever worker accepted them.
    fn keep_keys_together(&self, keyed: bool);

    /// The reader of `worker`. There must be one for each worker at a time.
    fn reader(&self, worker: usize) -> Box<dyn Reader>;

    /// What is stored and not settled.
    fn depth(&self) -> Depth;

    /// How often something was refused because a bound was reached, by the bound's name in the
    /// configuration; bounds that were never reached included.
    fn bounds_reached(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Whether the backend can be reached now; in words of one line why it cannot.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    /// What failed for good, in words: only another process, which finds out what is stored, can go
    /// on. `None` while all is well, or is down and may come back.
    fn failure(&self) -> Option<String> {
        None
    }

    /// The overflow of a trigger, made when it is first put to. There must be one of a trigger at a
    /// time: close it before asking for another.
    fn overflow(&self, trigger: &Name, ordered: bool) -> Arc<dyn Overflow>;

    /// Triggers for whom something waits, as far as it is known: a trigger may be gone, and what
    /// waits for it stays until somebody decides.
    fn overflowing(&self) -> Vec<Name> {
        Vec::new()
    }

    /// The durable notes of the broker, or `None` when nothing here outlives the process.
    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        None
    }

    /// Refuses further events with [`PublishError::Down`]; readers end. A channel of strength
    /// [`Strength::None`] lends what it holds first; others keep it for the next start.
    fn close(&self);

    /// Writes down what was settled, and lets go of the backend: by `deadline`. To be called once,
    /// after [`Channel::close`], when leases are settled or dropped.
    fn end(&self, deadline: Instant) -> Work<()> {
        let _ = deadline;
        Box::pin(std::future::ready(()))
    }
}

/// Lends the events of one worker.
pub trait Reader: Send {
    /// The next event, or `None` once the channel is closed and nothing is left to lend.
    ///
    /// Wakes the task of the last call when there is more. Cancel safe: an event is either
    /// returned or still there.
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Option<Lease>>;
}
