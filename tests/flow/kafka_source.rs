//! KafkaSource against a real Kafka: records that become events, poison, kills, and what is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use harness::program::Program;
use harness::servers::kafka::{self, Kafka};
use harness::servers::kcat::{self, produce};
use harness::{Answer, Broker, Manifests, Setup, Subscriber, Trigger, eventually, say_not_run};
use serde_json::Value;

/// A group has to be made, joined and shared out, and the machine may be busy.
const LATER: Duration = Duration::from_secs(60);

const BROKER: &str = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}";

/// The server that tests share, if it and kcat are there.
async fn server(what: &str) -> Option<Arc<Kafka>> {
    if !kcat::is_there(what) {
        return None;
    }
    match Kafka::shared().await {
        Ok(kafka) => Some(kafka),
        Err(why) => {
            say_not_run(what, &why);
            None
        }
    }
}

fn unique(name: &str) -> String {
    format!("{name}-{:x}", fastrand::u64(..))
}

/// A source of that name, of topics at a server, with these lines beside them in its spec.
fn source(name: &str, bootstrap: &str, topics: &str, more: &str) -> String {
    format!(
        "apiVersion: sources.knative.dev/v1beta1\nkind: KafkaSource\nmetadata: {{name: {name}}}\nspec:\n  \
         bootstrapServers: [\"{bootstrap}\"]\n  topics: [{topics}]\n{more}---\n"
    )
}

async fn start(documents: &str, subscriber: &Subscriber) -> (Program, Manifests) {
    let manifests = Manifests::new();
    manifests.broker(&Broker::named("default"));
    manifests.trigger(&Trigger::named("all").to(subscriber));
    manifests.write("sources.yaml", documents);
    let program = Setup::new().path(manifests.path()).start().await;
    (program, manifests)
}

async fn state(program: &Program, name: &str) -> Value {
    let sources = program.admin().get(&format!("/api/v1/sources/default/{name}")).await.json();
    sources["items"][0].clone()
}

async fn until(program: &Program, name: &str, is: impl Fn(&Value) -> bool) -> Value {
    let look = || async {
        let state = state(program, name).await;
        if is(&state) { Ok(state) } else { Err(state) }
    };
    eventually(LATER, look).await
}

fn ids(subscriber: &Subscriber) -> BTreeSet<String> {
    let received = subscriber.received().into_iter();
    received.filter_map(|one| Some(one.event.ok()?.key().id)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_become_events_and_poison_stops_nothing() {
    let Some(kafka) = server("records that become events").await else { return };
    let (bootstrap, topic) = (kafka.bootstrap(), unique("orders"));
    kafka.create_topic(&topic, 1).await;
    let required = ["-H", "ce_specversion=1.0", "-H", "ce_source=/kcat", "-H", "ce_type=t"];
    let structured = ["-H", "content-type=application/cloudevents+json"];
    produce(&bootstrap, &topic, &["-k", "k1", "-H", "X-Trace=abc"], "plain");
    produce(&bootstrap, &topic, &structured, "{");
    produce(&bootstrap, &topic, &[&required[..], &["-H", "ce_id=binary"]].concat(), "x");
    let json = r#"{"specversion":"1.0","id":"structured","source":"/s","type":"t","data":1}"#;
    produce(&bootstrap, &topic, &structured, json);

    let subscriber = Subscriber::start().await;
    let more = format!(
        "  initialOffset: earliest\n  ceOverrides: {{extensions: {{region: eu}}}}\n  sink: {BROKER}\n"
    );
    let (mut program, _manifests) =
        start(&source("in", &bootstrap, &topic, &more), &subscriber).await;
    let received = subscriber.receives(3, LATER).await;
    let events: BTreeMap<String, _> =
        received.into_iter().map(|one| one.event.unwrap()).map(|it| (it.key().id, it)).collect();
    let plain = &events["partition:0/offset:0"];
    let from = format!("/apis/v1/namespaces/default/kafkasources/in#{topic}");
    for (name, text) in [
        ("type", "dev.knative.kafka.event"),
        ("source", from.as_str()),
        ("subject", "partition:0#0"),
        ("key", "k1"),
        ("xtrace", "abc"),
        ("region", "eu"),
    ] {
        assert_eq!(plain.attribute(name), Some(text), "{name}");
    }
    assert_eq!(plain.data.as_deref(), Some(&b"plain"[..]));
    assert_eq!(events["binary"].attribute("source"), Some("/kcat"));
    assert_eq!(events["structured"].attribute("source"), Some("/s"));
    let letters = program.admin().dead_letters_reach(1, LATER).await;
    let letter = program.admin().dead_letter(&letters[0].id).await.to_string();
    assert!(
        letter.contains("undecodable") && letter.contains("KafkaSource default/in"),
        "{letter}"
    );
    let state = until(&program, "in", |state| state["counts"]["made"] == 3).await;
    assert_eq!(
        (&state["ready"], &state["counts"]["refused"]),
        (&true.into(), &1.into()),
        "{state}"
    );
    assert_eq!(state["ceAttributes"][0]["source"], from.as_str());

    // A source that ends in peace has committed all: nothing comes again.
    program.terminate();
    program.exit(LATER).await;
    let before = subscriber.count();
    program.start_again().await;
    produce(&bootstrap, &topic, &[&required[..], &["-H", "ce_id=after"]].concat(), "x");
    let is_there = || async {
        ids(&subscriber).contains("after").then_some(()).ok_or_else(|| ids(&subscriber))
    };
    eventually(LATER, is_there).await;
    assert_eq!(subscriber.count(), before + 1);
}

/// Killed again and again on its way through partitions, it repeats records and loses none.
async fn nothing_is_lost(what: &str, ordering: &str) {
    const RECORDS: usize = 3000;
    let Some(kafka) = server(what).await else { return };
    let (bootstrap, topic) = (kafka.bootstrap(), unique("many"));
    kafka.create_topic(&topic, 4).await;
    let lines: String = (0..RECORDS).map(|number| format!("{number}:{number}\n")).collect();
    produce(&bootstrap, &topic, &["-K", ":"], &lines);
    let subscriber = Subscriber::start().await;
    let more = format!(
        "  initialOffset: earliest\n  consumers: 2\n  ordering: {ordering}\n  sink: {BROKER}\n"
    );
    let (mut program, _manifests) =
        start(&source("many", &bootstrap, &topic, &more), &subscriber).await;
    for part in 1..=2 {
        let at_least = RECORDS * part / 3;
        let seen = || async {
            let count = ids(&subscriber).len();
            if count >= at_least { Ok(()) } else { Err(count) }
        };
        eventually(LATER, seen).await;
        program.kill().await;
        program.start_again().await;
    }
    let data = || {
        let received = subscriber.received().into_iter();
        let data = received.filter_map(|one| one.event.ok()?.data);
        data.map(|data| String::from_utf8(data.to_vec()).unwrap()).collect::<BTreeSet<_>>()
    };
    let has_all = || async { if data().len() == RECORDS { Ok(()) } else { Err(data().len()) } };
    eventually(LATER, has_all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_no_record_in_order() {
    nothing_is_lost("kills of an ordered KafkaSource", "ordered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_no_record_side_by_side() {
    nothing_is_lost("kills of an unordered KafkaSource", "unordered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_told_and_waited_for_and_others_go_on() {
    let Some(kafka) = server("topics that are not there").await else { return };
    let bootstrap = kafka.bootstrap();
    let (there, late) = (unique("there"), unique("late"));
    kafka.create_topic(&there, 1).await;
    let more = format!("  sink: {BROKER}\n");
    let documents = source("both", &bootstrap, &format!("{there}, {late}"), &more)
        + &source("late", &bootstrap, &late, &more)
        + &source("nowhere", "127.0.0.1:1", &there, &more);
    let subscriber = Subscriber::start().await;
    produce(&bootstrap, &there, &[], "before");
    let (mut program, _manifests) = start(&documents, &subscriber).await;
    for name in ["both", "late"] {
        let state = until(&program, name, |state| state["reason"] == "TopicNotFound").await;
        assert!(state["message"].as_str().unwrap().contains(&late), "{state}");
        assert_eq!(state["ready"], false);
    }
    let refused = |state: &Value| {
        state["reason"] == "ConnectionNotEstablished"
            && state["message"].as_str().is_some_and(|it| it.contains("127.0.0.1:1"))
    };
    until(&program, "nowhere", refused).await;
    // Without `initialOffset` a topic is read from where it ended when the source was made, whatever
    // happens before the first record.
    program.kill().await;
    produce(&bootstrap, &there, &[], "after");
    program.start_again().await;
    let received = subscriber.receives(1, LATER).await;
    assert_eq!(received[0].event.as_ref().unwrap().data.as_deref(), Some(&b"after"[..]));
    kafka.create_topic(&late, 1).await;
    for name in ["both", "late"] {
        until(&program, name, |state| state["ready"] == true).await;
    }
    produce(&bootstrap, &late, &[], "late");
    subscriber.receives(3, LATER).await;
    until(&program, "nowhere", |state| state["ready"] == false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_sink_refuses_goes_to_its_dead_letter_sink() {
    let Some(kafka) = server("dead letters of a KafkaSource").await else { return };
    let (bootstrap, topic) = (kafka.bootstrap(), unique("refused"));
    kafka.create_topic(&topic, 1).await;
    produce(&bootstrap, &topic, &[], "good\nbad\nslow\nlast\n");
    let (sink, letters) = (Subscriber::start().await, Subscriber::start().await);
    sink.script(|call| {
        let data = call.request.body.clone();
        Answer::status(match &data[..] {
            b"bad" => 400,
            b"slow" => 500,
            _ => 202,
        })
    });
    let more = format!(
        "  initialOffset: earliest\n  sink: {{uri: \"{}\"}}\n  delivery:\n    retry: 2\n    \
         backoffDelay: PT0.01S\n    deadLetterSink: {{uri: \"{}\"}}\n",
        sink.url("/in"),
        letters.url("/dead")
    );
    let (program, _manifests) =
        start(&source("refused", &bootstrap, &topic, &more), &Subscriber::start().await).await;
    let dead = letters.receives(2, LATER).await;
    let dead: BTreeMap<String, _> = dead
        .into_iter()
        .map(|one| one.event.unwrap())
        .map(|event| (event.attribute("subject").unwrap().to_owned(), event))
        .collect();
    for (subject, code, told) in
        [("partition:0#1", "400", "answered 400"), ("partition:0#2", "500", "answered 500")]
    {
        let event = &dead[subject];
        assert_eq!(event.attribute("knativeerrorcode"), Some(code));
        assert_eq!(event.attribute("knativeerrordest"), Some(sink.url("/in").as_str()));
        assert!(event.attribute("knativeerrordata").unwrap().contains(told));
    }
    let state = until(&program, "refused", |state| state["counts"]["made"] == 2).await;
    assert_eq!(state["counts"]["refused"], 2, "{state}");
    let tries = sink.received().iter().filter(|one| &one.request.body[..] == b"slow").count();
    assert_eq!(tries, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_secrets_is_let_in_over_tls() {
    let what = "a KafkaSource over TLS with a user";
    let folder = tempfile::tempdir().unwrap();
    let (store, ca_file) = match kafka::make_certificate(folder.path()) {
        Ok(made) => made,
        Err(why) => return say_not_run(what, &why),
    };
    let server = [
        &format!("ssl.keystore.location={}", store.display()),
        &format!("ssl.truststore.location={}", ca_file.display()),
        "ssl.truststore.type=PEM",
        "ssl.keystore.type=PKCS12",
        "ssl.keystore.password=secret",
        "ssl.key.password=secret",
        "ssl.client.auth=none",
        "auto.create.topics.enable=true",
        "sasl.enabled.mechanisms=SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
        "listener.name.client.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=\"me\" password=\"right\";",
    ];
    let kafka = match Kafka::start_nodes(1, &server).await {
        Ok(kafka) => kafka,
        Err(why) => return say_not_run(what, &why),
    };
    let bootstrap = kafka.bootstrap();
    let ca = format!("ssl.ca.location={}", ca_file.display());
    let properties = [
        "security.protocol=sasl_ssl",
        "sasl.mechanisms=SCRAM-SHA-512",
        "sasl.username=me",
        "sasl.password=right",
        &ca,
    ];
    let properties: Vec<&str> = properties.iter().flat_map(|one| ["-X", one]).collect();
    produce(&bootstrap, "secured", &properties, "hello");
    let pem = fs::read_to_string(&ca_file).unwrap().replace('\n', "\\n");
    let secret = |name: &str, password: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{user: me, \
             password: {password}, type: SCRAM-SHA-512, ca: \"{pem}\"}}\n---\n"
        )
    };
    let more = |name: &str| {
        let key = |key: &str| format!("{{secretKeyRef: {{name: {name}, key: {key}}}}}");
        format!(
            "  initialOffset: earliest\n  net:\n    tls: {{enable: true, caCert: {}}}\n    \
             sasl: {{enable: true, user: {}, password: {}, type: {}}}\n  sink: {BROKER}\n",
            key("ca"),
            key("user"),
            key("password"),
            key("type")
        )
    };
    let documents = secret("right", "right")
        + &secret("wrong", "wrong")
        + &source("right", &bootstrap, "secured", &more("right"))
        + &source("wrong", &bootstrap, "secured", &more("wrong"));
    let subscriber = Subscriber::start().await;
    let (program, _manifests) = start(&documents, &subscriber).await;
    let event = subscriber.receives(1, LATER).await[0].event.clone().unwrap();
    assert_eq!(event.data.as_deref(), Some(&b"hello"[..]));
    let refused = |state: &Value| {
        state["reason"] == "ConnectionNotEstablished"
            && state["message"].as_str().is_some_and(|it| it.contains("uthentication"))
    };
    let state = until(&program, "wrong", refused).await.to_string();
    assert!(!state.contains("password"), "{state}");
}
