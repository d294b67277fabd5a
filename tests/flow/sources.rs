//! Sources, and those of ticks: over real sockets, over a kill, and beside bad ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::program::Program;
use harness::{Broker, Manifests, Setup, Subscriber, Trigger, eventually};
use serde_json::{Value, json};

use crate::SOON;

pub(crate) const SECRET: &str = "a-secret-of-thirty-two-characters";

/// A broker, a trigger that wants everything, and these documents.
pub(crate) async fn with(documents: &str, subscriber: &Subscriber) -> (Program, Manifests) {
    let manifests = Manifests::new();
    manifests.broker(&Broker::named("default"));
    manifests.trigger(&Trigger::named("all").to(subscriber));
    manifests.write("sources.yaml", documents);
    let program = Setup::new().path(manifests.path()).start().await;
    (program, manifests)
}

pub(crate) fn ping(name: &str, schedule: &str, sink: &str) -> String {
    format!(
        "apiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {{name: {name}}}\nspec:\n  \
         schedule: \"{schedule}\"\n  contentType: application/json\n  data: '{{\"n\": 1}}'\n  \
         ceOverrides: {{extensions: {{region: eu}}}}\n  sink: {sink}\n---\n"
    )
}

pub(crate) const BROKER: &str =
    "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";

/// A source that is in order, for what stands beside it.
pub(crate) fn beside() -> String {
    ping("beside", "* * * * * *", BROKER)
}

/// Waits for a tick that comes from now on.
pub(crate) async fn ticks_go_on(subscriber: &Subscriber) {
    let is_tick = |it: &harness::subscriber::Received| {
        let kind = it.event.as_ref().unwrap().attribute("type");
        kind == Some("dev.knative.sources.ping")
    };
    let count = || subscriber.received().iter().filter(|it| is_tick(it)).count();
    let before = count();
    eventually(SOON, || async { if count() > before { Ok(()) } else { Err(before) } }).await;
}

/// All sources by name, once so many are ready.
pub(crate) async fn ready(program: &Program, count: usize) {
    let all = || async {
        let sources = program.admin().get("/api/v1/sources").await.json();
        let items = sources["items"].as_array().map_or(&[][..], Vec::as_slice);
        let ready = items.iter().filter(|source| source["ready"] == true).count();
        if ready == count { Ok(()) } else { Err(sources) }
    };
    eventually(SOON, all).await;
}

pub(crate) async fn source(program: &Program, name: &str) -> Value {
    let sources = program.admin().get(&format!("/api/v1/sources/default/{name}")).await.json();
    sources["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_source_makes_events_for_a_broker_and_for_a_url() {
    let (by_broker, by_url) = (Subscriber::start().await, Subscriber::start().await);
    let uri = format!("{{uri: \"{}\"}}", by_url.url("/direct"));
    let documents = ping("beat", "* * * * * *", BROKER) + &ping("direct", "@every 1s", &uri);
    let (program, _manifests) = with(&documents, &by_broker).await;
    for (subscriber, name) in [(&by_broker, "beat"), (&by_url, "direct")] {
        let received = subscriber.receives(2, SOON).await;
        let mut ids = BTreeSet::new();
        for one in &received {
            let event = one.event.as_ref().unwrap();
            assert_eq!(event.attribute("type"), Some("dev.knative.sources.ping"));
            let source = format!("/apis/v1/namespaces/default/pingsources/{name}");
            assert_eq!(event.attribute("source"), Some(source.as_str()));
            assert_eq!(event.attribute("region"), Some("eu"));
            assert_eq!(event.data.as_deref(), Some(&b"{\"n\": 1}"[..]));
            assert!(event.attribute("time").is_some_and(|time| time.ends_with('Z')));
            assert!(ids.insert(event.attribute("id").unwrap().to_owned()), "an id twice");
        }
    }
    let beat = source(&program, "beat").await;
    assert!(beat["counts"]["made"].as_u64() >= Some(2), "{beat}");
    assert_eq!(beat["ceAttributes"][0]["type"], "dev.knative.sources.ping");
    let metrics = program.admin().metrics().await;
    let made =
        r#"catchment_source_events_total{kind="PingSource",source="default/beat",outcome="made"}"#;
    assert!(metrics.contains(made), "{metrics}");
}

/// The times of the ticks that came, each of which has one id.
fn ticks(subscriber: &Subscriber) -> BTreeSet<String> {
    let mut ids = BTreeMap::new();
    for one in subscriber.received() {
        let event = one.event.unwrap();
        let (id, time) = (event.attribute("id").unwrap(), event.attribute("time").unwrap());
        let digits: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
        assert!(id.starts_with(&digits), "{id} is not of {time}");
        let known = ids.entry(time.to_owned()).or_insert_with(|| id.to_owned());
        assert_eq!(known, id, "a tick has one id");
    }
    ids.into_keys().collect()
}

/// The notes say how far a source came: after a kill it goes on, and what it repeats has the same id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_source_goes_on_after_a_kill() {
    let subscriber = Subscriber::start().await;
    let (mut program, _manifests) = with(&ping("beat", "* * * * * *", BROKER), &subscriber).await;
    subscriber.receives(2, SOON).await;
    program.kill().await;
    let before = ticks(&subscriber);
    program.start_again().await;
    let goes_on = || async {
        let now = ticks(&subscriber);
        if now.len() >= before.len() + 3 { Ok(()) } else { Err(now) }
    };
    eventually(SOON, goes_on).await;
}

/// A schedule that fires never, or in no time zone, is refused; what was there before goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_is_none_is_told_with_its_field_and_the_others_go_on() {
    let subscriber = Subscriber::start().await;
    let (program, manifests) = with(&beside(), &subscriber).await;
    ready(&program, 1).await;
    let zoned =
        ping("nowhere", "0 0 * * *", BROKER).replace("spec:\n", "spec:\n  timezone: Mars/Phobos\n");
    manifests.write("bad.yaml", ping("never", "0 0 30 2 *", BROKER) + &zoned);
    let told = [
        ("spec.schedule", "\"0 0 30 2 *\" never fires"),
        ("spec.timezone", "\"Mars/Phobos\" is not a time zone"),
    ];
    eventually(SOON, || async {
        let problems = program.admin().problems().await;
        let is_told = |(field, rule): &(&str, &str)| {
            problems.iter().any(|it| {
                it["field"] == json!(field) && it.to_string().contains(&rule.replace('"', "\\\""))
            })
        };
        if told.iter().all(is_told) { Ok(()) } else { Err(problems) }
    })
    .await;
    ticks_go_on(&subscriber).await;
    assert_eq!(
        program.admin().get("/api/v1/sources").await.json()["items"].as_array().unwrap().len(),
        1
    );
    manifests.write("bad.yaml", ping("never", "0 0 29 2 *", BROKER));
    ready(&program, 2).await;
}

/// A sink that answers with an error gets the event again; the source says that it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_away_gets_the_event_when_it_is_back() {
    let (by_broker, by_url) = (Subscriber::start().await, Subscriber::start().await);
    by_url.take_down().await;
    let uri = format!("{{uri: \"{}\"}}", by_url.url("/direct"));
    let (program, _manifests) = with(&ping("direct", "@every 1s", &uri), &by_broker).await;
    let is_retried = || async {
        let direct = source(&program, "direct").await;
        if direct["counts"]["retried"].as_u64() > Some(0) { Ok(()) } else { Err(direct) }
    };
    eventually(SOON, is_retried).await;
    by_url.bring_back().await;
    by_url.receives(1, SOON + Duration::from_secs(20)).await;
}
