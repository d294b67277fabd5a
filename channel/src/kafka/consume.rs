//! A consumer on a thread of its own: it polls, reads, pauses and commits, and waits for nobody.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rdkafka::{
    ClientConfig, Message, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    assignment::Assignment,
    context::Context,
    health::Health,
    partition::{Partition, Reading},
    read::{self, Read},
    tracker::Order,
};
use crate::{Beside, Budget, Envelope, binding::Limits, clock};

/// What a consumer's thread needs.
pub(super) struct Consuming {
    pub(super) config: ClientConfig,
    /// Has the same assignment.
    pub(super) context: Context,
    pub(super) assignment: Arc<Assignment>,
    pub(super) budget: Arc<Budget>,
    /// Whether records are what waits in an overflow, each with its envelope.
    pub(super) is_overflow: bool,
    /// Ends the thread; the consumer then commits what is settled and leaves its group.
    pub(super) stop: CancellationToken,
}

/// A consumer that runs. Dropping it does not stop it.
#[derive(Clone, Debug)]
pub(super) struct Running {
    has_ended: watch::Receiver<bool>,
}

impl Running {
    /// Waits until the consumer has left its group. May take as long as a session when the cluster is
    /// away: have a deadline. Cancel safe.
    pub(super) async fn ended(&mut self) {
        // An error means that the thread is gone, however that came.
        self.has_ended.wait_for(|has_ended| *has_ended).await.ok();
    }
}

/// How long to wait for a record while nothing else is to do.
const POLL: Duration = Duration::from_millis(50);

/// The same while a partition waits for room.
const POLL_WAITING: Duration = Duration::from_millis(10);

/// How often partitions are looked after while records come.
const LOOK_AFTER: Duration = Duration::from_millis(20);

/// Memory that makes reading on worth while: as much as is fetched ahead.
const READ_ON_BYTES: usize = 2 << 20;

/// How long to wait before a consumer that failed is made anew.
const ANEW: Duration = Duration::from_secs(1);

impl Consuming {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn start(self) -> io::Result<Running> {
        let (ended, has_ended) = watch::channel(false);
        let run = move || {
            self.run();
            ended.send_replace(true);
        };
        thread::Builder::new().name("kafka-consumer".into()).spawn(run)?;
        Ok(Running { has_ended })
    }

    fn run(&self) {
        while !self.stop.is_cancelled() {
            match self.config.create_with_context(self.context.clone()) {
                Ok(consumer) => {
                    let consumer: BaseConsumer<Context> = consumer;
                    if let Err(error) = self.serve(&consumer) {
                        tracing::warn!(topic = self.assignment.topic(), %error, "a consumer failed");
                    }
                    // Closes it: partitions are revoked, and what is settled is committed.
                    drop(consumer);
                }
                Err(error) => tracing::warn!(%error, "a consumer cannot be made"),
            }
            self.assignment.lose_all();
            if !self.stop.is_cancelled() {
                thread::park_timeout(ANEW);
            }
        }
    }

    /// Polls until it is stopped, or the consumer is of no more use.
    fn serve(&self, consumer: &BaseConsumer<Context>) -> Result<(), KafkaError> {
        consumer.subscribe(&[self.assignment.topic()])?;
        let mut held = Held::default();
        let mut looked_at = Instant::now();
        let (mut is_waiting, mut has_flowed) = (false, false);
        while !self.stop.is_cancelled() {
            let polled = consumer.poll(if is_waiting { POLL_WAITING } else { POLL });
            let mut is_urgent = is_waiting || polled.is_none();
            has_flowed |= matches!(polled, Some(Ok(_)));
            match polled {
                None => {}
                Some(Ok(message)) => {
                    if let Some(partition) = self.owner(message.partition(), message.offset()) {
                        let read = read::read(&message, &Limits::default());
                        let taken = Taken { read, offset: message.offset(), partition };
                        is_urgent |= self.take(taken, &mut held);
                    }
                }
                Some(Err(error)) => self.note(error)?,
            }
            if is_urgent || looked_at.elapsed() >= LOOK_AFTER {
                is_waiting = self.look_after(consumer, &mut held);
                if std::mem::take(&mut has_flowed) {
                    self.flows();
                }
                looked_at = Instant::now();
            }
        }
        self.assignment.store(consumer, &self.assignment.all());
        Ok(())
    }

    /// The partition that takes a record, if it is ours.
    fn owner(&self, number: i32, offset: i64) -> Option<Arc<Partition>> {
        let partition = self.assignment.get(number)?;
        let topic = self.assignment.topic();
        match partition.order(offset) {
            Order::Next => {}
            Order::Ahead(gone) => {
                tracing::warn!(
                    topic,
                    number,
                    offset,
                    gone,
                    "records were deleted before they were read"
                );
            }
            Order::Behind => {
                // The log was cut or made anew: what has an offset of before is something else now.
                tracing::warn!(topic, number, offset, "a log went back");
                return Some(self.assignment.begin_anew(number));
            }
        }
        Some(partition)
    }

    /// Takes a record on. Returns whether its partition should be paused.
    fn take(&self, taken: Taken, held: &mut Held) -> bool {
        let partition = Arc::clone(&taken.partition);
        if let Some(queue) = held.0.get_mut(&partition.number()) {
            queue.push_back(taken);
            return true;
        }
        match self.hand_on(taken) {
            None => partition.is_full(),
            Some(taken) => {
                held.0.insert(partition.number(), VecDeque::from([taken]));
                true
            }
        }
    }

    /// Hands an event to those who lend, or gives it back when there is no memory for it.
    fn hand_on(&self, mut taken: Taken) -> Option<Taken> {
        let cost = taken.read.draft.cost();
        match self.budget.try_charge(cost) {
            Some(charge) => taken.read.draft.set_charge(charge),
            // One that can never fit must not stop the others.
            None if cost > self.budget.limit() => {}
            None => return Some(taken),
        }
        let Taken { read: Read { draft, problem, envelope }, offset, partition } = taken;
        let beside = match problem {
            Some(problem) => Some(Beside::Problem(problem)),
            None if self.is_overflow => Some(Beside::Envelope(Box::new(found(envelope)))),
            // Whatever another client wrote there, nothing of the log has waited.
            None => None,
        };
        match draft.finish() {
            Ok(event) => partition.receive(offset, event, beside),
            // What is read has all that an event must have.
            Err(error) => tracing::error!(%error, offset, "a record is left out"),
        }
        None
    }

    /// Whether there is memory for more than the next few events.
    fn has_memory(&self) -> bool {
        let wanted = READ_ON_BYTES.min(self.budget.limit() / 4);
        self.budget.try_charge(wanted).is_some()
    }

    /// Returns whether something waits for room.
    fn look_after(&self, consumer: &BaseConsumer<Context>, held: &mut Held) -> bool {
        held.0.retain(|_, queue| {
            while let Some(taken) = queue.pop_front() {
                if let Some(taken) = self.hand_on(taken) {
                    queue.push_front(taken);
                    break;
                }
            }
            !queue.is_empty()
        });
        let partitions = self.assignment.all();
        for partition in &partitions {
            let number = partition.number();
            let has_held = held.0.contains_key(&number);
            let Some(reading) = partition.reading(has_held, || self.has_memory()) else { continue };
            let mut list = TopicPartitionList::new();
            list.add_partition(self.assignment.topic(), number);
            let done = match reading {
                Reading::Pause => consumer.pause(&list),
                Reading::Resume => consumer.resume(&list),
            };
            if let Err(error) = done {
                tracing::debug!(number, %error, "a partition cannot be paused or resumed");
            }
        }
        self.assignment.store(consumer, &partitions);
        partitions.iter().any(|partition| partition.is_paused())
    }

    /// Takes note of what went wrong; an error when the consumer is of no more use.
    fn note(&self, error: KafkaError) -> Result<(), KafkaError> {
        match error {
            KafkaError::PartitionEOF(number) => {
                if let Some(partition) = self.assignment.get(number) {
                    partition.reached_end();
                }
                self.flows();
            }
            KafkaError::MessageConsumptionFatal(_) => return Err(error),
            KafkaError::MessageConsumption(Code::PollExceeded) => {
                // The group has given our partitions away.
                self.assignment.lose_all();
            }
            KafkaError::MessageConsumption(
                code
                @ (Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition),
            ) => {
                if let Some(health) = self.health() {
                    let topic = self.assignment.topic();
                    health.set_missing(Some(format!("topic {topic}: {code}")));
                }
            }
            error => tracing::debug!(topic = self.assignment.topic(), %error, "kafka says"),
        }
        Ok(())
    }

    fn health(&self) -> Option<&Arc<Health>> {
        self.context.health.as_ref()
    }

    fn flows(&self) {
        if let Some(health) = self.health() {
            health.up();
            health.set_missing(None);
        }
    }
}

/// The envelope of an entry; one that another client wrote without it may be delivered at once.
fn found(envelope: Option<Bytes>) -> Envelope {
    let now = clock::now();
    envelope.and_then(Envelope::decode).map_or_else(
        || Envelope { attempts: 0, first_at: now, put_at: now, due_at: now, history: Bytes::new() },
        |envelope| envelope.found_at(now),
    )
}

/// A record on its way to those who lend.
struct Taken {
    read: Read,
    offset: i64,
    partition: Arc<Partition>,
}

/// Records that wait for memory, by partition: a handful, because their partitions are paused.
#[derive(Default)]
struct Held(BTreeMap<i32, VecDeque<Taken>>);
