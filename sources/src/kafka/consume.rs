//! A consumer on a thread of its own: it polls, reads, pauses and commits, and waits for no sink.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use rdkafka::{
    ClientConfig, Message as _, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{BorrowedMessage, Headers as _},
};
use tokio_util::sync::CancellationToken;

use super::{
    client::{Client, Lanes, store},
    lane::{Reading, Taken},
    record::{Mapping, Record},
};

/// How long to wait for a record while nothing else is to do.
const POLL: Duration = Duration::from_millis(50);

/// The same while a partition waits for room.
const POLL_WAITING: Duration = Duration::from_millis(10);

/// How often partitions are looked after while records come.
const LOOK_AFTER: Duration = Duration::from_millis(20);

/// How long to wait before a consumer that failed is made anew.
const ANEW: Duration = Duration::from_secs(1);

/// What a consumer's thread needs.
#[derive(Debug)]
pub(super) struct Consuming {
    pub(super) config: ClientConfig,
    pub(super) client: Client,
    pub(super) lanes: Arc<Lanes>,
    pub(super) topics: Vec<String>,
    pub(super) mapping: Mapping,
    /// Ends the thread; the consumer then commits how far it is and leaves its group.
    pub(super) stop: CancellationToken,
}

impl Consuming {
    /// Starts the thread. The token that is returned is cancelled when it has ended.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn start(self) -> io::Result<CancellationToken> {
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let run = move || {
            let _ended = guard;
            self.run();
        };
        thread::Builder::new().name("kafka-source".into()).spawn(run)?;
        Ok(ended)
    }

    fn run(&self) {
        while !self.stop.is_cancelled() {
            match self.config.create_with_context::<_, BaseConsumer<Client>>(self.client.clone()) {
                Ok(consumer) => {
                    if let Err(why) = self.serve(&consumer) {
                        tracing::warn!(source = %self.lanes.id(), why, "a consumer failed");
                        self.client.faults.note(why);
                        self.lanes.lose_all();
                    }
                    self.lanes.end(&consumer);
                    // Closes it: what is stored is committed.
                    drop(consumer);
                }
                Err(error) => self.client.faults.note(error.to_string()),
            }
            self.lanes.lose_all();
            if !self.stop.is_cancelled() {
                thread::park_timeout(ANEW);
            }
        }
    }

    /// Polls until it is stopped, or the consumer is of no more use.
    fn serve(&self, consumer: &BaseConsumer<Client>) -> Result<(), String> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| error.to_string())?;
        let mut looked_at = Instant::now();
        let mut is_waiting = false;
        while !self.stop.is_cancelled() {
            let polled = consumer.poll(if is_waiting { POLL_WAITING } else { POLL });
            let mut is_urgent = is_waiting || polled.is_none();
            match polled {
                None => {}
                Some(Ok(message)) => {
                    self.client.faults.clear();
                    is_urgent |= self.take(consumer, &message)?;
                }
                Some(Err(error)) => self.note(error)?,
            }
            if is_urgent || looked_at.elapsed() >= LOOK_AFTER {
                is_waiting = self.look_after(consumer)?;
                looked_at = Instant::now();
            }
        }
        Ok(())
    }

    /// Takes a record on. Returns whether its partition should be paused.
    fn take(
        &self,
        consumer: &BaseConsumer<Client>,
        message: &BorrowedMessage<'_>,
    ) -> Result<bool, String> {
        let record = read(message);
        let (topic, partition, offset) = (record.topic, record.partition, record.offset);
        let content = self.mapping.read(&record).map_err(|invalid| {
            format!("topic {topic}, partition {partition}, offset {offset}: {invalid}")
        })?;
        let bytes = message.payload_len() + message.key_len();
        let taken = Taken { offset, bytes, time: record.time, content };
        let lane = self.lanes.get(topic, partition);
        if let Err(taken) = lane.push(taken) {
            tracing::warn!(topic, partition, offset, "a log went back");
            let lane = self.lanes.begin_anew(topic, partition);
            drop(lane.push(taken));
        }
        let lane = self.lanes.get(topic, partition);
        if lane.reading() == Some(Reading::Pause) {
            set_reading(consumer, topic, partition, Reading::Pause);
            return Ok(true);
        }
        Ok(false)
    }

    /// Returns whether something waits for room.
    fn look_after(&self, consumer: &BaseConsumer<Client>) -> Result<bool, String> {
        let lanes = self.lanes.all();
        for ((topic, partition), lane) in &lanes {
            if lane.has_ended() && !self.stop.is_cancelled() {
                return Err(format!("topic {topic}, partition {partition}: delivery ended"));
            }
            if let Some(reading) = lane.reading() {
                set_reading(consumer, topic, *partition, reading);
            }
        }
        store(consumer, &lanes);
        Ok(lanes.iter().any(|(_, lane)| lane.is_paused()))
    }

    /// Takes note of what went wrong; an error when the consumer is of no more use.
    fn note(&self, error: KafkaError) -> Result<(), String> {
        match error {
            KafkaError::MessageConsumptionFatal(_) => return Err(error.to_string()),
            KafkaError::MessageConsumption(Code::PollExceeded) => {
                // The group has given our partitions away.
                self.lanes.lose_all();
            }
            KafkaError::MessageConsumption(
                Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition,
            ) => {}
            error => {
                tracing::debug!(source = %self.lanes.id(), %error, "kafka says");
                self.client.faults.note(error.to_string());
            }
        }
        Ok(())
    }
}

fn set_reading(consumer: &BaseConsumer<Client>, topic: &str, partition: i32, reading: Reading) {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let done = match reading {
        Reading::Pause => consumer.pause(&list),
        Reading::Resume => consumer.resume(&list),
    };
    if let Err(error) = done {
        tracing::debug!(topic, partition, %error, "a partition cannot be paused or resumed");
    }
}

fn read<'a>(message: &'a BorrowedMessage<'_>) -> Record<'a> {
    // The client library panics over a header's name that is not UTF-8.
    let headers = catch_unwind(AssertUnwindSafe(|| {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        headers.map(|header| (header.key, header.value.unwrap_or_default())).collect()
    }));
    let millis = message.timestamp().to_millis();
    Record {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        time: millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        key: message.key(),
        headers: headers.ok(),
        value: message.payload().map(Bytes::copy_from_slice),
    }
}
