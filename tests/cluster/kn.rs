//! Knative's own client on our definitions: what it posts, and itself where it is installed.

use std::process::Command;

use harness::say_not_run;
use harness::servers::kubernetes::is_installed;

use crate::cluster;

/// As Go's encoder writes them, with what is empty left in.
const POSTED: [(&str, &str); 4] = [
    (
        "eventing.knative.dev/v1/namespaces/default/brokers",
        r#"{"kind":"Broker","apiVersion":"eventing.knative.dev/v1","metadata":{"name":"posted","namespace":"default","creationTimestamp":null},"spec":{"delivery":{"retry":5,"timeout":"PT10S","backoffPolicy":"linear","backoffDelay":"PT1S"}},"status":{"address":{}}}"#,
    ),
    (
        "eventing.knative.dev/v1/namespaces/default/triggers",
        r#"{"kind":"Trigger","apiVersion":"eventing.knative.dev/v1","metadata":{"name":"posted","namespace":"default","creationTimestamp":null},"spec":{"broker":"posted","filter":{"attributes":{"type":"a"}},"subscriber":{"ref":{"kind":"Service","namespace":"default","name":"till","apiVersion":"v1"}}},"status":{}}"#,
    ),
    (
        "messaging.knative.dev/v1/namespaces/default/channels",
        r#"{"kind":"Channel","apiVersion":"messaging.knative.dev/v1","metadata":{"name":"posted","namespace":"default","creationTimestamp":null},"spec":{"channelTemplate":{"kind":"InMemoryChannel","apiVersion":"messaging.knative.dev/v1"}},"status":{}}"#,
    ),
    (
        "messaging.knative.dev/v1/namespaces/default/subscriptions",
        r#"{"kind":"Subscription","apiVersion":"messaging.knative.dev/v1","metadata":{"name":"posted","namespace":"default","creationTimestamp":null},"spec":{"channel":{"kind":"Channel","name":"posted","apiVersion":"messaging.knative.dev/v1"},"subscriber":{"ref":{"kind":"Service","namespace":"default","name":"till","apiVersion":"v1"}},"reply":null,"delivery":null},"status":{"physicalSubscription":{}}}"#,
    ),
];

#[tokio::test]
async fn what_kn_posts_is_taken() {
    let Some(cluster) = cluster("bodies of kn").await else { return };
    for (path, body) in POSTED {
        let said = cluster.kubectl(&["create", "--raw", &format!("/apis/{path}"), "-f", "-"], body);
        assert!(said.is_success, "{path}: {}", said.stderr);
    }
}

#[tokio::test]
async fn kn_makes_and_lists_what_it_knows() {
    if !is_installed("kn") {
        say_not_run("kn", "kn is not there");
        return;
    }
    let Some(cluster) = cluster("kn").await else { return };
    let kn = |args: &[&str]| {
        let mut command = Command::new("kn");
        command.args(args);
        let said = cluster.run(command, "");
        assert!(said.is_success, "kn {}: {}", args.join(" "), said.stderr);
        said.stdout
    };
    let made = kn(&["broker", "create", "by-kn"]);
    assert!(made.contains("Broker 'by-kn' successfully created"), "{made}");
    kn(&[
        "trigger",
        "create",
        "by-kn",
        "--broker",
        "by-kn",
        "--filter",
        "type=a",
        "--sink",
        "http://till",
    ]);
    kn(&["channel", "create", "by-kn", "--type", "imc"]);
    kn(&["subscription", "create", "by-kn", "--channel", "by-kn", "--sink", "http://till"]);
    for kind in ["broker", "trigger", "channel", "subscription"] {
        assert!(kn(&[kind, "list"]).contains("by-kn"), "{kind}");
    }
    let types = kn(&["channel", "list-types"]);
    assert!(types.contains("DiskChannel") && types.contains("KafkaChannel"), "{types}");
}
