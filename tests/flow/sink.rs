//! The dead letter sink: what it is told, and what happens when it does not listen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::seen::ADDED_DEAD;
use harness::{Answer, Broker, Delivery, Mode, Scene, Subscriber, Trigger, eventually};
use serde_json::json;

use crate::{SOON, greeting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_gets_the_event_with_destination_code_and_data() {
    let (failing, sink) = (Subscriber::start().await, Subscriber::start().await);
    let long = "e".repeat(5000);
    failing.script(move |call| match call.event.as_ref().unwrap().key().id.as_str() {
        "short" => Answer::status(400).body("no thanks"),
        "long" => Answer::status(422).body(long.clone()),
        _ => Answer::status(418),
    });
    let delivery = Delivery::retry(0, "PT0.05S").dead_letter_sink(sink.url("/sink"));
    let running =
        Scene::new().trigger(Trigger::named("failing").delivery(delivery), &failing).start().await;
    let samples = ["short", "long", "empty"]
        .map(|id| greeting(id).with("subject", "a b").json(&json!({"id": id})));
    for sample in &samples {
        running.send(sample).await;
    }
    let received = sink.receives(3, SOON).await;
    assert_eq!(received.len(), 3);
    for (sample, code) in samples.iter().zip(["400", "422", "418"]) {
        let one =
            received.iter().find(|one| one.key().unwrap() == sample.key()).expect("each event");
        let seen = one.event.as_ref().unwrap();
        assert_eq!(seen.differences(sample, Mode::Binary, ADDED_DEAD), Vec::<String>::new());
        assert_eq!(seen.attribute("knativeerrordest"), Some(failing.url("/failing").as_str()));
        assert_eq!(seen.attribute("knativeerrorcode"), Some(code));
        assert!(one.request.head.headers.get("prefer").is_none(), "a sink is asked for no reply");
        let data = seen.attribute("knativeerrordata").unwrap_or_default();
        assert!(data.len() <= 1368, "{} characters", data.len());
        let text = STANDARD.decode(data).expect("base64");
        match code {
            "400" => assert_eq!(text, b"no thanks"),
            "422" => assert!(
                text.len() >= 700 && text.iter().all(|byte| *byte == b'e'),
                "{} bytes",
                text.len()
            ),
            _ => assert!(text.is_empty()),
        }
    }
    running.settled(SOON).await;
    let letters = running.admin().dead_letters().await;
    assert_eq!(letters.len(), 3, "they are kept as well");
    assert!(
        letters
            .iter()
            .all(|one| one.sink.as_ref().is_some_and(|sink| sink["status"] == "delivered")),
        "{letters:?}"
    );
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_error_is_told_as_a_500_with_words() {
    let (gone, sink) = (Subscriber::start().await, Subscriber::start().await);
    gone.take_down().await;
    let delivery = Delivery::retry(0, "PT0.05S").dead_letter_sink(sink.url("/sink"));
    let running =
        Scene::new().trigger(Trigger::named("gone").delivery(delivery), &gone).start().await;
    running.send(&greeting("1")).await;
    let seen = sink.first_event().await;
    assert_eq!(seen.attribute("knativeerrorcode"), Some("500"));
    let text = STANDARD.decode(seen.attribute("knativeerrordata").unwrap()).unwrap();
    assert!(!text.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brokers_sink_serves_a_trigger_without_one() {
    let (failing, theirs, own) =
        (Subscriber::start().await, Subscriber::start().await, Subscriber::start().await);
    failing.always(Answer::status(400));
    let broker = Broker::named("default")
        .delivery(Delivery::default().dead_letter_sink(theirs.url("/sink")));
    let with_own =
        Trigger::named("own").delivery(Delivery::default().dead_letter_sink(own.url("/sink")));
    let running = Scene::new()
        .broker(broker)
        .trigger(Trigger::named("none"), &failing)
        .trigger(with_own, &failing)
        .start()
        .await;
    running.send(&greeting("1")).await;
    let seen = theirs.first_event().await;
    assert_eq!(seen.attribute("knativeerrordest"), Some(failing.url("/none").as_str()));
    let seen = own.first_event().await;
    assert_eq!(seen.attribute("knativeerrordest"), Some(failing.url("/own").as_str()));
    running.settled(SOON).await;
    assert_eq!((theirs.count(), own.count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_down_gets_its_dead_letters_after_a_restart() {
    let (failing, sink) = (Subscriber::start().await, Subscriber::start().await);
    failing.always(Answer::status(400));
    sink.take_down().await;
    let delivery = Delivery::retry(0, "PT0.05S").dead_letter_sink(sink.url("/sink"));
    let scene = Scene::new().trigger(Trigger::named("all").delivery(delivery), &failing);
    let mut running = scene.start().await;
    for id in 0..20 {
        running.send(&greeting(&id.to_string())).await;
    }
    let admin = running.admin();
    let are_dead = || async {
        let found = admin.get("/api/v1/dead-letters").await.json();
        if found["total"] == 20 { Ok(()) } else { Err(found) }
    };
    eventually(SOON, are_dead).await;
    running.program.kill().await;
    sink.bring_back().await;
    running.program.start_again().await;
    sink.receives(20, SOON).await;
    let admin = running.admin();
    let are_sent = || async {
        let found = admin.get("/api/v1/dead-letters").await.json();
        let letters = found["items"].as_array().map_or(&[][..], Vec::as_slice);
        // What was settled just before the kill may have died once more.
        let are_sent = letters.iter().all(|letter| letter["sink"]["status"] == "delivered");
        if are_sent && letters.len() >= 20 { Ok(()) } else { Err(found) }
    };
    eventually(SOON, are_sent).await;
}
