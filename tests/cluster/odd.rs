//! Objects that a suspicious person makes: each is told of in its own conditions, and harms no other.

use harness::{Mode, Sample, Subscriber, eventually};

use crate::joined::{
    SOON, apply, arrives, broker, condition, get, join, kubectl, own_cluster, trigger, until,
};

/// The API server takes what no parser goes down into: it must not keep the rest from being read.
#[tokio::test]
async fn an_object_that_is_too_deep_stops_nobody() {
    let Some(cluster) = own_cluster("objects that are too deep").await else { return };
    let subscriber = Subscriber::start().await;
    let deep =
        (0..200).fold("{exact: {type: a}}".to_owned(), |inner, _| format!("{{not: {inner}}}"));
    let uri = format!("subscriber: {{uri: '{}'}}", subscriber.url("/till"));
    let mut objects = broker("shop") + &trigger("till", &format!("broker: shop, {uri}"));
    objects += &trigger("deep", &format!("broker: shop, {uri}, filters: [{deep}]"));
    let nested = (0..200).fold("1".to_owned(), |inner, _| format!("{{a: {inner}}}"));
    objects += &format!(
        "apiVersion: messaging.knative.dev/v1\nkind: Channel\nmetadata: {{name: deep}}\n\
         spec: {{channelTemplate: {{apiVersion: messaging.knative.dev/v1, kind: DiskChannel, spec: {nested}}}}}\n---\n"
    );
    apply(&cluster, &objects);
    // One that starts with them there, and one in which they come later.
    let mut program = join(&cluster).await;
    for _ in 0..2 {
        until(&cluster, "broker shop", "Ready", "True").await;
        arrives(&cluster, "shop", &subscriber, "/till").await;
        for (object, kind) in [
            ("trigger deep", "SubscriptionReady"),
            ("channels.messaging.knative.dev deep", "BackingChannelReady"),
        ] {
            // The object as a whole is too deep for us too.
            let told = || async {
                let status = kubectl(&cluster, &format!("get {object} -o jsonpath={{.status}}"));
                let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
                let status = serde_json::json!({ "status": status });
                let (is, _, message) = condition(&status, kind);
                let is_told = is == "False" && message.contains("spec: cannot be read");
                if is_told { Ok(()) } else { Err(status) }
            };
            eventually(SOON, told).await;
        }
        let said = program.process.stderr();
        assert!(said.len() < 100_000, "{} bytes of log", said.len());
        program.kill().await;
        program.start_again().await;
    }
}

/// A Service that leads elsewhere, or that is somebody else's, is not the channel's.
#[tokio::test]
async fn a_service_that_leads_elsewhere_is_put_right_or_told() {
    let Some(cluster) = own_cluster("Services of channels").await else { return };
    let _program = join(&cluster).await;
    let channel = |name: &str| {
        format!(
            "apiVersion: messaging.knative.dev/v1\nkind: InMemoryChannel\nmetadata: {{name: {name}}}\n---\n"
        )
    };
    kubectl(&cluster, "create service clusterip taken-kn-channel --tcp=80");
    apply(&cluster, &(channel("orders") + &channel("taken")));
    until(&cluster, "inmemorychannel orders", "Ready", "True").await;
    until(&cluster, "inmemorychannel taken", "ChannelServiceReady", "False").await;
    let before = get(&cluster, "service taken-kn-channel");
    assert_eq!(before["spec"]["type"], "ClusterIP", "it is left as it is");
    let patch = r#"{"spec":{"externalName":"elsewhere.example"}}"#;
    let said = cluster
        .kubectl(&["patch", "service", "orders-kn-channel", "--type=merge", "-p", patch], "");
    assert!(said.is_success, "{}", said.stderr);
    eventually(SOON, || async {
        let service = get(&cluster, "service orders-kn-channel");
        let channel = get(&cluster, "inmemorychannel orders");
        let is_right = service["spec"]["externalName"] == "127.0.0.1";
        let is_told = condition(&channel, "ChannelServiceReady").0 == "False";
        if is_right || is_told { Ok(()) } else { Err((service, channel)) }
    })
    .await;
}

#[tokio::test]
async fn a_trigger_says_that_nobody_runs_its_broker() {
    let Some(cluster) = own_cluster("a Broker that changes hands").await else { return };
    let program = join(&cluster).await;
    let objects =
        broker("shop") + &trigger("till", "broker: shop, subscriber: {uri: 'http://till.example'}");
    apply(&cluster, &objects);
    until(&cluster, "trigger till", "Ready", "True").await;
    kubectl(&cluster, "annotate broker shop eventing.knative.dev/broker.class=Fast --overwrite");
    let (reason, _) = until(&cluster, "trigger till", "Ready", "False").await;
    assert_eq!(reason, "UnknownBrokerClass");
    let sample = Sample::new("/cluster", "lost", "com.example.asked");
    let mut producer = program.producer("default/shop");
    assert_eq!(producer.send(&sample, Mode::Binary).await.unwrap().status, 404);
    kubectl(
        &cluster,
        "annotate broker shop eventing.knative.dev/broker.class=Catchment --overwrite",
    );
    until(&cluster, "trigger till", "Ready", "True").await;
}

/// An address is published only while something takes events there.
#[tokio::test]
async fn a_broker_that_was_never_at_work_has_no_address() {
    let Some(cluster) = own_cluster("a Broker that is not at work").await else { return };
    let _program = join(&cluster).await;
    let objects = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: lost}\n\
                   spec: {config: {apiVersion: v1, kind: ConfigMap, name: nothing}}\n---\n"
        .to_owned()
        + &trigger("till", "broker: lost, subscriber: {uri: 'http://till.example'}")
        + "apiVersion: messaging.knative.dev/v1\nkind: Channel\nmetadata: {name: typo}\n\
           spec: {channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: DiskChannel, spec: {bytesMaxx: 1}}}\n";
    apply(&cluster, &objects);
    until(&cluster, "broker lost", "Ready", "False").await;
    let lost = get(&cluster, "broker lost");
    assert_eq!(lost["status"]["address"], serde_json::Value::Null);
    assert_eq!(condition(&lost, "Addressable").0, "False");
    until(&cluster, "trigger till", "Ready", "False").await;
    let (_, reason, message) = condition(&get(&cluster, "trigger till"), "SubscriptionReady");
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("BrokerNotReady", "Broker \"lost\" is not at work")
    );
    let channel = "channels.messaging.knative.dev typo";
    until(&cluster, channel, "Ready", "False").await;
    let (_, _, message) = condition(&get(&cluster, channel), "BackingChannelReady");
    assert!(message.contains("bytesMaxx: unknown field"), "{message}");
}
