//! All overflows of a broker: which there are in Kafka, and which are open here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
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
use crate::{
    Budget, Change, Ledger as _, Name, Overflow, PublishError, Watch as _,
    removal::{Removals, Silences},
};

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
    /// How long an overflow must have been empty until its topic is removed.
    pub(in super::super) removed_after: Duration,
    pub(in super::super) removals: Arc<Removals>,
    pub(in super::super) runtime: Handle,
    pub(in super::super) tasks: TaskTracker,
    pub(in super::super) stop: CancellationToken,
}

impl Shared {
    /// The group that reads a topic of ours.
    pub(super) fn group(&self, topic: &str) -> String {
        let name = topic.strip_prefix(&self.prefix).unwrap_or_default();
        format!("{}{name}", self.group_prefix)
    }

    /// Writes down that a topic is of this broker: the name alone may fit another one too. That stays
    /// when the topic goes, since another replica may be about to make it again.
    pub(super) async fn note(&self, topic: &str) -> Result<(), PublishError> {
        self.ledger.put(&self.made_key(topic), topic.as_bytes().to_vec().into()).await
    }

    fn made_key(&self, topic: &str) -> String {
        naming::made_key(topic.strip_prefix(&self.prefix).unwrap_or_default())
    }

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
    found: Mutex<BTreeMap<String, Found>>,
    rooms: Mutex<HashMap<Name, Weak<Room>>>,
}

/// What a topic holds.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// Records that lie in it.
    entries: usize,
    /// Records that ever lay in it.
    end: u64,
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
        let found = lock(&self.0.found).get(&topic).map_or(0, |found| found.entries);
        let room = Room::new(shared, trigger, topic, is_ordered, found);
        if found > 0 {
            room.start();
        }
        lock(&self.0.rooms).insert(trigger.clone(), Arc::downgrade(&room));
        Arc::new(WaitingRoom::new(room))
    }

    /// Triggers for whom something lies in Kafka.
    pub(in super::super) fn overflowing(&self) -> Vec<Name> {
        let rooms = self.open_rooms();
        let found = lock(&self.0.found).clone();
        let holding = found.iter().filter(|(_, found)| found.entries > 0);
        let mut names: Vec<_> = holding.filter_map(|(topic, _)| self.trigger(topic)).collect();
        for room in rooms.iter().filter(|room| room.depth().events > 0) {
            if !names.contains(room.trigger()) {
                names.push(room.trigger().clone());
            }
        }
        names
    }

    /// The trigger of a topic, as far as it is known.
    fn trigger(&self, topic: &str) -> Option<Name> {
        naming::trigger(&self.0.shared.prefix, topic).or_else(|| {
            // A hash stands for it: only who opened it knows whose it is.
            let rooms = self.open_rooms();
            let room = rooms.iter().find(|room| room.topic() == topic)?;
            Some(room.trigger().clone())
        })
    }

    /// Takes the notes about what lay in a trigger's overflow out of the ledger. Returns whether none
    /// is left, and this broker made the topic: its name may be that of another broker's.
    async fn remove_notes(&self, trigger: &Name, topic: &str) -> bool {
        let ledger = &self.0.shared.ledger;
        let (prefix, made) = (naming::amend_prefix(trigger), self.0.shared.made_key(topic));
        let mut watch = ledger.follow();
        let (mut keys, mut is_ours) = (BTreeSet::new(), false);
        loop {
            match poll_fn(|cx| watch.poll_change(cx)).await {
                Some(Change::Put { key, .. }) if key.starts_with(&prefix) => {
                    keys.insert(key);
                }
                Some(Change::Put { key, .. }) => is_ours |= key == made,
                Some(Change::Removed { key }) => {
                    is_ours &= key != made;
                    keys.remove(&key);
                }
                Some(Change::Loaded) => break,
                None => return false,
            }
        }
        if !is_ours {
            return false;
        }
        for key in keys {
            if ledger.remove(&key).await.is_err() {
                return false;
            }
        }
        true
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

    /// Looks again and again, wakes rooms that other replicas have put to, and removes what has been
    /// empty for long.
    pub(in super::super) async fn keep_looking(self) {
        let mut silences = Silences::default();
        let mut turn = interval(LOOK.min(self.0.shared.removed_after / 4));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        turn.tick().await;
        let stop = self.0.shared.stop.clone();
        while stop.run_until_cancelled(turn.tick()).await.is_some() {
            let this = self.clone();
            let look = self.0.shared.runtime.spawn_blocking(move || this.look());
            let Some(looked) = stop.run_until_cancelled(look).await else { return };
            if let Ok(Err(error)) = looked {
                tracing::debug!(reason = words(&error), "overflows are not known");
                continue;
            }
            lock(&self.0.rooms).retain(|_, room| room.strong_count() > 0);
            let found = lock(&self.0.found).clone();
            let rooms = self.open_rooms();
            for room in &rooms {
                if found.get(room.topic()).is_some_and(|found| found.entries > 0) {
                    room.start();
                }
            }
            let empty = found.into_iter().filter(|(_, found)| found.entries == 0);
            let empty = empty.map(|(topic, found)| (topic, found.end));
            let removed_after = self.0.shared.removed_after;
            for topic in silences.note(empty, Instant::now(), removed_after) {
                if rooms.iter().any(|room| room.topic() == topic && room.is_read()) {
                    continue;
                }
                let this = self.clone();
                if stop.run_until_cancelled(this.remove(&topic)).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Removes a topic that has been empty for long, if it still is when nobody puts to it unseen.
    async fn remove(&self, topic: &str) {
        let shared = &self.0.shared;
        let Some(trigger) = self.trigger(topic).filter(|_| shared.topics.is_able()) else { return };
        let announced = match shared.removals.announce(topic).await {
            Ok(announced) => announced,
            Err(error) => return tracing::debug!(topic, %error, "an empty topic is not removed"),
        };
        let (this, name) = (self.clone(), topic.to_owned());
        let look = shared.runtime.spawn_blocking(move || {
            this.look()?;
            KafkaResult::Ok(lock(&this.0.found).get(&name).is_some_and(|found| found.entries == 0))
        });
        let is_empty = matches!(look.await, Ok(Ok(true)));
        // A topic that is made anew counts from the start: no note may be there that fits by chance.
        if is_empty && self.remove_notes(&trigger, topic).await && announced.is_fresh() {
            match shared.topics.delete(topic, &shared.group(topic)).await {
                Ok(true) => tracing::info!(topic, "removed an overflow that was empty for long"),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(topic, reason = words(&error), "not deleted");
                }
            }
        }
        shared.removals.withdraw(announced).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The topics that begin with `prefix`, and what each holds.
fn find(consumer: &BaseConsumer<Context>, prefix: &str) -> KafkaResult<BTreeMap<String, Found>> {
    let metadata = consumer.fetch_metadata(None, ASK_TIMEOUT)?;
    let topics = metadata.topics().iter().filter(|topic| topic.name().starts_with(prefix));
    let mut found = BTreeMap::new();
    let (mut begins, mut ends) = (TopicPartitionList::new(), TopicPartitionList::new());
    for topic in topics {
        found.insert(topic.name().to_owned(), Found::default());
        for partition in topic.partitions() {
            begins.add_partition_offset(topic.name(), partition.id(), Offset::Beginning)?;
            ends.add_partition_offset(topic.name(), partition.id(), Offset::End)?;
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    let mut known = 0;
    let begins = consumer.offsets_for_times(begins, ASK_TIMEOUT)?;
    let ends = consumer.offsets_for_times(ends, ASK_TIMEOUT)?;
    for end in ends.elements() {
        let begin = begins.find_partition(end.topic(), end.partition());
        let begin = begin.map(|begin| begin.offset());
        if let (Some(Offset::Offset(begin)), Offset::Offset(end_offset)) = (begin, end.offset())
            && let Some(found) = found.get_mut(end.topic())
        {
            found.entries += usize::try_from(end_offset - begin).unwrap_or_default();
            found.end += u64::try_from(end_offset).unwrap_or_default();
            known += 1;
        }
    }
    if known < ends.count() {
        // Half of an answer must not make something look empty.
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::Partial));
    }
    Ok(found)
}
