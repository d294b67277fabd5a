//! What became of a record that was produced.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use rdkafka::{
    Message,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::DeliveryResult,
};
use tokio::sync::oneshot;

use super::error::words;
use crate::PublishError;

/// Where a record lies, by partition and offset.
pub(super) type Placed = Result<(i32, i64), PublishError>;

/// Waits inside the client library for the answer about one record.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) answer: oneshot::Sender<Placed>,
    pub(super) ends: Option<Arc<Ends>>,
    /// Bytes of the record, and most that one may have.
    pub(super) sizes: (usize, usize),
}

impl Receipt {
    pub(super) fn fill_in(self, result: &DeliveryResult<'_>) {
        let placed = match result {
            Ok(message) => {
                if let Some(ends) = &self.ends {
                    ends.reach(message.partition(), message.offset() + 1);
                }
                Ok((message.partition(), message.offset()))
            }
            Err((error, _)) => Err(refusal(error, self.sizes)),
        };
        // Whoever published may have stopped waiting.
        drop(self.answer.send(placed));
    }
}

/// Why a record was not stored, or may not have been. Only what is known to have been stored nowhere is
/// said to be.
pub(super) fn refusal(error: &KafkaError, (size, limit): (usize, usize)) -> PublishError {
    let reason = words(error);
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => super::produce::full(),
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {
            PublishError::TooLarge { size, limit }
        }
        Some(
            Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::NotEnoughReplicas
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::PolicyViolation
            | Code::InvalidTopic
            | Code::PurgeQueue
            | Code::InvalidArgument,
        ) => PublishError::Down { reason },
        _ => PublishError::Unknown { reason },
    }
}

/// How long the log of each partition of a topic is, as our own records tell.
#[derive(Debug)]
pub(super) struct Ends(Box<[AtomicI64]>);

impl Ends {
    pub(super) fn new(partitions: i32) -> Arc<Self> {
        Arc::new(Self((0..partitions).map(|_| AtomicI64::new(0)).collect()))
    }

    fn reach(&self, partition: i32, end: i64) {
        if let Some(found) = usize::try_from(partition).ok().and_then(|index| self.0.get(index)) {
            found.fetch_max(end, Ordering::Relaxed);
        }
    }

    /// The topic was made anew.
    pub(super) fn forget(&self) {
        self.0.iter().for_each(|end| end.store(0, Ordering::Relaxed));
    }

    /// The offset after the last record of ours in a partition; 0 when there is none.
    pub(super) fn of(&self, partition: i32) -> i64 {
        let found = usize::try_from(partition).ok().and_then(|index| self.0.get(index));
        found.map_or(0, |end| end.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_stored_nowhere_is_said_to_be() {
        let say = |code| refusal(&KafkaError::MessageProduction(code), (9, 5));
        assert!(matches!(say(Code::QueueFull), PublishError::Full { .. }));
        assert_eq!(say(Code::MessageSizeTooLarge), PublishError::TooLarge { size: 9, limit: 5 });
        for code in [Code::UnknownTopic, Code::UnknownPartition, Code::NotEnoughReplicas] {
            assert!(matches!(say(code), PublishError::Down { .. }), "{code:?}");
        }
        for code in [
            Code::MessageTimedOut,
            Code::NotEnoughReplicasAfterAppend,
            Code::BrokerTransportFailure,
            Code::PurgeInflight,
            Code::Fatal,
            Code::RequestTimedOut,
        ] {
            assert!(matches!(say(code), PublishError::Unknown { .. }), "{code:?}");
        }
    }
}
