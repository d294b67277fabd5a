//! `kill -9` in the middle of sources: what they have promised is kept, and what comes twice has one id.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use harness::http::{Headers, Response};
use harness::oracle::assert_all;
use harness::pace::say;
use harness::scene::numbered;
use harness::servers::{kafka::Kafka, kcat};
use harness::{
    Backing, Mode, Producer, Program, Running, Sample, Scene, Subscriber, Trigger, eventually,
    pick, say_not_run,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::HEALED;

const BROKER: &str = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";

/// A scene on a channel that keeps the notes of sources too, with this source.
async fn scene(on: &Backing, subscriber: &Subscriber, source: &str) -> Running {
    let default = match on {
        Backing::Memory => "memory",
        Backing::Disk => "disk",
        Backing::Kafka(_) => "kafka",
        Backing::Nats(_) => "nats",
    };
    let scene = Scene::new()
        .channel(on)
        .setup(|setup| setup.config(json!({"channel": {"default": default}})))
        .trigger(Trigger::named("all"), subscriber);
    let running = scene.start().await;
    running.manifests.write("source.yaml", source);
    running
}

async fn source(program: &Program, name: &str) -> Value {
    let sources = program.admin().get(&format!("/api/v1/sources/default/{name}")).await.json();
    sources["items"][0].clone()
}

/// Kills it at moments of chance and starts it again.
async fn kill_often(program: &mut Program, kills: u32, scenario: &str) {
    let mut rng = harness::Seed::of(scenario).rng();
    for _ in 0..kills {
        sleep(Duration::from_millis(rng.u64(300..1500))).await;
        program.kill().await;
        program.start_again().await;
    }
}

const TOKEN: &str = "a-token-of-thirty-two-characters";

const HOOK: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: hook}
stringData: {token: a-token-of-thirty-two-characters}
---
apiVersion: sources.catchment.dev/v1alpha1
kind: WebhookSource
metadata: {name: hook}
spec:
  verification: {bearer: {}, secrets: [{secretKeyRef: {name: hook, key: token}}]}
  event:
    id: '{header.X-Id}'
    type: '{header.X-Type}'
    source: '{header.X-Source}'
    time: '{header.X-Time}'
  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
";

/// An event that a webhook can say all of.
fn delivery(number: usize) -> Sample {
    Sample::new("/hooks", &format!("hook-{number}"), "hook")
        .with("time", "2026-01-01T00:00:00Z")
        .json(&json!({"n": number}))
}

async fn deliver(producer: &mut Producer, sample: &Sample) -> io::Result<Response> {
    let text = |name: &str| sample.attribute(name).unwrap_or_default().as_bytes().to_vec();
    let headers = Headers(vec![
        ("authorization".into(), format!("Bearer {TOKEN}").into()),
        ("content-type".into(), text("datacontenttype")),
        ("x-id".into(), text("id")),
        ("x-type".into(), text("type")),
        ("x-source".into(), text("source")),
        ("x-time".into(), text("time")),
    ]);
    producer.post(headers, sample.data.clone().unwrap_or_default()).await
}

/// A sender that delivers again what was not answered 202, and in the end all. All are stored, and none twice
/// but those of which an answer stayed out.
async fn webhooks_over_kills(on: Backing) {
    let (kills, deliveries) = pick((3, 300), (20, 10_000));
    let subscriber = Subscriber::start().await;
    let mut running = scene(&on, &subscriber, HOOK).await;
    let (events, ledger) = (running.program.events(), running.oracle.ledger.clone());
    let mut senders = JoinSet::new();
    for sender in 0..4 {
        let ledger = ledger.clone();
        senders.spawn(async move {
            let mut producer = Producer::new(events, "sources/default/hook");
            let mut unsure = BTreeMap::new();
            for number in (sender..deliveries).step_by(4) {
                let sample = delivery(number);
                let entry = ledger.open("default/default", &sample, Mode::Binary);
                loop {
                    let answer = deliver(&mut producer, &sample).await;
                    match &answer {
                        Ok(response) if response.status == 202 => {
                            ledger.close(entry, &answer);
                            break;
                        }
                        // One that was refused was not stored, unless that is said.
                        Ok(response) if !response.text().contains("unknown") => {}
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                        _ => *unsure.entry(sample.key().id).or_insert(0) += 1,
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                sleep(Duration::from_millis(pick(30, 5))).await;
            }
            unsure
        });
    }
    kill_often(&mut running.program, kills, "hooks").await;
    let mut unsure: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(sender) = senders.join_next().await {
        unsure.extend(sender.expect("a sender does not panic"));
    }
    assert_eq!(ledger.accepted(), deliveries);
    // All of them once more, as people do who do not know what came through: none is new.
    let mut again = Producer::new(events, "sources/default/hook");
    for number in 0..deliveries {
        let answer = deliver(&mut again, &delivery(number)).await.expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let hook = source(&running.program, "hook").await;
    assert!(hook["counts"]["repeated"].as_u64() >= Some(deliveries as u64), "{hook}");
    running.ended(HEALED).await;
    // What was stored twice has arrived at the broker at two times.
    let mut stored: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in subscriber.received() {
        let event = one.event.expect("an event");
        let arrival = event.attribute("knativearrivaltime").expect("a broker's").to_owned();
        stored.entry(event.key().id).or_default().insert(arrival);
    }
    let twice: Vec<_> = stored
        .iter()
        .filter(|(id, times)| times.len() > 1 + unsure.get(*id).copied().unwrap_or_default())
        .collect();
    assert!(twice.is_empty(), "stored twice, and answered each time: {twice:?}");
    let more = subscriber.count() - deliveries;
    say(&format!(
        "{on}: {deliveries} webhooks, {kills} kills, {} without an answer, {more} more came",
        unsure.len()
    ));
    running.evidence().await.restarted().excuse(deliveries).assert();
}

/// Every tick is sent once, or again with the id that it had, or counted as skipped; the newest of those
/// that were missed is made good.
async fn ticks_over_kills(on: Backing) {
    let kills = pick(3, 15);
    let subscriber = Subscriber::start().await;
    let beat = format!(
        "apiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {{name: beat}}\nspec:\n  \
         schedule: '* * * * * *'\n  sink: {BROKER}\n"
    );
    let mut running = scene(&on, &subscriber, &beat).await;
    let ticks = || {
        let mut ids: BTreeMap<Timestamp, BTreeSet<String>> = BTreeMap::new();
        for one in subscriber.received() {
            let event = one.event.expect("an event");
            let time = event.attribute("time").expect("a tick has one").parse().expect("a time");
            ids.entry(time).or_default().insert(event.key().id);
        }
        assert!(ids.values().all(|ids| ids.len() == 1), "a tick has one id: {ids:?}");
        ids.into_keys().collect::<BTreeSet<_>>()
    };
    let reach = |count: usize| {
        let ticks = &ticks;
        eventually(HEALED, move || async move {
            let now = ticks();
            if now.len() >= count { Ok(()) } else { Err(now) }
        })
    };
    reach(2).await;
    let mut rng = harness::Seed::of("ticks").rng();
    for _ in 0..kills {
        sleep(Duration::from_millis(rng.u64(0..1500))).await;
        running.program.kill().await;
        let (killed, before) = (Timestamp::now(), ticks());
        let last = *before.last().expect("there were some");
        // So long that one is missed at least.
        sleep(Duration::from_millis(2200)).await;
        let again = Timestamp::now();
        running.program.start_again().await;
        reach(before.len() + 3).await;
        let now = ticks();
        // The newest that was missed is the last one that was due when the program was there again.
        let older: Vec<_> =
            now.range(killed..Timestamp::from_second(again.as_second()).unwrap()).collect();
        assert!(older.is_empty(), "made good although there were newer ones: {older:?}");
        let newest = *now.last().expect("some");
        let due = newest.as_second() - last.as_second();
        let beat = source(&running.program, "beat").await;
        let counted = beat["counts"]["made"].as_i64().zip(beat["counts"]["skipped"].as_i64());
        let (made, skipped) = counted.expect("counts");
        assert!(made + skipped >= due, "{due} were due since {last}: {beat}");
    }
    let all = ticks();
    say(&format!("{on}: {} ticks, {kills} kills, {} came", all.len(), subscriber.count()));
}

/// Records that are events, written while the program is killed: every one of them has its end.
async fn records_over_kills(on: Backing) {
    let what = format!("kills of a KafkaSource into a {on}");
    if !kcat::is_there(&what) {
        return;
    }
    let kafka = match Kafka::shared().await {
        Ok(kafka) => kafka,
        Err(why) => return say_not_run(&what, &why),
    };
    let (kills, batches, each) = pick((3, 12, 200), (20, 60, 500));
    let topic = format!("killed-{:x}", fastrand::u64(..));
    kafka.create_topic(&topic, 4).await;
    let bootstrap = kafka.bootstrap();
    let subscriber = Subscriber::start().await;
    let records = format!(
        "apiVersion: sources.knative.dev/v1\nkind: KafkaSource\nmetadata: {{name: records}}\nspec:\n  \
         bootstrapServers: ['{bootstrap}']\n  topics: [{topic}]\n  consumers: 2\n  \
         initialOffset: earliest\n  sink: {BROKER}\n"
    );
    let mut running = scene(&on, &subscriber, &records).await;
    let ledger = running.oracle.ledger.clone();
    let writing = tokio::task::spawn_blocking(move || {
        let structured = ["-H", "content-type=application/cloudevents+json"];
        for batch in 0..batches {
            let samples: Vec<Sample> =
                (0..each).map(|one| numbered("records", batch * each + one, "t", 100)).collect();
            let lines: Vec<String> = samples.iter().map(Sample::object).collect();
            kcat::produce(&bootstrap, &topic, &structured, &lines.join("\n"));
            for sample in &samples {
                ledger.stored("default/default", sample, Mode::Structured);
            }
        }
    });
    kill_often(&mut running.program, kills, "records").await;
    writing.await.expect("all is written");
    running.ended(HEALED).await;
    let records = source(&running.program, "records").await;
    assert_eq!(records["counts"]["refused"], 0, "{records}");
    let all = batches * each;
    say(&format!("{on}: {all} records, {kills} kills, {} came", subscriber.count()));
    assert_all(running.evidence().await.restarted().excuse(all).verdicts());
}

on_each_channel! {
    webhooks_over_kills:
        disk_remembers_webhooks_over_kill_9,
        kafka_remembers_webhooks_over_kill_9,
        nats_remembers_webhooks_over_kill_9;
    ticks_over_kills:
        disk_accounts_for_ticks_over_kill_9,
        kafka_accounts_for_ticks_over_kill_9,
        nats_accounts_for_ticks_over_kill_9;
    records_over_kills:
        disk_takes_all_records_over_kill_9,
        kafka_takes_all_records_over_kill_9,
        nats_takes_all_records_over_kill_9;
}
