//! Anything that takes an event.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{Draft, Invalid, Publish, PublishError};

/// Why a sink did not take an event.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The event breaks a rule.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// No hop is left: the event goes round in a circle, or its producer allowed no more.
    #[error(
        "no hop of {max} at most is left (knativebrokerttl): does the event go round in a circle?"
    )]
    Loop {
        /// How often an event may pass a broker.
        max: u8,
    },
    /// Whoever was to store it will not, however often it is asked.
    #[error("{reason}")]
    Rejected {
        /// What it said.
        reason: String,
    },
    /// It could not be stored, or may not have been.
    #[error("{0}")]
    NotStored(#[from] PublishError),
}

/// Something that takes events and answers once they are stored: a broker's way in, for
/// sources and for replies of subscribers.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Takes an event; `worker` is the caller's. Resolves when the event is stored.
    fn put(&self, worker: usize, event: Draft) -> Stored;
}

/// A sink's answer on its way.
pub struct Stored(State);

enum State {
    Publishing(Publish),
    Refused(Option<Refusal>),
    Waiting(Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>),
}

impl Stored {
    /// An answer from what the channel will say.
    pub fn publishing(publish: Publish) -> Self {
        Self(State::Publishing(publish))
    }

    /// A refusal before anything was stored.
    pub fn refused(refusal: Refusal) -> Self {
        Self(State::Refused(Some(refusal)))
    }

    /// An answer that a sink elsewhere will give.
    pub fn waiting(answer: impl Future<Output = Result<(), Refusal>> + Send + 'static) -> Self {
        Self(State::Waiting(Box::pin(answer)))
    }
}

impl Future for Stored {
    type Output = Result<(), Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Publishing(publish) => Pin::new(publish)
                .poll(cx)
                .map(|published| published.map(drop).map_err(Refusal::from)),
            State::Refused(refusal) => {
                let ended = || PublishError::Unknown { reason: "polled after it ended".into() };
                Poll::Ready(Err(refusal.take().unwrap_or_else(|| ended().into())))
            }
            State::Waiting(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}
