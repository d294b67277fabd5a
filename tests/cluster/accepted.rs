//! What is written for Knative is taken.

use crate::{cluster, root};

/// One object of each form that its documentation shows.
const EXAMPLES: &str = include_str!("accepted.yaml");

#[tokio::test]
async fn objects_in_the_forms_of_knative_are_accepted() {
    let Some(cluster) = cluster("objects in Knative's forms").await else { return };
    let said = cluster.kubectl(&["apply", "--dry-run=server", "-f", "-"], EXAMPLES);
    assert!(said.is_success, "{}", said.stderr);
    let objects = EXAMPLES.lines().filter(|line| line.starts_with("kind: ")).count();
    assert_eq!(said.stdout.lines().count(), objects, "{}", said.stdout);
}

#[tokio::test]
async fn the_examples_of_the_program_are_accepted() {
    let Some(cluster) = cluster("the examples").await else { return };
    let folder = root().join("deploy/examples").display().to_string();
    let of_cluster = root().join("deploy/kubernetes/examples").display().to_string();
    let apply = || {
        let folders = ["apply", "--dry-run=server", "-R", "-f", &folder, "-f", &of_cluster];
        cluster.kubectl(&folders, "")
    };
    // Each example has a namespace of its own, which a dry run does not make.
    for line in apply().stderr.lines() {
        let name = line.split_once("namespaces \"").and_then(|(_, rest)| rest.split_once('"'));
        if let Some((name, _)) = name {
            let _made_before = cluster.kubectl(&["create", "namespace", name], "");
        }
    }
    let said = apply();
    assert!(said.is_success, "{}", said.stderr);
    assert!(said.stdout.lines().count() > 10, "{}", said.stdout);
}

/// Fields of later versions of Knative are kept, as its own definitions keep them.
#[tokio::test]
async fn what_knative_keeps_is_kept() {
    let Some(cluster) = cluster("fields of later versions").await else { return };
    let broker = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: kept}\n\
                  spec: {delivery: {retry: 3, backoffMax: PT1M}}\n";
    let said = cluster.kubectl(&["apply", "-f", "-"], broker);
    assert!(said.is_success, "{}", said.stderr);
    let said = cluster.kubectl(&["get", "broker", "kept", "-o", "jsonpath={.spec.delivery}"], "");
    assert_eq!(said.stdout, r#"{"backoffMax":"PT1M","retry":3}"#);
}

#[tokio::test]
async fn every_form_of_a_duration_is_accepted() {
    let Some(cluster) = cluster("forms of durations").await else { return };
    for delay in [
        "PT0S",
        "PT0.2S",
        "PT1,5S",
        "P1DT12H",
        "P2W",
        "P1Y2M3W4DT5H6M7.89S",
        "P0.5D",
        "-PT1S",
        "+PT1M",
    ] {
        let broker = format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: slow}}\n\
             spec: {{delivery: {{backoffDelay: '{delay}'}}}}\n"
        );
        let said = cluster.kubectl(&["create", "--dry-run=server", "-f", "-"], &broker);
        assert!(said.is_success, "{delay}: {}", said.stderr);
    }
}

/// A rule has a budget when a definition is made, and all of them have one when an object is.
#[tokio::test]
async fn large_objects_are_within_the_budget_of_the_rules() {
    let Some(cluster) = cluster("large objects").await else { return };
    let filters: Vec<String> = (0..1024)
        .map(|n| {
            format!(
                "{{exact: {{type: com.example.{n}, source: /{n}, subject: s{n}, tenant: t{n}}}}}"
            )
        })
        .collect();
    let trigger = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: large}}\n\
         spec: {{broker: b, subscriber: {{uri: 'http://till/{}'}}, filters: [{}]}}\n",
        "a".repeat(8000),
        filters.join(", ")
    );
    let subscribers: Vec<String> = (0..4096)
        .map(|n| format!("{{uid: u{n}, subscriberUri: 'http://till.shop.svc.cluster.local/{n}'}}"))
        .collect();
    let channel = format!(
        "apiVersion: messaging.knative.dev/v1\nkind: InMemoryChannel\nmetadata: {{name: large}}\n\
         spec: {{subscribers: [{}]}}\n",
        subscribers.join(", ")
    );
    let bundle = "-----BEGIN CERTIFICATE-----\\n".to_owned() + &"A".repeat(400 * 1024);
    let broker = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: large}}\n\
         spec: {{delivery: {{deadLetterSink: {{uri: 'https://till', CACerts: \"{bundle}\"}}}}}}\n"
    );
    for object in [trigger, channel, broker] {
        let said = cluster.kubectl(&["create", "--dry-run=server", "-f", "-"], &object);
        assert!(said.is_success, "{}", said.stderr.chars().take(2000).collect::<String>());
    }
}
