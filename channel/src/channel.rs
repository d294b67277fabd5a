//! The contract of every backend: events are put, kept, lent, and given back settled.

use std::{
    fmt,
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use smallvec::SmallVec;

use crate::{Attributes, Charge, Event};

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

/// Why an event was not stored, or may not have been.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A bound of the channel is reached. Nothing was stored.
    #[error("the channel is full: {bound}")]
    Full {
        /// The bound, by its name in the configuration.
        bound: &'static str,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The event can never fit. Nothing was stored.
    #[error("the event takes {size} bytes, and the channel takes {limit} at most")]
    TooLarge {
        /// Bytes of the event.
        size: usize,
        /// Most bytes that the channel takes.
        limit: usize,
    },
    /// The backend cannot be reached, or the channel is closing. Nothing was stored.
    #[error("the channel is down: {reason}")]
    Down {
        /// What the backend said.
        reason: String,
    },
    /// The backend did not answer in time: the event may be stored.
    #[error("whether the event was stored is unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

type Published = Result<Position, PublishError>;

/// A publish on its way; resolves when every event of the batch is stored as strongly as the
/// channel's [`Durability`] says, to the position of the last one.
///
/// Dropping it does not undo it: the events may be stored all the same.
pub struct Publish(State);

enum State {
    Done(Option<Published>),
    Waiting(Pin<Box<dyn Future<Output = Published> + Send>>),
}

impl Publish {
    /// A publish that is decided already.
    pub fn done(result: Published) -> Self {
        Self(State::Done(Some(result)))
    }

    /// A publish that a backend still works on.
    pub fn waiting(future: impl Future<Output = Published> + Send + 'static) -> Self {
        Self(State::Waiting(Box::pin(future)))
    }
}

impl Future for Publish {
    type Output = Published;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Published> {
        match &mut self.0 {
            State::Done(result) => Poll::Ready(result.take().unwrap_or_else(|| {
                Err(PublishError::Unknown { reason: "polled after it ended".into() })
            })),
            State::Waiting(future) => future.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish").finish_non_exhaustive()
    }
}

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

    /// Refuses further events with [`PublishError::Down`]; what is stored is still lent, and readers
    /// end once nothing is left.
    fn close(&self);
}

/// Lends the events of one worker.
pub trait Reader: Send {
    /// The next event, or `None` once the channel is closed and nothing is left to lend.
    ///
    /// Wakes the task of the last call when there is more. Cancel safe: an event is either
    /// returned or still there.
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Option<Lease>>;
}

/// Takes leases back; the side of a backend that a [`Lease`] knows.
pub trait Home: Send + Sync {
    /// The event reached its ends: it is never lent again.
    fn settle(&self, position: Position, event: &Event);

    /// The lease was dropped: the event is to be lent again.
    fn lend_again(&self, position: Position, event: Event);
}

/// An event on loan. It must be settled; dropped unsettled, its event is lent again.
pub struct Lease {
    event: Event,
    position: Position,
    redelivered: bool,
    home: Option<Arc<dyn Home>>,
}

impl Lease {
    /// An event on loan from `home`.
    pub fn new(event: Event, position: Position, redelivered: bool, home: Arc<dyn Home>) -> Self {
        Self { event, position, redelivered, home: Some(home) }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Where it lies.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether it was lent before.
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// Says that every end the event had to reach is reached.
    pub fn settle(mut self) {
        if let Some(home) = self.home.take() {
            home.settle(self.position, &self.event);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.lend_again(self.position, self.event.clone());
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("event", &self.event)
            .field("position", &self.position)
            .field("redelivered", &self.redelivered)
            .finish_non_exhaustive()
    }
}
