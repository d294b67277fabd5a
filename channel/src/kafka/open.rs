//! Settings and plan -> a channel that runs, or why not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{ClientConfig, error::KafkaError};
use tokio::{runtime::Handle, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    assignment::Assignment,
    config::{self, BESIDE_BYTES_MAX},
    consume::{Consuming, Running},
    context::Context,
    error::OpenError,
    health::Health,
    ledger::KafkaLedger,
    log::{Counts, Kafka, durability},
    mailbox::Mailboxes,
    overflow::{Overflows, Shared},
    probe::Probe,
    produce::Producer,
    receipt::Ends,
    settings::{KafkaPlan, KafkaSasl, KafkaSettings, Names},
    spread::Spread,
    topics::{Compare, SEGMENT_BYTES, TopicPlan, Topics},
    tracker::Window,
};
use crate::{Budget, Hub, removal::Removals};

/// What of one partition may be under way.
const WINDOW: Window = Window { unsettled_max: 10_000, bytes_max: 16 << 20, slots_max: 100_000 };

/// How long opening waits for the group to share out partitions. Without them the channel takes events,
/// and lends them later.
const JOIN_WAIT: Duration = Duration::from_secs(3);

/// Opens a channel; see [`Kafka::open`].
pub(super) async fn open(
    settings: KafkaSettings,
    plan: KafkaPlan,
    hub: &Hub,
    (workers, budget): (usize, Arc<Budget>),
    runtime: Handle,
) -> Result<Arc<Kafka>, OpenError> {
    plan.check().map_err(OpenError::Settings)?;
    let names = settings.names(hub).map_err(OpenError::Settings)?;
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
            ("segment.bytes", SEGMENT_BYTES.to_owned(), Compare::Never),
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
            removed_after: self.settings.overflow_removed_after,
            removals: Removals::new(
                Arc::<KafkaLedger>::clone(&ledger),
                self.runtime.clone(),
                tasks.clone(),
                stop.clone(),
            ),
            runtime: self.runtime.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let looking = overflows.clone();
        self.block(move || looking.look().map_err(failed("look for overflows"))).await?;
        tasks.spawn_on(overflows.clone().keep_looking(), &self.runtime);
        let reading = self.read(base, context, (&health, &stop)).await?;
        Ok(Arc::new(Kafka {
            topic: self.names.topic,
            partitions: self.plan.partitions,
            event_bytes_max,
            durability: durability(&self.plan),
            budget: self.budget,
            health,
            producer,
            mailboxes: reading.mailboxes,
            assignment: reading.assignment,
            ends: reading.ends,
            spread: Spread::new(self.plan.partitions, self.workers),
            consumer: reading.consumer,
            ledger,
            overflows,
            counts: Counts::default(),
            runtime: self.runtime,
            tasks,
            stop: guard.disarm(),
        }))
    }

    /// Starts the consumer of the log.
    async fn read(
        &self,
        base: &ClientConfig,
        context: Context,
        (health, stop): (&Arc<Health>, &CancellationToken),
    ) -> Result<Reading, OpenError> {
        let partitions = self.plan.partitions;
        let (mailboxes, ends) = (Mailboxes::new(self.workers), Ends::new(partitions));
        let inlet: Arc<Mailboxes> = Arc::clone(&mailboxes);
        let topic = self.names.topic.clone();
        let assignment = Assignment::new(topic, partitions, WINDOW, inlet, Arc::clone(&ends));
        let consuming = Consuming {
            config: config::log_consumer(base, &self.names.group),
            context: Context {
                health: Some(Arc::clone(health)),
                assignment: Some(Arc::clone(&assignment)),
                ..context
            },
            assignment: Arc::clone(&assignment),
            budget: Arc::clone(&self.budget),
            is_overflow: false,
            stop: stop.clone(),
        };
        let consumer = consuming.start().map_err(|error| OpenError::Failed {
            doing: "start a thread",
            reason: error.to_string(),
        })?;
        let mut joined = assignment.joined();
        tokio::time::timeout(JOIN_WAIT, joined.wait_for(|has_joined| *has_joined)).await.ok();
        Ok(Reading { mailboxes, ends, assignment, consumer })
    }
}

/// The consumer of the log, and what it feeds.
struct Reading {
    mailboxes: Arc<Mailboxes>,
    ends: Arc<Ends>,
    assignment: Arc<Assignment>,
    consumer: Running,
}

fn failed(doing: &'static str) -> impl Fn(KafkaError) -> OpenError {
    move |error| OpenError::Failed { doing, reason: error.to_string() }
}
