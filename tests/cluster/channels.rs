//! Channels and Subscriptions of a cluster: what is told of them, what is made for them, and that events flow.

use harness::http::Headers;
use harness::servers::kubernetes::Kubernetes;
use harness::{Producer, Sample, Subscriber, eventually};
use serde_json::{Value, json};

use crate::joined::{SOON, apply, condition, get, join, kubectl, own_cluster, until};

fn channel(kind: &str, name: &str, spec: &str) -> String {
    let version = match kind {
        "KafkaChannel" => "v1beta1",
        "NatsJetStreamChannel" => "v1alpha1",
        _ => "v1",
    };
    format!(
        "apiVersion: messaging.knative.dev/{version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"
    )
}

fn subscription(name: &str, channel: &str, rest: &str) -> String {
    format!(
        "apiVersion: messaging.knative.dev/v1\nkind: Subscription\nmetadata: {{name: {name}}}\n\
         spec: {{channel: {{apiVersion: messaging.knative.dev/v1, kind: {channel}}}, {rest}}}\n---\n"
    )
}

/// Posts an event as a pod of the cluster would: to the name in the channel's address.
async fn post(program: &harness::Program, object: &Value, id: &str) -> Sample {
    let url = object["status"]["address"]["url"].as_str().expect("an address");
    let host = url.strip_prefix("http://").expect(url);
    let sample = Sample::new("/cluster", id, "com.example.asked");
    let (mut headers, body) = sample.binary();
    let Headers(list) = &mut headers;
    list.push(("host".to_owned(), host.as_bytes().to_vec()));
    let mut producer = Producer::new(program.events(), "unused");
    let answer = producer.request("POST", "/", headers, Some(body)).await.expect("an answer");
    assert_eq!(answer.status, 202, "{url}");
    sample
}

async fn arrives(subscriber: &Subscriber, path: &str, sample: &Sample) {
    eventually(SOON, || async {
        let has = |it: &harness::subscriber::Received| it.key() == Some(sample.key());
        subscriber.received_at(path).iter().any(has).then_some(()).ok_or(path.to_owned())
    })
    .await;
}

/// All of these hold, and there are no others.
fn hold(object: &Value, kinds: &[&str]) {
    for kind in kinds {
        assert_eq!(condition(object, kind).0, "True", "{kind}: {object}");
    }
    assert_eq!(object["status"]["conditions"].as_array().unwrap().len(), kinds.len(), "{object}");
}

/// The conditions of a channel in memory or on disk.
const KEPT_HERE: &[&str] = &[
    "DispatcherReady",
    "ServiceReady",
    "EndpointsReady",
    "Addressable",
    "ChannelServiceReady",
    "DeadLetterSinkResolved",
    "EventPoliciesReady",
    "Ready",
];

/// What is told of the Channel, of what stands behind it, and of its subscription.
fn is_told(cluster: &Kubernetes, subscriber: &Subscriber) {
    let orders = get(cluster, "channels.messaging.knative.dev orders");
    let behind = get(cluster, "diskchannel orders");
    assert_eq!(behind["spec"], json!({"bytesMax": "64Mi"}));
    let owner = &behind["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Channel"), &orders["metadata"]["uid"]));
    let backing = [
        "BackingChannelReady",
        "Addressable",
        "DeadLetterSinkResolved",
        "EventPoliciesReady",
        "Ready",
    ];
    hold(&orders, &backing);
    hold(&behind, KEPT_HERE);
    let url = "http://orders-kn-channel.default.svc.cluster.local";
    let uid = get(cluster, "subscription bill")["metadata"]["uid"].clone();
    let kept_by = json!({"apiVersion": "messaging.knative.dev/v1", "kind": "DiskChannel", "namespace": "default", "name": "orders"});
    for (object, channel) in [(&orders, kept_by), (&behind, Value::Null)] {
        let status = &object["status"];
        assert_eq!(status["address"], json!({"name": "http", "url": url}));
        assert_eq!(status["addresses"], json!([{"name": "http", "url": url}]));
        let subscriber = json!({"uid": uid, "observedGeneration": 1, "ready": "True"});
        assert_eq!(status["subscribers"], json!([subscriber]));
        assert_eq!(status["channel"], channel);
    }
    let bill = get(cluster, "subscription bill");
    let subscribed =
        ["ReferencesResolved", "AddedToChannel", "ChannelReady", "OIDCIdentityCreated", "Ready"];
    hold(&bill, &subscribed);
    assert_eq!(
        bill["status"]["physicalSubscription"],
        json!({
            "subscriberUri": subscriber.url("/bill"),
            "replyUri": "http://answers-kn-channel.default.svc.cluster.local",
            "deadLetterSinkUri": "http://letters.example/in",
        })
    );
}

#[tokio::test]
async fn a_channel_is_made_whole_and_its_subscriptions_get_its_events() {
    let Some(cluster) = own_cluster("channels of a cluster").await else { return };
    let subscriber = Subscriber::start().await;
    let program = join(&cluster).await;
    let template = "channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: DiskChannel, spec: {bytesMax: 64Mi}}";
    let to = |path: &str| format!("subscriber: {{uri: '{}'}}", subscriber.url(path));
    let mut objects = channel("Channel", "orders", template);
    objects += &channel("InMemoryChannel", "answers", "");
    let reply = "reply: {ref: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: answers}}";
    let sink = "delivery: {deadLetterSink: {uri: 'http://letters.example/in'}}";
    objects += &subscription(
        "bill",
        "Channel, name: orders",
        &format!("{}, {reply}, {sink}", to("/bill")),
    );
    objects += &subscription("audit", "InMemoryChannel, name: answers", &to("/audit"));
    objects += &subscription("lost", "Channel, name: nowhere", &to("/lost"));
    apply(&cluster, &objects);
    for object in [
        "channels.messaging.knative.dev orders",
        "diskchannel orders",
        "inmemorychannel answers",
        "subscription bill",
        "subscription audit",
    ] {
        until(&cluster, object, "Ready", "True").await;
    }
    is_told(&cluster, &subscriber);
    let orders = get(&cluster, "channels.messaging.knative.dev orders");
    let (reason, _) = until(&cluster, "subscription lost", "Ready", "False").await;
    assert_eq!(reason, "ChannelReferenceFailed");
    let service = get(&cluster, "service orders-kn-channel");
    assert_eq!(service["spec"]["type"], "ExternalName");

    let sample = post(&program, &orders, "one").await;
    arrives(&subscriber, "/bill", &sample).await;
    // What was removed by mistake is made again; what a person put there in its place is left.
    kubectl(&cluster, "delete service orders-kn-channel answers-kn-channel");
    eventually(SOON, || async {
        let said =
            cluster.kubectl(&["get", "service", "orders-kn-channel", "answers-kn-channel"], "");
        if said.is_success { Ok(()) } else { Err(said.stderr) }
    })
    .await;
    // It is followed like a trigger.
    apply(&cluster, &subscription("bill", "Channel, name: orders", &to("/again")));
    until(&cluster, "subscription bill", "Ready", "True").await;
    let sample = post(&program, &orders, "two").await;
    arrives(&subscriber, "/again", &sample).await;
    kubectl(&cluster, "delete channels.messaging.knative.dev orders");
    let (reason, _) = until(&cluster, "subscription bill", "Ready", "False").await;
    assert_eq!(reason, "ChannelReferenceFailed");
}

/// A name is one channel's.
#[tokio::test]
async fn a_second_channel_of_a_name_is_told() {
    let Some(cluster) = own_cluster("two channels of one name").await else { return };
    let _program = join(&cluster).await;
    apply(&cluster, &channel("InMemoryChannel", "orders", ""));
    until(&cluster, "inmemorychannel orders", "Ready", "True").await;
    apply(&cluster, &channel("DiskChannel", "orders", ""));
    let (_, message) = until(&cluster, "diskchannel orders", "Ready", "False").await;
    assert!(message.contains("already defined as InMemoryChannel"), "{message}");
    until(&cluster, "inmemorychannel orders", "Ready", "True").await;
}
