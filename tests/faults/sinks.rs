//! T-F-18: the dead letter sink is down and comes back, or is the subscriber that fails.

use std::time::Duration;

use harness::seen::ADDED_DEAD;
use harness::{Answer, Delivery, Filter, Scene, Subscriber, Trigger, eventually, pick};
use tokio::time::sleep;

use crate::{HEALED, SOON, steady};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_was_down_gets_every_dead_letter_once_it_is_back() {
    let (failing, well, sink) =
        (Subscriber::start().await, Subscriber::start().await, Subscriber::start().await);
    failing.always(Answer::status(400).body("no"));
    sink.take_down().await;
    let delivery = Delivery::retry(1, "PT0.1S").dead_letter_sink(sink.url("/sink"));
    let running = Scene::new()
        .trigger(Trigger::named("failing").delivery(delivery), &failing)
        .trigger(Trigger::named("well"), &well)
        .start()
        .await;
    let events = pick(40, 3000);
    running.load(steady("sink", events, 100)).finish().await;
    running.settled(SOON).await;
    let letters = running.admin().dead_letters_reach(events, SOON).await;
    assert!(
        letters.iter().all(|one| one.sink.as_ref().is_some_and(|sink| sink["status"] == "pending"))
    );
    sleep(Duration::from_secs(pick(1, 120))).await;
    sink.bring_back().await;
    eventually(HEALED, || async {
        let letters = running.admin().dead_letters().await;
        let pending = letters
            .iter()
            .filter(|one| one.sink.as_ref().is_none_or(|sink| sink["status"] != "delivered"));
        let pending = pending.count();
        if pending == 0 { Ok(()) } else { Err(format!("{pending} of {} pending", letters.len())) }
    })
    .await;
    let evidence = running.evidence().await;
    let mut came = std::collections::BTreeMap::new();
    for one in sink.received() {
        let seen = one.event.expect("an event");
        let sent = evidence.sent_as(&seen.key()).expect("one that was sent");
        assert_eq!(seen.differences(&sent.sample, sent.mode, ADDED_DEAD), Vec::<String>::new());
        *came.entry(seen.key()).or_insert(0) += 1;
    }
    assert_eq!(came.len(), events);
    assert!(came.values().all(|times| *times == 1), "{came:?}");
    evidence.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_the_failing_subscriber_is_no_loop() {
    let (both, well) = (Subscriber::start().await, Subscriber::start().await);
    both.always(Answer::status(400));
    let rare = Trigger::named("both").wants(Filter::exact("subject", "rare"));
    let delivery = Delivery::retry(1, "PT0.1S").dead_letter_sink(both.url("/both"));
    let running = Scene::new()
        .unwatched(rare.delivery(delivery), &both)
        .trigger(Trigger::named("well"), &well)
        .start()
        .await;
    let observer = running.observe();
    for number in 0..3 {
        running
            .send(&harness::scene::numbered("self", number, "t", 100).with("subject", "rare"))
            .await;
    }
    running.load(steady("beside", pick(200, 3000), 100)).finish().await;
    running.settled(SOON).await;
    let letters = running.admin().dead_letters_reach(3, SOON).await;
    assert_eq!(letters.len(), 3, "{letters:?}");
    let count = both.count();
    assert!(count < 60, "{count} requests for three events");
    let mut verdicts = running.evidence().await.verdicts();
    verdicts.push(observer.conserved());
    harness::oracle::assert_all(verdicts);
}
