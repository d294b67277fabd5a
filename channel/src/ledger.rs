//! Durable notes of a broker by key: its dead letters, and what an operator decided.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::{PublishError, Work};

/// A change of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A note that is there, or has changed.
    Put {
        /// Its key.
        key: String,
        /// What it says now.
        value: Bytes,
    },
    /// A note that is gone.
    Removed {
        /// Its key.
        key: String,
    },
    /// Everything that was there at the start has been told; what follows is new.
    Loaded,
}

/// Durable notes by key, at the channel's strength. Keys are of `a-z 0-9 . / -`, at most 200 bytes,
/// and neither begin nor end with a dot or slash; values are at most as long as the channel's
/// largest event and 64 KiB.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Whether other processes write to it too.
    fn is_shared(&self) -> bool;

    /// Writes a note, in place of one of that key. Resolves when it is stored.
    fn put(&self, key: &str, value: Bytes) -> Work<Result<(), PublishError>>;

    /// Takes a note away; one that is not there is no error. Resolves when that is stored.
    fn remove(&self, key: &str) -> Work<Result<(), PublishError>>;

    /// Everything that is there, then [`Change::Loaded`], then every later change by other processes.
    /// Changes of this process may come too. After a backend was away, what was missed is told;
    /// notes may then be told again.
    fn watch(&self) -> Box<dyn Watch>;
}

/// The changes of a ledger.
pub trait Watch: Send {
    /// The next change, or `None` once the channel has ended. Cancel safe.
    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change>>;
}
