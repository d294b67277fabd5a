//! What stands at a hub's address: its way in, or why there is none for now.

use std::sync::Arc;

use channel::Hub;

use super::Admission;

/// What stands at the address of a broker or a channel.
#[derive(Clone, Debug)]
pub enum Gate {
    /// Events are taken.
    Open(Arc<Admission>),
    /// The hub is there and not ready: producers are told to come back.
    Shut(Arc<Shut>),
}

/// A hub that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shut {
    /// The hub.
    pub hub: Hub,
    /// In one word, why.
    pub reason: &'static str,
    /// In words, why.
    pub message: String,
}
