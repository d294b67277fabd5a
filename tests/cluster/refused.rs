//! What is wrong is refused by the API server, before anything of the program has seen it.

use std::fs;

use harness::program::command;
use harness::servers::kubernetes::Kubernetes;

use crate::cluster;

fn object(kind: &str, spec: &str) -> String {
    let version = match kind {
        "Broker" | "Trigger" => "eventing.knative.dev/v1",
        "ApiServerSource" | "SinkBinding" | "ContainerSource" => "sources.knative.dev/v1",
        "KafkaChannel" => "messaging.knative.dev/v1beta1",
        "KafkaSource" => "sources.knative.dev/v1beta1",
        "NatsJetStreamChannel" => "messaging.knative.dev/v1alpha1",
        _ => "messaging.knative.dev/v1",
    };
    format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: wrong}}\nspec: {spec}\n")
}

/// Asks for an object with this spec, and keeps nothing.
fn refusal(cluster: &Kubernetes, kind: &str, spec: &str) -> String {
    let said = cluster.kubectl(&["create", "--dry-run=server", "-f", "-"], &object(kind, spec));
    assert!(!said.is_success, "{kind} is taken: {spec}");
    said.stderr
}

/// What the API server refuses, `catchment check` refuses too.
async fn is_refused_without_a_cluster(kind: &str, spec: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wrong.yaml"), object(kind, spec)).unwrap();
    let output = command(&["check", &folder.path().display().to_string()]).await;
    assert!(!output.is_success(), "check takes {kind} {spec}: {}", output.stdout);
}

async fn check(what: &str, cases: &[(&str, &str, &[&str])]) {
    let Some(cluster) = cluster(what).await else { return };
    for (kind, spec, rules) in cases {
        let said = refusal(&cluster, kind, spec);
        for rule in *rules {
            assert!(
                said.contains(rule),
                "{kind} {spec}\nis not refused by: {rule}\nbut by: {said}"
            );
        }
        // Nothing else is said of it: a rule that fires for another's fault would hide what is wrong. The server
        // says of no field that it has not looked at every rule.
        let lines = said.lines().filter(|line| line.starts_with("* ") && !line.contains("<nil>"));
        let lines = lines.count().max(1);
        assert_eq!(lines, rules.len(), "{kind} {spec}\n{said}");
        if matches!(*kind, "Broker" | "Trigger" | "KafkaSource") {
            is_refused_without_a_cluster(kind, spec).await;
        }
    }
}

const SUBSCRIBER: &str = "subscriber: {uri: 'http://till'}";

#[tokio::test]
async fn destinations_that_lead_nowhere() {
    const NONE: &str = "expected at least one, got none: ref, uri";
    const ABSOLUTE: &str =
        "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present: ref, uri";
    const RELATIVE: &str =
        "Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent: uri";
    let trigger = |subscriber: &str| format!("{{broker: b, subscriber: {subscriber}}}");
    let reference = "ref: {apiVersion: v1, kind: Service, name: till}";
    let cases = [
        ("{}".to_owned(), vec![NONE]),
        ("{uri: ''}".to_owned(), vec![NONE]),
        (format!("{{{reference}, uri: 'http://till'}}"), vec![ABSOLUTE]),
        (format!("{{{reference}, uri: 'mailto:till'}}"), vec![ABSOLUTE]),
        ("{uri: /events}".to_owned(), vec![RELATIVE]),
        ("{uri: 'http:///events'}".to_owned(), vec![RELATIVE]),
        (
            "{uri: 'https://till', CACerts: none}".to_owned(),
            vec!["CA Cert provided is invalid: CACerts"],
        ),
        (
            "{ref: {apiVersion: v1, kind: Service}}".to_owned(),
            vec!["spec.subscriber.ref: Invalid value: \"object\": missing field(s): name"],
        ),
        (
            "{ref: {kind: Service, name: ''}}".to_owned(),
            vec!["missing field(s): name", "missing field(s): apiVersion"],
        ),
        ("{ref: {name: till, apiVersion: v1}}".to_owned(), vec!["missing field(s): kind"]),
    ];
    let written: Vec<(String, Vec<&str>)> =
        cases.into_iter().map(|(subscriber, rules)| (trigger(&subscriber), rules)).collect();
    let cases: Vec<(&str, &str, &[&str])> =
        written.iter().map(|(spec, rules)| ("Trigger", spec.as_str(), rules.as_slice())).collect();
    check("refused destinations", &cases).await;
    check(
        "refused destinations of other kinds",
        &[
            ("Broker", "{delivery: {deadLetterSink: {}}}", &[NONE]),
            (
                "Subscription",
                "{channel: {apiVersion: v1, kind: C, name: c}, subscriber: {uri: 'http://a'}, reply: {uri: a}}",
                &[RELATIVE],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn triggers_without_one_broker_or_a_subscriber() {
    let both = format!("{{broker: b, brokerRef: {{name: b}}, {SUBSCRIBER}}}");
    let none = format!("{{{SUBSCRIBER}}}");
    let empty = format!("{{broker: '', {SUBSCRIBER}}}");
    let nameless = format!("{{brokerRef: {{namespace: shop}}, {SUBSCRIBER}}}");
    check(
        "refused triggers",
        &[
            ("Trigger", &none, &["missing field(s): spec.broker"]),
            ("Trigger", &empty, &["missing field(s): spec.broker"]),
            ("Trigger", &nameless, &["missing field(s): name"]),
            ("Trigger", &both, &["expected exactly one, got both: spec.broker, spec.brokerRef"]),
            (
                "Trigger",
                "{broker: b}",
                &["expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri"],
            ),
            ("Trigger", "null", &["spec: Required value"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn filters_that_mean_nothing() {
    const NAME: &str =
        "Attribute name must start with a letter and can only contain lowercase alphanumeric";
    const SEVERAL: &str = "multiple dialects found, filters can have only one dialect set";
    let of = |filters: &str| format!("{{broker: b, {SUBSCRIBER}, filters: [{filters}]}}");
    let written = [
        (of("{exact: {type: a}, prefix: {type: b}}"), SEVERAL),
        (of("{cesql: 'TRUE', not: {exact: {type: a}}}"), SEVERAL),
        (of("{exact: {type: a}}, {all: [{exact: {type: a}}], any: [{exact: {type: a}}]}"), SEVERAL),
        (of("{}"), "no dialect found, set one of all, any, not, exact, prefix, suffix, cesql, sql"),
        (of("{exact: {Type: a}}"), NAME),
        (of("{prefix: {my-ext: a}}"), NAME),
        (of("{suffix: {1a: a}}"), NAME),
        (of("{exact: {}}"), "must name at least one attribute"),
        (of("{prefix: {}}"), "must name at least one attribute"),
        (of("{suffix: {}}"), "must name at least one attribute"),
        (of("{exact: {type: ''}}"), "must not be empty"),
        (of("{all: []}"), "must have at least one filter"),
        (of("{any: []}"), "must have at least one filter"),
        (format!("{{broker: b, {SUBSCRIBER}, filter: {{attributes: {{My.Type: a}}}}}}"), NAME),
    ];
    let rules: Vec<[&str; 1]> = written.iter().map(|(_, rule)| [*rule]).collect();
    let cases: Vec<(&str, &str, &[&str])> = written
        .iter()
        .zip(&rules)
        .map(|((spec, _), rules)| ("Trigger", spec.as_str(), rules.as_slice()))
        .collect();
    check("refused filters", &cases).await;
}

#[tokio::test]
async fn deliveries_with_values_that_cannot_be() {
    const DURATION: &str = "must be an ISO 8601 duration such as PT0.2S or P1DT12H";
    let written = [
        ("retry: -1", "invalid value: must not be negative"),
        ("timeout: 5s", DURATION),
        ("timeout: PT", DURATION),
        ("timeout: P", DURATION),
        ("timeout: pt5s", DURATION),
        ("timeout: 'PT5S '", DURATION),
        ("timeout: PT0S", "invalid value: PT0S: must be longer than zero"),
        ("backoffDelay: soon", "invalid value: soon: must be an ISO 8601"),
        ("backoffPolicy: Linear", "invalid value: Linear: must be linear or exponential"),
        ("format: xml", "invalid value: xml: must be json or binary"),
        ("retryAfterMax: -PT1S", "invalid value: -PT1S: must not be negative"),
    ];
    let written: Vec<(String, [&str; 1])> = written
        .iter()
        .map(|(field, rule)| (format!("{{delivery: {{{field}}}}}"), [*rule]))
        .collect();
    // The same spec is a Broker's, a Channel's and an InMemoryChannel's.
    let kinds = ["Broker", "Channel", "InMemoryChannel"].into_iter().cycle();
    let cases: Vec<(&str, &str, &[&str])> = written
        .iter()
        .zip(kinds)
        .map(|((spec, rules), kind)| (kind, spec.as_str(), rules.as_slice()))
        .collect();
    check("refused deliveries", &cases).await;
}

#[tokio::test]
async fn references_that_name_nothing() {
    check(
        "refused references",
        &[
            ("Broker", "{config: {name: c}}", &["missing field(s): kind", "missing field(s): apiVersion"]),
            ("Broker", "{config: {apiVersion: v1, kind: ConfigMap}}", &["missing field(s): name"]),
            ("Channel", "{channelTemplate: {kind: KafkaChannel}}", &["missing field(s): apiVersion"]),
            ("Channel", "{channelTemplate: {apiVersion: v1}}", &["missing field(s): kind"]),
            (
                "Subscription",
                "{subscriber: {uri: 'http://a'}}",
                &["missing field(s): spec.channel: the Subscription must reference a channel"],
            ),
            (
                "Subscription",
                "{channel: {apiVersion: v1, kind: C, name: c}}",
                &["missing field(s): spec.subscriber: the Subscription must reference a subscriber"],
            ),
            (
                "Subscription",
                "{channel: {kind: C, name: c}, subscriber: {uri: 'http://a'}}",
                &["missing field(s): apiVersion"],
            ),
            (
                "Subscription",
                "{channel: {apiVersion: v1, kind: C, name: c, namespace: shop}, subscriber: {uri: 'http://a'}}",
                &["must not set the field(s): namespace"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn channels_that_cannot_be_made() {
    const NOBODY: &str =
        "missing field(s): replyURI, subscriberURI: expected at least one of, got none";
    check(
        "refused channels",
        &[
            (
                "Channel",
                "{subscribers: [{subscriberUri: 'http://a'}]}",
                &["must not set the field(s): spec.subscribers"],
            ),
            ("InMemoryChannel", "{subscribers: [{uid: a}]}", &[NOBODY]),
            ("DiskChannel", "{subscribers: [{uid: a}]}", &[NOBODY]),
            ("NatsJetStreamChannel", "{subscribers: [{uid: a}]}", &[NOBODY]),
            ("KafkaChannel", "{subscribers: [{uid: a}]}", &[NOBODY]),
            ("KafkaChannel", "{numPartitions: 0}", &["invalid value: must be more than zero"]),
            ("KafkaChannel", "{replicationFactor: -1}", &["invalid value: must be more than zero"]),
            ("KafkaChannel", "{replicationFactor: 40000}", &["less than or equal to 32767"]),
            (
                "KafkaChannel",
                "{retentionDuration: 7d}",
                &["invalid value: 7d: must be an ISO 8601"],
            ),
            (
                "KafkaChannel",
                "{retentionDuration: -PT1S}",
                &["invalid value: -PT1S: must not be negative"],
            ),
            ("DiskChannel", "{retentionDuration: PT0S}", &["must be longer than zero"]),
            (
                "NatsJetStreamChannel",
                "{stream: {config: {storage: Tape}}}",
                &["Unsupported value: \"Tape\""],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn kafka_sources_that_can_read_nothing() {
    const WHOLE: &str = "topics: [t], bootstrapServers: ['k:9092'], sink: {uri: 'http://till'}";
    let with = |more: &str| format!("{{{WHOLE}, {more}}}");
    let offset = with("initialOffset: newest");
    let (ordering, consumers) = (with("ordering: partly"), with("consumers: 33"));
    let (retry, policy) = (with("delivery: {retry: -1}"), with("delivery: {backoffPolicy: quick}"));
    check(
        "refused KafkaSources",
        &[
            (
                "KafkaSource",
                "{sink: {uri: 'http://till'}, bootstrapServers: ['k:9092']}",
                &["missing field(s): spec.topics"],
            ),
            (
                "KafkaSource",
                "{topics: [t], bootstrapServers: [], sink: {uri: 'http://till'}}",
                &["missing field(s): spec.bootstrapServers"],
            ),
            (
                "KafkaSource",
                "{topics: [t], bootstrapServers: ['k:9092']}",
                &["expected at least one, got none: spec.sink.ref, spec.sink.uri"],
            ),
            ("KafkaSource", &offset, &["invalid value: newest: must be earliest or latest"]),
            ("KafkaSource", &ordering, &["invalid value: partly: must be ordered or unordered"]),
            ("KafkaSource", &consumers, &["less than or equal to 32"]),
            ("KafkaSource", &retry, &["invalid value: must not be negative"]),
            ("KafkaSource", &policy, &["must be linear or exponential"]),
        ],
    )
    .await;
}

/// The server knows the fields where Knative's definitions do, and kubectl asks it to be strict.
#[tokio::test]
async fn fields_that_are_not_there() {
    check(
        "refused fields",
        &[
            ("Broker", "{deliver: {}}", &["unknown field \"spec.deliver\""]),
            (
                "Trigger",
                "{broker: b, subscriber: {url: 'http://a'}}",
                &["unknown field \"spec.subscriber.url\""],
            ),
            ("KafkaChannel", "{partitions: 3}", &["unknown field \"spec.partitions\""]),
        ],
    )
    .await;
}

#[tokio::test]
async fn sources_of_changes_that_say_too_little() {
    const POD: &str = "{apiVersion: v1, kind: Pod}";
    let with = |more: &str| format!("{{sink: {{uri: 'http://a'}}, {more}}}");
    let selector = |one: &str| {
        with(&format!(
            "resources: [{{apiVersion: v1, kind: Pod, selector: {{matchExpressions: [{one}]}}}}]"
        ))
    };
    let cases = [
        (format!("{{resources: [{POD}]}}"), "expected at least one, got none: spec.sink.ref"),
        (with("mode: Reference"), "missing field(s): spec.resources"),
        (with("resources: [{apiVersion: v1}]"), "missing field(s): kind"),
        (with(&format!("mode: Ref, resources: [{POD}]")), "must be Reference or Resource"),
        (with(&format!("owner: {{kind: A}}, resources: [{POD}]")), "missing field(s): apiVersion"),
        (selector("{key: a, operator: in}"), "operator: must be In, NotIn, Exists or DoesNotExist"),
        (selector("{key: a, operator: In}"), "values: must not be empty for In and NotIn"),
        (
            with(&format!("filters: [{{}}], resources: [{POD}]")),
            "no dialect found, set one of all, any",
        ),
    ];
    for (spec, rule) in &cases {
        check("what watches too little", &[("ApiServerSource", spec, &[rule])]).await;
    }
}

#[tokio::test]
async fn bindings_that_say_too_little() {
    let subject = |subject: &str| format!("{{sink: {{uri: 'http://a'}}, subject: {{{subject}}}}}");
    let of_kind = |more: &str| subject(&format!("apiVersion: apps/v1, kind: Deployment, {more}"));
    let cases = [
        ("SinkBinding", "{sink: {uri: 'http://a'}}".to_owned(), "missing field(s): spec.subject"),
        ("SinkBinding", subject("name: a, kind: Deployment"), "missing field(s): apiVersion"),
        ("SinkBinding", subject("name: a, apiVersion: apps/v1"), "missing field(s): kind"),
        ("SinkBinding", of_kind("name: ''"), "expected exactly one, got neither: name, selector"),
        (
            "SinkBinding",
            of_kind("name: a, selector: {}"),
            "expected exactly one, got both: name, selector",
        ),
        (
            "SinkBinding",
            "{subject: {apiVersion: apps/v1, kind: Deployment, name: a}}".to_owned(),
            "expected at least one, got none: spec.sink.ref, spec.sink.uri",
        ),
        (
            "ContainerSource",
            "{sink: {uri: 'http://a'}}".to_owned(),
            "missing field(s): spec.template",
        ),
        (
            "ContainerSource",
            "{template: {spec: {}}}".to_owned(),
            "expected at least one, got none: spec.sink.ref, spec.sink.uri",
        ),
    ];
    for (kind, spec, rule) in &cases {
        check("what binds too little", &[(kind, spec, &[rule])]).await;
    }
}
