//! Brokers whose channels are not at hand: what waits, what goes on, and what ends.

use std::{
    future::{Future, poll_fn},
    time::Duration,
};

use channel::{Batch, Channel as _, Draft, SpecVersion};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    channels::{
        OpenFailure,
        fake::{ByScript, Script, Step},
    },
    cli::ServeArgs,
    ingress::{Connections, Gate},
    manifest,
    spec::ChannelKind,
};

/// A broker `default/b` with this channel and a trigger, and beside it `default/other` in memory.
fn manifest(kind: &str) -> Snapshot {
    let template = |name: &str, kind: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  \
             channel-template-spec: |\n    apiVersion: messaging.knative.dev/v1\n    kind: {kind}\n"
        )
    };
    let broker = |name: &str, config: &str| {
        format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}}}\n\
             spec: {{config: {{apiVersion: v1, kind: ConfigMap, name: {config}}}}}\n"
        )
    };
    let trigger = "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\n\
                   spec: {broker: b, subscriber: {uri: \"http://127.0.0.1:9/\"}}\n";
    let all = [
        template("mine", kind),
        template("memory", "InMemoryChannel"),
        broker("b", "mine"),
        broker("other", "memory"),
        trigger.to_owned(),
    ];
    let snapshot = manifest::read("t.yaml", &all.join("---\n"));
    assert!(!snapshot.has_errors(), "{:?}", snapshot.problems);
    snapshot
}

/// The same without the neighbour.
fn alone(kind: &str) -> Snapshot {
    let mut snapshot = manifest(kind);
    let mut resources = (*snapshot.resources).clone();
    resources.brokers.remove(&Name::new("default", "other"));
    snapshot.resources = Arc::new(resources);
    snapshot
}

fn without_brokers() -> Snapshot {
    manifest::read("t.yaml", "")
}

struct Bench {
    controller: Controller,
    script: Arc<Script>,
    control: Arc<Control>,
    gates: Arc<ArcSwap<Gates>>,
}

impl Bench {
    /// The controller of a process without workers.
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let script = Script::new(steps);
        let (control, _looks) =
            Control::new(Vec::new(), Budget::new(1 << 24), Connections::new(1, 1), Arc::default());
        let gates: Arc<ArcSwap<Gates>> = Arc::default();
        let args = ServeArgs {
            kubernetes: false,
            paths: Vec::new(),
            listen: None,
            admin: None,
            data: None,
            workers: None,
            log: String::new(),
            config: None,
        };
        let controller = Controller::new(
            Arc::new(Settings::new(&args).unwrap()),
            Arc::new(ByScript(Arc::clone(&script))),
            Arc::clone(&control),
            Arc::clone(&gates),
            Arc::default(),
            ([127, 0, 0, 1], 8080).into(),
        );
        Self { controller, script, control, gates }
    }

    async fn apply(&mut self, kind: &str) {
        self.controller.apply(&manifest(kind)).await;
    }

    async fn take_next(&mut self) {
        let report = self.controller.report().await;
        self.controller.take(report).await;
    }

    async fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                self.take_next().await;
            }
        };
        // Time is paused: it goes on only while nothing else can.
        tokio::time::timeout(Duration::from_secs(300), waiting).await.expect("it comes to that");
    }

    /// `None` for an open gate, else the reason why it is shut.
    fn gate(&self, broker: &str) -> Option<&'static str> {
        match self.gates.load().get(broker).expect("a gate") {
            Gate::Open(_) => None,
            Gate::Shut(shut) => Some(shut.reason),
        }
    }

    fn is_open(&self) -> bool {
        self.gate("default/b").is_none()
    }

    /// What the admin side says of `default/b`, and of its trigger: the reasons why not.
    fn told(&self) -> (Option<&'static str>, Option<&'static str>) {
        let inventory = self.control.inventory.load();
        let broker = inventory.brokers[&Name::new("default", "b")].as_ref().err();
        let trigger = inventory.triggers[&Name::new("default", "t")].running.as_ref().err();
        (broker.map(|why| why.reason), trigger.map(|why| why.reason))
    }

    fn message(&self) -> String {
        let inventory = self.control.inventory.load();
        let broker = inventory.brokers[&Name::new("default", "b")].as_ref();
        broker.expect_err("not ready").message.clone()
    }

    /// Triggers that the running broker routes to.
    fn routed(&self) -> usize {
        let inventory = self.control.inventory.load();
        let state = inventory.brokers[&Name::new("default", "b")].as_ref().expect("at work");
        state.fanout.routes.load().triggers().len()
    }
}

fn away() -> OpenFailure {
    OpenFailure::for_now("ChannelUnreachable", "nothing listens at 127.0.0.1:1")
}

fn event() -> channel::Event {
    let mut draft = Draft::new(SpecVersion::V10);
    for (name, value) in [("id", "e1"), ("source", "/s"), ("type", "t")] {
        draft.push_wire(name, value.as_bytes()).unwrap();
    }
    draft.finish().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_channel_at_hand_is_open_when_the_change_is_made() {
    let mut bench = Bench::new([]);
    bench.apply("KafkaChannel").await;
    assert_eq!(bench.told(), (None, None));
    assert!(bench.is_open() && bench.routed() == 1);
    let kinds = &bench.control.inventory.load().kinds;
    assert_eq!(kinds[&Hub::broker(Name::new("default", "b"))], "KafkaChannel");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_holds_up_nobody_else() {
    let (never, _ends) = Script::waiting();
    let mut bench = Bench::new([never]);
    bench.apply("KafkaChannel").await;
    assert_eq!(bench.gate("default/other"), None);
    assert_eq!(bench.gate("default/b"), Some("ChannelOpening"));
    assert_eq!(bench.told(), (Some("ChannelOpening"), Some("BrokerNotReady")));
    assert_eq!(bench.message(), "KafkaChannel is being opened");
    // Nor for ever: an attempt has its time.
    let began = Instant::now();
    bench.until(|bench| bench.told().0 == Some("ChannelUnreachable")).await;
    assert_eq!(began.elapsed().as_secs(), 60);
    bench.until(Bench::is_open).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_tried_again_until_it_opens_and_then_routed_before_its_gate_opens() {
    let mut bench = Bench::new([Step::Fail(away()), Step::Panic, Step::Fail(away())]);
    let began = Instant::now();
    bench.apply("KafkaChannel").await;
    bench.controller.settle(Duration::from_secs(5)).await;
    assert_eq!(bench.told(), (Some("ChannelUnreachable"), Some("BrokerNotReady")));
    assert_eq!(bench.message(), "KafkaChannel: nothing listens at 127.0.0.1:1");
    assert_eq!(bench.gate("default/b"), Some("ChannelUnreachable"));
    bench.until(|bench| bench.told().0 == Some("ChannelFailed")).await;
    bench.until(Bench::is_open).await;
    let waited = began.elapsed().as_secs_f64();
    assert!((2.8..=3.6).contains(&waited), "0.5 s, 1 s and 2 s, less up to a fifth: {waited}");
    assert_eq!((bench.told(), bench.routed()), ((None, None), 1));
    // It stays open when the manifests are read again.
    bench.apply("KafkaChannel").await;
    assert_eq!(bench.script.asked().len(), 5, "four for this one, one for its neighbour");
    assert_eq!(bench.routed(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_time_cannot_mend_waits_for_a_change() {
    let failure = OpenFailure::for_good("ChannelNotConfigured", "there is no such server");
    let mut bench = Bench::new([Step::Fail(failure)]);
    bench.apply("NatsJetStreamChannel").await;
    bench.controller.settle(Duration::from_secs(5)).await;
    assert_eq!(bench.told().0, Some("ChannelNotConfigured"));
    let next = tokio::time::timeout(Duration::from_secs(3600), bench.controller.report());
    assert!(next.await.is_err(), "nothing is tried");
    bench.apply("InMemoryChannel").await;
    assert!(bench.is_open());
}

#[tokio::test(start_paused = true)]
async fn another_choice_waits_for_the_attempt_under_way_and_what_that_opens_is_let_go() {
    let (slow, ends) = Script::waiting();
    let mut bench = Bench::new([slow]);
    bench.apply("KafkaChannel").await;
    bench.apply("DiskChannel").await;
    assert_eq!(bench.message(), "DiskChannel is being opened");
    let early = tokio::time::timeout(Duration::from_secs(1), bench.controller.report());
    assert!(early.await.is_err(), "one at a time");
    ends.send(Ok(())).unwrap();
    bench.until(Bench::is_open).await;
    let kinds = [ChannelKind::Kafka, ChannelKind::Memory, ChannelKind::Disk];
    assert_eq!(bench.script.asked(), kinds);
    let opened = bench.script.opened();
    let late = opened.iter().find(|fake| fake.kind() == "KafkaChannel").unwrap();
    assert!(late.is_ended());
    // The neighbour's, and one of this broker's.
    assert_eq!(bench.script.held_max(), 2);
}

#[tokio::test(start_paused = true)]
async fn news_that_came_too_late_changes_nothing() {
    let (slow, ends) = Script::waiting();
    let mut bench = Bench::new([slow]);
    bench.apply("KafkaChannel").await;
    ends.send(Ok(())).unwrap();
    let report = bench.controller.report().await;
    bench.apply("DiskChannel").await;
    bench.controller.take(report).await;
    assert_eq!(bench.told().0, Some("ChannelOpening"));
    bench.until(Bench::is_open).await;
    let inventory = bench.control.inventory.load();
    let state = inventory.brokers[&Name::new("default", "b")].as_ref().unwrap();
    assert_eq!(state.channel.kind(), "DiskChannel");
    assert_eq!(bench.script.held_max(), 2, "the late one was let go first");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_deleted_while_its_channel_opens_is_gone() {
    let (slow, ends) = Script::waiting();
    let mut bench = Bench::new([slow]);
    bench.apply("KafkaChannel").await;
    bench.controller.apply(&without_brokers()).await;
    assert!(bench.gates.load().is_empty() && bench.control.inventory.load().brokers.is_empty());
    ends.send(Ok(())).unwrap();
    let news = tokio::time::timeout(Duration::from_secs(60), bench.controller.report());
    assert!(news.await.is_err(), "nobody wants to know");
    assert!(bench.script.opened().iter().all(|fake| fake.is_ended()), "all are let go");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_broker_is_not_tried_again() {
    let mut bench = Bench::new([Step::Fail(away())]);
    bench.apply("KafkaChannel").await;
    bench.controller.settle(Duration::from_secs(5)).await;
    bench.controller.apply(&without_brokers()).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(bench.script.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_replaced_only_when_what_it_holds_has_gone_its_way() {
    let mut bench = Bench::new([]);
    bench.apply("InMemoryChannel").await;
    let old = Arc::clone(&bench.script.opened()[0]);
    let stored = old.publish(0, Batch::from_iter([event()])).await;
    assert!(stored.is_ok());
    bench.apply("KafkaChannel").await;
    assert_eq!(bench.told(), (Some("ChannelChanging"), Some("BrokerNotReady")));
    assert_eq!(bench.gate("default/b"), Some("ChannelChanging"));
    let refused = old.publish(0, Batch::from_iter([event()])).await;
    assert!(refused.is_err(), "closed");
    let early = tokio::time::timeout(Duration::from_secs(1), bench.controller.report());
    assert!(early.await.is_err() && !old.is_ended(), "an event is still to be delivered");
    // A change of mind, there and back, is no reason to begin anew.
    bench.apply("DiskChannel").await;
    bench.apply("KafkaChannel").await;

    let mut reader = old.reader(0);
    let lease = poll_fn(|cx| reader.poll_lend(cx)).await.unwrap();
    lease.settle();
    bench.until(Bench::is_open).await;
    assert!(old.is_ended());
    let kinds = [ChannelKind::Memory, ChannelKind::Memory, ChannelKind::Kafka];
    assert_eq!((bench.script.asked(), bench.routed()), (kinds.to_vec(), 1));
    assert_eq!(bench.script.held_max(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_durable_channel_is_waited_for_and_a_change_of_mind_finds_it_open() {
    let mut bench = Bench::new([]);
    bench.apply("DiskChannel").await;
    let old = Arc::clone(&bench.script.opened()[0]);
    assert!(old.publish(0, Batch::from_iter([event()])).await.is_ok());
    bench.apply("KafkaChannel").await;
    let said = "DiskChannel is being emptied, to be replaced by KafkaChannel: 1 event is left";
    assert_eq!((bench.told().0, bench.message().as_str()), (Some("ChannelChanging"), said));
    assert_eq!(bench.gate("default/b"), Some("ChannelChanging"));
    let early = tokio::time::timeout(Duration::from_secs(3600), bench.controller.report());
    assert!(early.await.is_err() && !old.is_ended(), "an event is still to be delivered");
    assert!(old.publish(0, Batch::from_iter([event()])).await.is_ok(), "one was on its way");
    bench.take_next().await;
    assert!(bench.message().ends_with(": 2 events are left"), "{}", bench.message());

    bench.apply("DiskChannel").await;
    assert!(bench.is_open() && bench.told() == (None, None), "as it was");
    bench.apply("KafkaChannel").await;
    let mut reader = old.reader(0);
    for _ in 0..2 {
        poll_fn(|cx| reader.poll_lend(cx)).await.unwrap().settle();
    }
    bench.until(Bench::is_open).await;
    assert!(old.is_ended());
    let kinds = [ChannelKind::Disk, ChannelKind::Memory, ChannelKind::Kafka];
    assert_eq!((bench.script.asked(), bench.routed()), (kinds.to_vec(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_durable_channel_that_is_down_is_not_waited_for() {
    let mut bench = Bench::new([]);
    bench.apply("NatsJetStreamChannel").await;
    let old = Arc::clone(&bench.script.opened()[0]);
    assert!(old.publish(0, Batch::from_iter([event()])).await.is_ok());
    old.set_health(Err("it is gone".to_owned()));
    let began = Instant::now();
    bench.apply("KafkaChannel").await;
    bench.until(Bench::is_open).await;
    assert_eq!((began.elapsed().as_secs(), old.is_ended()), (5, true));
}

#[tokio::test(start_paused = true)]
async fn the_start_waits_little_for_a_server_when_others_are_at_work() {
    let (never, _ends) = Script::waiting();
    let mut bench = Bench::new([never]);
    let began = Instant::now();
    bench.apply("KafkaChannel").await;
    bench.controller.settle(Duration::from_secs(5)).await;
    assert_eq!(began.elapsed().as_secs(), 1);
    let (never, _ends) = Script::waiting();
    let mut bench = Bench::new([never]);
    let began = Instant::now();
    bench.controller.apply(&alone("KafkaChannel")).await;
    bench.controller.settle(Duration::from_secs(5)).await;
    assert_eq!(began.elapsed().as_secs(), 5, "nothing is at work without it");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_delivers_does_not_hold_a_replacement_up_for_ever() {
    let mut bench = Bench::new([]);
    bench.apply("InMemoryChannel").await;
    let old = Arc::clone(&bench.script.opened()[0]);
    assert!(old.publish(0, Batch::from_iter([event()])).await.is_ok());
    let began = Instant::now();
    bench.apply("KafkaChannel").await;
    bench.until(Bench::is_open).await;
    assert_eq!(began.elapsed().as_secs(), 25, "drain.timeout");
}

#[tokio::test(start_paused = true)]
async fn the_end_lets_go_of_every_channel() {
    let (slow, ends) = Script::waiting();
    let mut bench = Bench::new([slow]);
    bench.apply("KafkaChannel").await;
    let Bench { controller, script, .. } = bench;
    let end = controller.end();
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ends.send(Ok(())).unwrap();
    };
    both(end, late).await;
    let opened = script.opened();
    assert!(opened.len() == 2 && opened.iter().all(|fake| fake.is_ended()));
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends = || prop_oneof![Just(Ok(())), Just(Err(away()))];
    let step = prop_oneof![
        Just(None),
        (0_u64..20_000, ends()).prop_map(Some),
        ends().prop_map(|ended| Some((0, ended))),
    ];
    let step = step.prop_map(|step| match step {
        Some((0, Ok(()))) => Step::Open,
        Some((0, Err(failure))) => Step::Fail(failure),
        Some((millis, ended)) => Step::Late(Duration::from_millis(millis), ended),
        None => Step::Panic,
    });
    proptest::collection::vec(step, 0..12)
}

/// What the user wants, one after the other, and how long for: a kind, or no broker.
fn wishes() -> impl Strategy<Value = Vec<(Option<usize>, u64)>> {
    proptest::collection::vec((proptest::option::of(0_usize..4), 0_u64..5_000), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_wanted_in_between_the_last_wish_comes_true(
        steps in steps(),
        wishes in wishes(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new(steps);
            let mut last = None;
            for (wish, millis) in wishes {
                last = wish.map(|index| ChannelKind::ALL[index]);
                let snapshot = last.map_or_else(without_brokers, |kind| alone(kind.as_str()));
                bench.controller.apply(&snapshot).await;
                let until = Instant::now() + Duration::from_millis(millis);
                while let Ok(report) =
                    tokio::time::timeout_at(until, bench.controller.report()).await
                {
                    bench.controller.take(report).await;
                }
            }
            if last.is_some() {
                bench.until(Bench::is_open).await;
                let inventory = bench.control.inventory.load();
                let state = inventory.brokers[&Name::new("default", "b")].as_ref().unwrap();
                prop_assert_eq!(Some(state.channel.kind()), last.map(ChannelKind::as_str));
                prop_assert_eq!(bench.routed(), 1);
            }
            // What is still being let go.
            tokio::time::sleep(Duration::from_secs(120)).await;
            let kept = bench.script.opened().iter().filter(|fake| !fake.is_ended()).count();
            prop_assert_eq!(kept, usize::from(last.is_some()));
            prop_assert!(bench.script.held_max() <= 1, "one channel at a time");
            Ok(())
        })?;
    }
}

async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::join!(one, other);
}
