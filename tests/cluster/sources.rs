//! Sources of a cluster: what is told of them, and that their ticks are sent once.

use std::collections::BTreeMap;

use harness::{Subscriber, eventually};

use crate::joined::{SOON, apply, broker, condition, get, join, kubectl, own_cluster, trigger};

fn ping(name: &str, schedule: &str, broker: &str) -> String {
    format!(
        "apiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {{name: {name}}}\nspec:\n  \
         schedule: \"{schedule}\"\n  data: tick\n  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, \
         kind: Broker, name: {broker}}}}}\n---\n"
    )
}

#[tokio::test]
async fn a_ping_source_is_reported_as_knative_does_and_sends() {
    let Some(cluster) = own_cluster("sources of a cluster").await else { return };
    let subscriber = Subscriber::start().await;
    let program = join(&cluster).await;
    let to = format!("broker: orders, subscriber: {{uri: '{}'}}", subscriber.url("/all"));
    let mut objects = broker("orders") + &trigger("all", &to);
    objects += &ping("beat", "* * * * * *", "orders");
    objects += &ping("lost", "* * * * *", "nowhere");
    objects += &ping("never", "0 0 30 2 *", "orders");
    apply(&cluster, &objects);
    let is = |name: &'static str, kind: &'static str, status: &'static str| {
        let object = get(&cluster, &format!("pingsource {name}"));
        let found = condition(&object, kind);
        if found.0 == status { Ok(object) } else { Err(object) }
    };
    let beat = eventually(SOON, || async { is("beat", "Ready", "True") }).await;
    for kind in ["SinkProvided", "Deployed", "OIDCIdentityCreated"] {
        assert_eq!(condition(&beat, kind).0, "True", "{beat}");
    }
    let sink = beat["status"]["sinkUri"].as_str().unwrap();
    assert!(sink.ends_with("/default/orders"), "{sink}");
    assert_eq!(beat["status"]["ceAttributes"][0]["type"], "dev.knative.sources.ping");
    assert_eq!(beat["status"]["observedGeneration"], beat["metadata"]["generation"]);
    let lost = eventually(SOON, || async { is("lost", "SinkProvided", "False") }).await;
    assert_eq!(condition(&lost, "Ready").1, "NotFound", "{lost}");
    let never = eventually(SOON, || async { is("never", "Deployed", "False") }).await;
    assert!(condition(&never, "Deployed").2.contains("spec.schedule"), "{never}");

    // A second process makes no second event of a tick.
    let second = join(&cluster).await;
    let before = subscriber.count();
    subscriber.receives(before + 3, SOON).await;
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for one in subscriber.received() {
        *ids.entry(one.event.unwrap().key().id).or_default() += 1;
    }
    assert!(ids.values().all(|times| *times == 1), "{ids:?}");

    // What is deleted sends no more.
    kubectl(&cluster, "delete pingsource beat");
    let is_gone = || async {
        let sources = program.admin().get("/api/v1/sources").await.json();
        let names = sources["items"].as_array().map_or(&[][..], Vec::as_slice).iter();
        if names.clone().any(|it| it["name"] == "beat") { Err(sources) } else { Ok(()) }
    };
    eventually(SOON, is_gone).await;
    drop(second);
}

#[tokio::test]
async fn a_kafka_source_is_reported_as_knative_does_and_scaled() {
    let Some(cluster) = own_cluster("KafkaSources of a cluster").await else { return };
    let _program = join(&cluster).await;
    let kafka = |name: &str, label: &str| {
        format!(
            "apiVersion: sources.knative.dev/v1\nkind: KafkaSource\nmetadata: {{name: {name}, labels: \
             {{kafkasources.sources.knative.dev/key-type: {label}}}}}\nspec: {{topics: [t], \
             bootstrapServers: ['127.0.0.1:1'], sink: {{uri: 'http://127.0.0.1:1/'}}}}\n---\n"
        )
    };
    apply(&cluster, &(kafka("far", "int") + &kafka("odd", "words")));
    let is = |name: &'static str, kind: &'static str, status: &'static str| {
        let object = get(&cluster, &format!("kafkasource {name}"));
        if condition(&object, kind).0 == status { Ok(object) } else { Err(object) }
    };
    let far = eventually(SOON, || async { is("far", "ConnectionEstablished", "False") }).await;
    for kind in
        ["SinkProvided", "Deployed", "KeyTypeCorrect", "InitialOffsetsCommitted", "Scheduled"]
    {
        assert_eq!(condition(&far, kind).0, "True", "{kind} {far}");
    }
    assert_eq!(condition(&far, "Ready").1, "ConnectionNotEstablished", "{far}");
    let of = &far["status"]["ceAttributes"][0];
    assert_eq!(of["source"], "/apis/v1/namespaces/default/kafkasources/far#t", "{far}");
    eventually(SOON, || async { is("odd", "KeyTypeCorrect", "False") }).await;

    kubectl(&cluster, "scale kafkasource far --replicas 3");
    let is_scaled = || async {
        let far = get(&cluster, "kafkasource far");
        if far["status"]["consumers"] == 3 { Ok(()) } else { Err(far) }
    };
    eventually(SOON, is_scaled).await;
    // What an autoscaler is told.
    let scale = "/apis/sources.knative.dev/v1/namespaces/default/kafkasources/far/scale";
    let scale = kubectl(&cluster, &format!("get --raw {scale}"));
    let scale: serde_json::Value = serde_json::from_str(&scale).unwrap();
    let selector =
        "eventing.knative.dev/source=kafka-source-controller,eventing.knative.dev/sourceName=far";
    assert_eq!(
        (&scale["status"]["selector"], &scale["status"]["replicas"]),
        (&selector.into(), &3.into())
    );
}
