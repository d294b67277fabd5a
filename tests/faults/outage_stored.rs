//! T-F-3 on every channel: what a subscriber that is down does not take waits beside the log, which its neighbour goes on
//! emptying.

use std::time::Duration;

use harness::oracle::assert_all;
use harness::pace::say;
use harness::{Answer, Backing, Delivery, Scene, Subscriber, Trigger, eventually, pick};
use serde_json::json;
use tokio::time::sleep;

use crate::{HEALED, SOON, steady};

/// What may be tried while a breaker is open: what was in flight when it opened, and probes.
const TRIED_MAX: usize = 45;

async fn down_for_a_while(on: Backing) {
    let (down, fine) = (Subscriber::start().await, Subscriber::start().await);
    // Few retries: attempts spent during the outage would soon be dead letters.
    let delivery = Delivery::exponential(6, "PT0.2S");
    let scene = Scene::new()
        .channel(&on)
        .setup(|setup| setup.config(json!({"overflow": {"after": "PT1S"}})))
        .trigger(Trigger::named("down").delivery(delivery), &down)
        .trigger(Trigger::named("fine"), &fine);
    let running = scene.start().await;
    let admin = running.admin();
    let observer = running.observe();
    let flowing = running.load(steady("outage", 1_000_000, 200));
    down.receives(20, SOON).await;
    down.always(Answer::status(503));
    admin.until_trigger("default/down", SOON, |status| status.breaker == "open").await;
    let (tried, passed) = (down.count(), fine.count());
    sleep(Duration::from_secs(pick(4, 60))).await;
    let (tried, passed) = (down.count() - tried, fine.count() - passed);
    assert!(tried <= TRIED_MAX, "{tried} attempts while the breaker was open");
    assert!(passed >= 100, "the neighbour got {passed} events in the meantime");
    flowing.stop().await;
    // The log holds nothing up: all that waits does so in the trigger's own storage.
    let waiting = eventually(SOON, || async {
        let trigger = admin.get("/api/v1/triggers/default/down").await.json();
        let broker = admin.broker("default/default").await;
        let waiting = trigger["counters"]["waiting"].as_u64().unwrap_or_default();
        let is_beside = trigger["overflow"]["events"].as_u64() == Some(waiting) && waiting > 0;
        if is_beside && broker["stored"]["events"] == 0 {
            Ok(waiting)
        } else {
            Err(format!("{trigger} {broker}"))
        }
    })
    .await;
    down.always(Answer::status(200));
    running.settled(HEALED).await;
    let evidence = running.evidence().await;
    say(&format!(
        "{on}: {} accepted, {tried} attempts while open, {waiting} waited beside the log",
        running.oracle.ledger.accepted()
    ));
    assert_eq!(evidence.letters.len(), 0, "an outage made dead letters");
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    assert_all(verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_what_a_subscriber_that_is_down_misses() {
    down_for_a_while(Backing::Memory).await;
}

on_each_channel! {
    down_for_a_while:
        disk_keeps_what_a_subscriber_that_is_down_misses,
        kafka_keeps_what_a_subscriber_that_is_down_misses,
        nats_keeps_what_a_subscriber_that_is_down_misses;
}
