//! Whether a ledger holds a note, without the channel that it is of.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::super::{context::Context, probe::client};

/// How long the cluster may take to tell where the ledger ends, and the wait for a record.
const ASK: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(100);

/// Whether the last word about `key` in a ledger is that it is there. Blocks.
///
/// # Errors
///
/// What the cluster says, or that it was not read to its end by `deadline`.
pub(super) fn holds(
    config: &ClientConfig,
    context: &Context,
    ledger: &str,
    key: &str,
    deadline: Instant,
) -> KafkaResult<bool> {
    let consumer: BaseConsumer<Context> = client(config, context)?;
    let (begin, end) = consumer.fetch_watermarks(ledger, 0, ASK)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(ledger, 0, Offset::Beginning)?;
    consumer.assign(&list)?;
    let mut is_there = false;
    let mut next = begin;
    while next < end {
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => {
                next = message.offset() + 1;
                if message.key() == Some(key.as_bytes()) {
                    is_there = message.payload().is_some();
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => tracing::debug!(ledger, %error, "kafka says"),
        }
        if Instant::now() >= deadline {
            return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        }
    }
    Ok(is_there)
}
