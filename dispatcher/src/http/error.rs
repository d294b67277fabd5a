//! Why a request has no answer.

use std::fmt;

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All connections to the host were in use.
    Queue,
    /// Asking for the addresses of the host's name.
    Resolve,
    /// Opening the connection.
    Connect,
    /// In the TLS handshake.
    Tls,
    /// Writing the request.
    Write,
    /// The request is written; the head of the answer is not there yet.
    Head,
    /// The head of the answer is there; its body is not.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "waiting for a free connection",
            Self::Resolve => "resolving the host name",
            Self::Connect => "connecting",
            Self::Tls => "in the TLS handshake",
            Self::Write => "sending the request",
            Self::Head => "waiting for the answer",
            Self::Body => "reading the body of the answer",
        })
    }
}

/// A request without an answer. Every variant may be gone at the next attempt.
///
/// The text is for the operator and may be stored with a dead letter: it names the host as the
/// endpoint's URL does, never an address behind the name, and holds no bytes of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The host's name has no address, or nobody could tell.
    #[error("cannot resolve {host}: {reason}")]
    Dns {
        /// The name asked for.
        host: Box<str>,
        /// What the resolver said.
        reason: Box<str>,
    },

    /// No address of the host took a connection.
    #[error("cannot connect to {authority}: {reason}")]
    Connect {
        /// Host and port, as in the URL.
        authority: Box<str>,
        /// What the first address that failed said.
        reason: Box<str>,
    },

    /// The TLS handshake failed, mostly for a certificate that is not trusted.
    #[error("TLS handshake with {authority} failed: {reason}")]
    Tls {
        /// Host and port, as in the URL.
        authority: Box<str>,
        /// What either side objected to.
        reason: Box<str>,
    },

    /// The deadline, or the cap on connecting or on the handshake, has passed.
    #[error("timed out while {phase}")]
    Timeout {
        /// What was going on.
        phase: Phase,
    },

    /// The connection ended before the answer did.
    #[error("connection lost while {phase}: {reason}")]
    Closed {
        /// What was going on.
        phase: Phase,
        /// What the operating system or TLS said.
        reason: Box<str>,
    },

    /// What came back is not an HTTP/1 answer, or is one whose end cannot be told for sure.
    #[error("malformed answer: {0}")]
    Malformed(&'static str),

    /// The head of the answer passes 64 KiB or 128 headers.
    #[error("head of the answer is larger than 64 KiB or 128 headers")]
    HeadTooLarge,
}
