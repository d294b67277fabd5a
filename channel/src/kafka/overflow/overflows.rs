//! All overflows of a broker: which there are in Kafka, and which are open here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};
use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    super::{
        context::Context,
        error::words,
        health::Health,
        ledger::KafkaLedger,
        probe::client,
        produce::Producer,
        topics::{Compare, SEGMENT_BYTES, TopicPlan, Topics},
    },
    lane::LANES,
    naming,
    waiting_room::{Room, WaitingRoom},
};
use crate::{Budget, Name, Overflow};

/// What all overflows of a broker share.
pub(in super::super) struct Shared {
    /// Begins the names of their topics.
    pub(in super::super) prefix: String,
    /// Begins the names of their groups.
    pub(in super::super) group_prefix: String,
    /// Of the clients that consume them, without a group.
    pub(in super::super) base: ClientConfig,
    pub(in super::super) context: Context,
    pub(in super::super) workers: usize,
    pub(in super::super) budget: Arc<Budget>,
    pub(in super::super) health: Arc<Health>,
    pub(in super::super) producer: Arc<Producer>,
    pub(in super::super) ledger: Arc<KafkaLedger>,
    pub(in super::super) topics: Topics,
    pub(in super::super) replication_factor: i32,
    pub(in super::super) min_insync_replicas: i32,
    pub(in super::super) record_bytes_max: usize,
    pub(in super::super) runtime: Handle,
    pub(in super::super) tasks: TaskTracker,
    pub(in super::super) stop: CancellationToken,
}

impl Shared {
    /// How the topic of an overflow must be. Nothing that waits goes by age: it is the dispatcher that
    /// knows what is too old.
    pub(super) fn topic_plan(&self, name: String) -> TopicPlan {
        let config = vec![
            ("cleanup.policy", "delete".to_owned(), Compare::Same),
            ("retention.ms", "-1".to_owned(), Compare::Same),
            ("segment.bytes", SEGMENT_BYTES.to_owned(), Compare::Never),
            ("min.insync.replicas", self.min_insync_replicas.to_string(), Compare::AtLeast),
            ("max.message.bytes", self.record_bytes_max.to_string(), Compare::AtLeast),
        ];
        let replication_factor = self.replication_factor;
        TopicPlan { name, partitions: LANES, replication_factor, config }
    }
}

/// The overflows of a broker.
#[derive(Clone)]
pub(in super::super) struct Overflows(Arc<State>);

struct State {
    shared: Arc<Shared>,
    /// Topics that there are, and how much lies in them.
    found: Mutex<BTreeMap<String, usize>>,
    rooms: Mutex<HashMap<Name, Weak<Room>>>,
}

/// How often it is looked what other replicas have made.
const LOOK: Duration = Duration::from_secs(5);

/// How long the cluster may take to tell.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

impl Overflows {
    pub(in super::super) fn new(shared: Shared) -> Self {
        Self(Arc::new(State {
            shared: Arc::new(shared),
            found: Mutex::default(),
            rooms: Mutex::default(),
        }))
    }

    /// The overflow of a trigger.
    pub(in super::super) fn open(&self, trigger: &Name, is_ordered: bool) -> Arc<dyn Overflow> {
        let shared = Arc::clone(&self.0.shared);
        let topic = naming::topic(&shared.prefix, trigger);
        let found = lock(&self.0.found).get(&topic).copied();
        let room = Room::new(shared, trigger, topic, is_ordered, found.unwrap_or_default());
        if found.is_some_and(|entries| entries > 0) {
            room.start();
        }
        lock(&self.0.rooms).insert(trigger.clone(), Arc::downgrade(&room));
        Arc::new(WaitingRoom::new(room))
    }

    /// Triggers for whom something lies in Kafka.
    pub(in super::super) fn overflowing(&self) -> Vec<Name> {
        let rooms = self.open_rooms();
        let mut names: Vec<_> = lock(&self.0.found)
            .iter()
            .filter(|(_, entries)| **entries > 0)
            .filter_map(|(topic, _)| {
                naming::trigger(&self.0.shared.prefix, topic).or_else(|| {
                    // A hash stands for it: only who opened it knows whose it is.
                    let room = rooms.iter().find(|room| room.topic() == topic)?;
                    Some(room.trigger().clone())
                })
            })
            .collect();
        for room in rooms.iter().filter(|room| room.depth().events > 0) {
            if !names.contains(room.trigger()) {
                names.push(room.trigger().clone());
            }
        }
        names
    }

    fn open_rooms(&self) -> Vec<Arc<Room>> {
        lock(&self.0.rooms).values().filter_map(Weak::upgrade).collect()
    }

    /// Looks which topics there are. Blocks.
    ///
    /// # Errors
    ///
    /// What the cluster says.
    pub(in super::super) fn look(&self) -> KafkaResult<()> {
        let shared = &self.0.shared;
        let mut config = shared.base.clone();
        config.set("group.id", &shared.group_prefix);
        let found = find(&client(&config, &shared.context)?, &shared.prefix)?;
        *lock(&self.0.found) = found;
        Ok(())
    }

    /// Looks again and again, and wakes rooms that other replicas have put to.
    pub(in super::super) async fn keep_looking(self) {
        let mut turn = interval(LOOK);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        turn.tick().await;
        let stop = self.0.shared.stop.clone();
        while stop.run_until_cancelled(turn.tick()).await.is_some() {
            let this = self.clone();
            let look = self.0.shared.runtime.spawn_blocking(move || this.look());
            let Some(looked) = stop.run_until_cancelled(look).await else { return };
            if let Ok(Err(error)) = looked {
                tracing::debug!(reason = words(&error), "overflows are not known");
            }
            lock(&self.0.rooms).retain(|_, room| room.strong_count() > 0);
            for room in self.open_rooms() {
                let found = lock(&self.0.found).get(room.topic()).copied();
                if found.is_some_and(|entries| entries > 0) {
                    room.start();
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The topics that begin with `prefix`, and how many records each holds.
fn find(consumer: &BaseConsumer<Context>, prefix: &str) -> KafkaResult<BTreeMap<String, usize>> {
    let metadata = consumer.fetch_metadata(None, ASK_TIMEOUT)?;
    let topics = metadata.topics().iter().filter(|topic| topic.name().starts_with(prefix));
    let mut found = BTreeMap::new();
    let (mut begins, mut ends) = (TopicPartitionList::new(), TopicPartitionList::new());
    for topic in topics {
        found.insert(topic.name().to_owned(), 0);
        for partition in topic.partitions() {
            begins.add_partition_offset(topic.name(), partition.id(), Offset::Beginning)?;
            ends.add_partition_offset(topic.name(), partition.id(), Offset::End)?;
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    let begins = consumer.offsets_for_times(begins, ASK_TIMEOUT)?;
    let ends = consumer.offsets_for_times(ends, ASK_TIMEOUT)?;
    for end in ends.elements() {
        let begin = begins.find_partition(end.topic(), end.partition());
        let begin = begin.map(|begin| begin.offset());
        if let (Some(Offset::Offset(begin)), Offset::Offset(end_offset)) = (begin, end.offset())
            && let Some(entries) = found.get_mut(end.topic())
        {
            *entries += usize::try_from(end_offset - begin).unwrap_or_default();
        }
    }
    Ok(found)
}
