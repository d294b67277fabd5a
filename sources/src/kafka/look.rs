//! Before anything is read: whether the cluster and the topics are there, and where the group begins.

use std::time::Duration;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use tokio_util::sync::CancellationToken;

use super::{KafkaPlan, client::Client};

/// How long one question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// Most errors that are listened to at once.
const SAYINGS_MAX: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Topics that are there, with their partitions.
    pub(super) topics: Vec<(String, Vec<i32>)>,
    /// Topics that are not.
    pub(super) missing: Vec<String>,
}

/// Looks for the topics. Blocks.
///
/// # Errors
///
/// Why the cluster cannot be asked.
pub(super) fn look(
    client: &BaseConsumer<Client>,
    plan: &KafkaPlan,
    stop: &CancellationToken,
) -> Result<Found, String> {
    let mut found = Found::default();
    for topic in plan.topics.iter().take_while(|_| !stop.is_cancelled()) {
        let metadata = client.fetch_metadata(Some(topic), ASK_TIMEOUT);
        hear(client);
        let metadata = metadata.map_err(|error| said(client, &error))?;
        let told = metadata.topics().iter().find(|one| one.name() == topic);
        match told.map(|told| (told, told.error().map(Code::from))) {
            Some((told, None)) if !told.partitions().is_empty() => {
                let partitions = told.partitions().iter().map(|one| one.id());
                found.topics.push((topic.clone(), partitions.collect()));
            }
            Some((_, Some(code @ Code::TopicAuthorizationFailed))) => {
                return Err(format!("topic {topic}: {code}"));
            }
            _ => found.missing.push(topic.clone()),
        }
    }
    Ok(found)
}

/// Sees to it that the group has offsets in topics that it has read nothing of, where it is to begin
/// at their ends: without them, what comes between a crash and the next start would be lost. Blocks.
///
/// # Errors
///
/// Why they cannot be committed.
pub(super) fn begin(
    client: &BaseConsumer<Client>,
    plan: &KafkaPlan,
    found: &Found,
) -> Result<(), String> {
    if !plan.begins_at_end {
        return Ok(());
    }
    for (topic, partitions) in &found.topics {
        let ask = |offset: Offset| {
            let mut list = TopicPartitionList::new();
            for &partition in partitions {
                list.add_partition_offset(topic, partition, offset)?;
            }
            Ok::<_, KafkaError>(list)
        };
        let committed = ask(Offset::Invalid)
            .and_then(|list| client.committed_offsets(list, ASK_TIMEOUT))
            .map_err(|error| said(client, &error))?;
        let is_known =
            |list: &TopicPartitionList| list.elements().iter().any(|it| is_at(it.offset()));
        if is_known(&committed) {
            continue;
        }
        let ends = ask(Offset::End)
            .and_then(|list| client.offsets_for_times(list, ASK_TIMEOUT))
            .map_err(|error| said(client, &error))?;
        if ends.elements().iter().any(|end| !is_at(end.offset())) {
            return Err(format!("topic {topic}: where it ends is not known"));
        }
        client.commit(&ends, CommitMode::Sync).map_err(|error| match error {
            KafkaError::ConsumerCommit(
                Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress,
            ) => {
                let group = &plan.group;
                format!("topic {topic}: group {group} has other members that have not read it")
            }
            error => said(client, &error),
        })?;
    }
    Ok(())
}

fn is_at(offset: Offset) -> bool {
    matches!(offset, Offset::Offset(_))
}

/// What the library said of the connection, or else the error.
fn said(client: &BaseConsumer<Client>, error: &KafkaError) -> String {
    hear(client);
    client.context().faults.last().unwrap_or_else(|| error.to_string())
}

/// Lets the library say what it has to say of the connection: that comes with polls, one at a time.
fn hear(client: &BaseConsumer<Client>) {
    for _ in 0..SAYINGS_MAX {
        if client.poll(Duration::ZERO).is_none() {
            return;
        }
    }
}
