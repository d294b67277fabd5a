//! Which partitions of a topic are ours now.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaResult,
};
use tokio::sync::watch;

use super::{
    context::Context,
    health::Statistics,
    partition::{Inlet, Partition, Stand},
    receipt::Ends,
    settled::Settled,
    tracker::{Commit, Window},
};

/// How long what is on loan may take to be settled when a partition goes to another replica. Far below
/// `max.poll.interval.ms`, since the consumer's thread waits.
const REVOKE_GRACE: Duration = Duration::from_secs(2);

/// How long a new owner asks where its partitions stand; without an answer it only knows less of depths.
const STAND_TIMEOUT: Duration = Duration::from_secs(2);

/// The partitions of one topic that one consumer has. Only the consumer's thread changes it.
pub(super) struct Assignment {
    topic: String,
    /// Partitions of the topic.
    count: i32,
    window: Window,
    inlet: Arc<dyn Inlet>,
    ends: Arc<Ends>,
    ours: Mutex<BTreeMap<i32, Arc<Partition>>>,
    /// Whether the group has ever told us which partitions are ours.
    has_joined: watch::Sender<bool>,
}

impl Assignment {
    pub(super) fn new(
        topic: String,
        count: i32,
        window: Window,
        inlet: Arc<dyn Inlet>,
        ends: Arc<Ends>,
    ) -> Arc<Self> {
        Arc::new(Self {
            topic,
            count,
            window,
            inlet,
            ends,
            ours: Mutex::default(),
            has_joined: watch::Sender::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<Partition>>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn get(&self, number: i32) -> Option<Arc<Partition>> {
        self.lock().get(&number).map(Arc::clone)
    }

    pub(super) fn all(&self) -> Vec<Arc<Partition>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// Becomes true once partitions were shared out with us among those who share.
    pub(super) fn joined(&self) -> watch::Receiver<bool> {
        self.has_joined.subscribe()
    }

    /// Forgets that partitions were ever shared out with us: another consumer begins.
    pub(super) fn await_group(&self) {
        self.has_joined.send_replace(false);
    }

    /// Events stored and not settled in our partitions, and bytes of those received.
    pub(super) fn depth(&self) -> (usize, usize) {
        let ours = self.lock();
        ours.values().fold((0, 0), |(events, bytes), partition| {
            let more = partition.depth(self.ends.of(partition.number()));
            (events + more.0, bytes + more.1)
        })
    }

    /// Takes note of what the client counts: how long logs are that are not read now.
    pub(super) fn counted(&self, statistics: &Statistics) {
        for (number, end) in statistics.ends(&self.topic) {
            if let Some(partition) = self.get(number) {
                partition.counted(end);
            }
        }
    }

    /// Partitions have become ours.
    pub(super) fn assigned(&self, consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
        let stands = stands(consumer, &self.numbers(list), &self.topic).unwrap_or_default();
        for number in self.numbers(list) {
            let stand = stands.get(&number).cloned().unwrap_or_default();
            self.begin(number, stand);
        }
        tracing::debug!(topic = self.topic, partitions = ?self.numbers(list), "partitions are ours");
        self.has_joined.send_replace(true);
    }

    fn begin(&self, number: i32, stand: Stand) -> Arc<Partition> {
        let inlet = Arc::clone(&self.inlet);
        let partition = Partition::new(number, self.count, stand, self.window, inlet);
        let before = self.lock().insert(number, Arc::clone(&partition));
        if let Some(before) = before {
            before.end();
        }
        partition
    }

    /// Begins a partition anew, because its log is not the one that it was: what is on loan of it is
    /// not to be committed.
    pub(super) fn begin_anew(&self, number: i32) -> Arc<Partition> {
        self.begin(number, Stand::default())
    }

    /// Partitions are going to another member of the group, or have gone without us being asked.
    pub(super) fn revoked(&self, consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
        let gone: Vec<_> =
            self.numbers(list).into_iter().filter_map(|number| self.get(number)).collect();
        if !consumer.assignment_lost() {
            for partition in &gone {
                partition.wind_down(Duration::ZERO);
            }
            let end = Instant::now() + REVOKE_GRACE;
            for partition in &gone {
                partition.wind_down(end.saturating_duration_since(Instant::now()));
            }
            self.store(consumer, &gone);
        }
        for partition in gone {
            self.lock().remove(&partition.number());
            partition.end();
        }
        tracing::debug!(topic = self.topic, partitions = ?self.numbers(list), "partitions are gone");
    }

    /// Nothing is ours any more, whatever the group thinks.
    pub(super) fn lose_all(&self) {
        let gone = std::mem::take(&mut *self.lock());
        for partition in gone.into_values() {
            partition.end();
        }
    }

    /// Lets the client commit what is settled: with its timer, when partitions go, when it is closed.
    pub(super) fn store(&self, consumer: &BaseConsumer<Context>, partitions: &[Arc<Partition>]) {
        let (mut list, mut beside) = (TopicPartitionList::new(), TopicPartitionList::new());
        for partition in partitions {
            let Some(Commit { offset, beyond, has_grown }) = partition.take_commit() else {
                continue;
            };
            let text = beyond.encode(offset);
            for list in [Some(&mut list), (!has_grown).then_some(&mut beside)].into_iter().flatten()
            {
                let mut at = list.add_partition(&self.topic, partition.number());
                if at.set_offset(Offset::Offset(offset)).is_ok() && !text.is_empty() {
                    at.set_metadata(&text);
                }
            }
        }
        if list.count() == 0 {
            return;
        }
        let mut done = consumer.store_offsets(&list);
        if beside.count() > 0 {
            // The client's timer commits only offsets that have grown.
            done = done.and_then(|()| consumer.commit(&beside, CommitMode::Async));
        }
        if let Err(error) = done {
            // The partition has just gone: its new owner delivers again what we have settled.
            tracing::debug!(topic = self.topic, %error, "offsets are not committed");
        }
    }

    fn numbers(&self, list: &TopicPartitionList) -> Vec<i32> {
        list.elements_for_topic(&self.topic).iter().map(|one| one.partition()).collect()
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assignment").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// Where each partition stands.
pub(super) type Stands = BTreeMap<i32, Stand>;

/// Asks where partitions stand. Where nothing is committed, the group stands at the beginning.
pub(super) fn stands(
    consumer: &BaseConsumer<Context>,
    numbers: &[i32],
    topic: &str,
) -> KafkaResult<Stands> {
    let at = |offset: Offset| -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for &number in numbers {
            list.add_partition_offset(topic, number, offset)?;
        }
        Ok(list)
    };
    let committed = consumer.committed_offsets(at(Offset::Invalid)?, STAND_TIMEOUT)?;
    let begins = consumer.offsets_for_times(at(Offset::Beginning)?, STAND_TIMEOUT)?;
    let ends = consumer.offsets_for_times(at(Offset::End)?, STAND_TIMEOUT)?;
    let of = |list: &TopicPartitionList, number| match list.find_partition(topic, number) {
        Some(found) => match found.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        },
        None => None,
    };
    let stand = |&number: &i32| {
        let committed_at = of(&committed, number);
        let settled = committed_at.zip(committed.find_partition(topic, number));
        let settled = settled.map(|(at, found)| Settled::decode(at, found.metadata()));
        let stand = Stand {
            next: committed_at.max(of(&begins, number)),
            end: of(&ends, number),
            settled: settled.unwrap_or_default(),
        };
        (number, stand)
    };
    Ok(numbers.iter().map(stand).collect())
}
