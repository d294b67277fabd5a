//! T-F-1 and T-F-3 on every channel that outlives the program: `kill -9` under load, a subscriber that is down over
//! restarts, and what is known of its events afterwards.

use std::time::Duration;

use harness::load::Load;
use harness::oracle::Outcome;
use harness::scene::numbered;
use harness::{Answer, Backing, Delivery, Scene, Subscriber, Trigger, eventually, pick};
use serde_json::json;
use tokio::time::sleep;

use crate::{HEALED, SOON, steady};

/// `kill -9` at random moments under steady load: nothing answered 202 is lost, and few events come twice.
async fn killed_under_load(on: Backing) {
    let (kills, events, rate) = pick((4, 3_000, 800), (20, 100_000, 1_500));
    let (subscriber, picky) = (Subscriber::start().await, Subscriber::start().await);
    // Every fifth event is refused for good, so that dead letters are made all the time too.
    picky.script(|call| {
        let key = call.event.as_ref().map(|seen| seen.key());
        let is_refused = key.is_ok_and(|key| key.id.ends_with('5'));
        Answer::status(if is_refused { 400 } else { 200 })
    });
    // In the long form a tenth of the events are dead letters, and those that came twice are two.
    let scene = Scene::new()
        .channel(&on)
        .setup(|setup| setup.dead_letters_max(pick(10_000, 20_000)))
        .trigger(Trigger::named("all"), &subscriber)
        .trigger(Trigger::named("picky"), &picky);
    let mut running = scene.start().await;
    let flowing = running.load(steady("killed", events, rate));
    let mut rng = harness::Seed::of("killed").rng();
    for _ in 0..kills {
        sleep(Duration::from_millis(rng.u64(300..1200))).await;
        running.program.kill().await;
        running.program.start_again().await;
    }
    flowing.finish().await;
    running.ended(HEALED).await;
    let accepted = running.oracle.ledger.accepted();
    let unknown = running.oracle.ledger.count(|outcome| matches!(outcome, Outcome::Unknown(_)));
    let repeated = subscriber.count() - accepted;
    harness::pace::say(&format!(
        "{on}: {accepted} answered 202, {unknown} with an unknown outcome, {kills} kills, 0 lost, \
         {repeated} more came than were answered 202"
    ));
    assert!(accepted > events / 3, "only {accepted} were accepted");
    // What was in hand at a kill comes again.
    running.evidence().await.restarted().excuse(accepted).assert();
}

/// A subscriber that is down over restarts: its events wait with their attempts, and its neighbour's do not.
async fn down_over_restarts(on: Backing) {
    let (down, fine) = (Subscriber::start().await, Subscriber::start().await);
    down.always(Answer::status(500));
    let patient = Delivery::retry(3, "PT4S");
    let scene = Scene::new()
        .channel(&on)
        .setup(|setup| setup.config(json!({"overflow": {"after": "PT1S"}})))
        .trigger(Trigger::named("down").delivery(patient), &down)
        .trigger(Trigger::named("fine"), &fine);
    let mut running = scene.start().await;
    running.load(steady("outage", 40, 200)).finish().await;
    down.receives(40, SOON).await;
    fine.receives(40, SOON).await;
    let admin = running.admin();
    let waits = || async {
        let trigger = admin.get("/api/v1/triggers/default/down").await.json();
        if trigger["overflow"]["events"] == 40 { Ok(()) } else { Err(trigger) }
    };
    eventually(SOON, waits).await;
    for _ in 0..2 {
        // What was settled is noted soon, not at once: an event may come twice for it.
        sleep(Duration::from_millis(500)).await;
        running.program.kill().await;
        running.program.start_again().await;
    }
    eventually(SOON, waits).await;
    running.ended(HEALED).await;
    let evidence = running.evidence().await;
    assert_eq!(evidence.letters.len(), 40, "each is tried four times in all, whatever was killed");
    assert!(evidence.letters.iter().all(|letter| letter.listed.attempts == 4));
    assert_eq!((down.count(), fine.count()), (160, 40));
    evidence.restarted().assert();
    // Dead letters survive with all that is known of them, and are sent again.
    running.program.kill().await;
    running.program.start_again().await;
    down.always(Answer::status(200));
    assert_eq!(running.admin().dead_letters().await.len(), 40);
    let done = running.admin().post("/api/v1/dead-letters/redrive", &json!({"all": true})).await;
    assert_eq!(done.json()["redriven"], 40);
    down.receives(200, HEALED).await;
    running.program.terminate();
    let ended = running.program.exit(Duration::from_secs(30)).await;
    assert_eq!(ended.exit, harness::process::Exit::Code(0), "nothing is left");
    running.program.start_again().await;
    assert_eq!(running.admin().dead_letters().await.len(), 0);
}

/// An operator's pause, and what waits for it, outlive the program.
async fn paused_over_restarts(on: Backing) {
    let subscriber = Subscriber::start().await;
    let scene = Scene::new().channel(&on).trigger(Trigger::named("all"), &subscriber);
    let mut running = scene.start().await;
    let path = "/api/v1/triggers/default/all";
    let paused = running.admin().post(&format!("{path}/pause"), &json!({})).await.json();
    assert_eq!((&paused["paused"], &paused["durable"]), (&json!(true), &json!(true)));
    let load = Load::new(200, |number| numbered("paused", number, "t", 300));
    running.load(load).finish().await;
    for gently in [true, false] {
        if gently {
            running.program.terminate();
            running.program.exit(Duration::from_secs(30)).await;
        } else {
            running.program.kill().await;
        }
        running.program.start_again().await;
        let trigger = running.admin().get(path).await.json();
        assert_eq!(trigger["paused"], "operator", "{trigger}");
        let admin = running.admin();
        let waits = || async {
            let trigger = admin.get(path).await.json();
            let stored = admin.broker("default/default").await["stored"]["events"].clone();
            let all_wait = trigger["counters"]["waiting"] == 200;
            let is_moved = trigger["overflow"]["events"] == 200 && stored == 0;
            if all_wait && is_moved { Ok(()) } else { Err(format!("{trigger} {stored}")) }
        };
        eventually(SOON, waits).await;
        // What was settled at the last moment may come again after a kill: that is not what is tested here.
        sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(subscriber.count(), 0);
    running.admin().post(&format!("{path}/resume"), &json!({})).await;
    subscriber.receives(200, HEALED).await;
    running.ended(HEALED).await;
    running.evidence().await.restarted().assert();
}

on_each_channel! {
    killed_under_load:
        disk_loses_nothing_to_kill_9, kafka_loses_nothing_to_kill_9, nats_loses_nothing_to_kill_9;
    down_over_restarts:
        disk_keeps_events_and_attempts_over_restarts,
        kafka_keeps_events_and_attempts_over_restarts,
        nats_keeps_events_and_attempts_over_restarts;
    paused_over_restarts:
        disk_keeps_pauses_over_restarts,
        kafka_keeps_pauses_over_restarts,
        nats_keeps_pauses_over_restarts;
}
