//! Notes by key in a compacted topic; every replica follows it from its beginning.

use std::{
    fmt, io,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    thread,
    time::Duration,
};

use bytes::Bytes;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{
    context::Context,
    health::Health,
    produce::{Producer, Record},
};
use crate::{Change, Ledger, PublishError, Watch, Work};

/// The notes of a broker.
pub(super) struct KafkaLedger {
    pub(super) topic: String,
    pub(super) producer: Arc<Producer>,
    pub(super) health: Arc<Health>,
    /// Of a consumer that watches.
    pub(super) config: ClientConfig,
    pub(super) context: Context,
    pub(super) value_bytes_max: usize,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// Changes that were read and not asked for yet.
const CHANGES_MAX: usize = 64;

/// How long a watcher waits to hear where the log ends, for a record, for room, or before it begins anew.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
const ROOM: Duration = Duration::from_millis(5);
const ANEW: Duration = Duration::from_secs(1);

impl KafkaLedger {
    fn write(&self, key: &str, value: Option<&[u8]>) -> Work<Result<(), PublishError>> {
        let record = Record {
            topic: &self.topic,
            partition: 0,
            key: Some(key),
            value,
            headers: None,
            ends: None,
            sizes: (value.map_or(0, <[u8]>::len), self.value_bytes_max),
        };
        let sent = match self.health.check() {
            Ok(()) => self.producer.send(record),
            Err(reason) => Err(PublishError::Down { reason }),
        };
        match sent {
            Ok(answer) => {
                let all = self.producer.all(vec![answer]);
                Box::pin(async move { all.await.map(|_place| ()) })
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Follows the topic from its beginning.
    pub(super) fn follow(&self) -> KafkaWatch {
        let (changes, receiver) = channel(CHANGES_MAX);
        let follower = Follower {
            topic: self.topic.clone(),
            config: self.config.clone(),
            context: self.context.clone(),
            changes,
            stop: self.stop.clone(),
            _token: self.tasks.token(),
        };
        if let Err(error) = follower.start() {
            // The watch ends at once, as if the channel had.
            tracing::error!(%error, "the ledger cannot be followed");
        }
        KafkaWatch(receiver)
    }
}

impl Ledger for KafkaLedger {
    fn is_shared(&self) -> bool {
        true
    }

    fn put(&self, key: &str, value: Bytes) -> Work<Result<(), PublishError>> {
        let (size, limit) = (value.len(), self.value_bytes_max);
        if size > limit {
            return Box::pin(std::future::ready(Err(PublishError::TooLarge { size, limit })));
        }
        self.write(key, Some(&value))
    }

    fn remove(&self, key: &str) -> Work<Result<(), PublishError>> {
        self.write(key, None)
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(self.follow())
    }
}

impl fmt::Debug for KafkaLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLedger").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// What a follower has read.
pub(super) struct KafkaWatch(Receiver<Change>);

impl Watch for KafkaWatch {
    fn poll_change(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Change>> {
        self.0.poll_recv(cx)
    }
}

/// A thread that reads the topic for one watcher; it ends with the watcher or the channel.
struct Follower {
    topic: String,
    config: ClientConfig,
    context: Context,
    changes: Sender<Change>,
    stop: CancellationToken,
    /// Whoever ends the channel waits for it.
    _token: TaskTrackerToken,
}

impl Follower {
    fn start(self) -> io::Result<()> {
        thread::Builder::new().name("kafka-ledger".into()).spawn(move || self.run()).map(drop)
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.changes.is_closed()
    }

    fn run(self) {
        let mut is_loaded = false;
        while !self.is_over() {
            if let Err(error) = self.read(&mut is_loaded) {
                // All is told again by the next.
                tracing::warn!(topic = self.topic, %error, "the ledger cannot be read");
                thread::park_timeout(ANEW);
            }
        }
    }

    fn read(&self, is_loaded: &mut bool) -> KafkaResult<()> {
        let consumer: BaseConsumer<Context> =
            self.config.create_with_context(self.context.clone())?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, 0, Offset::Beginning)?;
        consumer.assign(&list)?;
        // The end of the log is told only when nothing comes for a while, which need never be.
        let (begin, end) = consumer.fetch_watermarks(&self.topic, 0, ASK_TIMEOUT)?;
        if begin == end {
            self.loaded(is_loaded);
        }
        while !self.is_over() {
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    // A record without a key cannot be in a compacted topic but by mistake.
                    let offset = message.offset();
                    let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
                    if let Some(key) = key.map(ToOwned::to_owned) {
                        self.tell(match message.payload() {
                            Some(value) => {
                                Change::Put { key, value: Bytes::copy_from_slice(value) }
                            }
                            None => Change::Removed { key },
                        });
                    }
                    if offset + 1 >= end {
                        self.loaded(is_loaded);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.loaded(is_loaded),
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
                Some(Err(error)) => tracing::debug!(topic = self.topic, %error, "kafka says"),
            }
        }
        Ok(())
    }

    /// Says, once, that all is told that was there at the start.
    fn loaded(&self, is_loaded: &mut bool) {
        if !std::mem::replace(is_loaded, true) {
            self.tell(Change::Loaded);
        }
    }

    /// Waits until there is room for a change, or nobody wants it.
    fn tell(&self, mut change: Change) {
        while let Err(TrySendError::Full(back)) = self.changes.try_send(change) {
            if self.stop.is_cancelled() {
                return;
            }
            change = back;
            thread::park_timeout(ROOM);
        }
    }
}
