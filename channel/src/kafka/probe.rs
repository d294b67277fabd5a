//! What a cluster is asked before anything runs: whether it answers, and where to begin.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
};

use super::{
    context::Context,
    error::{OpenError, is_refusal, words},
    health::Health,
    topics::{TopicPlan, wait_for},
};

/// How long the cluster may take over one question.
const ASK: Duration = Duration::from_secs(2);

/// How long what the library has to report is listened to.
const SERVE: Duration = Duration::from_millis(30);

/// How long to wait before asking again.
const AGAIN: Duration = Duration::from_millis(100);

/// Asks a cluster before anything runs.
pub(super) struct Probe {
    pub(super) servers: String,
    pub(super) config: ClientConfig,
    pub(super) context: Context,
    pub(super) deadline: Instant,
}

impl Probe {
    /// Connects. Blocks.
    pub(super) fn connect(mut self) -> Result<Connected, OpenError> {
        let health = Arc::new(Health::default());
        self.context.health = Some(Arc::clone(&health));
        let client: BaseConsumer<Context> =
            self.config
                .create_with_context(self.context.clone())
                .map_err(|error| OpenError::Settings(error.to_string()))?;
        loop {
            serve(&client);
            let left = self.deadline.saturating_duration_since(Instant::now());
            let reason = match client.fetch_metadata(None, ASK.min(left)) {
                Ok(metadata) => {
                    let topics =
                        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
                    return Ok(Connected { probe: self, client, topics });
                }
                Err(error) => words(&error),
            };
            serve(&client);
            let servers = self.servers.clone();
            if let Some(reason) = health.refused() {
                return Err(OpenError::Refused { servers, reason });
            }
            if Instant::now() >= self.deadline {
                let reason = health.last().unwrap_or(reason);
                return Err(OpenError::Unreachable { servers, reason });
            }
            thread::park_timeout(AGAIN);
        }
    }
}

/// A client for a few questions, which has a token when it needs one. Blocks for a moment.
///
/// # Errors
///
/// What the library dislikes about the properties.
pub(super) fn client(
    config: &ClientConfig,
    context: &Context,
) -> KafkaResult<BaseConsumer<Context>> {
    let client = config.create_with_context(context.clone())?;
    if context.token_file.is_some() {
        serve(&client);
    }
    Ok(client)
}

/// Takes what the library has to report, and gives it a token when it needs one.
fn serve(client: &BaseConsumer<Context>) {
    let end = Instant::now() + SERVE;
    while Instant::now() < end {
        client.poll(Duration::from_millis(5));
    }
}

/// A cluster that answers.
pub(super) struct Connected {
    probe: Probe,
    client: BaseConsumer<Context>,
    topics: Vec<String>,
}

impl Connected {
    /// The names of all topics, as they were when it connected.
    pub(super) fn topics(&self) -> &[String] {
        &self.topics
    }

    /// The names of all topics now. Blocks.
    ///
    /// # Errors
    ///
    /// What the cluster says.
    pub(super) fn topics_now(&self) -> KafkaResult<Vec<String>> {
        let metadata = self.client.fetch_metadata(None, ASK)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// The names of all groups. Blocks.
    ///
    /// # Errors
    ///
    /// What the cluster says.
    pub(super) fn groups(&self) -> KafkaResult<Vec<String>> {
        let groups = self.client.fetch_group_list(None, ASK)?;
        Ok(groups.groups().iter().map(|group| group.name().to_owned()).collect())
    }

    pub(super) fn has(&self, plan: &TopicPlan) -> bool {
        self.topics.contains(&plan.name)
    }

    /// Waits until topics can be used and are as planned. Blocks.
    pub(super) fn wait_for(self, plans: &[TopicPlan]) -> Result<Self, OpenError> {
        for plan in plans {
            wait_for(self.client.client(), plan, self.probe.deadline)?;
        }
        Ok(self)
    }

    /// Commits the beginning of each partition that has no commit, so that no setting of a client can
    /// ever let it begin elsewhere. Blocks.
    pub(super) fn commit_starts(self, topic: &str, partitions: i32) -> Result<(), OpenError> {
        let failed = |reason| OpenError::Failed { doing: "commit where to begin", reason };
        loop {
            let reason = match self.try_commit_starts(topic, partitions) {
                Ok(()) => return Ok(()),
                Err(error) => match error.rdkafka_error_code() {
                    // The group runs: its members began before us.
                    Some(
                        Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress,
                    ) => return Ok(()),
                    Some(code) if is_refusal(code) => {
                        let servers = self.probe.servers.clone();
                        return Err(OpenError::Refused { servers, reason: words(&error) });
                    }
                    _ => words(&error),
                },
            };
            if Instant::now() >= self.probe.deadline {
                return Err(failed(reason));
            }
            thread::park_timeout(AGAIN);
        }
    }

    fn try_commit_starts(&self, topic: &str, partitions: i32) -> Result<(), KafkaError> {
        let mut all = TopicPartitionList::new();
        all.add_partition_range(topic, 0, partitions - 1);
        let committed = self.client.committed_offsets(all, ASK)?;
        let mut begins = TopicPartitionList::new();
        for one in committed.elements() {
            if !matches!(one.offset(), Offset::Offset(_)) {
                begins.add_partition_offset(topic, one.partition(), Offset::Beginning)?;
            }
        }
        if begins.count() == 0 {
            return Ok(());
        }
        let begins = self.client.offsets_for_times(begins, ASK)?;
        self.client.commit(&begins, CommitMode::Sync)
    }
}
