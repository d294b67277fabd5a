//! T-F-12 and T-F-13 with other clients of the server: they read what is ours, write events and garbage, and made
//! the topic.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::pace::say;
use harness::scene::numbered;
use harness::servers::nats;
use harness::{Broker, Running, Sample, Subscriber, Trigger, eventually, say_not_run};
use serde_json::{Value, json};

use crate::servers::Server;
use crate::{HEALED, SOON};

const TOPIC: &str = "catchment-broker-default.default";

/// What kcat says, given the value of a record. A NUL ends a record, so that values may have lines.
fn kcat(args: &[&str], value: &[u8]) -> String {
    let mut command = Command::new("kcat");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("kcat starts");
    child.stdin.take().expect("piped").write_all(value).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "kcat {args:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for the dead letter of what is no event, and that `id` came after it.
async fn garbage_is_a_dead_letter(running: &Running, subscriber: &Subscriber, ids: &[&str]) {
    let letters = running.admin().dead_letters_reach(1, SOON).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((letters[0].reason.as_str(), letters[0].attempts), ("undecodable", 0));
    eventually(SOON, || async {
        let came: Vec<_> = subscriber.received().iter().filter_map(|one| one.key()).collect();
        let is_there = |id: &&str| came.iter().any(|key| key.id == **id);
        if ids.iter().all(is_there) { Ok(()) } else { Err(came) }
    })
    .await;
    let whole = running.admin().dead_letter(&letters[0].id).await;
    say(&format!("undecodable: {}", whole["detail"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_reads_and_writes_events_and_its_garbage_is_a_dead_letter() {
    let what = "kcat_reads_and_writes_events_and_its_garbage_is_a_dead_letter";
    if Command::new("kcat").arg("-V").output().is_err() {
        return say_not_run(what, "there is no kcat");
    }
    let server = match Server::kafka().await {
        Ok(server) => server,
        Err(why) => return say_not_run(what, &why),
    };
    let Server::Kafka(kafka) = &server else { unreachable!("just made") };
    let bootstrap = kafka.bootstrap();
    let subscriber = Subscriber::start().await;
    let running = server.scene().trigger(Trigger::named("all"), &subscriber).start().await;
    let ours = Sample::new("/ours", "1", "t").with("subject", "a b").with("partitionkey", "k");
    running.send(&ours.data("text/plain", "hello")).await;
    running.settled(SOON).await;
    let read =
        ["-b", &bootstrap, "-t", TOPIC, "-C", "-o", "beginning", "-e", "-q", "-f", "%k|%h|%s"];
    let said = kcat(&read, b"");
    let (key, rest) = said.split_once('|').expect("a key");
    let (headers, value) = rest.rsplit_once('|').expect("a value");
    assert_eq!((key, value), ("k", "hello"));
    for header in [
        "ce_specversion=1.0",
        "ce_id=1",
        "ce_source=/ours",
        "ce_type=t",
        "ce_subject=a b",
        "content-type=text/plain",
    ] {
        assert!(headers.split(',').any(|one| one == header), "{header} in {headers}");
    }
    let write = |headers: &[&str], value: &[u8]| {
        let mut args = vec!["-b", &bootstrap, "-t", TOPIC, "-p", "2", "-P", "-D", "\u{1}"];
        headers.iter().for_each(|header| args.extend(["-H", header]));
        kcat(&args, value);
    };
    let event = ["ce_specversion=1.0", "ce_source=/kcat", "ce_type=t"];
    write(&[&event[..], &["ce_id=before"]].concat(), b"1");
    write(&[], b"no event at all");
    write(&[&event[..], &["ce_id=after"]].concat(), b"2");
    garbage_is_a_dead_letter(&running, &subscriber, &["before", "after"]).await;
    running.ended(HEALED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_other_partitions_is_told_and_left_alone() {
    let what = "a_topic_with_other_partitions_is_told_and_left_alone";
    let server = match Server::kafka().await {
        Ok(server) => server,
        Err(why) => return say_not_run(what, &why),
    };
    let subscriber = Subscriber::start().await;
    let running = server.scene().trigger(Trigger::named("all"), &subscriber).start().await;
    running.send(&numbered("four", 0, "t", 100)).await;
    running.settled(SOON).await;
    let six = Broker::named("default").channel("KafkaChannel", json!({"numPartitions": 6}));
    running.manifests.broker(&six);
    let message = eventually(HEALED, || async {
        let broker = running.admin().broker("default/default").await;
        if broker["reason"] == "ChannelMismatch" {
            Ok(broker["message"].clone())
        } else {
            Err(broker)
        }
    })
    .await;
    let message = message.as_str().unwrap_or_default();
    assert!(message.contains('4') && message.contains('6'), "{message}");
    say(message);
    running.manifests.broker(&server.broker());
    running.admin_has("default/all").await;
    running.send(&numbered("four", 1, "t", 100)).await;
    running.ended(HEALED).await;
    running.evidence().await.restarted().assert();
}

/// What the other client of NATS says.
async fn other(url: &str, command: &str, rest: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/nats_client.py");
    let mut python = Command::new(nats::python());
    python.arg(script).arg(url).arg(command).args(rest);
    let done = tokio::task::spawn_blocking(move || python.output().expect("it starts")).await;
    let done = done.expect("it ends");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_client_of_nats_reads_and_writes_events_and_garbage() {
    let what = "another_client_of_nats_reads_and_writes_events_and_garbage";
    let server = match Server::nats().await {
        Ok(server) => server,
        Err(why) => return say_not_run(what, &why),
    };
    let Server::Nats(nats) = &server else { unreachable!("just made") };
    let url = nats.url();
    let subscriber = Subscriber::start().await;
    let running = server.scene().trigger(Trigger::named("all"), &subscriber).start().await;
    let ours = Sample::new("/ours", "1", "t").with("subject", "a b");
    running.send(&ours.data("text/plain", "hello")).await;
    running.settled(SOON).await;
    let found = other(&url, "read", &["CATCHMENT_LOG_default__default", "1"]).await;
    assert_eq!(found["data"], STANDARD.encode("hello"), "{found}");
    for (name, value) in [("ce-id", "1"), ("ce-source", "/ours"), ("ce-subject", "a%20b")] {
        assert_eq!(found["headers"][name], value, "{found}");
    }
    let subject = found["subject"].as_str().expect("a subject");
    let event = |id: &str| {
        json!({"ce-specversion": "1.0", "ce-source": "/other", "ce-type": "t", "ce-id": id})
            .to_string()
    };
    for (headers, data) in
        [(event("before"), "1"), ("{}".to_owned(), "no event at all"), (event("after"), "2")]
    {
        other(&url, "publish", &[subject, &headers, &STANDARD.encode(data)]).await;
    }
    garbage_is_a_dead_letter(&running, &subscriber, &["before", "after"]).await;
    running.ended(HEALED).await;
}
