//! What stays as it was made.

use crate::cluster;

const SPEC: &str = "Immutable fields changed (-old +new): spec";

/// An object that is made, then changes of it: with the rule that refuses one, or taken without.
async fn check(name: &str, head: &str, made: &str, changes: &[(&str, Option<&str>)]) {
    let Some(cluster) = cluster(name).await else { return };
    let object = |spec: &str| format!("{head}\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    let said = cluster.kubectl(&["create", "-f", "-"], &object(made));
    assert!(said.is_success, "{made}: {}", said.stderr);
    for (changed, rule) in changes {
        let said = cluster.kubectl(&["replace", "--dry-run=server", "-f", "-"], &object(changed));
        match rule {
            None => assert!(said.is_success, "{changed}: {}", said.stderr),
            Some(rule) => assert!(
                !said.is_success && said.stderr.contains(rule),
                "{changed} is not refused: {}{}",
                said.stdout,
                said.stderr
            ),
        }
    }
}

#[tokio::test]
async fn a_trigger_keeps_its_broker() {
    let spec =
        |broker: &str, rest: &str| format!("{{{broker}, subscriber: {{uri: 'http://a'}}{rest}}}");
    check(
        "trigger-changed",
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger",
        &spec("broker: a", ""),
        &[
            (&spec("broker: b", ""), Some("Immutable fields changed (-old +new): broker, spec")),
            (
                &spec("brokerRef: {name: a}", ""),
                Some("Immutable fields changed (-old +new): broker, spec"),
            ),
            (&spec("broker: a", ", filters: [{exact: {type: a}}], delivery: {retry: 3}"), None),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_broker_keeps_its_config() {
    let head = "apiVersion: eventing.knative.dev/v1\nkind: Broker";
    let config =
        |name: &str| format!("{{config: {{apiVersion: v1, kind: ConfigMap, name: {name}}}}}");
    check(
        "broker-changed",
        head,
        &config("a"),
        &[
            (&config("b"), Some(SPEC)),
            ("{}", Some(SPEC)),
            (&config("a").replace("}}", "}, delivery: {retry: 1}}"), None),
        ],
    )
    .await;
    check(
        "bare-broker-changed",
        head,
        "{}",
        &[(&config("a"), Some(SPEC)), ("{delivery: {retry: 1}}", None)],
    )
    .await;
}

#[tokio::test]
async fn a_subscription_keeps_its_channel() {
    let spec = |channel: &str, to: &str| {
        format!(
            "{{channel: {{apiVersion: messaging.knative.dev/v1, kind: Channel, name: {channel}}}, subscriber: {{uri: 'http://{to}'}}}}"
        )
    };
    check(
        "subscription-changed",
        "apiVersion: messaging.knative.dev/v1\nkind: Subscription",
        &spec("a", "a"),
        &[
            (&spec("b", "a"), Some(SPEC)),
            (
                &spec("a", "b")
                    .replace("'}}", "'}, reply: {uri: 'http://c'}, delivery: {retry: 1}}"),
                None,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_channel_keeps_its_template() {
    let template = |partitions: u8| {
        format!(
            "{{channelTemplate: {{apiVersion: messaging.knative.dev/v1, kind: KafkaChannel, spec: {{numPartitions: {partitions}}}}}}}"
        )
    };
    check(
        "channel-changed",
        "apiVersion: messaging.knative.dev/v1\nkind: Channel",
        &template(1),
        &[
            (&template(2), Some(SPEC)),
            ("{}", Some(SPEC)),
            (&template(1).replace("}}}", "}}, delivery: {retry: 1}}"), Some(SPEC)),
            (&template(1), None),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_kafka_channel_keeps_its_topic() {
    let head = "apiVersion: messaging.knative.dev/v1beta1\nkind: KafkaChannel";
    check(
        "kafka-changed",
        head,
        "{numPartitions: 3, replicationFactor: 1, retentionDuration: PT168H}",
        &[
            ("{numPartitions: 4, replicationFactor: 1, retentionDuration: PT168H}", Some(SPEC)),
            ("{numPartitions: 3, replicationFactor: 2, retentionDuration: PT168H}", Some(SPEC)),
            ("{numPartitions: 3, replicationFactor: 1, retentionDuration: PT1H}", Some(SPEC)),
            (
                "{numPartitions: 3, replicationFactor: 1, retentionDuration: PT168H, delivery: {retry: 1}, \
                 subscribers: [{subscriberUri: 'http://a'}]}",
                None,
            ),
        ],
    )
    .await;
    // As Knative allows it, for channels that are older than the field.
    check(
        "older-kafka-changed",
        head,
        "{numPartitions: 3}",
        &[("{numPartitions: 3, retentionDuration: PT1H}", None)],
    )
    .await;
}
