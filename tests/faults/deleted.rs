//! What waits when its trigger or its broker is deleted: purged with the trigger, kept for the broker.

use std::time::Duration;

use harness::{Answer, Backing, Delivery, Running, Scene, Subscriber, Trigger, eventually};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{HEALED, SOON, steady};

const WAITING: usize = 60;

/// `down` waits with sixty events in its overflow, `fine` has got them.
async fn waiting() -> (Running, Subscriber, Subscriber, Trigger) {
    let (down, fine) = (Subscriber::start().await, Subscriber::start().await);
    down.always(Answer::status(503));
    let trigger = Trigger::named("down").delivery(Delivery::exponential(6, "PT1S"));
    let running = Scene::new()
        .channel(&Backing::Disk)
        .setup(|setup| setup.config(json!({"overflow": {"after": "PT1S"}})))
        .trigger(Trigger::named("fine"), &fine)
        .unwatched(trigger.clone(), &down)
        .start()
        .await;
    running.load(steady("waits", WAITING, 300)).finish().await;
    until_waiting(&running, WAITING).await;
    let trigger = trigger.to(&down);
    (running, down, fine, trigger)
}

async fn until_waiting(running: &Running, events: usize) {
    let admin = running.admin();
    eventually(SOON, || async {
        let answer = admin.get("/api/v1/triggers/default/down").await;
        let beside = answer.json()["overflow"]["events"].clone();
        if beside == events { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

async fn until_gone(running: &Running, path: &str) {
    let admin = running.admin();
    eventually(SOON, || async {
        let answer = admin.get(path).await;
        if answer.status == 404 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_purged_with_its_trigger_and_counted() {
    let (mut running, down, fine, trigger) = waiting().await;
    let tried = down.count();
    running.manifests.remove("trigger-down.yaml");
    until_gone(&running, "/api/v1/triggers/default/down").await;
    running.admin_has("default/fine").await;
    eventually(SOON, || async {
        let stderr = running.program.process.stderr();
        let told = stderr.lines().any(|line| line.contains(&format!("\"purged\":{WAITING},")));
        if told { Ok(()) } else { Err(stderr) }
    })
    .await;
    // A trigger of the same name is another one: nothing of the old one comes, now or after a restart.
    down.always(Answer::status(200));
    for _ in 0..2 {
        running.manifests.trigger(&trigger);
        running.admin_has("default/down").await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(down.count(), tried, "events of the deleted trigger came");
        until_waiting(&running, 0).await;
        running.program.kill().await;
        running.program.start_again().await;
    }
    running.ended(HEALED).await;
    assert_eq!(fine.count(), WAITING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_still_there_when_its_broker_comes_back() {
    let (running, down, _, _) = waiting().await;
    let file = running.manifests.path().join("broker-default.yaml");
    let broker = std::fs::read_to_string(file).expect("it was written");
    running.manifests.remove("broker-default.yaml");
    until_gone(&running, "/api/v1/brokers/default/default").await;
    let trigger = running.admin().get("/api/v1/triggers/default/down").await.json();
    assert_eq!(trigger["ready"], Value::Bool(false), "{trigger}");
    let mut producer = running.producer();
    let sample = harness::scene::numbered("away", 1, "t", 100);
    let refused = producer.send(&sample, harness::Mode::Binary).await.expect("an answer");
    assert_eq!(refused.status, 404, "{}", refused.text());
    running.manifests.write("broker-default.yaml", broker);
    running.admin_has("default/down").await;
    until_waiting(&running, WAITING).await;
    down.always(Answer::status(200));
    running.ended(HEALED).await;
    let mut keys: Vec<_> =
        down.received().iter().filter(|one| one.is_success()).filter_map(|one| one.key()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), WAITING, "not all came");
    // Its triggers count anew.
    running.evidence().await.restarted().assert();
}
