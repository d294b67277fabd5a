//! What `kubectl get` shows of objects that are ready.

use harness::servers::kubernetes::Kubernetes;

use crate::cluster;

const OBJECTS: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: shown, annotations: {eventing.knative.dev/broker.class: Catchment}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: shown}
spec: {broker: shown, subscriber: {uri: 'http://till'}}
---
apiVersion: messaging.knative.dev/v1
kind: Channel
metadata: {name: shown}
---
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata: {name: shown}
spec: {channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: shown}, subscriber: {uri: 'http://till'}}
---
apiVersion: messaging.knative.dev/v1beta1
kind: KafkaChannel
metadata: {name: shown}
";

const STATUS: &str = r#"{"status": {"observedGeneration": 1,
    "address": {"name": "http", "url": "http://events.example/shown"}, "subscriberUri": "http://till/",
    "conditions": [{"type": "Addressable", "status": "True"},
        {"type": "Ready", "status": "False", "reason": "NotYet", "message": "it is not ready"}]}}"#;

/// Head and line of the object `shown`.
fn shown(cluster: &Kubernetes, args: &[&str]) -> (String, String) {
    let said = cluster.kubectl(&[&["get"], args, &["shown"]].concat(), "");
    assert!(said.is_success, "{}", said.stderr);
    let words = |line: Option<&str>| {
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut lines = said.stdout.lines();
    (words(lines.next()), words(lines.next()))
}

#[tokio::test]
async fn get_shows_the_columns_of_knative() {
    let Some(cluster) = cluster("columns of kubectl get").await else { return };
    let said = cluster.kubectl(&["apply", "-f", "-"], OBJECTS);
    assert!(said.is_success, "{}", said.stderr);
    for kind in ["broker", "trigger", "ch", "subscription", "kafkachannel"] {
        let patch = ["patch", kind, "shown", "--subresource=status", "--type=merge", "-p", STATUS];
        let said = cluster.kubectl(&patch, "");
        assert!(said.is_success, "{kind}: {}", said.stderr);
    }
    let url = "http://events.example/shown";
    for (args, head, start, end) in [
        (&["broker"][..], "NAME URL AGE READY REASON", format!("shown {url} "), "False NotYet"),
        (
            &["broker", "-o", "wide"],
            "NAME URL AGE READY REASON CLASS",
            format!("shown {url} "),
            "False NotYet Catchment",
        ),
        (
            &["trigger"],
            "NAME BROKER SUBSCRIBER_URI AGE READY REASON",
            "shown shown http://till/ ".into(),
            "False NotYet",
        ),
        (&["ch"], "NAME URL AGE READY REASON", format!("shown {url} "), "False NotYet"),
        (&["sub"], "NAME AGE READY REASON", "shown ".into(), "False NotYet"),
        (&["kc"], "NAME READY REASON URL AGE", format!("shown False NotYet {url} "), ""),
    ] {
        let (names, line) = shown(&cluster, args);
        assert_eq!(names, head, "{args:?}");
        assert!(line.starts_with(&start) && line.ends_with(end), "{args:?}: {line}");
    }
    let said = cluster.kubectl(&["get", "broker,trigger,channel,subscription"], "");
    assert!(
        said.is_success && said.stdout.contains("trigger.eventing.knative.dev/shown"),
        "{}",
        said.stdout
    );
}

#[tokio::test]
async fn a_status_is_its_own_resource() {
    let Some(cluster) = cluster("the status subresource").await else { return };
    let broker = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: own}\n\
                  status: {conditions: [{type: Ready, status: 'True'}]}\n";
    let said = cluster.kubectl(&["create", "-f", "-"], broker);
    assert!(said.is_success, "{}", said.stderr);
    let said = cluster.kubectl(&["get", "broker", "own", "-o", "jsonpath={.status}"], "");
    assert_eq!(said.stdout, "");
}
