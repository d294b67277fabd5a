//! The topics of a broker: made, and compared with the plan.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::Client,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
    metadata::MetadataTopic,
};

use tokio::runtime::Handle;

use super::{
    context::Context,
    error::{OpenError, is_refusal, words},
};

/// How long Kafka may take over one request about topics.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes topics and changes them.
///
/// # Why
///
/// Each request has a client of its own: nothing serves the library's queue of an admin client, so that
/// one that lives long would gather log lines without bound.
#[derive(Clone)]
pub(super) struct Topics {
    base: ClientConfig,
    runtime: Handle,
    /// For the same reason such a client never has a bearer's token.
    is_able: bool,
}

/// Kafka compacts and deletes whole segments only, and never the last.
pub(super) const SEGMENT_BYTES: &str = "67108864";

/// How a topic must be.
#[derive(Clone, Debug)]
pub(super) struct TopicPlan {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replication_factor: i32,
    /// Its configuration, and how what is found is compared with it.
    pub(super) config: Vec<(&'static str, String, Compare)>,
}

/// What a value in a topic's configuration may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Compare {
    Same,
    AtLeast,
    /// Anything: the operator may know better.
    Never,
}

impl Topics {
    /// Requests are made on `runtime`.
    pub(super) fn new(base: &ClientConfig, runtime: Handle) -> Self {
        let is_able = base.get("sasl.mechanisms") != Some("OAUTHBEARER");
        Self { base: base.clone(), runtime, is_able }
    }

    /// Whether topics can be made, changed and deleted.
    pub(super) fn is_able(&self) -> bool {
        self.is_able
    }

    pub(super) async fn with_client<T: Send + 'static>(
        &self,
        ask: impl AsyncFnOnce(&AdminClient<Context>) -> KafkaResult<T>,
    ) -> KafkaResult<T> {
        let client = self.base.create_with_context(Context::default())?;
        let answer = ask(&client).await;
        // Waits for its threads.
        drop(self.runtime.spawn_blocking(move || drop(client)));
        answer
    }

    /// Makes a topic; one that is there is no error. Resolves when the cluster has taken the request.
    /// Returns whether it was not there.
    ///
    /// # Errors
    ///
    /// Why it cannot be made.
    pub(super) async fn make(&self, plan: &TopicPlan) -> Result<bool, OpenError> {
        let failed = |reason: String| OpenError::Topic { topic: plan.name.clone(), reason };
        if !self.is_able {
            let why =
                "it is not there, and it cannot be made by the bearer of a token: make it with";
            return Err(failed(format!("{why} {} partitions", plan.partitions)));
        }
        let replication = TopicReplication::Fixed(plan.replication_factor);
        let mut topic = NewTopic::new(&plan.name, plan.partitions, replication);
        for (key, value, _) in &plan.config {
            topic = topic.set(key, value);
        }
        let ask =
            async |client: &AdminClient<Context>| client.create_topics([&topic], &options()).await;
        let made = self.with_client(ask).await;
        match made.map(|mut made| made.pop()) {
            Ok(Some(Ok(_)) | None) => Ok(true),
            Ok(Some(Err((_, Code::TopicAlreadyExists)))) => Ok(false),
            Ok(Some(Err((_, code)))) => {
                let factor = plan.replication_factor;
                Err(failed(match code {
                    Code::InvalidReplicationFactor => {
                        format!("the cluster has not enough nodes for {factor} replicas")
                    }
                    code => format!("it cannot be made: {code}"),
                }))
            }
            Err(error) => Err(failed(format!("it cannot be made: {}", words(&error)))),
        }
    }

    /// What is different between a topic's configuration and the plan, or `None`.
    pub(super) async fn difference(&self, plan: &TopicPlan) -> Option<String> {
        if !self.is_able {
            return None;
        }
        let asked = [ResourceSpecifier::Topic(&plan.name)];
        let ask =
            async |client: &AdminClient<Context>| client.describe_configs(&asked, &options()).await;
        let found = match self.with_client(ask).await.map(|mut all| all.pop()) {
            Ok(Some(Ok(found))) => found,
            answer => {
                // Reading a topic's configuration is a right of its own, and not needed.
                tracing::debug!(topic = plan.name, ?answer, "its configuration is not known");
                return None;
            }
        };
        plan.config.iter().find_map(|wanted| config_difference(&found, wanted))
    }

    /// Gives back the storage of the first records of each partition, if this client can.
    ///
    /// # Errors
    ///
    /// What the cluster says.
    pub(super) async fn delete_before(
        &self,
        topic: &str,
        offsets: &[(i32, i64)],
    ) -> Result<(), KafkaError> {
        if !self.is_able {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for &(partition, offset) in offsets {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        let ask = async |client: &AdminClient<Context>| {
            client.delete_records(&list, &options()).await.map(drop)
        };
        self.with_client(ask).await
    }

    /// Deletes a topic and the group that read it, if this client can. Returns whether the topic is gone.
    ///
    /// # Errors
    ///
    /// What the cluster says.
    pub(super) async fn delete(&self, topic: &str, group: &str) -> KafkaResult<bool> {
        if !self.is_able {
            return Ok(false);
        }
        let ask = async |client: &AdminClient<Context>| {
            let deleted = client.delete_topics(&[topic], &options()).await?;
            for (name, code) in deleted.into_iter().filter_map(Result::err) {
                if !matches!(code, Code::UnknownTopic | Code::UnknownTopicOrPartition) {
                    tracing::debug!(topic = name, %code, "an empty topic is not deleted");
                    return Ok(false);
                }
            }
            // It commits nothing any more, and Kafka forgets it in the end if this fails.
            client.delete_groups(&[group], &options()).await.ok();
            Ok(true)
        };
        self.with_client(ask).await
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").finish_non_exhaustive()
    }
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}

fn config_difference(
    found: &ConfigResource,
    (key, wanted, compare): &(&'static str, String, Compare),
) -> Option<String> {
    let value = found.get(key)?.value.as_deref()?;
    let is_right = match compare {
        Compare::Same => value == wanted,
        Compare::AtLeast => value.parse::<i64>().ok() >= wanted.parse().ok(),
        Compare::Never => true,
    };
    let how = if matches!(compare, Compare::Same) { "" } else { "at least " };
    (!is_right).then(|| format!("{key} is {value}, and must be {how}{wanted}"))
}

/// What is different between a topic's shape and the plan, or `None`.
pub(super) fn shape_difference(found: &MetadataTopic, plan: &TopicPlan) -> Option<String> {
    let partitions = found.partitions();
    if partitions.len() != usize::try_from(plan.partitions).unwrap_or_default() {
        return Some(format!(
            "it has {} partitions, and must have {}",
            partitions.len(),
            plan.partitions
        ));
    }
    let factor = partitions.iter().map(|partition| partition.replicas().len()).min()?;
    (factor != usize::try_from(plan.replication_factor).unwrap_or_default())
        .then(|| format!("it has {factor} replicas, and must have {}", plan.replication_factor))
}

/// What was found of a topic. Asks again until it can be used, or `deadline`. Blocks.
///
/// # Errors
///
/// Why it cannot be used, or what is different.
pub(super) fn wait_for(
    client: &Client<Context>,
    plan: &TopicPlan,
    deadline: Instant,
) -> Result<(), OpenError> {
    let failed = |reason| OpenError::Topic { topic: plan.name.clone(), reason };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let reason = match client.fetch_metadata(Some(&plan.name), REQUEST_TIMEOUT.min(left)) {
            Ok(metadata) => match metadata.topics().first() {
                Some(topic) if topic.error().is_none() && !topic.partitions().is_empty() => {
                    if topic.partitions().iter().all(|partition| partition.leader() >= 0) {
                        return shape_difference(topic, plan)
                            .map_or(Ok(()), |why| Err(failed(why)));
                    }
                    "a partition has no leader".to_owned()
                }
                _ => "it is not there yet".to_owned(),
            },
            Err(error) => match error.rdkafka_error_code() {
                Some(code) if is_refusal(code) => return Err(failed(words(&error))),
                _ => words(&error),
            },
        };
        if Instant::now() >= deadline {
            return Err(failed(reason));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
