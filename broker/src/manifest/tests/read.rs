//! What good manifests are read as.

use channel::Name;

use super::{super::Kind, *};
use crate::manifest::document::Any;

#[test]
fn several_documents_make_several_resources_and_empty_ones_none() {
    let text = format!(
        "# a comment\n---\n{}---\n---\n# nothing\n---\n{}...\n",
        broker("default"),
        trigger("all", "")
    );
    let content = content("a.yaml", text);
    assert_eq!(content.problems, []);
    let kinds: Vec<Kind> = content.items.iter().map(|item| item.resource.kind()).collect();
    assert_eq!(kinds, [Kind::Broker, Kind::Trigger]);
    assert_eq!(content.items[1].name, Name::new("default", "all"));
}

#[test]
fn a_file_without_documents_is_fine() {
    for text in ["", "\n", "# nothing\n", "---\n", "---\n---\nnull\n", "\u{feff}"] {
        let content = content("a.yaml", text);
        assert!(content.items.is_empty() && content.problems.is_empty(), "{text:?}");
    }
}

#[test]
fn json_is_read_as_well() {
    let json = "{\n\t\"apiVersion\": \"eventing.knative.dev/v1\",\n\t\"kind\": \"Broker\",\n\
                \t\"metadata\": {\"name\": \"default\", \"namespace\": \"a\"}\n}\n";
    let content = content("a.json", json);
    assert_eq!(content.problems, []);
    assert_eq!(content.items[0].name, Name::new("a", "default"));
}

#[test]
fn what_kubectl_gets_is_a_manifest() {
    let text = r#"
apiVersion: v1
kind: List
metadata:
  resourceVersion: ""
items:
- apiVersion: eventing.knative.dev/v1
  kind: Trigger
  metadata:
    annotations:
      eventing.knative.dev/creator: kubernetes-admin
    creationTimestamp: "2026-01-01T00:00:00Z"
    finalizers: [x]
    generation: 1
    labels:
      eventing.knative.dev/broker: default
    managedFields:
    - manager: kubectl
      fieldsV1: {"f:spec": {}}
    name: all
    namespace: default
    ownerReferences: []
    resourceVersion: "1"
    uid: 5c1f
  spec:
    broker: default
    filter: {}
    subscriber:
      uri: http://127.0.0.1:9000/
  status:
    conditions:
    - type: Ready
      status: "True"
    observedGeneration: 1
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: kube-root-ca.crt, creationTimestamp: null}
  data: {ca.crt: "x"}
"#;
    let content = content("a.yaml", text);
    assert_eq!(content.problems, []);
    let Any::Trigger(trigger) = &content.items[0].resource else { panic!("a trigger") };
    assert_eq!(trigger.spec.broker.as_deref(), Some("default"));
    assert_eq!(trigger.annotations.len(), 1);
    assert_eq!(trigger.labels["eventing.knative.dev/broker"], "default");
    assert_eq!((trigger.origin.position.line, trigger.origin.position.column), (20, 11));
}

#[test]
fn anchors_and_merges_are_expanded() {
    let text = format!(
        "{}  delivery: &delivery\n    retry: 3\n    backoffPolicy: linear\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: b}}\nspec:\n  \
         broker: default\n  subscriber: &sink {{uri: http://127.0.0.1:9000/}}\n  \
         delivery:\n    deadLetterSink: *sink\n",
        trigger("a", "")
    );
    let content = content("a.yaml", text);
    assert_eq!(content.problems, []);
    let Any::Trigger(second) = &content.items[1].resource else { panic!("a trigger") };
    let sink = second.spec.delivery.as_ref().unwrap().dead_letter_sink.as_ref();
    assert_eq!(sink, Some(&second.spec.subscriber));
}

#[test]
fn a_secret_is_decoded_and_not_shown() {
    let text = "apiVersion: v1\nkind: Secret\ntype: Opaque\nmetadata: {name: s}\n\
                data: {a: aGVsbG8=, b: eA==}\nstringData: {b: plain}\n";
    let content = content("a.yaml", text);
    assert_eq!(content.problems, []);
    let Any::Secret(secret) = &content.items[0].resource else { panic!("a secret") };
    assert_eq!(secret.spec.data["a"].expose(), b"hello");
    assert_eq!(secret.spec.data["b"].expose(), b"plain");
    let shown = format!("{secret:?}");
    assert!(!shown.contains("104, 101") && !shown.contains("plain"), "{shown}");
}

#[test]
fn the_hash_follows_what_counts() {
    let hash = |text: &str| {
        let content = content("a.yaml", text);
        assert_eq!(content.problems, []);
        let Any::Trigger(trigger) = &content.items[0].resource else { panic!("a trigger") };
        trigger.hash
    };
    let plain = trigger("a", "");
    let moved = format!("# further down\n\n{plain}");
    let settled = format!("{plain}status: {{observedGeneration: 2}}\n");
    let annotated = plain.replace("name: a\n", "name: a\n  annotations: {x: z}\n");
    let other = plain.replace("9000", "9001");
    assert_eq!(hash(&plain), hash(&moved));
    assert_eq!(hash(&plain), hash(&settled));
    assert_ne!(hash(&plain), hash(&annotated));
    assert_ne!(hash(&plain), hash(&other));
}
