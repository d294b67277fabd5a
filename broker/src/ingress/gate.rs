//! What stands at a broker's address: its way in, or why there is none for now.

use std::sync::Arc;

use channel::Name;

use super::Admission;

/// What stands at a broker's address.
#[derive(Clone, Debug)]
pub enum Gate {
    /// Events are taken.
    Open(Arc<Admission>),
    /// The broker is there and not ready: producers are told to come back.
    Shut(Arc<Shut>),
}

/// A broker that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shut {
    /// The broker.
    pub broker: Name,
    /// In one word, why.
    pub reason: &'static str,
    /// In words, why.
    pub message: String,
}
