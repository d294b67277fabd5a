//! A KafkaSource at work: it looks for the cluster, then runs its consumers until it is told to stop.

use std::{sync::Arc, time::Duration};

use channel::{Name, Work};
use rdkafka::{ClientConfig, consumer::BaseConsumer};
use tokio::{runtime::Handle, select, sync::Semaphore, task, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::{
    DeadLetters, KafkaPlan,
    client::{Client, Faults, Lanes},
    config,
    consume::Consuming,
    lane::{Desk, SOURCE_PUTS_MAX},
    look::{self, Found},
    record::Mapping,
};
use crate::{Context, Failure, Phase, Source};

/// The reason of a source that waits for its cluster.
pub const CONNECTION: &str = "ConnectionNotEstablished";

/// The reason of a source that waits for a topic.
pub const TOPICS: &str = "TopicNotFound";

/// The reason of a source that waits until it can say where its group begins.
pub const OFFSETS: &str = "InitialOffsetsNotCommitted";

/// How often the cluster and the topics are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The same until everything is there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A KafkaSource at work.
#[derive(Clone, Debug)]
pub struct KafkaSource {
    name: Name,
    plan: Arc<KafkaPlan>,
    dead_letters: DeadLetters,
}

impl KafkaSource {
    /// The source `name`; what no sink takes goes to `dead_letters`.
    pub fn new(name: Name, plan: KafkaPlan, dead_letters: DeadLetters) -> Self {
        Self { name, plan: Arc::new(plan), dead_letters }
    }

    async fn work(self, context: Context) -> Result<(), Failure> {
        if self.plan.consumers == 0 {
            context.stop.cancelled().await;
            return Ok(());
        }
        let config = config::consumer(&self.plan).map_err(|reason| Failure { reason })?;
        let faults = Arc::new(Faults::default());
        let client = Client { lanes: None, faults: Arc::clone(&faults) };
        let looker = config.create_with_context::<_, BaseConsumer<Client>>(client);
        let looker = looker.map_err(|error| Failure { reason: error.to_string() })?;
        let look = Looking { looker: Arc::new(looker), plan: Arc::clone(&self.plan), faults };
        let waiting = waiting(CONNECTION, format!("looks for {}", self.plan.bootstrap_servers));
        context.report.enter(waiting);
        let worked = self.follow(&context, &config, &look).await;
        // Its end blocks.
        drop(task::spawn_blocking(move || drop(look)).await);
        worked
    }

    /// Waits for the cluster and a topic, then runs the consumers.
    async fn follow(
        &self,
        context: &Context,
        config: &ClientConfig,
        look: &Looking,
    ) -> Result<(), Failure> {
        let mut told = None;
        loop {
            let found = look.look(context, &mut told, true).await;
            if context.stop.is_cancelled() {
                return Ok(());
            }
            if found.is_some_and(|found| !found.topics.is_empty()) {
                break;
            }
            select! {
                biased;
                () = context.stop.cancelled() => return Ok(()),
                () = time::sleep(LOOK_AGAIN) => {}
            }
        }
        self.consume(context, config, look, told).await
    }

    /// Runs the consumers, and looks after the cluster meanwhile.
    async fn consume(
        &self,
        context: &Context,
        config: &ClientConfig,
        look: &Looking,
        mut told: Option<Phase>,
    ) -> Result<(), Failure> {
        let stop = context.stop.child_token();
        // However this ends, the threads do too.
        let _stop = stop.clone().drop_guard();
        let tasks = TaskTracker::new();
        let desk = Arc::new(Desk {
            context: context.clone(),
            patience: self.plan.patience,
            is_ordered: self.plan.is_ordered,
            dead_letters: self.dead_letters.clone(),
            puts: Semaphore::new(SOURCE_PUTS_MAX),
        });
        let mut ends = Vec::new();
        let mut failed = None;
        for _ in 0..self.plan.consumers {
            match self.start(config, &desk, &tasks, &look.faults, &stop) {
                Ok(ended) => ends.push(ended),
                Err(error) => failed = Some(Failure { reason: error.to_string() }),
            }
        }
        info!(source = %context.id, group = self.plan.group, consumers = ends.len(), "records are read");
        while failed.is_none() && !stop.is_cancelled() {
            let one = futures_util::future::select_all(
                ends.iter().map(|ended| Box::pin(ended.cancelled())),
            );
            select! {
                biased;
                () = stop.cancelled() => {}
                _ = one => failed = Some(Failure { reason: "a consumer ended".to_owned() }),
                () = time::sleep(if told.is_some() { LOOK_AGAIN } else { LOOK_EVERY }) => {
                    look.look(context, &mut told, false).await;
                }
            }
        }
        stop.cancel();
        for ended in &ends {
            ended.cancelled().await;
        }
        tasks.close();
        tasks.wait().await;
        match failed {
            Some(failure) if !context.stop.is_cancelled() => Err(failure),
            _ => Ok(()),
        }
    }

    fn start(
        &self,
        config: &ClientConfig,
        desk: &Arc<Desk>,
        tasks: &TaskTracker,
        faults: &Arc<Faults>,
        stop: &CancellationToken,
    ) -> std::io::Result<CancellationToken> {
        let lanes = Lanes::new(Arc::clone(desk), Handle::current(), tasks.clone());
        let lanes = Arc::new(lanes);
        let client = Client { lanes: Some(Arc::clone(&lanes)), faults: Arc::clone(faults) };
        let consuming = Consuming {
            config: config.clone(),
            client,
            lanes,
            topics: self.plan.topics.clone(),
            mapping: Mapping::new(&self.name, &self.plan),
            stop: stop.clone(),
        };
        consuming.start()
    }
}

impl Source for KafkaSource {
    fn run(&self, context: Context) -> Work<Result<(), Failure>> {
        Box::pin(self.clone().work(context))
    }
}

/// What looks for the cluster and the topics.
struct Looking {
    looker: Arc<BaseConsumer<Client>>,
    plan: Arc<KafkaPlan>,
    faults: Arc<Faults>,
}

impl Looking {
    /// Looks once, and tells what is missing. The first time, the group is given where it begins.
    async fn look(
        &self,
        context: &Context,
        told: &mut Option<Phase>,
        is_first: bool,
    ) -> Option<Found> {
        let (looker, plan) = (Arc::clone(&self.looker), Arc::clone(&self.plan));
        let stop = context.stop.clone();
        let looked = task::spawn_blocking(move || {
            let found = look::look(&looker, &plan, &stop).map_err(|why| (CONNECTION, why))?;
            if is_first {
                look::begin(&looker, &plan, &found).map_err(|why| (OFFSETS, why))?;
            }
            Ok::<_, (&'static str, String)>(found)
        });
        let looked = match looked.await {
            Ok(looked) => looked,
            Err(_) => Err((CONNECTION, "looking for it panicked".to_owned())),
        };
        let (found, phase) = match looked {
            Err((reason, why)) => {
                let message = format!("kafka at {}: {why}", self.plan.bootstrap_servers);
                (None, Some(waiting(reason, message)))
            }
            Ok(found) => {
                let phase = if !found.missing.is_empty() {
                    let names = found.missing.join(", ");
                    Some(waiting(TOPICS, format!("spec.topics: not there: {names}")))
                } else {
                    self.faults.last().filter(|_| !is_first).map(|why| {
                        waiting(
                            CONNECTION,
                            format!("kafka at {}: {why}", self.plan.bootstrap_servers),
                        )
                    })
                };
                // What is wrong still is said again.
                self.faults.clear();
                (Some(found), phase)
            }
        };
        if context.stop.is_cancelled() {
            return None;
        }
        if phase != *told {
            match &phase {
                Some(Phase::Waiting { reason, message }) => {
                    warn!(source = %context.id, reason, message, "a source waits");
                }
                _ => info!(source = %context.id, "a source waits no longer"),
            }
        }
        context.report.enter(phase.clone().unwrap_or(Phase::Running));
        *told = phase;
        found
    }
}

fn waiting(reason: &'static str, message: String) -> Phase {
    // Of several lines, the first says it.
    let message = message.lines().next().unwrap_or_default().to_owned();
    Phase::Waiting { reason, message }
}
