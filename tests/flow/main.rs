//! The plain life of events, from a request to a subscriber, against the real binary.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what did not run is said on stdout"
)]

mod accept;
mod channels;
mod codes;
mod dead_letters;
mod delivery;
mod examples;
mod explain;
mod filters;
mod github_hook;
mod github_source;
mod kafka_source;
mod manifests;
mod outside;
mod pause;
mod program;
mod quickstart;
mod replies;
mod sink;
mod sources;
mod subscriptions;
mod webhook_source;

use std::time::Duration;

use harness::{Running, Sample, Scene, Subscriber, Trigger};

/// What should happen at once may take so long on a busy machine.
const SOON: Duration = harness::scene::SOON;

/// One broker, one trigger that wants everything, one subscriber that answers 200.
async fn plain() -> (Running, Subscriber) {
    with(Trigger::named("all")).await
}

/// One broker and this trigger.
async fn with(trigger: Trigger) -> (Running, Subscriber) {
    let subscriber = Subscriber::start().await;
    let running = Scene::new().trigger(trigger, &subscriber).start().await;
    (running, subscriber)
}

/// The least event there is.
fn greeting(id: &str) -> Sample {
    Sample::new("not-sendoff", id, "greeting")
}
