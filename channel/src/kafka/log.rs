//! The log of a broker: a topic that is produced to and consumed as a group.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    assignment::Assignment,
    consume::Running,
    error::OpenError,
    health::Health,
    ledger::KafkaLedger,
    mailbox::Mailboxes,
    open,
    overflow::Overflows,
    partition::position,
    produce::{PRODUCED, Producer, Record, full},
    receipt::Ends,
    settings::{KafkaPlan, KafkaSettings},
    spread::Spread,
};
use crate::{
    Batch, Budget, Channel, Charge, Depth, Durability, Hub, Ledger, Name, Overflow, Publish,
    PublishError, Reader, Strength, Work,
};

/// A channel over a topic of Kafka.
pub struct Kafka {
    pub(super) topic: String,
    pub(super) partitions: i32,
    pub(super) event_bytes_max: usize,
    pub(super) durability: Durability,
    pub(super) budget: Arc<Budget>,
    pub(super) health: Arc<Health>,
    pub(super) producer: Arc<Producer>,
    pub(super) mailboxes: Arc<Mailboxes>,
    pub(super) assignment: Arc<Assignment>,
    pub(super) ends: Arc<Ends>,
    pub(super) spread: Spread,
    pub(super) consumer: Running,
    pub(super) ledger: Arc<KafkaLedger>,
    pub(super) overflows: Overflows,
    pub(super) counts: Counts,
    pub(super) runtime: Handle,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

const BYTES_MAX: &str = "channel.kafka.bytesMax";
const EVENT_BYTES_MAX: &str = "channel.kafka.eventBytesMax";

/// How often each bound was reached.
#[derive(Debug, Default)]
pub(super) struct Counts {
    produced: AtomicU64,
    bytes: AtomicU64,
    event_bytes: AtomicU64,
}

impl Kafka {
    /// Connects to the cluster, makes or checks the topics of the broker `name`, and starts to read.
    ///
    /// `workers` readers lend the events; events that were read are charged to `budget`. What runs beside
    /// the workers runs on `runtime`, which must have timers and outlive the channel. Dropping the future
    /// may leave topics behind. Dropping the channel without [`Channel::end`] stops it as well, without
    /// waiting for it.
    ///
    /// # Errors
    ///
    /// [`OpenError`], in one line; the same call may succeed later unless it is about settings or topics.
    pub async fn open(
        settings: KafkaSettings,
        plan: KafkaPlan,
        hub: impl Into<Hub>,
        workers: usize,
        budget: Arc<Budget>,
        runtime: Handle,
    ) -> Result<Arc<Self>, OpenError> {
        open::open(settings, plan, &hub.into(), (workers, budget), runtime).await
    }

    fn refuse(&self, refused: PublishError) -> PublishError {
        let count = match &refused {
            PublishError::Full { bound, .. } if *bound == PRODUCED => &self.counts.produced,
            PublishError::Full { .. } => &self.counts.bytes,
            PublishError::TooLarge { .. } => &self.counts.event_bytes,
            _ => return refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
        refused
    }

    /// Why events cannot be taken now.
    fn check(&self, events: &Batch) -> Result<(), PublishError> {
        if self.mailboxes.is_closed() {
            return Err(PublishError::Down { reason: "it is closing".into() });
        }
        let limit = self.event_bytes_max;
        if let Some(size) = events.iter().map(|event| event.size()).find(|&size| size > limit) {
            return Err(PublishError::TooLarge { size, limit });
        }
        // What cannot be sent now would be stored after its sender had been told otherwise.
        self.health.check().map_err(|reason| PublishError::Down { reason })?;
        if self.producer.has_room(events.len()) { Ok(()) } else { Err(full()) }
    }

    fn record<'a>(&'a self, event: &'a crate::Event, worker: usize) -> Record<'a> {
        let partition = self.spread.partition(worker, event, self.mailboxes.is_keyed());
        let place = (self.topic.as_str(), partition);
        Record::of_event(event, place, None, &self.ends, self.event_bytes_max)
    }
}

impl Channel for Kafka {
    fn kind(&self) -> &'static str {
        "KafkaChannel"
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    fn reserve(&self, bytes: usize) -> Result<Charge, PublishError> {
        self.budget.try_charge(bytes).ok_or_else(|| {
            let retry_after = Duration::from_secs(1);
            self.refuse(PublishError::Full { bound: BYTES_MAX, retry_after })
        })
    }

    fn publish(&self, worker: usize, events: Batch) -> Publish {
        if let Err(refused) = self.check(&events) {
            return Publish::done(Err(self.refuse(refused)));
        }
        let mut sent = Vec::with_capacity(events.len());
        for event in &events {
            match self.producer.send(self.record(event, worker)) {
                Ok(answer) => sent.push(answer),
                Err(refused) if sent.is_empty() => {
                    return Publish::done(Err(self.refuse(refused)));
                }
                Err(refused) => {
                    let count = sent.len();
                    let reason = format!("{count} events were sent, then: {refused}");
                    return Publish::done(Err(PublishError::Unknown { reason }));
                }
            }
        }
        let count = self.partitions;
        let all = self.producer.all(sent);
        Publish::waiting(async move {
            all.await.map(|(partition, offset)| position(offset, partition, count))
        })
    }

    fn keep_keys_together(&self, keyed: bool) {
        self.mailboxes.set_keyed(keyed);
    }

    fn reader(&self, worker: usize) -> Box<dyn Reader> {
        self.mailboxes.reader(worker)
    }

    fn depth(&self) -> Depth {
        let (events, bytes) = self.assignment.depth();
        Depth { events, bytes }
    }

    fn bounds_reached(&self) -> Vec<(&'static str, u64)> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        vec![
            (PRODUCED, count(&self.counts.produced)),
            (BYTES_MAX, count(&self.counts.bytes)),
            (EVENT_BYTES_MAX, count(&self.counts.event_bytes)),
        ]
    }

    fn health(&self) -> Result<(), String> {
        self.health.check()
    }

    fn overflow(&self, trigger: &Name, ordered: bool) -> Arc<dyn Overflow> {
        self.overflows.open(trigger, ordered)
    }

    fn overflowing(&self) -> Vec<Name> {
        self.overflows.overflowing()
    }

    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        let ledger: Arc<dyn Ledger> = Arc::<KafkaLedger>::clone(&self.ledger);
        Some(ledger)
    }

    fn close(&self) {
        self.mailboxes.close();
    }

    fn end(&self, deadline: Instant) -> Work<()> {
        self.close();
        self.stop.cancel();
        self.tasks.close();
        // One that is away would be waited for in vain.
        let deadline = match self.health.check() {
            Ok(()) => deadline,
            Err(_) => deadline.min(Instant::now() + END_AWAY),
        };
        let (tasks, mut consumer) = (self.tasks.clone(), self.consumer.clone());
        let producer = Arc::clone(&self.producer);
        let flush = self.runtime.spawn_blocking(move || {
            producer.flush(deadline.saturating_duration_since(Instant::now()));
        });
        Box::pin(async move {
            let all = async {
                consumer.ended().await;
                tasks.wait().await;
                flush.await.ok();
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, all).await.is_err() {
                tracing::warn!("kafka did not let go in time; what was settled may be lent again");
            }
        })
    }
}

/// How long a cluster that cannot be reached is waited for at the end.
const END_AWAY: Duration = Duration::from_secs(1);

impl Drop for Kafka {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
        // Letting go of the producer waits for its thread.
        let producer = Arc::clone(&self.producer);
        drop(self.runtime.spawn_blocking(move || drop(producer)));
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// What "stored" means with this plan.
pub(super) fn durability(plan: &KafkaPlan) -> Durability {
    Durability {
        strength: Strength::Process,
        replicated: plan.replication_factor >= 2 && plan.min_insync_replicas() >= 2,
    }
}
