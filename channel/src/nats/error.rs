//! Why a channel could not be opened.

use crate::Invalid;

/// Why a channel could not be opened. Each is one line, for whoever configured it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting cannot be used.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// No server answers, or none that a connection could be made to. Worth another try.
    #[error("NATS at {url} cannot be reached: {reason}")]
    Unreachable {
        /// The addresses that were tried.
        url: String,
        /// What the client said.
        reason: String,
    },
    /// The server does not let us in.
    #[error("NATS at {url} refuses the credentials: {reason}")]
    Unauthorized {
        /// The addresses that were tried.
        url: String,
        /// What the client said.
        reason: String,
    },
    /// JetStream is off, or off for the account.
    #[error("NATS at {url} has no JetStream for this account: {reason}")]
    NoJetStream {
        /// The addresses that were tried.
        url: String,
        /// What the server said.
        reason: String,
    },
    /// The server's version has defects that lose events.
    #[error("NATS at {url} is of version {found}, and {needed} is needed: {reason}")]
    TooOld {
        /// The addresses that were tried.
        url: String,
        /// The server's version.
        found: String,
        /// The first version that will do.
        needed: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A stream or consumer is there with another configuration, which cannot be changed to the plan's.
    #[error("{what}: {field} is {found}, and must be {wanted}")]
    Mismatch {
        /// The stream or consumer.
        what: String,
        /// The field, as JetStream names it.
        field: &'static str,
        /// What the plan says.
        wanted: String,
        /// What the server has.
        found: String,
    },
    /// The server refused to make or tell something.
    #[error("{what}: {reason}")]
    Refused {
        /// The stream, consumer or bucket.
        what: String,
        /// What the server said.
        reason: String,
    },
}

impl OpenError {
    /// Whether another try may succeed without anyone changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Refused { .. } => true,
            Self::Invalid(_)
            | Self::Unauthorized { .. }
            | Self::NoJetStream { .. }
            | Self::TooOld { .. }
            | Self::Mismatch { .. } => false,
        }
    }
}
