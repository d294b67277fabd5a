//! A trigger that somebody pauses: its events wait, and go on when it is resumed.

use harness::{Subscriber, Trigger, eventually};
use serde_json::json;

use crate::{SOON, greeting, with};

const PATH: &str = "/api/v1/triggers/default/all";

/// Waits until so many events wait in the trigger's overflow.
async fn waiting(running: &harness::Running, events: u64) {
    let admin = running.admin();
    let wait = || async {
        let trigger = admin.get(PATH).await.json();
        let there = (&trigger["overflow"]["events"], &trigger["counters"]["waiting"]);
        if there == (&json!(events), &json!(events)) { Ok(()) } else { Err(trigger) }
    };
    eventually(SOON, wait).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_pauses_a_trigger_and_nothing_is_lost() {
    let (running, subscriber) = with(Trigger::named("all")).await;
    let admin = running.admin();
    running.send(&greeting("1")).await;
    subscriber.receives(1, SOON).await;
    let paused = admin.post(&format!("{PATH}/pause"), &json!({})).await.json();
    assert_eq!((&paused["paused"], &paused["changed"]), (&json!(true), &json!(true)));
    let again = admin.post(&format!("{PATH}/pause"), &json!({})).await.json();
    assert_eq!((&again["paused"], &again["changed"]), (&json!(true), &json!(false)));
    for id in 2..20 {
        running.send(&greeting(&id.to_string())).await;
    }
    waiting(&running, 18).await;
    assert_eq!(admin.get(PATH).await.json()["paused"], "operator");
    assert_eq!(subscriber.count(), 1, "a paused trigger delivers nothing");
    let resumed = admin.post(&format!("{PATH}/resume"), &json!({})).await.json();
    assert_eq!((&resumed["paused"], &resumed["changed"]), (&json!(false), &json!(true)));
    subscriber.receives(19, SOON).await;
    running.settled(SOON).await;
    running.evidence().await.assert();
    let unknown = admin.post("/api/v1/triggers/default/none/pause", &json!({})).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_annotation_pauses_and_goes_over_an_operators_word() {
    let trigger = Trigger::named("all");
    let (running, subscriber) = with(trigger.clone()).await;
    let admin = running.admin();
    let paused = trigger.clone().annotation("catchment.dev/paused", "true").to(&subscriber);
    running.manifests.trigger(&paused);
    let is_paused = || async {
        let trigger = admin.get(PATH).await.json();
        if trigger["paused"] == "manifest" { Ok(()) } else { Err(trigger) }
    };
    eventually(SOON, is_paused).await;
    running.send(&greeting("1")).await;
    waiting(&running, 1).await;
    let refused = admin.post(&format!("{PATH}/resume"), &json!({})).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("catchment.dev/paused"), "{}", refused.text());
    assert_eq!(subscriber.count(), 0);
    running.manifests.trigger(&trigger.to(&subscriber));
    subscriber.receives(1, SOON).await;
    running.settled(SOON).await;
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_is_not_ready_for_a_while_keeps_what_waits() {
    let trigger = Trigger::named("all").annotation("catchment.dev/paused", "true");
    let (running, _subscriber) = with(trigger.clone()).await;
    running.send(&greeting("1")).await;
    waiting(&running, 1).await;
    let admin = running.admin();
    let nowhere = "{apiVersion: eventing.knative.dev/v1, kind: Broker, name: none}";
    running.manifests.write(
        "trigger-all.yaml",
        format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: all}}\n\
             spec: {{broker: default, subscriber: {{ref: {nowhere}}}}}\n"
        ),
    );
    let is_broken = || async {
        let trigger = admin.get(PATH).await.json();
        if trigger["ready"] == false { Ok(()) } else { Err(trigger) }
    };
    eventually(SOON, is_broken).await;
    let other = Subscriber::start().await;
    running.manifests.trigger(&Trigger::named("all").to(&other));
    other.receives(1, SOON).await;
    running.settled(SOON).await;
}
