//! Channels of their own: who may send to them, who gets their events, and where replies and failures go.

use harness::http::{Headers, Response};
use harness::manifest::yaml;
use harness::seen::ADDED_DEAD;
use harness::{
    Answer, Backing, Manifests, Mode, Program, Sample, Setup, Subscriber, eventually, say_not_run,
};
use serde_json::{Value, json};

use crate::{SOON, greeting};

const VERSION: &str = "messaging.knative.dev/v1";

/// A channel `default/<name>` of this kind.
fn channel(kind: &str, name: &str, spec: Value) -> String {
    let version = match kind {
        "KafkaChannel" => "messaging.knative.dev/v1beta1",
        "NatsJetStreamChannel" => "messaging.knative.dev/v1alpha1",
        _ => VERSION,
    };
    yaml(&json!({
        "apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec,
    }))
}

/// A Channel whose events that kind keeps.
fn templated(name: &str, kind: &str, delivery: Value) -> String {
    let template = json!({"apiVersion": VERSION, "kind": kind});
    channel("Channel", name, json!({"channelTemplate": template, "delivery": delivery}))
}

/// What a subscription names as its channel.
fn of(kind: &str, channel: &str) -> Value {
    json!({"apiVersion": VERSION, "kind": kind, "name": channel})
}

/// A subscription `default/<name>` with this `spec`.
fn subscription(name: &str, spec: Value) -> String {
    yaml(&json!({
        "apiVersion": VERSION, "kind": "Subscription", "metadata": {"name": name}, "spec": spec,
    }))
}

fn uri(subscriber: &Subscriber) -> Value {
    json!({"uri": subscriber.url("/")})
}

/// A program that runs these manifests, once all that they say is at work.
async fn running(documents: &[String]) -> (Program, Manifests) {
    started(Setup::new(), documents).await
}

async fn started(setup: Setup, documents: &[String]) -> (Program, Manifests) {
    let manifests = Manifests::new();
    manifests.write("all.yaml", documents.join("---\n"));
    let program = setup.path(manifests.path()).start().await;
    let admin = program.admin();
    let all_ready = || async {
        let text = admin.get("/readyz?verbose").await.text();
        if text.contains("[-]") { Err(text) } else { Ok(()) }
    };
    eventually(4 * SOON, all_ready).await;
    (program, manifests)
}

async fn send(program: &Program, to: &str, sample: &Sample) -> Response {
    program.producer(to).send(sample, Mode::Binary).await.expect("an answer")
}

async fn take(program: &Program, to: &str, sample: &Sample) {
    let answer = send(program, to, sample).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn subscription_of(program: &Program, name: &str) -> Value {
    program.admin().get(&format!("/api/v1/subscriptions/default/{name}")).await.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_subscription_gets_every_event_unchanged() {
    let (one, other) = (Subscriber::start().await, Subscriber::start().await);
    for kind in ["InMemoryChannel", "DiskChannel"] {
        let (program, _manifests) = running(&[
            templated("c", kind, json!({})),
            subscription("one", json!({"channel": of("Channel", "c"), "subscriber": uri(&one)})),
            subscription("other", json!({"channel": of(kind, "c"), "subscriber": uri(&other)})),
        ])
        .await;
        let before = one.count();
        let sample = greeting(kind)
            .with("knativebrokerttl", "1")
            .with("subject", "a b")
            .json(&json!({"a": 1}));
        take(&program, "channels/default/c", &sample).await;
        for subscriber in [&one, &other] {
            let received = subscriber.receives(before + 1, SOON).await;
            let seen = received[before].event.as_ref().unwrap();
            assert_eq!(seen.differences(&sample, Mode::Binary, &[]), Vec::<String>::new());
        }
        let shown = program.admin().get("/api/v1/channels/default/c").await.json();
        assert_eq!((&shown["accepted"], &shown["subscriptions"]), (&json!(1), &json!(2)));
        assert_eq!((&shown["kind"], &shown["channel"]["kind"]), (&json!(kind), &json!(kind)));
        let metrics = program.admin().metrics().await;
        assert!(metrics.contains("catchment_events_accepted_total{channel=\"default/c\"} 1\n"));
        let delivered = "catchment_events_delivered_total{channel=\"default/c\",subscription=\"default/one\"} 1\n";
        assert!(metrics.contains(delivered), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_found_by_its_path_and_by_the_host_of_its_service() {
    let subscriber = Subscriber::start().await;
    let (program, _manifests) = running(&[
        channel("InMemoryChannel", "c", json!({})),
        subscription(
            "s",
            json!({"channel": of("InMemoryChannel", "c"), "subscriber": uri(&subscriber)}),
        ),
    ])
    .await;
    let post = |target: &'static str, host: &'static str, id: &'static str| {
        let mut producer = program.producer("");
        async move {
            let request = format!(
                "POST {target} HTTP/1.1\r\nHost: {host}\r\nce-specversion: 1.0\r\nce-id: {id}\r\n\
                 ce-source: /s\r\nce-type: t\r\ncontent-length: 0\r\n\r\n"
            );
            producer.raw(request.as_bytes()).await.expect("an answer")
        }
    };
    let host = "c-kn-channel.default.svc.cluster.local";
    for (target, host, id) in [
        ("/channels/default/c", "localhost", "1"),
        ("/", host, "2"),
        ("/", "C-KN-Channel.default.svc:8080", "3"),
    ] {
        let answer = post(target, host, id).await;
        assert_eq!(answer.status, 202, "{target} {host}: {}", answer.text());
    }
    let received = subscriber.receives(3, SOON).await;
    assert_eq!(received.len(), 3);
    for (target, host, said) in [
        ("/channels/default/d", "localhost", "no broker or channel at /channels/default/d"),
        ("/default/c", "localhost", "no broker or channel at /default/c"),
        ("/", "d-kn-channel.default.svc.cluster.local", "no channel at /channels/default/d"),
        ("/", "localhost", "no broker or channel at /"),
        ("/x", host, "no broker or channel at /x"),
    ] {
        let answer = post(target, host, "9").await;
        assert_eq!(answer.status, 404, "{target} {host}");
        assert!(answer.text().contains(said), "{}", answer.text());
    }
    let mut producer = program.producer("");
    let consent = producer.request("OPTIONS", "/channels/default/c", Headers::default(), None);
    assert_eq!(consent.await.unwrap().status, 200);
    let refused = program.producer("channels/default/c").post(Headers::default(), "x".into()).await;
    assert_eq!(refused.unwrap().status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_goes_on_to_another_channel_and_without_one_nobody_wants_it() {
    let (asked, told, only) =
        (Subscriber::start().await, Subscriber::start().await, Subscriber::start().await);
    let reply = Sample::new("/asked", "answer-1", "answer").json(&json!({"back": true}));
    asked.always(Answer::event(&reply));
    let second = json!({"ref": of("InMemoryChannel", "second")});
    let (program, _manifests) = running(&[
        channel("InMemoryChannel", "first", json!({})),
        channel("InMemoryChannel", "second", json!({})),
        subscription(
            "asked",
            json!({
                "channel": of("InMemoryChannel", "first"), "subscriber": uri(&asked),
                "reply": second,
            }),
        ),
        // Discards what its subscriber answers.
        subscription(
            "told",
            json!({"channel": of("InMemoryChannel", "second"), "subscriber": uri(&asked)}),
        ),
        // No subscriber: the events themselves go on.
        subscription(
            "passing",
            json!({"channel": of("InMemoryChannel", "second"), "reply": uri(&only)}),
        ),
        subscription(
            "seen",
            json!({"channel": of("InMemoryChannel", "second"), "subscriber": uri(&told)}),
        ),
    ])
    .await;
    take(&program, "channels/default/first", &greeting("1")).await;
    for subscriber in [&told, &only] {
        let seen = subscriber.first_event().await;
        assert_eq!(seen.differences(&reply, Mode::Binary, &[]), Vec::<String>::new());
    }
    asked.receives(2, SOON).await;
    let settled = || async {
        let told = subscription_of(&program, "told").await;
        if told["counters"]["delivered"] == 1 { Ok(()) } else { Err(told) }
    };
    eventually(SOON, settled).await;
    let first = program.admin().get("/api/v1/channels/default/first").await.json();
    let second = program.admin().get("/api/v1/channels/default/second").await.json();
    assert_eq!((&first["accepted"], &second["accepted"]), (&json!(1), &json!(1)));
    let shown = subscription_of(&program, "asked").await;
    assert!(shown["reply"].as_str().unwrap().ends_with("/channels/default/second"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_delivered_is_a_dead_letter_of_the_subscription_and_can_be_sent_again() {
    let (failing, sink) = (Subscriber::start().await, Subscriber::start().await);
    failing.always(Answer::status(503));
    let delivery = json!({
        "retry": 2, "backoffPolicy": "linear", "backoffDelay": "PT0.05S", "deadLetterSink": uri(&sink),
    });
    let (program, _manifests) = running(&[
        templated("c", "DiskChannel", delivery),
        subscription("s", json!({"channel": of("Channel", "c"), "subscriber": uri(&failing)})),
    ])
    .await;
    let sample = greeting("1");
    take(&program, "channels/default/c", &sample).await;
    let received = sink.receives(1, SOON).await;
    let seen = received[0].event.as_ref().unwrap();
    let added: Vec<&str> =
        ADDED_DEAD.iter().copied().filter(|name| *name != "knativearrivaltime").collect();
    assert_eq!(seen.differences(&sample, Mode::Binary, &added), Vec::<String>::new());
    assert_eq!(seen.attribute("knativeerrordest"), Some(failing.url("/").as_str()));
    assert_eq!(failing.count(), 3, "once and two retries");
    let admin = program.admin();
    let list = admin.get("/api/v1/dead-letters?subscription=default/s").await.json();
    let letter = &list["items"][0];
    assert_eq!((&list["total"], &letter["attempts"]), (&json!(1), &json!(3)), "{list}");
    assert_eq!(
        (&letter["channel"], &letter["subscription"]),
        (&json!("default/c"), &json!("default/s"))
    );
    assert_eq!((&letter["broker"], &letter["trigger"]), (&Value::Null, &Value::Null));
    for other in ["trigger=default/s", "broker=default/c", "channel=default/d"] {
        let list = admin.get(&format!("/api/v1/dead-letters?{other}")).await.json();
        assert_eq!(list["total"], 0, "{other}");
    }
    let id = letter["id"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/api/v1/dead-letters/{id}")).await.status, 200);

    failing.always(Answer::status(200));
    let address = program.admin_address().to_string();
    let args = ["dead-letters", "redrive", id, "--admin", &address];
    let output = harness::program::command(&args).await;
    assert!(output.is_success() && output.stdout.contains("redriven 1"), "{output:?}");
    failing.receives(4, SOON).await;
    let delivered = || async {
        let counters = subscription_of(&program, "s").await["counters"].clone();
        if counters["delivered"] == 1 && counters["dead"] == 0 { Ok(()) } else { Err(counters) }
    };
    eventually(SOON, delivered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_not_taken_is_tried_again_and_then_its_event_is_a_dead_letter() {
    let (asked, receiver) = (Subscriber::start().await, Subscriber::start().await);
    asked.always(Answer::event(&Sample::new("/asked", "answer-1", "answer")));
    receiver.always(Answer::status(503));
    let delivery = json!({"retry": 1, "backoffPolicy": "linear", "backoffDelay": "PT0.05S"});
    let (program, _manifests) = running(&[
        channel("InMemoryChannel", "c", json!({})),
        subscription(
            "s",
            json!({
                "channel": of("InMemoryChannel", "c"), "subscriber": uri(&asked),
                "reply": uri(&receiver), "delivery": delivery,
            }),
        ),
    ])
    .await;
    take(&program, "channels/default/c", &greeting("1")).await;
    let admin = program.admin();
    let is_dead = || async {
        let list = admin.get("/api/v1/dead-letters?channel=default/c").await.json();
        if list["total"] == 1 { Ok(list["items"][0].clone()) } else { Err(list) }
    };
    let letter = eventually(SOON, is_dead).await;
    assert_eq!((&letter["reason"], &letter["event"]["id"]), (&json!("reply"), &json!("1")));
    assert_eq!(
        (&letter["destination"], &letter["lastStatus"]),
        (&json!(receiver.url("/")), &json!(503))
    );
    assert_eq!((asked.count(), receiver.count()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_of_channels_ends() {
    let reply = |channel: &str| json!({"ref": of("InMemoryChannel", channel)});
    let (program, _manifests) = running(&[
        channel("InMemoryChannel", "a", json!({})),
        channel("InMemoryChannel", "b", json!({})),
        subscription("ab", json!({"channel": of("InMemoryChannel", "a"), "reply": reply("b")})),
        subscription("ba", json!({"channel": of("InMemoryChannel", "b"), "reply": reply("a")})),
    ])
    .await;
    take(&program, "channels/default/a", &greeting("1")).await;
    let admin = program.admin();
    let is_dead = || async {
        let list = admin.get("/api/v1/dead-letters").await.json();
        if list["total"] == 1 { Ok(()) } else { Err(list) }
    };
    eventually(4 * SOON, is_dead).await;
    let accepted = |name: &'static str| {
        let admin = program.admin();
        async move {
            admin.get(&format!("/api/v1/channels/default/{name}")).await.json()["accepted"].as_u64()
        }
    };
    let passes = accepted("a").await.unwrap() + accepted("b").await.unwrap();
    assert_eq!(passes, 255);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_subscription_lacks_is_told_as_knative_tells_it() {
    let subscriber = Subscriber::start().await;
    let nowhere = json!({"ref": of("InMemoryChannel", "nowhere")});
    let c = of("InMemoryChannel", "c");
    let to = uri(&subscriber);
    let manifests = Manifests::new();
    let documents = [
        channel("InMemoryChannel", "c", json!({})),
        subscription("channel", json!({"channel": of("Channel", "d"), "subscriber": to})),
        subscription("kind", json!({"channel": of("KafkaChannel", "c"), "subscriber": to})),
        subscription("subscriber", json!({"channel": c, "subscriber": nowhere})),
        subscription("reply", json!({"channel": c, "subscriber": to, "reply": nowhere})),
        subscription(
            "sink",
            json!({"channel": c, "subscriber": to, "delivery": {"deadLetterSink": nowhere}}),
        ),
        subscription("itself", json!({"channel": c, "subscriber": {"ref": c}})),
        subscription("fine", json!({"channel": c, "subscriber": to})),
    ];
    manifests.write("all.yaml", documents.join("---\n"));
    let program = Setup::new().path(manifests.path()).start().await;
    for (name, reason) in [
        ("channel", json!("ChannelReferenceFailed")),
        ("kind", json!("ChannelReferenceFailed")),
        ("subscriber", json!("SubscriberResolveFailed")),
        ("reply", json!("ReplyResolveFailed")),
        ("sink", json!("DeadLetterSinkResolveFailed")),
        ("itself", json!("SubscriberResolveFailed")),
        ("fine", Value::Null),
    ] {
        let shown = subscription_of(&program, name).await;
        assert_eq!(shown["reason"], reason, "{shown}");
    }
    let verbose = program.admin().get("/readyz?verbose").await;
    assert_eq!(verbose.status, 200);
    let verbose = verbose.text();
    assert!(verbose.contains("[+] channel default/c: InMemoryChannel"), "{verbose}");
    assert!(verbose.contains("[-] subscription default/reply: ReplyResolveFailed"), "{verbose}");
    take(&program, "channels/default/c", &greeting("1")).await;
    subscriber.receives(1, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_s_trigger_may_send_to_a_channel_and_both_may_have_one_name() {
    let subscriber = Subscriber::start().await;
    let broker = yaml(&json!({
        "apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "same"},
    }));
    let trigger = yaml(&json!({
        "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": "same"},
        "spec": {"broker": "same", "subscriber": {"ref": of("Channel", "same")}},
    }));
    let (mut program, manifests) = running(&[
        broker.clone(),
        trigger,
        templated("same", "DiskChannel", json!({})),
        subscription(
            "same",
            json!({"channel": of("Channel", "same"), "subscriber": uri(&subscriber)}),
        ),
    ])
    .await;
    take(&program, "default/same", &greeting("1")).await;
    subscriber.receives(1, SOON).await;
    take(&program, "channels/default/same", &greeting("2")).await;
    subscriber.receives(2, SOON).await;
    // Each keeps its own, and finds it again.
    let pause = "/api/v1/subscriptions/default/same/pause";
    assert_eq!(program.admin().post(pause, &json!({})).await.status, 200);
    take(&program, "channels/default/same", &greeting("3")).await;
    program.kill().await;
    program.start_again().await;
    let waits = || async {
        let shown = subscription_of(&program, "same").await;
        // Of those before it is not written down yet that they were delivered.
        if shown["counters"]["waiting"].as_i64() >= Some(1) { Ok(shown) } else { Err(shown) }
    };
    let shown = eventually(SOON, waits).await;
    assert_eq!(shown["paused"], "operator");
    let resume = "/api/v1/subscriptions/default/same/resume";
    assert_eq!(program.admin().post(resume, &json!({})).await.status, 200);
    let has_come = || async {
        let received = subscriber.received();
        let ids: Vec<String> = received.iter().map(|one| one.key().unwrap().id).collect();
        if ids.iter().any(|id| id == "3") { Ok(()) } else { Err(ids) }
    };
    eventually(SOON, has_come).await;
    // A channel that is deleted is gone; the broker of its name stays.
    manifests.write("all.yaml", broker);
    let is_gone = || async {
        let status = send(&program, "channels/default/same", &greeting("4")).await.status;
        if status == 404 { Ok(()) } else { Err(status) }
    };
    eventually(SOON, is_gone).await;
    take(&program, "default/same", &greeting("5")).await;
}

/// Send, deliver, end, start again with what waits.
async fn keeps_what_waits(backing: Backing) {
    let subscriber = Subscriber::start().await;
    subscriber.always(Answer::status(503));
    let kind = backing.kind();
    let delivery = json!({"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT0.2S"});
    let mut spec = backing.spec();
    spec["delivery"] = delivery;
    let documents = [
        channel(kind, "c", spec),
        subscription("s", json!({"channel": of(kind, "c"), "subscriber": uri(&subscriber)})),
    ];
    let (mut program, _manifests) = started(backing.configure(Setup::new()), &documents).await;
    for id in 0..20 {
        take(&program, "channels/default/c", &greeting(&id.to_string())).await;
    }
    subscriber.receives(1, 4 * SOON).await;
    program.kill().await;
    let before = subscriber.count();
    subscriber.always(Answer::status(200));
    program.start_again().await;
    let all = || async {
        let received = subscriber.received();
        let after = received.iter().skip(before).filter(|one| one.is_success());
        let ids: std::collections::BTreeSet<String> =
            after.filter_map(|one| one.key()).map(|key| key.id).collect();
        if ids.len() == 20 { Ok(()) } else { Err(ids) }
    };
    eventually(8 * SOON, all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_on_disk_keeps_what_waits_through_a_kill() {
    keeps_what_waits(Backing::Disk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_in_kafka_keeps_what_waits_through_a_kill() {
    match Backing::kafka().await {
        Ok(kafka) => keeps_what_waits(kafka).await,
        Err(why) => say_not_run("a_channel_in_kafka_keeps_what_waits_through_a_kill", &why),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_in_nats_keeps_what_waits_through_a_kill() {
    match Backing::nats().await {
        Ok(nats) => keeps_what_waits(nats).await,
        Err(why) => say_not_run("a_channel_in_nats_keeps_what_waits_through_a_kill", &why),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_its_kind_empties_a_channel_first() {
    let subscriber = Subscriber::start().await;
    let documents = |kind: &str| {
        let to = json!({"channel": of("Channel", "c"), "subscriber": uri(&subscriber)});
        [templated("c", kind, json!({})), subscription("s", to)].join("---\n")
    };
    let (program, manifests) = running(&[documents("DiskChannel")]).await;
    take(&program, "channels/default/c", &greeting("1")).await;
    manifests.write("all.yaml", documents("InMemoryChannel"));
    let admin = program.admin();
    let changed = || async {
        let shown = admin.get("/api/v1/channels/default/c").await.json();
        if shown["channel"]["kind"] == "InMemoryChannel" { Ok(()) } else { Err(shown) }
    };
    eventually(3 * SOON, changed).await;
    take(&program, "channels/default/c", &greeting("2")).await;
    let received = subscriber.receives(2, SOON).await;
    let ids: Vec<String> = received.iter().map(|one| one.key().unwrap().id).collect();
    assert_eq!(ids, ["1", "2"]);
}
