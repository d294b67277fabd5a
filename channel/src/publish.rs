//! A publish on its way, and why it may fail.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::Position;

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

/// Where the last event of a publish lies, or why it was not stored.
pub type Published = Result<Position, PublishError>;

/// A publish on its way; resolves when every event of the batch is stored as strongly as the
/// channel's [`Durability`](crate::Durability) says, to the position of the last one.
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
