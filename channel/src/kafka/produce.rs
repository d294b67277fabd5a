//! Event -> a record that all replicas have acknowledged, or why not.

use std::{
    fmt,
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ThreadedProducer},
};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    config::PRODUCED_MAX,
    context::Context,
    error::{OpenError, words},
    health::Health,
    read::ENVELOPE,
    receipt::{Ends, Placed, Receipt, refusal},
    topics::{self, TopicPlan},
};
use crate::{Event, PublishError, binding::kafka};

/// The bound on records on their way to Kafka, by its name in the configuration.
pub(super) const PRODUCED: &str = "channel.kafka.producedMax";

/// The one producer of a channel. Made anew when the library ends it for ever.
pub(super) struct Producer {
    client: RwLock<Arc<ThreadedProducer<Context>>>,
    config: ClientConfig,
    context: Context,
    health: Arc<Health>,
    /// How long an answer may take.
    timeout: Duration,
}

/// A record to be produced.
pub(super) struct Record<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) key: Option<&'a str>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Option<OwnedHeaders>,
    /// Where to write down how long the log is then.
    pub(super) ends: Option<Arc<Ends>>,
    /// Bytes of what it holds, and most that there may be.
    pub(super) sizes: (usize, usize),
}

impl<'a> Record<'a> {
    /// The record of an event, with what is known of it when it waits.
    pub(super) fn of_event(
        event: &'a Event,
        (topic, partition): (&'a str, i32),
        envelope: Option<&[u8]>,
        ends: &Arc<Ends>,
        limit: usize,
    ) -> Self {
        let mut headers = Some(OwnedHeaders::new_with_capacity(24));
        let mut put = |key: &str, value: &[u8]| {
            let header = Header { key, value: Some(value) };
            headers = headers.take().map(|headers| headers.insert(header));
        };
        let value = kafka::encode(event, &mut put).map(|bytes| &bytes[..]);
        if let Some(envelope) = envelope {
            put(ENVELOPE, envelope);
        }
        Self {
            topic,
            partition,
            key: kafka::key(event),
            value,
            headers,
            ends: Some(Arc::clone(ends)),
            sizes: (event.size(), limit),
        }
    }
}

impl Producer {
    /// A producer that connects by itself. Reports to the health of `context` only its end.
    ///
    /// # Errors
    ///
    /// What the library dislikes about the properties.
    pub(super) fn new(
        config: ClientConfig,
        context: Context,
        health: Arc<Health>,
        timeout: Duration,
    ) -> KafkaResult<Arc<Self>> {
        let client = RwLock::new(Arc::new(config.create_with_context(context.clone())?));
        Ok(Arc::new(Self { client, config, context, health, timeout }))
    }

    fn client(&self) -> Arc<ThreadedProducer<Context>> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether `count` more records may be on their way.
    pub(super) fn has_room(&self, count: usize) -> bool {
        let on_way = usize::try_from(self.client().in_flight_count()).unwrap_or_default();
        on_way + count <= PRODUCED_MAX
    }

    /// Learns where the partitions of a topic are that was just made, or made anew: the library would find
    /// out by itself only after a while. Blocks.
    ///
    /// # Errors
    ///
    /// Why it is not known by `deadline`.
    pub(super) fn learn(&self, topic: &TopicPlan, deadline: Instant) -> Result<(), OpenError> {
        topics::wait_for(self.client().client(), topic, deadline)
    }

    /// Hands a record to the library, and returns its answer to come. Does not block.
    ///
    /// # Errors
    ///
    /// Why it was not taken; nothing is stored then.
    pub(super) fn send(
        &self,
        record: Record<'_>,
    ) -> Result<oneshot::Receiver<Placed>, PublishError> {
        let (answer, placed) = oneshot::channel();
        let receipt = Box::new(Receipt { answer, ends: record.ends, sizes: record.sizes });
        let mut produced: BaseRecord<'_, str, [u8], Box<Receipt>> =
            BaseRecord::with_opaque_to(record.topic, receipt).partition(record.partition);
        produced.key = record.key;
        produced.payload = record.value;
        produced.headers = record.headers;
        match self.client().send(produced) {
            Ok(()) => Ok(placed),
            Err((error, _)) => Err(match refusal(&error, record.sizes) {
                PublishError::Unknown { reason } => PublishError::Down { reason },
                refused => refused,
            }),
        }
    }

    /// Waits for the answers of records that were sent together: the last one's place, or why not all
    /// are known to be stored.
    pub(super) fn all(
        &self,
        sent: Vec<oneshot::Receiver<Placed>>,
    ) -> impl Future<Output = Placed> + Send + use<> {
        let timeout = self.timeout;
        let health = Arc::clone(&self.health);
        async move {
            let all = sent.len();
            let answers = async {
                let mut stored = 0;
                let mut last = Err(PublishError::Down { reason: "nothing to store".into() });
                let mut failed = None;
                for answer in sent {
                    let gone = PublishError::Unknown { reason: "the producer ended".into() };
                    match answer.await.unwrap_or(Err(gone)) {
                        Ok(place) => (stored, last) = (stored + 1, Ok(place)),
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
                match failed {
                    None => last,
                    Some(error) if stored == 0 => Err(error),
                    Some(error) => {
                        let reason = format!("{stored} of {all} events were stored, then: {error}");
                        Err(PublishError::Unknown { reason })
                    }
                }
            };
            tokio::time::timeout(timeout, answers).await.unwrap_or_else(|_| {
                let reason = match health.check().err().or_else(|| health.last()) {
                    Some(why) => format!("no answer in {timeout:?}: {why}"),
                    None => format!("no answer in {timeout:?}"),
                };
                Err(PublishError::Unknown { reason })
            })
        }
    }

    /// Makes the client anew whenever the library has ended it for ever, until `stop`.
    pub(super) async fn renew(self: Arc<Self>, runtime: Handle, stop: CancellationToken) {
        let Some(fatal) = self.context.fatal.clone() else { return };
        while stop.run_until_cancelled(fatal.notified()).await.is_some() {
            let why =
                self.client().client().fatal_error().map(|(code, text)| format!("{code}: {text}"));
            self.health.set_fatal(Some(why.unwrap_or_else(|| "the producer ended".into())));
            match self.config.create_with_context(self.context.clone()) {
                Ok(client) => {
                    let client: ThreadedProducer<Context> = client;
                    let mut place = self.client.write().unwrap_or_else(PoisonError::into_inner);
                    let before = std::mem::replace(&mut *place, Arc::new(client));
                    drop(place);
                    self.health.set_fatal(None);
                    // Waits for its threads.
                    drop(runtime.spawn_blocking(move || drop(before)));
                }
                Err(error) => {
                    tracing::error!(%error, "a producer cannot be made");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    fatal.notify_one();
                }
            }
        }
    }

    /// Waits until all that was sent is answered, or `timeout` is over. Blocks.
    pub(super) fn flush(&self, timeout: Duration) {
        match self.client().flush(timeout) {
            Ok(()) | Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {}
            Err(error) => tracing::debug!(reason = words(&error), "records are not flushed"),
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

/// Too much is on its way to Kafka. A second is what it takes to send the whole queue.
pub(super) fn full() -> PublishError {
    PublishError::Full { bound: PRODUCED, retry_after: Duration::from_secs(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{config, settings::KafkaSettings};

    fn producer() -> Arc<Producer> {
        let settings = KafkaSettings::new("127.0.0.1:1");
        let base = config::base(&settings).unwrap();
        let (config, timeout) = (config::producer(&base, &settings), Duration::from_millis(50));
        Producer::new(config, Context::default(), Arc::default(), timeout).unwrap()
    }

    async fn all(answers: Vec<Placed>) -> Placed {
        let sent = answers.into_iter().map(|answer| {
            let (sender, receiver) = oneshot::channel();
            sender.send(answer).unwrap();
            receiver
        });
        producer().all(sent.collect()).await
    }

    #[tokio::test]
    async fn records_sent_together_have_one_answer() {
        let full = || Err(full());
        assert_eq!(all(vec![Ok((1, 5)), Ok((2, 7))]).await, Ok((2, 7)));
        assert_eq!(all(vec![full(), full()]).await, full());
        let half = all(vec![Ok((1, 5)), full(), Ok((1, 6))]).await.unwrap_err();
        let PublishError::Unknown { reason } = half else { panic!("{half:?}") };
        assert!(reason.starts_with("2 of 3 events were stored, then: "), "{reason}");
    }

    #[tokio::test]
    async fn without_an_answer_in_time_the_outcome_is_unknown() {
        let (_sender, receiver) = oneshot::channel();
        let answer = producer().all(vec![receiver]).await;
        let reason = "no answer in 50ms".to_owned();
        assert_eq!(answer, Err(PublishError::Unknown { reason }));
        let (sender, receiver) = oneshot::channel();
        drop(sender);
        let answer = producer().all(vec![receiver]).await;
        assert!(matches!(answer, Err(PublishError::Unknown { .. })), "{answer:?}");
    }

    #[tokio::test]
    async fn a_producer_that_has_ended_is_made_anew() {
        let fatal = Arc::new(tokio::sync::Notify::new());
        let mut producer = Arc::into_inner(producer()).unwrap();
        producer.context.fatal = Some(Arc::clone(&fatal));
        let producer = Arc::new(producer);
        let before = Arc::downgrade(&producer.client());
        let stop = CancellationToken::new();
        let renew = Arc::clone(&producer).renew(Handle::current(), stop.clone());
        let check = async {
            fatal.notify_one();
            let is_same = || before.ptr_eq(&Arc::downgrade(&producer.client()));
            tokio::time::timeout(Duration::from_secs(10), async {
                while is_same() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await
            .expect("the producer is the same");
            stop.cancel();
        };
        tokio::join!(renew, check);
        assert_eq!(producer.health.check(), Ok(()));
    }
}
