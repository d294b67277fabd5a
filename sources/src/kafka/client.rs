//! What the client library tells: its log, what is wrong, and which partitions are ours.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::{runtime::Handle, time};
use tokio_util::task::TaskTracker;

use super::lane::{Desk, Lane};
use crate::SourceId;

/// How long what is on its way may take when a partition goes to another member, or the source ends.
const WIND_DOWN: Duration = Duration::from_secs(2);

/// A partition by topic and number.
pub(super) type Place = (String, i32);

/// What was wrong last, for whoever reports it.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Option<String>>);

impl Faults {
    pub(super) fn note(&self, what: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The partitions of one consumer. Only its thread changes them.
#[derive(Debug)]
pub(super) struct Lanes {
    all: Mutex<BTreeMap<Place, Arc<Lane>>>,
    desk: Arc<Desk>,
    runtime: Handle,
    tasks: TaskTracker,
}

impl Lanes {
    pub(super) fn new(desk: Arc<Desk>, runtime: Handle, tasks: TaskTracker) -> Self {
        Self { all: Mutex::default(), desk, runtime, tasks }
    }

    /// Whose they are.
    pub(super) fn id(&self) -> &SourceId {
        &self.desk.context.id
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Arc<Lane>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<(Place, Arc<Lane>)> {
        self.lock().iter().map(|(place, lane)| (place.clone(), Arc::clone(lane))).collect()
    }

    /// The lane of a partition, which begins with its first record.
    pub(super) fn get(&self, topic: &str, partition: i32) -> Arc<Lane> {
        let mut all = self.lock();
        let lane = all.entry((topic.to_owned(), partition)).or_insert_with(|| self.start());
        Arc::clone(lane)
    }

    /// Another lane in place of the one that is there, which ends when it has delivered what it has:
    /// its offsets are of a log that is gone.
    pub(super) fn begin_anew(&self, topic: &str, partition: i32) -> Arc<Lane> {
        let lane = self.start();
        let before = self.lock().insert((topic.to_owned(), partition), Arc::clone(&lane));
        if let Some(before) = before {
            before.close();
        }
        lane
    }

    fn start(&self) -> Arc<Lane> {
        let lane = Arc::new(Lane::default());
        let run = Arc::clone(&lane).run(Arc::clone(&self.desk));
        self.tasks.spawn_on(run, &self.runtime);
        lane
    }

    /// Lets what is on its way arrive, then lets the client commit how far the lanes are, and ends
    /// them. Not to be called on a thread of the runtime.
    fn let_go(&self, consumer: &BaseConsumer<Client>, places: &[Place], is_lost: bool) {
        let lanes: Vec<(Place, Arc<Lane>)> = {
            let mut all = self.lock();
            places.iter().filter_map(|place| all.remove_entry(place)).collect()
        };
        if !is_lost {
            lanes.iter().for_each(|(_, lane)| lane.wind_down());
            let ended = async {
                for (_, lane) in &lanes {
                    lane.ended().await;
                }
            };
            let in_time = self.runtime.block_on(async { time::timeout(WIND_DOWN, ended).await });
            if in_time.is_err() {
                tracing::debug!("records on their way are delivered again by the next owner");
            }
        }
        lanes.iter().for_each(|(_, lane)| lane.stop());
        if !is_lost {
            store(consumer, &lanes);
        }
    }

    /// The same for all partitions.
    pub(super) fn end(&self, consumer: &BaseConsumer<Client>) {
        let places: Vec<Place> = self.lock().keys().cloned().collect();
        self.let_go(consumer, &places, false);
    }

    /// Nothing is ours any more.
    pub(super) fn lose_all(&self) {
        let all = std::mem::take(&mut *self.lock());
        all.values().for_each(|lane| lane.stop());
    }
}

/// Lets the client commit how far the lanes are: with its timer, when partitions go, when it is
/// closed.
pub(super) fn store(consumer: &BaseConsumer<Client>, lanes: &[(Place, Arc<Lane>)]) {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), lane) in lanes {
        if let Some(offset) = lane.take_commit()
            && let Err(error) = list.add_partition_offset(topic, *partition, Offset::Offset(offset))
        {
            tracing::debug!(topic, partition, %error, "an offset cannot be committed");
        }
    }
    if list.count() > 0
        && let Err(error) = consumer.store_offsets(&list)
    {
        // The partition has just gone: its new owner delivers again what is stored already.
        tracing::debug!(%error, "offsets are not committed");
    }
}

/// What the client library calls.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// None of one that does not read.
    pub(super) lanes: Option<Arc<Lanes>>,
    pub(super) faults: Arc<Faults>,
}

impl ClientContext for Client {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug => tracing::trace!(facility, "librdkafka: {message}"),
            _ => tracing::debug!(facility, "librdkafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka says");
        // That no broker is left says less than why the last one went.
        let says_less = matches!(error, KafkaError::Global(RDKafkaErrorCode::AllBrokersDown));
        if !says_less || self.faults.last().is_none() {
            self.faults.note(reason.to_owned());
        }
    }
}

impl ConsumerContext for Client {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Some(lanes) = &self.lanes else { return };
        match rebalance {
            Rebalance::Assign(list) => {
                tracing::debug!(partitions = ?places(list), "partitions are ours");
            }
            Rebalance::Revoke(list) => {
                lanes.let_go(consumer, &places(list), consumer.assignment_lost());
                tracing::debug!(partitions = ?places(list), "partitions are gone");
            }
            Rebalance::Error(error) => {
                tracing::debug!(%error, "partitions cannot be shared out");
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // The library remembers that a partition was paused when it was ours before.
        if let (Some(_), Rebalance::Assign(list)) = (&self.lanes, rebalance)
            && let Err(error) = consumer.resume(list)
        {
            tracing::debug!(%error, "partitions cannot be resumed");
        }
    }
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    list.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect()
}
