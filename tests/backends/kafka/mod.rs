//! The contract, kept by the channel over Kafka, and what only Kafka can do to it.

mod bounds;
mod erase;
mod faults;
mod group;
mod kcat;
mod sasl;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use channel::contract::{self, Backend, Wanted};
use channel::{Budget, Channel, Kafka, KafkaPlan, Name, PublishError};

use support::{control, event, open, open_with, publish, servers, settings, unique};

struct OverKafka {
    bootstrap: String,
}

impl OverKafka {
    async fn open(&self, name: &Name, wanted: Wanted) -> Arc<dyn Channel> {
        open(&self.bootstrap, name, wanted.workers).await
    }
}

thread_local! {
    /// Whose topic a channel is over.
    static NAMES: std::cell::RefCell<Vec<(usize, Name)>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn address(channel: &Arc<dyn Channel>) -> usize {
    Arc::as_ptr(channel).cast::<()>().addr()
}

impl Backend for OverKafka {
    async fn fresh(&self, wanted: Wanted) -> Arc<dyn Channel> {
        let name = unique();
        let channel = self.open(&name, wanted).await;
        NAMES.with_borrow_mut(|names| names.push((address(&channel), name)));
        channel
    }

    async fn again(&self, before: Arc<dyn Channel>, wanted: Wanted) -> Arc<dyn Channel> {
        let name = NAMES.with_borrow(|names| {
            let mut names = names.iter().rev();
            names.find(|(one, _)| *one == address(&before)).expect("opened here").1.clone()
        });
        drop(before);
        self.open(&name, wanted).await
    }

    /// Kafka grows as long as there is disk, and stores no batch whole.
    fn is_bounded(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(3)
    }
}

#[tokio::test]
async fn kafka_keeps_the_contract() {
    let Some(kafka) = servers("the contract over Kafka").await else { return };
    contract::check(&OverKafka { bootstrap: kafka.bootstrap() }).await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_said_in_one_line() {
    let mut settings = settings("127.0.0.1:1");
    settings.open_timeout = Duration::from_secs(2);
    let start = Instant::now();
    let (name, budget) = (unique(), Budget::new(1 << 20));
    let opened = Kafka::open(settings, KafkaPlan::default(), &name, 1, budget, control());
    let error = opened.await.expect_err("nobody listens").to_string();
    assert!(error.starts_with("kafka at 127.0.0.1:1 cannot be reached: "), "{error}");
    assert!(error.contains("refused") && !error.contains('\n'), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_topic_that_is_not_as_planned_is_refused_with_the_difference() {
    let Some(kafka) = servers("a topic that is not as planned").await else { return };
    let (bootstrap, name) = (kafka.bootstrap(), unique());
    let three = KafkaPlan { partitions: 3, ..KafkaPlan::default() };
    drop(open_with(settings(&bootstrap), three, &name, 1).await);
    for (plan, record_bytes_max, difference) in [
        (KafkaPlan::default(), 1_130_496, "it has 3 partitions, and must have 10"),
        (
            KafkaPlan { retention: Duration::from_secs(60), ..three },
            1_130_496,
            "retention.ms is 604800000, and must be 60000",
        ),
        (
            KafkaPlan { replication_factor: 3, ..three },
            1_130_496,
            "it has 1 replicas, and must have 3",
        ),
        (three, 2_000_000, "max.message.bytes is 1130496, and must be at least 2000000"),
    ] {
        let mut settings = settings(&bootstrap);
        settings.record_bytes_max = record_bytes_max;
        let opened = Kafka::open(settings, plan, &name, 1, Budget::new(1 << 20), control()).await;
        let error = opened.expect_err("it is not as planned").to_string();
        let topic = support::topic(&name);
        assert_eq!(error, format!("kafka topic {topic}: {difference}"));
    }
    let plan = KafkaPlan { replication_factor: 3, ..three };
    let budget = Budget::new(1 << 20);
    let opened = Kafka::open(settings(&bootstrap), plan, &unique(), 1, budget, control()).await;
    let error = opened.expect_err("there is one node").to_string();
    assert!(error.ends_with("the cluster has not enough nodes for 3 replicas"), "{error}");
}

#[tokio::test]
async fn the_largest_event_fits_and_one_byte_more_does_not() {
    let Some(kafka) = servers("the largest event").await else { return };
    let channel = open(&kafka.bootstrap(), &unique(), 1).await;
    let limit = channel.event_bytes_max();
    assert_eq!(limit, (1 << 20) + (64 << 10));
    let with = |data: usize| {
        let mut draft = event(1).edit();
        draft.set_data(Some(channel::Data::opaque(vec![b'x'; data].into())));
        draft.finish().unwrap()
    };
    // Its length is written with seven digits either way.
    let sized = |bytes: usize| with(1_000_000 + bytes - with(1_000_000).size());
    assert_eq!(sized(limit).size(), limit);
    publish(&*channel, sized(limit)).await.expect("it fits");
    let refused = publish(&*channel, sized(limit + 1)).await;
    assert_eq!(refused, Err(PublishError::TooLarge { size: limit + 1, limit }));
    let lease = support::lent(&mut *channel.reader(0), Duration::from_secs(10)).await;
    assert_eq!(lease.expect("it was stored").event().size(), limit);
    assert!(channel.bounds_reached().contains(&("channel.kafka.eventBytesMax", 1)));
}
