//! What a deleted Broker has on a server goes with it; and there is a way out when it cannot.

use harness::servers::kafka::Kafka;
use harness::{Answer, Backing, Mode, Sample, Subscriber, eventually, say_not_run};
use serde_json::json;

use crate::joined::{
    SOON, apply, arrives, broker, get, kubectl, own_cluster, setup, trigger, until,
};

/// A broker whose events are kept by `backing`, with one trigger.
fn objects(backing: &Backing, subscriber: &Subscriber) -> String {
    let template = json!({
        "apiVersion": match backing {
            Backing::Nats(_) => "messaging.knative.dev/v1alpha1",
            _ => "messaging.knative.dev/v1beta1",
        },
        "kind": backing.kind(),
        "spec": backing.spec(),
    });
    let config = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kept"},
        "data": {"channel-template-spec": template.to_string()},
    });
    let delivery = "delivery: {retry: 0}";
    let spec =
        format!("broker: shop, subscriber: {{uri: '{}'}}, {delivery}", subscriber.url("/till"));
    format!(
        "{}spec: {{config: {{apiVersion: v1, kind: ConfigMap, name: kept}}}}\n---\n{}{config}\n",
        broker("shop").trim_end_matches("---\n"),
        trigger("till", &spec)
    )
}

/// Deleted and made again, it begins as if it had never been.
async fn begins_anew(what: &str, backing: Result<Backing, String>) {
    let backing = match backing {
        Ok(backing) => backing,
        Err(why) => return say_not_run(what, &why),
    };
    let Some(cluster) = own_cluster(what).await else { return };
    let subscriber = Subscriber::start().await;
    let program = backing.configure(setup(&cluster)).start().await;
    apply(&cluster, &objects(&backing, &subscriber));
    until(&cluster, "broker shop", "Ready", "True").await;
    until(&cluster, "trigger till", "Ready", "True").await;
    eventually(SOON, || async {
        let finalizers = get(&cluster, "broker shop")["metadata"]["finalizers"].clone();
        if finalizers.is_array() { Ok(()) } else { Err(finalizers) }
    })
    .await;
    subscriber.always(Answer::status(500));
    let mut producer = program.producer("default/shop");
    let lost = Sample::new("/cluster", "lost", "com.example.asked");
    assert_eq!(producer.send(&lost, Mode::Binary).await.unwrap().status, 202);
    let letters = || async { program.admin().get("/api/v1/dead-letters").await.text() };
    eventually(SOON, || async {
        let letters = letters().await;
        if letters.contains("\"lost\"") { Ok(()) } else { Err(letters) }
    })
    .await;
    // It returns when the object is gone.
    kubectl(&cluster, "delete broker shop --timeout=60s");
    subscriber.always(Answer::status(204));
    apply(&cluster, &objects(&backing, &subscriber));
    until(&cluster, "broker shop", "Ready", "True").await;
    until(&cluster, "trigger till", "Ready", "True").await;
    arrives(&cluster, "shop", &subscriber, "/till").await;
    let left = letters().await;
    assert!(!left.contains("\"lost\""), "{left}");
    let again = subscriber.received().iter().filter(|it| it.key() == Some(lost.key())).count();
    assert_eq!(again, 1, "the event of the broker before");
}

#[tokio::test]
async fn topics_go_with_their_broker() {
    begins_anew("topics of a deleted broker", Backing::kafka().await).await;
}

#[tokio::test]
async fn streams_go_with_their_broker() {
    begins_anew("streams of a deleted broker", Backing::nats().await).await;
}

/// A server that cannot be reached holds a deleted object up until a person gives it up.
#[tokio::test]
async fn a_server_that_is_away_can_be_given_up() {
    let what = "a server that is away when a broker is deleted";
    let kafka = match Kafka::start().await {
        Ok(kafka) => std::sync::Arc::new(kafka),
        Err(why) => return say_not_run(what, &why),
    };
    let Some(cluster) = own_cluster(what).await else { return };
    let subscriber = Subscriber::start().await;
    let backing = Backing::Kafka(kafka);
    let _program = backing.configure(setup(&cluster)).start().await;
    apply(&cluster, &objects(&backing, &subscriber));
    until(&cluster, "broker shop", "Ready", "True").await;
    let guarded = || async {
        let finalizers = get(&cluster, "broker shop")["metadata"]["finalizers"].clone();
        if finalizers == json!(["catchment.dev/kafka"]) { Ok(()) } else { Err(finalizers) }
    };
    eventually(SOON, guarded).await;
    let Backing::Kafka(kafka) = &backing else { unreachable!() };
    kafka.freeze(0);
    kubectl(&cluster, "delete broker shop --wait=false");
    let told = |reason: &'static str| {
        let cluster = &cluster;
        eventually(SOON * 3, move || async move {
            let events = kubectl(cluster, "get events");
            if events.contains(reason) { Ok(()) } else { Err(events) }
        })
    };
    told("CleanupPending").await;
    kubectl(&cluster, "annotate broker shop catchment.dev/abandon=true");
    kubectl(&cluster, "wait --for=delete --timeout=60s broker shop");
    told("LeftBehind").await;
    kafka.thaw(0);
}

/// What stands behind a Channel may outlive it for a while: it takes no events any more.
#[tokio::test]
async fn a_channel_on_a_server_goes_though_what_stands_behind_it_stays() {
    let what = "a deleted Channel on Kafka";
    let backing = match Backing::kafka().await {
        Ok(backing) => backing,
        Err(why) => return say_not_run(what, &why),
    };
    let Some(cluster) = own_cluster(what).await else { return };
    let program = backing.configure(setup(&cluster)).start().await;
    apply(
        &cluster,
        "apiVersion: messaging.knative.dev/v1\nkind: Channel\nmetadata: {name: orders}\n\
         spec: {channelTemplate: {apiVersion: messaging.knative.dev/v1beta1, kind: KafkaChannel, spec: {numPartitions: 1, replicationFactor: 1}}}\n",
    );
    let channel = "channels.messaging.knative.dev orders";
    until(&cluster, channel, "Ready", "True").await;
    eventually(SOON, || async {
        let finalizers = get(&cluster, channel)["metadata"]["finalizers"].clone();
        if finalizers.is_array() { Ok(()) } else { Err(finalizers) }
    })
    .await;
    // Nobody collects garbage here, so the KafkaChannel stays.
    kubectl(&cluster, "delete channels.messaging.knative.dev orders --timeout=60s");
    let sample = Sample::new("/cluster", "late", "com.example.asked");
    let mut producer = program.producer("channels/default/orders");
    assert_eq!(producer.send(&sample, Mode::Binary).await.unwrap().status, 404);
}
