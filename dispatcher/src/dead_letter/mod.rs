//! Events that could not be delivered: kept with what was tried, until somebody decides.

mod sink;
mod store;
mod stored;
mod told;
mod undecodable;

pub(crate) use sink::SinkSender;
pub use store::{DeadLetterLimits, DeadLetters, HeldTally, Kept, Page, Selection};
pub(crate) use undecodable::bury_undecodable;

use std::time::SystemTime;

use channel::{Event, Hub, Name};

use crate::{TriggerKey, attempt::AttemptLog};

/// What is shown in place of a trigger.
pub(crate) const NO_TRIGGER: &str = "-";

/// Why an event became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// All attempts were used up.
    Exhausted,
    /// The subscriber refused it for good.
    Refused,
    /// It waited longer than events may.
    Aged,
    /// Its trigger let more wait than its share of the channel.
    Overflow,
    /// The subscriber's reply had passed brokers too often.
    Loop,
    /// The subscriber's reply was no valid event.
    Reply,
    /// Another client wrote it to the broker's storage, or where a source reads, and it is no CloudEvent.
    Undecodable,
}

impl Reason {
    /// All reasons, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::Exhausted,
        Self::Refused,
        Self::Aged,
        Self::Overflow,
        Self::Loop,
        Self::Reply,
        Self::Undecodable,
    ];

    /// The name that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Refused => "refused",
            Self::Aged => "aged",
            Self::Overflow => "overflow",
            Self::Loop => "loop",
            Self::Reply => "reply",
            Self::Undecodable => "undecodable",
        }
    }

    /// The reason of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// An event that could not be delivered.
#[derive(Debug)]
pub struct DeadLetter {
    /// Grows with time; never used twice.
    pub id: u64,
    /// The hub that accepted the event.
    pub hub: Hub,
    /// The trigger that wanted it.
    pub trigger: Name,
    /// Its identity.
    pub key: TriggerKey,
    /// Where it should have gone.
    pub destination: String,
    /// Why it did not.
    pub reason: Reason,
    /// In words, when the attempts do not say it.
    pub detail: Option<String>,
    /// When that was decided.
    pub failed_at: SystemTime,
    /// What was tried.
    pub attempts: AttemptLog,
    /// The event as it was accepted.
    pub event: Event,
    /// What became of it at the dead letter sink, when there is one.
    pub sink: Option<SinkState>,
}

impl DeadLetter {
    /// A letter of an event that no trigger has asked for, to be put among those of `hub`.
    pub fn without_trigger(
        hub: &Hub,
        destination: &str,
        reason: Reason,
        detail: Option<String>,
        event: Event,
    ) -> Box<Self> {
        Box::new(Self {
            id: 0,
            hub: hub.clone(),
            trigger: Name::new(hub.name.namespace.clone(), NO_TRIGGER),
            key: TriggerKey::fresh(),
            destination: destination.to_owned(),
            reason,
            detail,
            failed_at: SystemTime::now(),
            attempts: AttemptLog::default(),
            event,
            sink: None,
        })
    }

    /// Bytes that it is counted with.
    pub fn cost(&self) -> usize {
        size_of::<Self>() + self.event.cost() + self.attempts.bytes()
    }
}

/// A dead letter's way to the dead letter sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkState {
    /// The sink.
    pub url: String,
    /// Where it stands.
    pub status: SinkStatus,
    /// Attempts made.
    pub attempts: u32,
}

/// Where a dead letter stands on its way to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkStatus {
    /// It is still to be delivered.
    Pending,
    /// The sink has it.
    Delivered,
    /// The sink refused it for good.
    Refused,
}

impl SinkStatus {
    /// The name that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
        }
    }

    /// The status of that name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Refused]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}
