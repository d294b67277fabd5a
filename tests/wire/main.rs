//! Bytes that are not what they should be, and how much of anything is too much (reliability 5.2).
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what did not run is said on stdout"
)]

mod h2c;
mod limits;
mod slow;
mod smuggling;
mod vectors;

use harness::{Running, Sample, Scene, Subscriber, Trigger};

const SOON: std::time::Duration = harness::scene::SOON;

/// One broker, one trigger that wants everything, one subscriber that answers 200.
async fn plain() -> (Running, Subscriber) {
    let subscriber = Subscriber::start().await;
    let running = Scene::new().trigger(Trigger::named("all"), &subscriber).start().await;
    (running, subscriber)
}

/// The four required headers of a binary event, each line ended.
fn event_lines(id: &str) -> String {
    format!("ce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /wire\r\nce-type: t\r\n")
}

/// How often a limit was reached, by its name in the configuration.
async fn reached(running: &Running, limit: &str) -> f64 {
    let points = harness::metrics::parse(&running.admin().metrics().await).unwrap();
    let is_it = |point: &&harness::metrics::Point| {
        point.name == "catchment_limits_reached_total"
            && point.labels.get("limit").is_some_and(|name| name == limit)
    };
    points.iter().filter(is_it).map(|point| point.value).sum()
}

/// Sends a good event and sees that it is the only one that ever came.
async fn assert_only_the_good_one(running: &Running, subscriber: &Subscriber) {
    running.send(&Sample::new("/wire", "the-good-one", "t")).await;
    running.settled(SOON).await;
    let received = subscriber.received();
    let keys: Vec<_> = received.iter().map(|one| one.key().map(|key| key.id)).collect();
    assert_eq!(keys, [Some("the-good-one".to_owned())], "something else was delivered");
    assert_eq!(subscriber.malformed(), Vec::<String>::new());
}
