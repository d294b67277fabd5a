//! T-F-3: a subscriber is down for a while, then back.

use std::time::Duration;

use harness::{Answer, Delivery, Running, Scene, Subscriber, Trigger, pick};
use tokio::time::sleep;

use crate::{HEALED, SOON, steady};

/// `down` goes down, `other` is well. Few retries: an attempt spent during the outage would soon be a dead letter.
async fn scene() -> (Running, Subscriber, Subscriber) {
    let (down, other) = (Subscriber::start().await, Subscriber::start().await);
    let delivery = Delivery::exponential(10, "PT0.2S");
    let running = Scene::new()
        .trigger(Trigger::named("down").delivery(delivery), &down)
        .trigger(Trigger::named("other"), &other)
        .start()
        .await;
    (running, down, other)
}

async fn breaker_opens(running: &Running) {
    running.admin().until_trigger("default/down", SOON, |status| status.breaker == "open").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_refuses_connections_gets_everything_when_it_is_back() {
    let (running, down, _) = scene().await;
    let observer = running.observe();
    let flowing = running.load(steady("down", 1_000_000, 100));
    down.receives(20, SOON).await;
    down.take_down().await;
    breaker_opens(&running).await;
    sleep(Duration::from_secs(pick(2, 60))).await;
    down.bring_back().await;
    flowing.stop().await;
    running.settled(HEALED).await;
    // What was on its way when the connections were cut has an outcome that only one side knows.
    let evidence = running.evidence().await.excuse(40);
    assert_eq!(evidence.letters.len(), 0, "an outage made dead letters");
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    harness::oracle::assert_all(verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attempt_is_spent_while_the_breaker_is_open() {
    let (running, down, _) = scene().await;
    let flowing = running.load(steady("fail", 1_000_000, 100));
    down.receives(20, SOON).await;
    down.always(Answer::status(503));
    breaker_opens(&running).await;
    let when_open = down.count();
    sleep(Duration::from_secs(pick(3, 60))).await;
    // What was in flight when it opened, and a few probes.
    let tried = down.count() - when_open;
    assert!(tried <= 45, "{tried} attempts while the breaker was open");
    down.always(Answer::status(200));
    flowing.stop().await;
    running.settled(HEALED).await;
    let evidence = running.evidence().await;
    assert_eq!(evidence.letters.len(), 0, "an outage made dead letters");
    evidence.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_resets_the_breaker_need_not_wait_for_its_probes() {
    let (running, down, _) = scene().await;
    down.always(Answer::status(503));
    let flowing = running.load(steady("reset", 1_000_000, 100));
    breaker_opens(&running).await;
    flowing.stop().await;
    down.always(Answer::status(200));
    let reset = "/api/v1/triggers/default/down/reset-breaker";
    let done = running.admin().post(reset, &serde_json::json!({})).await.json();
    assert!(matches!(done["before"].as_str(), Some("open" | "halfOpen")), "{done}");
    assert_eq!(done["silentWorkers"], 0, "{done}");
    assert!(matches!(done["reset"].as_u64(), Some(1 | 2)), "{done}");
    let status = running.admin().trigger("default/down").await;
    assert_eq!(status.breaker, "closed", "{status:?}");
    running.settled(HEALED).await;
    running.evidence().await.assert();
}
