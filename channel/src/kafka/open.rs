//! Settings and plan -> a channel that runs, or why not.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use tokio::{runtime::Handle, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    assignment::Assignment,
    config::{self, BESIDE_BYTES_MAX},
    consume::Consuming,
    context::Context,
    error::{OpenError, is_refusal, words},
    health::Health,
    ledger::KafkaLedger,
    log::{Counts, Kafka, durability},
    mailbox::Mailboxes,
    overflow::{Overflows, Shared},
    produce::Producer,
    receipt::Ends,
    settings::{KafkaPlan, KafkaSasl, KafkaSettings, Names},
    spread::Spread,
    topics::{Compare, TopicPlan, Topics, wait_for},
    tracker::Window,
};
use crate::{Budget, Name};

/// What of one partition may be under way.
const WINDOW: Window = Window { unsettled_max: 10_000, bytes_max: 16 << 20, slots_max: 100_000 };

/// How long opening waits for the group to share out partitions. Without them the channel takes events,
/// and lends them later.
const JOIN_WAIT: Duration = Duration::from_secs(3);

/// How long the cluster may take over one question.
const ASK: Duration = Duration::from_secs(2);

/// How long to wait before asking again.
const AGAIN: Duration = Duration::from_millis(100);

/// Opens a channel; see [`Kafka::open`].
pub(super) async fn open(
    settings: KafkaSettings,
    plan: KafkaPlan,
    name: &Name,
    (workers, budget): (usize, Arc<Budget>),
    runtime: Handle,
) -> Result<Arc<Kafka>, OpenError> {
    plan.check().map_err(OpenError::Settings)?;
    let names = settings.names(name).map_err(OpenError::Settings)?;
    let opening = Opening { settings, plan, names, workers: workers.max(1), budget, runtime };
    let runtime = opening.runtime.clone();
    match runtime.spawn(opening.run()).await {
        Ok(opened) => opened,
        Err(error) => Err(OpenError::Failed { doing: "open", reason: error.to_string() }),
    }
}

struct Opening {
    settings: KafkaSettings,
    plan: KafkaPlan,
    names: Names,
    workers: usize,
    budget: Arc<Budget>,
    runtime: Handle,
}

impl Opening {
    async fn run(self) -> Result<Arc<Kafka>, OpenError> {
        let deadline = Instant::now() + self.settings.open_timeout;
        let base = config::base(&self.settings).map_err(OpenError::Settings)?;
        let token_file = match &self.settings.sasl {
            Some(KafkaSasl::OauthBearer { token_file }) => Some(token_file.clone()),
            _ => None,
        };
        let context = Context { token_file, ..Context::default() };
        let topics = Topics::new(&base, self.runtime.clone());
        let probe = Probe {
            servers: self.settings.bootstrap_servers.clone(),
            config: config::observer(&base, &self.names.group),
            context: context.clone(),
            deadline,
        };
        let probe = self.block(move || probe.connect()).await?;
        let plans = self.topic_plans();
        let probe = {
            let plans = plans.clone();
            for plan in &plans {
                if !probe.has(plan) {
                    topics.make(plan).await?;
                }
            }
            self.block(move || probe.wait_for(&plans)).await?
        };
        for plan in &plans {
            if let Some(reason) = topics.difference(plan).await {
                return Err(OpenError::Topic { topic: plan.name.clone(), reason });
            }
        }
        let (topic, partitions) = (self.names.topic.clone(), self.plan.partitions);
        self.block(move || probe.commit_starts(&topic, partitions)).await?;
        self.build(&base, context, topics).await
    }

    async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
    ) -> Result<T, OpenError> {
        match self.runtime.spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => Err(OpenError::Failed { doing: "open", reason: error.to_string() }),
        }
    }

    fn topic_plans(&self) -> [TopicPlan; 2] {
        let KafkaPlan { partitions, replication_factor, retention } = self.plan;
        let min_insync = || {
            let replicas = self.plan.min_insync_replicas();
            ("min.insync.replicas", replicas.to_string(), Compare::AtLeast)
        };
        let bytes = self.settings.record_bytes_max;
        let largest = |bytes: usize| ("max.message.bytes", bytes.to_string(), Compare::AtLeast);
        let log = vec![
            // A compacted log would lose events that share a key.
            ("cleanup.policy", "delete".to_owned(), Compare::Same),
            ("retention.ms", retention.as_millis().to_string(), Compare::Same),
            min_insync(),
            largest(bytes),
        ];
        let ledger = vec![
            ("cleanup.policy", "compact".to_owned(), Compare::Same),
            min_insync(),
            largest(bytes + BESIDE_BYTES_MAX),
        ];
        [
            TopicPlan {
                name: self.names.topic.clone(),
                partitions,
                replication_factor,
                config: log,
            },
            TopicPlan {
                name: self.names.ledger(),
                partitions: 1,
                replication_factor,
                config: ledger,
            },
        ]
    }

    async fn build(
        self,
        base: &ClientConfig,
        context: Context,
        topics: Topics,
    ) -> Result<Arc<Kafka>, OpenError> {
        let failed =
            |doing| move |error: KafkaError| OpenError::Failed { doing, reason: error.to_string() };
        let (health, stop, tasks) =
            (Arc::new(Health::default()), CancellationToken::new(), TaskTracker::new());
        // What fails below must end what was started above.
        let guard = stop.clone().drop_guard();
        let producer = Producer::new(
            config::producer(base, &self.settings),
            Context { fatal: Some(Arc::new(Notify::new())), ..context.clone() },
            Arc::clone(&health),
            self.settings.publish_timeout,
        )
        .map_err(failed("make a producer"))?;
        tasks.spawn_on(
            Arc::clone(&producer).renew(self.runtime.clone(), stop.clone()),
            &self.runtime,
        );
        let event_bytes_max = self.settings.event_bytes_max();
        let ledger = Arc::new(KafkaLedger {
            topic: self.names.ledger(),
            producer: Arc::clone(&producer),
            health: Arc::clone(&health),
            config: config::observer(base, &self.names.group),
            context: context.clone(),
            value_bytes_max: event_bytes_max + (64 << 10),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let overflows = Overflows::new(Shared {
            prefix: self.names.overflow_prefix(),
            group_prefix: format!("{}.overflow.", self.names.group),
            base: base.clone(),
            context: context.clone(),
            workers: self.workers,
            budget: Arc::clone(&self.budget),
            health: Arc::clone(&health),
            producer: Arc::clone(&producer),
            ledger: Arc::clone(&ledger),
            topics,
            replication_factor: self.plan.replication_factor,
            min_insync_replicas: self.plan.min_insync_replicas(),
            record_bytes_max: self.settings.record_bytes_max + BESIDE_BYTES_MAX,
            runtime: self.runtime.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let looking = overflows.clone();
        self.block(move || looking.look().map_err(failed("look for overflows"))).await?;
        tasks.spawn_on(overflows.clone().keep_looking(), &self.runtime);

        let partitions = self.plan.partitions;
        let (mailboxes, ends) = (Mailboxes::new(self.workers), Ends::new(partitions));
        let inlet: Arc<Mailboxes> = Arc::clone(&mailboxes);
        let assignment =
            Assignment::new(self.names.topic.clone(), partitions, WINDOW, inlet, Arc::clone(&ends));
        let consuming = Consuming {
            config: config::consumer(base, &self.names.group),
            context: Context {
                health: Some(Arc::clone(&health)),
                assignment: Some(Arc::clone(&assignment)),
                ..context
            },
            assignment: Arc::clone(&assignment),
            budget: Arc::clone(&self.budget),
            stop: stop.clone(),
        };
        let consumer = consuming.start().map_err(|error| OpenError::Failed {
            doing: "start a thread",
            reason: error.to_string(),
        })?;
        let mut joined = assignment.joined();
        tokio::time::timeout(JOIN_WAIT, joined.wait_for(|has_joined| *has_joined)).await.ok();
        Ok(Arc::new(Kafka {
            topic: self.names.topic,
            partitions,
            event_bytes_max,
            durability: durability(&self.plan),
            budget: self.budget,
            health,
            producer,
            mailboxes,
            assignment,
            ends,
            spread: Spread::new(partitions, self.workers),
            consumer,
            ledger,
            overflows,
            counts: Counts::default(),
            runtime: self.runtime,
            tasks,
            stop: guard.disarm(),
        }))
    }
}

/// Asks a cluster before anything runs.
struct Probe {
    servers: String,
    config: ClientConfig,
    context: Context,
    deadline: Instant,
}

impl Probe {
    /// Connects. Blocks.
    fn connect(mut self) -> Result<Connected, OpenError> {
        let health = Arc::new(Health::default());
        self.context.health = Some(Arc::clone(&health));
        let client: BaseConsumer<Context> =
            self.config
                .create_with_context(self.context.clone())
                .map_err(|error| OpenError::Settings(error.to_string()))?;
        loop {
            // Serves what the library reports, and its need of a token.
            client.poll(Duration::from_millis(20));
            let left = self.deadline.saturating_duration_since(Instant::now());
            let reason = match client.fetch_metadata(None, ASK.min(left)) {
                Ok(metadata) => {
                    let topics =
                        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
                    return Ok(Connected { probe: self, client, topics });
                }
                Err(error) => words(&error),
            };
            client.poll(Duration::ZERO);
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

/// A cluster that answers.
struct Connected {
    probe: Probe,
    client: BaseConsumer<Context>,
    topics: Vec<String>,
}

impl Connected {
    fn has(&self, plan: &TopicPlan) -> bool {
        self.topics.contains(&plan.name)
    }

    /// Waits until topics can be used and are as planned. Blocks.
    fn wait_for(self, plans: &[TopicPlan]) -> Result<Self, OpenError> {
        for plan in plans {
            wait_for(self.client.client(), plan, self.probe.deadline)?;
        }
        Ok(self)
    }

    /// Commits the beginning of each partition that has no commit, so that no setting of a client can
    /// ever let it begin elsewhere. Blocks.
    fn commit_starts(self, topic: &str, partitions: i32) -> Result<(), OpenError> {
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
