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
---
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: shown}
spec: {schedule: '*/5 * * * *', sink: {uri: 'http://till'}}
---
apiVersion: sources.knative.dev/v1
kind: ApiServerSource
metadata: {name: shown}
spec: {resources: [{apiVersion: v1, kind: Pod}], sink: {uri: 'http://till'}}
---
apiVersion: sources.knative.dev/v1alpha1
kind: GitHubSource
metadata: {name: shown}
spec:
  ownerAndRepository: octo/hello
  eventTypes: [push]
  secretToken: {secretKeyRef: {name: a, key: b}}
  sink: {uri: 'http://till'}
---
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: shown}
spec: {topics: [orders], bootstrapServers: ['kafka:9092'], sink: {uri: 'http://till'}}
---
apiVersion: sources.knative.dev/v1
kind: ContainerSource
metadata: {name: shown}
spec: {template: {spec: {containers: [{image: till}]}}, sink: {uri: 'http://till'}}
---
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {name: shown}
spec: {subject: {apiVersion: apps/v1, kind: Deployment, name: till}, sink: {uri: 'http://till'}}
---
apiVersion: sources.catchment.dev/v1alpha1
kind: WebhookSource
metadata: {name: shown}
spec: {verification: {none: true}, sink: {uri: 'http://till'}}
";

const SOURCES: [&str; 7] = [
    "apiserversource",
    "containersource",
    "githubsource",
    "kafkasource",
    "pingsource",
    "sinkbinding",
    "webhooksource",
];

const STATUS: &str = r#"{"status": {"observedGeneration": 1,
    "address": {"name": "http", "url": "http://events.example/shown"}, "subscriberUri": "http://till/",
    "sinkUri": "http://till/",
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

/// The objects, each with a status that says that it is not ready.
fn show(cluster: &Kubernetes, kinds: &[&str]) {
    let said = cluster.kubectl(&["apply", "-f", "-"], OBJECTS);
    assert!(said.is_success, "{}", said.stderr);
    for kind in kinds {
        let patch = ["patch", kind, "shown", "--subresource=status", "--type=merge", "-p", STATUS];
        let said = cluster.kubectl(&patch, "");
        assert!(said.is_success, "{kind}: {}", said.stderr);
    }
}

#[tokio::test]
async fn get_shows_the_columns_of_knative() {
    let Some(cluster) = cluster("columns of kubectl get").await else { return };
    show(&cluster, &["broker", "trigger", "ch", "subscription", "kafkachannel"]);
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
async fn sources_show_the_columns_of_knative_and_are_a_category() {
    let Some(cluster) = cluster("columns of sources").await else { return };
    show(&cluster, &SOURCES);
    for (args, head, start, end) in [
        (
            &["pingsource"][..],
            "NAME SINK SCHEDULE AGE READY REASON",
            "shown http://till/ */5 * * * * ".to_owned(),
            "False NotYet",
        ),
        (
            &["apiserversource"],
            "NAME SINK AGE READY REASON",
            "shown http://till/ ".to_owned(),
            "False NotYet",
        ),
        (
            &["containersource"],
            "NAME SINK AGE READY REASON",
            "shown http://till/ ".to_owned(),
            "False NotYet",
        ),
        (
            &["sinkbinding"],
            "NAME SINK AGE READY REASON",
            "shown http://till/ ".to_owned(),
            "False NotYet",
        ),
        (
            &["webhooksource"],
            "NAME SINK AGE READY REASON",
            "shown http://till/ ".to_owned(),
            "False NotYet",
        ),
        (
            &["githubsource"],
            "NAME READY REASON SINK AGE",
            "shown False NotYet http://till/ ".to_owned(),
            "",
        ),
        (
            &["kafkasource"],
            "NAME TOPICS BOOTSTRAPSERVERS READY REASON AGE",
            r#"shown ["orders"] ["kafka:9092"] False NotYet "#.to_owned(),
            "",
        ),
    ] {
        let (names, line) = shown(&cluster, args);
        assert_eq!(names, head, "{args:?}");
        assert!(line.starts_with(&start) && line.ends_with(end), "{args:?}: {line}");
    }
    let said = cluster.kubectl(&["get", "sources", "-o", "name"], "");
    for kind in SOURCES {
        let is_listed = |line: &str| line.starts_with(kind) && line.ends_with("/shown");
        assert!(said.stdout.lines().any(is_listed), "{kind}: {}", said.stdout);
    }
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
