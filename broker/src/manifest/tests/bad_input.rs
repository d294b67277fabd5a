//! What bad manifests are told: every problem, at its place.

use super::*;

#[track_caller]
fn check(bytes: impl AsRef<[u8]>, expected: &[&str]) {
    let bytes = bytes.as_ref();
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(1000)]);
    assert_eq!(problems(bytes), expected, "{start}");
}

#[test]
fn what_is_not_yaml_is_refused_at_its_place() {
    let cases = [
        (
            "a:\n\tb: 1\n",
            "2:2: not valid YAML: tabs disallowed within this context (block indentation)",
        ),
        (
            "a: \"x\nb: 2\n",
            "2:1: not valid YAML: invalid indentation in multiline quoted scalar; \
             is a quote left open above?",
        ),
        ("a: [1, 2\nb: 3\n", "2:2: not valid YAML: illegal placement of ':' indicator"),
        ("a: b: c\n", "1:5: not valid YAML: mapping values are not allowed in this context"),
        ("a: *b\n", "1:4: not valid YAML: reference to unknown value"),
        ("a: &b {c: *b}\n", "1:11: not valid YAML: Recursive reference not allowed here"),
        ("a: .nan\n", "1:4: not valid YAML: value `.nan` is not a finite number"),
        ("? [a]\n: b\n", "1:3: not valid YAML: expected string scalar"),
        ("a: \0\n", "1:4: not valid YAML: unexpected character: `\\u{0}'"),
        ("- a\n", "1:1: must be a mapping with apiVersion, kind, metadata and spec"),
        ("just text\n", "1:1: must be a mapping with apiVersion, kind, metadata and spec"),
    ];
    for (text, expected) in cases {
        check(text, &[expected]);
    }
}

#[test]
fn a_file_of_5_mib_is_refused_without_being_parsed() {
    check(vec![b' '; 5 << 20], &["1:1: longer than 4194304 bytes (4 MiB)"]);
}

#[test]
fn a_file_of_4_mib_is_read() {
    check(vec![b'\n'; 4 << 20], &[]);
}

#[test]
fn latin_1_is_refused_where_it_shows() {
    check(
        b"kind: Broker\n# caf\xe9\n",
        &["2:6: not UTF-8: byte 18 of the file is not text; save it as UTF-8"],
    );
    check(b"\xff\xfea\0", &["1:1: not UTF-8: byte 0 of the file is not text; save it as UTF-8"]);
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, last) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip("abcdefgh".chars()) {
        let aliases = vec![format!("*{last}"); 9].join(", ");
        bomb += &format!("{name}: &{name} [{aliases}]\n");
    }
    check(&bomb, &["5:12: aliases would copy more than 20000 values into the file"]);
}

#[test]
fn deep_nesting_is_refused() {
    let flow = "[".repeat(100_000);
    check(flow, &["1:256: nested more than 48 levels deep"]);
    let block: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    check(block, &["49:49: nested more than 48 levels deep"]);
}

#[test]
fn a_duplicate_key_does_not_hide_the_next_document() {
    let text = format!("{}  name: b\n---\nkind: Broker\n", broker("a"));
    check(text, &["5:3: key name is given twice in one mapping", "7:1: apiVersion: is required"]);
}

#[test]
fn unknown_fields_are_told_with_the_nearest_name() {
    let text = "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: a
  anotations: {a: b}
spec:
  brokr: default
  broker: default
  subscribr:
    uri: http://127.0.0.1/
  subscriber:
    URI: http://127.0.0.1/
    uri: http://127.0.0.1/
  filters:
  - exact: {type: a}
  - sufix: {type: a}
    any: [{exact: {type: a}}]
  delivery:
    retrys: 3
    whatever: 4
spek: {}
";
    check(
        text,
        &[
            "5:3: metadata.anotations: unknown field (did you mean annotations?)",
            "7:3: spec.brokr: unknown field (did you mean broker?)",
            "9:3: spec.subscribr: unknown field (did you mean subscriber?)",
            "12:5: spec.subscriber.URI: unknown field (did you mean uri?)",
            "16:5: spec.filters[1].sufix: unknown field (did you mean suffix?)",
            "19:5: spec.delivery.retrys: unknown field (did you mean retry?)",
            "20:5: spec.delivery.whatever: unknown field; known here: deadLetterSink, retry, \
             timeout, backoffPolicy, backoffDelay, retryAfterMax, format",
            "21:1: spek: unknown field (did you mean spec?)",
        ],
    );
}

#[test]
fn every_wrong_type_is_told() {
    let text = "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: 5
  labels: {a: true, b: 1.5, c: x}
spec:
  broker: [default]
  filter:
    attributes:
      type: 7
      source: ~
  filters:
    exact: {type: a}
  subscriber: http://127.0.0.1/
  delivery:
    retry: \"3\"
    timeout: 10
";
    check(
        text,
        &[
            "4:9: metadata.name: must be a string, not a whole number; put it in quotes",
            "5:15: metadata.labels.a: must be a string, not true or false; put it in quotes",
            "5:24: metadata.labels.b: must be a string, not a number; put it in quotes",
            "7:11: spec.broker: must be a string, not a list",
            "10:13: spec.filter.attributes.type: must be a string, not a whole number; \
             put it in quotes",
            "11:7: spec.filter.attributes.source: must be a string, not nothing; \
             write \"\" for the empty one",
            "12:3: spec.filters: must be a list, not a mapping",
            "14:15: spec.subscriber: must be a mapping, not a string",
            "16:12: spec.delivery.retry: must be a whole number from -9223372036854775808 to \
             9223372036854775807, not a string",
            "17:14: spec.delivery.timeout: must be a string, not a whole number; put it in quotes",
        ],
    );
}

#[test]
fn a_name_is_required_and_follows_dns() {
    let head = "apiVersion: eventing.knative.dev/v1\nkind: Broker\n";
    check(head, &["1:1: metadata.name: is required"]);
    check(format!("{head}metadata:\n"), &["3:1: metadata.name: is required"]);
    check(format!("{head}metadata:\n  namespace: a\n"), &["3:1: metadata.name: is required"]);
    let rule = "must be lower case letters, digits";
    let wrong = problems(format!("{head}metadata:\n  name: My_Broker\n  namespace: a.b\n"));
    assert_eq!(wrong.len(), 2);
    assert!(wrong[0].starts_with(&format!("4:9: metadata.name: {rule}, '-' and '.'")), "{wrong:?}");
    assert!(
        wrong[1].starts_with(&format!("5:14: metadata.namespace: {rule} and '-'")),
        "{wrong:?}"
    );
}

#[test]
fn a_kind_that_is_not_read_is_told_apart() {
    let supported = "supported: Broker, Trigger, Channel, InMemoryChannel, DiskChannel, \
                     KafkaChannel, NatsJetStreamChannel, Subscription, PingSource, GitHubSource, \
                     KafkaSource, WebhookSource, ApiServerSource, SinkBinding, ContainerSource, ConfigMap, \
                     Secret";
    let cases = [
        (
            "eventing.knative.dev/v1",
            "Triger",
            "2:7: kind: unknown kind Triger (did you mean Trigger?)".to_owned(),
        ),
        (
            "eventing.knative.dev/v1",
            "broker",
            "2:7: kind: unknown kind broker (did you mean Broker?)".into(),
        ),
        (
            "eventing.knative.dev/v1beta1",
            "Broker",
            "1:13: apiVersion: must be eventing.knative.dev/v1 for kind Broker \
             (did you mean eventing.knative.dev/v1?)"
                .into(),
        ),
        (
            "sources.knative.dev/v1",
            "IntegrationSource",
            "2:7: kind: IntegrationSource (sources.knative.dev/v1) is not supported by this build yet"
                .into(),
        ),
        (
            "sources.knative.dev/v1",
            "PingSorce",
            "2:7: kind: unknown kind PingSorce (did you mean PingSource?)".into(),
        ),
        (
            "apps/v1",
            "Deployment",
            "2:7: warning: kind: Deployment (apps/v1) is not run here and was skipped".into(),
        ),
        (
            "v1",
            "Service",
            "2:7: warning: kind: Service (v1) is not run here and was skipped".into(),
        ),
        (
            "example.com/v1",
            "Thing",
            format!("2:7: kind: Thing (example.com/v1) is not supported here; {supported}"),
        ),
    ];
    for (api_version, kind, expected) in cases {
        check(
            format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\n"),
            &[&expected],
        );
    }
    check(
        "apiversion: v1\nkind: 3\n",
        &[
            "1:1: apiversion: unknown field (did you mean apiVersion?)",
            "2:7: kind: must be a string",
        ],
    );
}

#[test]
fn an_item_of_a_list_is_named_by_its_place() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- 3\n- apiVersion: v1\n  kind: ConfigMap\n  \
                metadata: {name: a}\n  data: {x: 1}\n";
    check(
        text,
        &[
            "4:3: items[0]: must be a mapping with apiVersion, kind, metadata and spec",
            "8:13: items[1].data.x: must be a string, not a whole number; put it in quotes",
        ],
    );
    check("apiVersion: v1\nkind: List\n", &["1:1: items: is required"]);
    check("apiVersion: v1\nkind: List\nitems: {}\n", &["3:1: items: must be a list"]);
}

#[test]
fn a_secrets_values_are_never_told() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: hunter2!, b: 31337}\n";
    let told = problems(text).join("\n");
    assert!(
        told.contains("data.b") && !told.contains("hunter2") && !told.contains("31337"),
        "{told}"
    );
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: hunter2!}\n";
    check(text, &["4:11: data.a: must be base64"]);
}

#[test]
fn another_class_is_noted_and_run() {
    let text = broker("a").replace(
        "name: a",
        "name: a\n  annotations:\n    eventing.knative.dev/broker.class: MTChannelBasedBroker",
    );
    check(
        &text,
        &["6:40: note: metadata.annotations.eventing.knative.dev/broker.class: \
           class MTChannelBasedBroker is run as Catchment"],
    );
    assert_eq!(content("a.yaml", text).items.len(), 1);
    check(
        broker("a").replace(
            "name: a",
            "name: a\n  annotations: {eventing.knative.dev/broker.class: Catchment}",
        ),
        &[],
    );
}

#[test]
fn a_file_of_nothing_but_problems_ends() {
    let text = "kind: x\n---\n".repeat(10_000);
    let problems = problems(text);
    assert_eq!(problems.len(), 101);
    assert!(problems.contains(&"1:1: too much is wrong: not read to its end".to_owned()));
}

#[test]
fn everything_a_trigger_says_wrongly_is_told_at_once() {
    let text = "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: a}
spec:
  brokerRef: {kind: Broker}
  filters:
  - exact: {Type: a}
  - exact: {type: a}
    prefix: {type: b}
  subscriber:
    ref:
      apiVersion: v1
      kind: Service
    uri: http://127.0.0.1/
  delivery:
    retry: -1
    backoffDelay: 10s
    backoffPolicy: Linear
    timeout: P1Y
    deadLetterSink: {uri: /relative}
";
    let places: Vec<String> = problems(text)
        .iter()
        .map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(
        places,
        [
            "5:3: spec.brokerRef.name",
            "7:5: spec.filters[0].exact",
            "8:5: spec.filters[1]",
            "11:5: spec.subscriber.ref",
            "14:10: spec.subscriber.uri",
            "16:12: spec.delivery.retry",
            "17:19: spec.delivery.backoffDelay",
            "18:20: spec.delivery.backoffPolicy",
            "19:14: spec.delivery.timeout",
            "20:27: spec.delivery.deadLetterSink.uri",
        ]
    );
}

#[test]
fn a_trigger_needs_one_broker_and_a_subscriber() {
    let head = "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: a}\n";
    check(head, &["1:1: spec: is required"]);
    check(
        format!("{head}spec: {{}}\n"),
        &[
            "4:1: spec.broker: is required",
            "4:1: spec.subscriber: expected at least one, got none: ref, uri",
        ],
    );
    check(
        format!(
            "{head}spec: {{broker: a, brokerRef: {{name: b}}, subscriber: {{uri: http://a}}}}\n"
        ),
        &["4:16: spec.broker: expected exactly one, got both: spec.broker, spec.brokerRef"],
    );
}

#[test]
fn a_triggers_annotations_are_checked_at_their_place() {
    let annotations = "  annotations:\n    example.com/x: z\n    catchment.dev/ordering: Ordered\n";
    check(
        trigger("a", "").replace("spec:\n", &format!("{annotations}spec:\n")),
        &["7:29: metadata.annotations[catchment.dev/ordering]: must be ordered or unordered"],
    );
}

#[test]
fn a_brokers_delivery_is_checked_as_well() {
    let text = format!("{}spec:\n  delivery:\n    backoffDelay: soon\n", broker("a"));
    let told = problems(text);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("7:19: spec.delivery.backoffDelay: "), "{told:?}");
}

#[test]
fn what_only_a_cluster_has_is_refused_in_a_file() {
    check(
        "apiVersion: sources.knative.dev/v1\nkind: ApiServerSource\nmetadata: {name: a}\nspec:\n  \
         resources: [{apiVersion: v1, kind: Pod}]\n  filters: [{exact: {}}]\n  sink: {uri: 'http://a'}\n",
        &[
            "2:7: kind: ApiServerSource runs only in a cluster: apply it there, and \
             `catchment serve --kubernetes` runs it; here use a WebhookSource, or `catchment send`",
            "6:14: spec.filters[0].exact: must name at least one attribute",
        ],
    );
    check(
        "apiVersion: sources.knative.dev/v1\nkind: SinkBinding\nmetadata: {name: a}\nspec:\n  \
         subject: {apiVersion: apps/v1, kind: Deployment}\n  sink: {uri: 'http://a'}\n",
        &[
            "2:7: kind: SinkBinding runs only in a cluster: apply it there, and \
             `catchment serve --kubernetes` runs it; here start the program yourself, with K_SINK in its \
             environment: the address of a broker, such as http://127.0.0.1:8080/default/default",
            "5:3: spec.subject: expected exactly one of name and selector, got neither",
        ],
    );
    check(
        "apiVersion: sources.knative.dev/v1\nkind: ContainerSource\nmetadata: {name: a}\nspec:\n  \
         template: {spec: {containers: [{name: b}]}}\n  sink: {uri: 'http://a'}\n",
        &[
            "2:7: kind: ContainerSource runs only in a cluster: apply it there, and \
             `catchment serve --kubernetes` runs it; here start the container yourself, with K_SINK in its \
             environment: the address of a broker, as in `docker run --network host -e \
             K_SINK=http://127.0.0.1:8080/default/default IMAGE`",
            "5:34: spec.template.spec.containers[0].image: is required",
        ],
    );
}
