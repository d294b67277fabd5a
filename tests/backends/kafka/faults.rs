//! Kafka goes away and comes back while events are published.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use channel::{Channel, KafkaPlan, PublishError, Strength};
use harness::Background;
use harness::servers::kafka::Kafka;

use super::support::{event, lent, open_with, publish, settings, unique};

/// Longest that a publish may take: its own time, and a busy machine's.
const ANSWER_MAX: Duration = Duration::from_secs(8);

/// What became of events that were published all the while.
#[derive(Default)]
struct Told {
    stored: BTreeSet<String>,
    down: usize,
    unknown: usize,
    slowest: Duration,
}

struct Publishing {
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
    tasks: Vec<Background<Told>>,
}

impl Publishing {
    fn start(channel: &Arc<dyn Channel>) -> Self {
        let (stop, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..4).map(|task| {
            let (channel, stop) = (Arc::clone(channel), Arc::clone(&stop));
            let stored = Arc::clone(&stored);
            Background::start(async move {
                let mut told = Told::default();
                let mut number = task;
                while !stop.load(Ordering::Relaxed) {
                    number += 4;
                    let start = Instant::now();
                    match publish(&*channel, event(number)).await {
                        Ok(()) => {
                            told.stored.insert(number.to_string());
                            stored.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(PublishError::Down { .. }) => told.down += 1,
                        Err(PublishError::Unknown { .. }) => told.unknown += 1,
                        Err(other) => panic!("neither down nor unknown: {other}"),
                    }
                    told.slowest = told.slowest.max(start.elapsed());
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                told
            })
        });
        let tasks = tasks.collect();
        Self { stop, stored, tasks }
    }

    /// Waits until events are stored again.
    async fn flows(&self) {
        let before = self.stored.load(Ordering::Relaxed);
        until("events are stored", || self.stored.load(Ordering::Relaxed) >= before + 40).await;
    }

    async fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for task in self.tasks {
            let told = task.join().await;
            all.stored.extend(told.stored);
            all.down += told.down;
            all.unknown += told.unknown;
            all.slowest = all.slowest.max(told.slowest);
        }
        all
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "not in a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that was said to be stored is lent.
async fn nothing_is_lost(channel: &dyn Channel, told: Told) {
    println!(
        "{} stored, {} down, {} unknown, slowest answer {:?}",
        told.stored.len(),
        told.down,
        told.unknown,
        told.slowest
    );
    assert!(told.slowest < ANSWER_MAX, "an answer took {:?}", told.slowest);
    let mut missing = told.stored;
    let mut reader = channel.reader(0);
    while !missing.is_empty() {
        let lease = lent(&mut *reader, Duration::from_secs(60)).await;
        let lease =
            lease.unwrap_or_else(|| panic!("{} acknowledged events are lost", missing.len()));
        missing.remove(lease.event().id());
        lease.settle();
    }
}

async fn started(what: &str, nodes: usize) -> Option<Kafka> {
    match Kafka::start_nodes(nodes, &[]).await {
        Ok(kafka) => Some(kafka),
        Err(why) => {
            harness::say_not_run(what, &why);
            None
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_kafka_stops_freezes_and_dies() {
    let Some(mut kafka) = started("Kafka stopped, frozen and killed", 1).await else { return };
    let (name, plan) = (unique(), KafkaPlan::default());
    let channel = open_with(settings(&kafka.bootstrap()), plan, &name, 1).await;
    assert_eq!(channel.durability().strength, Strength::Process);
    assert!(!channel.durability().replicated);
    let publishing = Publishing::start(&channel);
    publishing.flows().await;

    kafka.kill(0).await;
    until("the channel knows that Kafka is away", || channel.health().is_err()).await;
    let refused = publish(&*channel, event(0)).await;
    assert!(matches!(refused, Err(PublishError::Down { .. })), "{refused:?}");
    kafka.restart(0).await.expect("it starts again");
    until("the channel knows that Kafka is back", || channel.health().is_ok()).await;
    publishing.flows().await;

    kafka.freeze(0);
    let start = Instant::now();
    let refused = publish(&*channel, event(0)).await;
    assert!(matches!(refused, Err(PublishError::Unknown { .. })), "{refused:?}");
    assert!(start.elapsed() < ANSWER_MAX, "{:?}", start.elapsed());
    kafka.thaw(0);
    publishing.flows().await;

    kafka.stop(0).await;
    until("the channel knows that Kafka is away", || channel.health().is_err()).await;
    kafka.restart(0).await.expect("it starts again");
    publishing.flows().await;

    let told = publishing.end().await;
    assert!(told.down > 0 && told.unknown > 0, "{} down, {} unknown", told.down, told.unknown);
    nothing_is_lost(&*channel, told).await;
    channel.close();
    channel.end(Instant::now() + Duration::from_secs(10)).await;
}

#[tokio::test]
async fn ending_without_kafka_keeps_the_deadline() {
    let Some(mut kafka) = started("ending without Kafka", 1).await else { return };
    let channel = open_with(settings(&kafka.bootstrap()), KafkaPlan::default(), &unique(), 1).await;
    publish(&*channel, event(1)).await.expect("there is room");
    lent(&mut *channel.reader(0), Duration::from_secs(10)).await.expect("it was stored").settle();
    kafka.kill(0).await;
    channel.close();
    let start = Instant::now();
    channel.end(start + Duration::from_secs(3)).await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_a_leader_dies() {
    let Some(mut kafka) = started("a leader of three dies", 3).await else { return };
    let plan = KafkaPlan { replication_factor: 3, ..KafkaPlan::default() };
    let channel = open_with(settings(&kafka.bootstrap()), plan, &unique(), 1).await;
    assert!(channel.durability().replicated);
    let publishing = Publishing::start(&channel);
    publishing.flows().await;
    // Ten partitions over three nodes: each of them leads some.
    for node in 0..2 {
        kafka.kill(node).await;
        publishing.flows().await;
        kafka.restart(node).await.expect("it starts again");
        publishing.flows().await;
    }
    assert!(channel.health().is_ok(), "{:?}", channel.health());
    nothing_is_lost(&*channel, publishing.end().await).await;
}

#[tokio::test]
async fn a_topic_that_is_deleted_is_said_and_acknowledges_nothing() {
    let Some(kafka) = started("a topic deleted", 1).await else { return };
    let name = unique();
    let mut settings = settings(&kafka.bootstrap());
    // The library looks for the topic that often.
    let often = ("topic.metadata.refresh.interval.ms".to_owned(), "1000".to_owned());
    settings.properties.extend([often]);
    let channel = open_with(settings, KafkaPlan::default(), &name, 1).await;
    publish(&*channel, event(1)).await.expect("there is room");
    kafka.delete_topic(&super::support::topic(&name)).await;
    until("the channel knows that its topic is gone", || channel.health().is_err()).await;
    let reason = channel.health().expect_err("its topic is gone");
    assert!(reason.contains(&super::support::topic(&name)), "{reason}");
    let refused = publish(&*channel, event(2)).await;
    assert!(matches!(refused, Err(PublishError::Down { .. })), "{refused:?}");
}
