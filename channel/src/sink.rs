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
#[derive(Debug)]
pub struct Stored(Option<Result<Publish, Refusal>>);

impl Stored {
    /// An answer from what the channel will say.
    pub fn publishing(publish: Publish) -> Self {
        Self(Some(Ok(publish)))
    }

    /// A refusal before anything was stored.
    pub fn refused(refusal: Refusal) -> Self {
        Self(Some(Err(refusal)))
    }
}

impl Future for Stored {
    type Output = Result<(), Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.0 {
            Some(Ok(publish)) => match Pin::new(publish).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => result.map(|_position| ()).map_err(Refusal::from),
            },
            Some(Err(refusal)) => Err(refusal.clone()),
            None => Err(PublishError::Unknown { reason: "polled after it ended".into() }.into()),
        };
        self.0 = None;
        Poll::Ready(answer)
    }
}
