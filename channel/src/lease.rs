//! An event on loan, and the side of a backend that takes it back.

use std::{fmt, sync::Arc};

use crate::{Envelope, Event, Position};

/// Takes leases back; the side of a backend that a [`Lease`] knows.
pub trait Home: Send + Sync {
    /// The event reached its ends: it is never lent again.
    fn settle(&self, position: Position, event: &Event);

    /// The lease was dropped: the event is to be lent again, with what it had beside it.
    fn lend_again(&self, position: Position, event: Event, beside: Option<Beside>);
}

/// What only few leases have beside their event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The event waited in an [`Overflow`](crate::Overflow).
    Envelope(Box<Envelope>),
    /// Another client wrote something that is no CloudEvent, for this reason. The event is one that
    /// the backend made up to carry its bytes.
    Problem(Box<str>),
}

/// An event on loan. It must be settled; dropped unsettled, its event is lent again.
pub struct Lease {
    event: Event,
    position: Position,
    redelivered: bool,
    beside: Option<Beside>,
    home: Option<Arc<dyn Home>>,
}

impl Lease {
    /// An event on loan from `home`.
    pub fn new(event: Event, position: Position, redelivered: bool, home: Arc<dyn Home>) -> Self {
        Self { event, position, redelivered, beside: None, home: Some(home) }
    }

    /// The same, with something beside the event.
    #[must_use]
    pub fn beside(mut self, beside: Option<Beside>) -> Self {
        self.beside = beside;
        self
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

    /// What is known of an event that waited in an [`Overflow`](crate::Overflow).
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.beside {
            Some(Beside::Envelope(envelope)) => Some(envelope),
            _ => None,
        }
    }

    /// Why what was found is no CloudEvent.
    pub fn problem(&self) -> Option<&str> {
        match &self.beside {
            Some(Beside::Problem(problem)) => Some(problem),
            _ => None,
        }
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
            home.lend_again(self.position, self.event.clone(), self.beside.take());
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("event", &self.event)
            .field("position", &self.position)
            .field("redelivered", &self.redelivered)
            .field("beside", &self.beside)
            .finish_non_exhaustive()
    }
}
