//! The oracle on planted faults: a producer that plays the broker and delivers wrongly.

use std::time::Duration;

use crate::http::{Head, Headers, Response};
use crate::oracle::{Evidence, Filter, Oracle, Verdict};
use crate::producer::Producer;
use crate::{Answer, Delivery, Mode, Sample, Subscriber, Trigger};

/// A broker by hand: one trigger, and deliveries that a test makes itself.
struct ByHand {
    oracle: Oracle,
    subscriber: Subscriber,
    to: Producer,
}

impl ByHand {
    async fn new(trigger: Trigger) -> Self {
        let subscriber = Subscriber::start().await;
        let trigger = trigger.to(&subscriber);
        let mut oracle = Oracle::default();
        oracle.watch(&trigger, None, &subscriber);
        let to = Producer::new(subscriber.address(), &trigger.name);
        Self { oracle, subscriber, to }
    }

    fn answered(&self, sample: &Sample, status: u16) {
        let entry = self.oracle.ledger.open("default/default", sample, Mode::Binary);
        let head =
            Head { line: String::new(), headers: Headers::default(), raw: Vec::new().into() };
        self.oracle.ledger.close(entry, &Ok(Response { status, head, body: Vec::new().into() }));
    }

    async fn deliver(&mut self, sample: &Sample) {
        self.to.send(sample, Mode::Binary).await.unwrap();
    }

    async fn evidence(&self) -> Evidence {
        Evidence::gather(&self.oracle, None).await
    }
}

fn sample(id: &str) -> Sample {
    Sample::new("/s", id, "t").with("subject", "a b").json(&serde_json::json!({"id": id}))
}

fn broken(verdicts: &[Verdict]) -> Vec<&'static str> {
    let broken = verdicts.iter().filter(|one| !one.violations.is_empty());
    broken.map(|one| one.invariant.split(' ').next().unwrap()).collect()
}

#[tokio::test]
async fn a_clean_run_breaks_nothing() {
    let mut hand = ByHand::new(Trigger::named("all").wants(Filter::exact("type", "t"))).await;
    for id in ["1", "2"] {
        hand.answered(&sample(id), 202);
        hand.deliver(&sample(id)).await;
    }
    hand.answered(&sample("3"), 503);
    hand.evidence().await.assert();
}

#[tokio::test]
async fn loss_strays_changes_repetitions_and_lies_are_each_told_apart() {
    let mut hand = ByHand::new(Trigger::named("all")).await;
    hand.answered(&sample("lost"), 202);
    assert_eq!(broken(&hand.evidence().await.verdicts()), ["I1"]);

    hand.deliver(&sample("lost").with("subject", "changed")).await;
    assert_eq!(broken(&hand.evidence().await.verdicts()), ["I3"]);

    let mut hand = ByHand::new(Trigger::named("all")).await;
    hand.deliver(&sample("never-sent")).await;
    assert_eq!(broken(&hand.evidence().await.verdicts()), ["I2"]);

    let mut hand = ByHand::new(Trigger::named("all").wants(Filter::exact("type", "u"))).await;
    hand.answered(&sample("unwanted"), 202);
    hand.deliver(&sample("unwanted")).await;
    assert_eq!(broken(&hand.evidence().await.verdicts()), ["I2"]);

    let mut hand = ByHand::new(Trigger::named("all")).await;
    hand.answered(&sample("twice"), 202);
    hand.deliver(&sample("twice")).await;
    hand.deliver(&sample("twice")).await;
    assert_eq!(broken(&hand.evidence().await.verdicts()), ["I4"]);
    assert_eq!(broken(&hand.evidence().await.excuse(1).verdicts()), Vec::<&str>::new());

    let mut hand = ByHand::new(Trigger::named("all")).await;
    hand.answered(&sample("refused"), 503);
    hand.deliver(&sample("refused")).await;
    assert_eq!(broken(&hand.evidence().await.verdicts()), ["I12"]);
}

#[tokio::test]
async fn too_many_attempts_and_early_ones_are_seen() {
    let slowly = Delivery::retry(1, "PT5S");
    let mut hand = ByHand::new(Trigger::named("all").delivery(slowly)).await;
    hand.subscriber.script(|call| Answer::status(if call.earlier < 2 { 500 } else { 200 }));
    hand.answered(&sample("1"), 202);
    for _ in 0..3 {
        hand.deliver(&sample("1")).await;
    }
    let kept = hand.evidence().await.attempts_kept();
    assert!(kept.violations.iter().any(|one| one.contains("3 attempts, 2 allowed")), "{kept:?}");
    assert!(kept.violations.iter().any(|one| one.contains("due after 4s")), "{kept:?}");
}

#[tokio::test]
async fn a_key_out_of_order_is_seen() {
    let mut hand = ByHand::new(Trigger::named("all").ordered()).await;
    let [first, second] = ["1", "2"].map(|id| sample(id).with("partitionkey", "k"));
    hand.answered(&first, 202);
    hand.answered(&second, 202);
    hand.deliver(&second).await;
    // The clocks of two processes may differ by a little: the fault must be larger than that.
    hand.subscriber.always(Answer::status(200).after(Duration::from_millis(50)));
    hand.deliver(&first).await;
    assert_eq!(broken(&hand.evidence().await.verdicts()), ["I5"]);
}

#[tokio::test]
async fn a_subscriber_goes_down_and_comes_back_on_its_port() {
    let mut hand = ByHand::new(Trigger::named("all")).await;
    hand.deliver(&sample("1")).await;
    hand.subscriber.take_down().await;
    assert!(hand.to.send(&sample("2"), Mode::Binary).await.is_err());
    assert!(hand.to.send(&sample("2"), Mode::Binary).await.is_err());
    hand.subscriber.bring_back().await;
    hand.deliver(&sample("3")).await;
    assert_eq!(hand.subscriber.count(), 2);
}
