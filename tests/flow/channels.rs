//! How a broker gets its channel: by its ConfigMap, beside the others, with the reason when it does not.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use harness::manifest::yaml;
use harness::metrics::parse;
use harness::process::Exit;
use harness::{
    Answer, Broker, Manifests, Mode, Producer, Running, Scene, Setup, Subscriber, Trigger,
    eventually,
};
use serde_json::json;

use crate::{SOON, greeting};

/// A broker `default/<name>` whose ConfigMap holds this template, in a file of their own.
fn broker_on(manifests: &Manifests, name: &str, template: &str) {
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"channel-template-spec": template},
    });
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name});
    let broker = json!({
        "apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": name},
        "spec": {"config": config},
    });
    let both = format!("{}---\n{}", yaml(&config_map), yaml(&broker));
    manifests.write(&format!("channel-{name}.yaml"), both);
}

fn template(kind: &str, spec: &str) -> String {
    format!("apiVersion: messaging.knative.dev/v1\nkind: {kind}\nspec: {spec}\n")
}

/// An address where nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// `default/default` in memory, and `default/remote` on a Kafka that is not there; both with a trigger.
async fn half_of_it_away() -> (Running, Subscriber, Subscriber) {
    let (near, remote) = (Subscriber::start().await, Subscriber::start().await);
    let setup = |setup: Setup| setup.env("CATCHMENT_KAFKA_BOOTSTRAP_SERVERS", &nowhere());
    let running = Scene::new()
        .broker(Broker::named("remote"))
        .trigger(Trigger::named("near"), &near)
        .trigger(Trigger::named("remote").of("remote"), &remote)
        .setup(setup)
        .start()
        .await;
    on_kafka(&running).await;
    (running, near, remote)
}

/// Moves `default/remote` to Kafka.
async fn on_kafka(running: &Running) {
    running.manifests.write("broker-remote.yaml", "");
    broker_on(&running.manifests, "remote", &template("KafkaChannel", "{numPartitions: 1}"));
    let admin = running.admin();
    let is_told = || async {
        let broker = admin.broker("default/remote").await;
        let message = broker["message"].as_str().unwrap_or_default();
        // Not one that tells of the way there.
        if broker["ready"] == false && message.starts_with("KafkaChannel: ") {
            Ok(())
        } else {
            Err(broker)
        }
    };
    // The channel that it had is emptied first, and an attempt at Kafka takes a while.
    eventually(2 * SOON, is_told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_away_holds_up_its_own_broker_only() {
    let (running, near, remote) = half_of_it_away().await;
    let admin = running.admin();
    running.send(&greeting("1")).await;
    near.receives(1, SOON).await;

    let mut producer = running.program.producer("default/remote");
    let refused = producer.send(&greeting("2"), Mode::Binary).await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("content-type").as_deref(), Some("application/problem+json"));
    let wait: u64 = refused.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let problem = refused.json();
    let detail = problem["detail"].as_str().unwrap();
    let broker = admin.broker("default/remote").await;
    let (reason, message) =
        (broker["reason"].as_str().unwrap(), broker["message"].as_str().unwrap());
    assert!(detail.starts_with("broker default/remote is not ready: "), "{detail}");
    assert!(detail.contains("KafkaChannel"), "{detail}");
    assert!(reason.starts_with("Channel"), "{reason}");
    assert!(message.starts_with("KafkaChannel: ") && !message.contains('\n'), "{message}");
    assert_eq!((&broker["channel"], &broker["refused"]), (&json!(null), &json!(1)));

    let verbose = admin.get("/readyz?verbose").await;
    assert_eq!(verbose.status, 200, "the others run: {}", verbose.text());
    let line = format!("[-] broker default/remote: {reason}: KafkaChannel: ");
    assert!(verbose.text().contains(&line), "{}", verbose.text());
    assert!(verbose.text().contains("[+] broker default/default: DiskChannel"));
    let trigger = admin.get("/api/v1/triggers/default/remote").await.json();
    assert_eq!((&trigger["ready"], &trigger["reason"]), (&json!(false), &json!("BrokerNotReady")));
    let metrics = parse(&admin.metrics().await).unwrap();
    let of_remote = |name: &str, label: &str, value: &str| {
        let point = metrics.iter().find(|point| {
            point.name == name
                && point.labels.get("broker").is_some_and(|broker| broker == "default/remote")
                && point.labels.get(label).is_some_and(|it| it == value)
        });
        point.unwrap_or_else(|| panic!("{name} of {value}")).value
    };
    assert!(of_remote("catchment_channel_up", "kind", "KafkaChannel").abs() < f64::EPSILON);
    let refusals = of_remote("catchment_requests_refused_total", "status", "503");
    assert!((refusals - 1.0).abs() < f64::EPSILON, "{refusals}");
    assert_eq!(remote.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_config_map_changes_the_channel() {
    let (running, _near, remote) = half_of_it_away().await;
    let sent = |id: &'static str| {
        let program = &running.program;
        async move {
            let mut producer = program.producer("default/remote");
            let answer = producer.send(&greeting(id), Mode::Binary).await.unwrap();
            if answer.status == 202 { Ok(()) } else { Err(answer.text()) }
        }
    };
    broker_on(&running.manifests, "remote", &template("InMemoryChannel", "{}"));
    eventually(SOON, || sent("1")).await;
    remote.receives(1, SOON).await;

    on_kafka(&running).await;
    sent("2").await.expect_err("it is away");
    broker_on(&running.manifests, "remote", &template("InMemoryChannel", "{}"));
    eventually(SOON, || sent("3")).await;
    let received = remote.receives(2, SOON).await;
    assert_eq!(received[1].key().unwrap().id, "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_cannot_be_used_keeps_the_channel_in_use_and_says_where_it_is_wrong() {
    let subscriber = Subscriber::start().await;
    let running = Scene::new().trigger(Trigger::named("all"), &subscriber).start().await;
    running.manifests.write("broker-default.yaml", "");
    let cases = [
        ("KafkaChannel", "{numPartition: 3}", "numPartitions"),
        ("KafkaChannel", "{replicationFactor: 0}", "must be from 1 to 32767"),
        ("DiskChannel", "{retentionDuration: 1h}", "ISO 8601"),
        ("DiskChannel", "{bytesMax: 1}", "must be at least 8Mi"),
        ("NatsJetStreamChannel", "{stream: {config: {discard: Old}}}", "must be New"),
    ];
    for (kind, spec, said) in cases {
        broker_on(&running.manifests, "default", &template(kind, spec));
        let admin = running.admin();
        let is_told = || async {
            let problems = serde_json::to_string(&admin.problems().await).unwrap();
            let is_so =
                problems.contains(said) && problems.contains("data.channel-template-spec.spec");
            if is_so { Ok(()) } else { Err(problems) }
        };
        eventually(SOON, is_told).await;
        assert_eq!(admin.broker("default/default").await["channel"]["kind"], "DiskChannel");
    }
    running.send(&greeting("1")).await;
    subscriber.receives(1, SOON).await;
    running.settled(SOON).await;
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_be_used_ends_the_start_in_one_line_without_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("password");
    fs::write(&secret, "canary").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let sasl = format!("{{mechanism: PLAIN, user: u, passwordFile: {}}}", secret.display());
    let cases = [
        ("kafka: {bootstrapServer: 'a:1'}".to_owned(), "kafka.bootstrapServer: unknown field"),
        ("kafka: {numPartitions: 0}".to_owned(), "kafka.numPartitions: must be from 1"),
        ("nats: {url: 'nats://u:canary@n'}".to_owned(), "nats.url: must not hold"),
        (format!("kafka: {{sasl: {sasl}}}"), "kafka.sasl.passwordFile"),
        ("channel: {default: kafka}".to_owned(), "kafka.bootstrapServers: is required"),
        (
            "channel: {disk: {bytesMax: 1}}".to_owned(),
            "channel.disk.bytesMax: must be at least 8Mi",
        ),
        (
            "channel: {disk: {freePercentMin: 100}}".to_owned(),
            "channel.disk.freePercentMin: must be",
        ),
        ("overflow: {after: PT0S}".to_owned(), "overflow.after: must be more than zero"),
    ];
    let file = folder.path().join("catchment.yaml");
    for (config, named) in cases {
        fs::write(&file, &config).unwrap();
        let mut starting = Setup::new().arg("--config").arg(file.display().to_string()).spawn();
        let exit = starting.process.wait(SOON).await.expect("it ends");
        let said = starting.process.stderr();
        assert_eq!(exit, Exit::Code(1), "{config}: {said}");
        assert!(said.contains(named) && said.contains("catchment.yaml"), "{config}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_channel_that_is_away_is_ready_for_the_others() {
    let manifests = Manifests::new();
    let subscriber = Subscriber::start().await;
    manifests.broker(&Broker::named("default"));
    manifests.trigger(&Trigger::named("all").to(&subscriber));
    broker_on(&manifests, "remote", &template("NatsJetStreamChannel", "{}"));
    let setup = Setup::new().path(manifests.path());
    let program = setup.env("CATCHMENT_NATS_URL", &format!("nats://{}", nowhere())).start().await;
    let send = |broker: &str| {
        let mut producer = Producer::new(program.events(), broker);
        async move { producer.send(&greeting("1"), Mode::Binary).await.unwrap().status }
    };
    assert_eq!((send("default/default").await, send("default/remote").await), (202, 503));
    subscriber.receives(1, SOON).await;
    assert_eq!(send("default/none").await, 404);
}

/// `default/kept` on disk, with a trigger that delivers one event at a time.
async fn on_disk() -> (Running, Subscriber) {
    let subscriber = Subscriber::start().await;
    let trigger = Trigger::named("kept").of("kept").annotation("catchment.dev/max-in-flight", "1");
    let running = Scene::new()
        .broker(Broker::named("kept").channel("DiskChannel", json!({})))
        .trigger(trigger, &subscriber)
        .start()
        .await;
    (running, subscriber)
}

/// Asks for another channel for `default/kept`, and waits until that is known.
async fn ask_for(running: &Running, kind: &str) {
    running.manifests.broker(&Broker::named("kept").channel(kind, json!({})));
    let admin = running.admin();
    let is_told = || async {
        let broker = admin.broker("default/kept").await;
        let is_at_work = broker["channel"]["kind"] == kind;
        let message = broker["message"].as_str().unwrap_or_default();
        let is_changing = message.contains(&format!("to be replaced by {kind}: "));
        if is_at_work || is_changing { Ok(()) } else { Err(broker) }
    };
    eventually(SOON, is_told).await;
}

async fn is_at_work(running: &Running, kind: &str) {
    let admin = running.admin();
    let at_work = || async {
        let broker = admin.broker("default/kept").await;
        if broker["channel"]["kind"] == kind { Ok(()) } else { Err(broker) }
    };
    eventually(3 * SOON, at_work).await;
}

/// Sends `count` events; all are taken.
async fn send_kept(running: &Running, from: usize, count: usize) {
    let mut producer = running.program.producer("default/kept");
    for id in from..from + count {
        let answer = producer.send(&greeting(&id.to_string()), Mode::Binary).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

/// The ids that came, in their order.
fn ids(subscriber: &Subscriber) -> Vec<usize> {
    let received = subscriber.received();
    let mut ids: Vec<usize> =
        received.iter().map(|it| it.key().unwrap().id.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_channel_is_emptied_before_another_replaces_it() {
    let (running, subscriber) = on_disk().await;
    subscriber.always(Answer::status(200).after(Duration::from_millis(20)));
    send_kept(&running, 0, 200).await;
    ask_for(&running, "InMemoryChannel").await;

    let mut producer = running.program.producer("default/kept");
    let refused = producer.send(&greeting("not"), Mode::Binary).await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    let said = "DiskChannel is being emptied, to be replaced by InMemoryChannel: ";
    let left = detail.split_once(said).unwrap_or_else(|| panic!("{detail}")).1;
    assert!(left.ends_with(" events are left"), "{detail}");
    let left: usize = left.split(' ').next().unwrap().parse().unwrap();
    assert!((1..=200).contains(&left), "{detail}");

    is_at_work(&running, "InMemoryChannel").await;
    assert_eq!(ids(&subscriber), (0..200).collect::<Vec<_>>(), "each of them, once");
    send_kept(&running, 200, 1).await;
    subscriber.receives(201, SOON).await;
    // Nothing was left behind that comes now.
    ask_for(&running, "DiskChannel").await;
    is_at_work(&running, "DiskChannel").await;
    send_kept(&running, 201, 1).await;
    subscriber.receives(202, SOON).await;
    assert_eq!(ids(&subscriber), (0..202).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_the_change_of_a_channel_back_finds_all_as_it_was() {
    let (running, subscriber) = on_disk().await;
    subscriber.always(Answer::status(200).after(Duration::from_millis(20)));
    send_kept(&running, 0, 100).await;
    ask_for(&running, "InMemoryChannel").await;
    ask_for(&running, "DiskChannel").await;
    is_at_work(&running, "DiskChannel").await;
    assert!(subscriber.count() < 100, "it did not wait until all were delivered");
    send_kept(&running, 100, 1).await;
    subscriber.receives(101, SOON).await;
    running.settled(SOON).await;
    assert_eq!(ids(&subscriber), (0..101).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_paused_trigger_comes_back_with_its_channel() {
    let (running, subscriber) = on_disk().await;
    let paused = "/api/v1/triggers/default/kept/pause";
    assert_eq!(running.admin().post(paused, &json!({})).await.status, 200);
    send_kept(&running, 0, 5).await;
    ask_for(&running, "InMemoryChannel").await;
    is_at_work(&running, "InMemoryChannel").await;
    let said = running.program.process.stderr();
    let line = said.lines().find(|line| line.contains("stay in the former channel"));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    for word in ["WARN", "default/kept", "DiskChannel", "5"] {
        assert!(line.contains(word), "{line}");
    }
    send_kept(&running, 5, 1).await;
    subscriber.receives(1, SOON).await;
    ask_for(&running, "DiskChannel").await;
    is_at_work(&running, "DiskChannel").await;
    let resume = "/api/v1/triggers/default/kept/resume";
    assert_eq!(running.admin().post(resume, &json!({})).await.status, 200);
    subscriber.receives(6, SOON).await;
    running.settled(SOON).await;
    assert_eq!(ids(&subscriber), (0..6).collect::<Vec<_>>());
}
