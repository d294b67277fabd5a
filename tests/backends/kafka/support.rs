//! What the tests over Kafka share.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use channel::{
    Batch, Budget, Channel, Data, Draft, Envelope, Event, Hub, Kafka, KafkaPlan, KafkaSettings,
    Lease, Name, PublishError, Reader, SpecVersion, Waiting, clock,
};
use harness::servers::kafka;
use tokio::runtime::{Handle, Runtime};

/// The server that tests share, or `None` when there is none and that was said.
pub(super) async fn servers(what: &str) -> Option<Arc<kafka::Kafka>> {
    match kafka::Kafka::shared().await {
        Ok(kafka) => Some(kafka),
        Err(why) => {
            harness::say_not_run(what, &why);
            None
        }
    }
}

/// A control runtime, as the program has one.
pub(super) fn control() -> Handle {
    static CONTROL: OnceLock<Runtime> = OnceLock::new();
    let make = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime")
    };
    CONTROL.get_or_init(make).handle().clone()
}

/// A broker that no other test has.
pub(super) fn unique() -> Name {
    Name::new("test", format!("b{:x}", fastrand::u64(..)))
}

pub(super) fn settings(bootstrap: &str) -> KafkaSettings {
    KafkaSettings::new(bootstrap)
}

pub(super) async fn open(bootstrap: &str, hub: impl Into<Hub>, workers: usize) -> Arc<dyn Channel> {
    open_with(settings(bootstrap), KafkaPlan::default(), hub, workers).await
}

pub(super) async fn open_with(
    settings: KafkaSettings,
    plan: KafkaPlan,
    hub: impl Into<Hub>,
    workers: usize,
) -> Arc<dyn Channel> {
    let budget = Budget::new(64 << 20);
    Kafka::open(settings, plan, hub, workers, budget, control()).await.expect("a channel")
}

pub(super) fn topic(name: &Name) -> String {
    format!("catchment-broker-{}.{}", name.namespace, name.name)
}

pub(super) fn event(number: usize) -> Event {
    let mut draft = Draft::new(SpecVersion::V10);
    draft.push_wire("id", number.to_string().as_bytes()).unwrap();
    draft.push_wire("source", b"/test").unwrap();
    draft.push_wire("type", b"t").unwrap();
    draft.set_data(Some(Data::opaque(Bytes::from(format!("event {number}")))));
    draft.finish().unwrap()
}

pub(super) async fn publish(channel: &dyn Channel, event: Event) -> Result<(), PublishError> {
    channel.publish(0, Batch::from_iter([event])).await.map(|_position| ())
}

/// What a reader lends within `patience`.
pub(super) async fn lent(reader: &mut dyn Reader, patience: Duration) -> Option<Lease> {
    tokio::time::timeout(patience, poll_fn(|cx| reader.poll_lend(cx))).await.ok().flatten()
}

/// Something that waits, and need not.
pub(super) fn waiting(number: usize) -> Waiting {
    let now = clock::now();
    let envelope =
        Envelope { attempts: 2, first_at: now, put_at: now, due_at: now, history: Bytes::new() };
    Waiting { event: event(number), envelope }
}
