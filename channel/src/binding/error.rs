//! Why a message could not be read.

use std::fmt;

use crate::Invalid;

/// A message that is not taken, and why. Nothing of it has been kept.
///
/// Fields are named as the sender wrote them: `ce-id` in binary mode, `id` in structured mode,
/// `[3].id` in a batch.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Nothing says that the message is an event.
    #[error("neither a ce-specversion header nor a content-type of CloudEvents is there")]
    NotAnEvent,

    /// It is an event in a format that is not spoken here. HTTP: 415.
    #[error(
        "content-type: {media_type} is not spoken here; \
         application/cloudevents+json, application/cloudevents-batch+json in UTF-8 and binary mode are"
    )]
    UnsupportedMediaType {
        /// The media type as it came, with its parameters.
        media_type: String,
    },

    /// The body is compressed. HTTP: 415.
    #[error("content-encoding: {encoding} is not spoken here; only identity is")]
    UnsupportedEncoding {
        /// The value of the header.
        encoding: String,
    },

    /// A field of the event, or a header that stands for one, breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),

    /// The body is not what JSON or its media type asks for.
    #[error("body is not valid JSON at line {line}, column {column}: {reason}")]
    BadJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in bytes.
        column: usize,
        /// What was found or expected there.
        reason: String,
    },

    /// Objects and arrays lie in each other too deep.
    #[error("body has more than {limit} JSON objects and arrays inside each other")]
    TooDeep {
        /// [`Limits::json_depth_max`](crate::binding::Limits::json_depth_max).
        limit: usize,
    },

    /// The batch is too long.
    #[error("batch has more than {limit} events")]
    TooManyEvents {
        /// [`Limits::batch_events_max`](crate::binding::Limits::batch_events_max).
        limit: usize,
    },

    /// Events of a batch break rules, one entry for each of them; the whole batch is refused.
    #[error("batch is refused because of {}", Reasons(.0))]
    Batch(Vec<Refused>),
}

/// An event of a batch that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// The first rule it breaks; the field begins with the place, as in `[3].id`.
    pub problem: Invalid,
}

/// Reasons that are written out before the rest is only counted.
const REASONS_SHOWN: usize = 3;

struct Reasons<'a>(&'a [Refused]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, refused) in self.0.iter().take(REASONS_SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{}", refused.problem)?;
        }
        match self.0.len().saturating_sub(REASONS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
