//! T-F-14: triggers created, changed and deleted 50 times a second under load, a bad manifest in the middle.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{Filter, Scene, Seed, Subscriber, Trigger, eventually, pick};
use tokio::time::{MissedTickBehavior, interval};

use crate::{SOON, steady};

const NAMES: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_fifty_times_a_second_lose_and_repeat_nothing() {
    let (stable, changing) = (Subscriber::start().await, Subscriber::start().await);
    let wants_all = Trigger::named("stable");
    let wants_some = Trigger::named("some").wants(Filter::exact("type", "t"));
    let running =
        Scene::new().trigger(wants_all, &stable).trigger(wants_some, &stable).start().await;
    let observer = running.observe();
    let flowing = running.load(steady("churn", 1_000_000, 300));
    let mut rng = Seed::of("churn").rng();
    let mut there = BTreeSet::new();
    let mut every = interval(Duration::from_millis(20));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let changes = pick(150, 6000);
    for change in 0..changes {
        every.tick().await;
        let name = format!("c{}", rng.usize(0..NAMES));
        if there.contains(&name) && rng.u8(..) < 90 {
            running.manifests.remove(&format!("trigger-{name}.yaml"));
            there.remove(&name);
        } else {
            let ty = rng.choice(["t", "u"]).unwrap();
            running
                .manifests
                .trigger(&Trigger::named(&name).wants(Filter::exact("type", ty)).to(&changing));
            there.insert(name);
        }
        if change == changes / 2 {
            running.manifests.write("bad.yaml", "kind: [Trigger\n");
        }
    }
    flowing.stop().await;
    running.settled(SOON).await;
    let admin = running.admin();
    eventually(SOON, || async {
        let triggers = admin.triggers().await;
        let mut names: BTreeSet<String> = triggers.into_iter().map(|one| one.name).collect();
        names.retain(|name| name.starts_with('c'));
        if names == there { Ok(()) } else { Err(format!("{names:?}, written {there:?}")) }
    })
    .await;
    assert!(!admin.problems().await.is_empty(), "the bad manifest is not shown");
    let evidence = running.evidence().await;
    for one in changing.received() {
        let sent = evidence.sent_as(&one.key().expect("an event")).expect("an event that was sent");
        assert_eq!(sent.sample.attribute("type"), Some("t"), "a filter was forgotten");
    }
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    harness::oracle::assert_all(verdicts);
}
