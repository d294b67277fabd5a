//! I10 in counts: with one subscriber hung, its neighbours have everything but the last moments' events.

use std::time::Duration;

use harness::oracle::assert_all;
use harness::pace::say;
use harness::{Answer, Backing, Delivery, Scene, Subscriber, Trigger, pick};
use serde_json::json;

use crate::{HEALED, SOON, steady};

const NEIGHBOURS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_subscriber_leaves_its_neighbours_no_backlog() {
    let (events, rate) = pick((2_000, 250), (60_000, 500));
    // So many events may be on their way at any moment: one second's worth, on a busy machine.
    let backlog_max = u64::from(rate);
    let hung = Subscriber::start().await;
    hung.always(Answer::Hang);
    let delivery = Delivery::exponential(10, "PT0.5S").timeout("PT2S");
    let mut scene = Scene::new().trigger(Trigger::named("hung").delivery(delivery), &hung);
    for number in 0..NEIGHBOURS {
        let near = Subscriber::start().await;
        scene = scene.trigger(Trigger::named(&format!("near{number}")), &near);
    }
    let running = scene
        .channel(&Backing::Disk)
        .setup(|setup| setup.config(json!({"overflow": {"after": "PT1S"}})))
        .start()
        .await;
    let observer = running.observe();
    running.load(steady("isolated", events, rate)).finish().await;
    let accepted = running.oracle.ledger.accepted() as u64;
    let statuses = running.admin().triggers().await;
    for status in statuses.iter().filter(|status| status.name != "hung") {
        let behind = accepted - status.counters.delivered;
        say(&format!(
            "{}: {behind} of {accepted} events behind at the end of the load",
            status.name
        ));
        assert!(behind <= backlog_max, "{status:?}");
    }
    let delivered_to =
        |name: &str| statuses.iter().find(|one| one.name == name).map(|one| one.counters.delivered);
    assert_eq!(delivered_to("hung"), Some(0));
    let all = |status: &harness::admin::TriggerStatus| status.counters.delivered == accepted;
    for number in 0..NEIGHBOURS {
        running.admin().until_trigger(&format!("default/near{number}"), SOON, all).await;
    }
    hung.always(Answer::status(200));
    running.settled(HEALED + Duration::from_secs(30)).await;
    let mut verdicts = running.evidence().await.verdicts();
    verdicts.push(observer.conserved());
    assert_all(verdicts);
}
