//! What specs, selectors, events and comparisons of an ApiServerSource say.

use channel::{Attributes as _, Name};
use serde_json::{Value, json};

use super::*;

fn spec(json: Value) -> (Option<ApiServerPlan>, Vec<String>) {
    let spec: ApiServerSourceSpec<Value> = serde_json::from_value(json).unwrap();
    let mut problems = Vec::new();
    let plan = ApiServerPlan::new(&spec, &mut problems);
    assert_eq!(plan.is_some(), problems.is_empty());
    (plan, problems.iter().map(ToString::to_string).collect())
}

fn with(more: Value) -> Value {
    let mut spec = json!({
        "sink": {"uri": "http://a"},
        "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
    });
    let fields = spec.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    spec
}

fn object(name: &str, uid: &str, version: &str) -> Object {
    let json = json!({"metadata": {
        "namespace": "shop", "name": name, "uid": uid, "resourceVersion": version,
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true},
        ],
    }});
    Object::new(json, "v1", "Pod").unwrap()
}

#[test]
fn everything_that_is_wrong_is_told_with_its_field() {
    let kind = |more: Value| json!({"resources": [more]});
    let selector = |more: Value| {
        kind(json!({"apiVersion": "v1", "kind": "Pod", "selector": {"matchExpressions": [more]}}))
    };
    for (json, field) in [
        (json!({"resources": []}), "spec.resources: "),
        (kind(json!({"apiVersion": "a/b/c", "kind": "Pod"})), "spec.resources[0].apiVersion: "),
        (kind(json!({"apiVersion": "v1", "kind": ""})), "spec.resources[0].kind: "),
        (json!({"mode": "Ref"}), "spec.mode: "),
        (json!({"owner": {"apiVersion": "v1"}}), "spec.owner.kind: "),
        (json!({"serviceAccountName": "A"}), "spec.serviceAccountName: "),
        (json!({"namespaceSelector": {"matchLabels": {"-": "a"}}}), "spec.namespaceSelector.match"),
        (
            selector(json!({"key": "a", "operator": "in"})),
            "spec.resources[0].selector.matchExpressions[0].operator: ",
        ),
        (
            selector(json!({"key": "a", "operator": "In"})),
            "spec.resources[0].selector.matchExpressions[0].values: ",
        ),
        (
            selector(json!({"key": "a", "operator": "In", "values": ["a,b"]})),
            "spec.resources[0].selector.matchExpressions[0].values: ",
        ),
        (json!({"sink": null}), "spec.sink: "),
    ] {
        let (_, problems) = spec(with(json.clone()));
        assert_eq!(problems.len(), 1, "{json} {problems:?}");
        assert!(problems[0].starts_with(field), "{json} {problems:?}");
    }
    let twice = json!({"apiVersion": "v1", "kind": "Pod"});
    let (_, problems) = spec(with(json!({"resources": [twice, twice]})));
    assert_eq!(problems, ["spec.resources[1]: is there twice"]);
}

#[test]
fn a_selector_becomes_its_text() {
    let selector = json!({
        "matchLabels": {"app.kubernetes.io/name": "till"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "env", "operator": "NotIn", "values": [""]},
            {"key": "x", "operator": "Exists"},
            {"key": "y", "operator": "DoesNotExist"},
        ],
    });
    let (plan, _) = spec(with(json!({"namespaceSelector": selector})));
    let text = "app.kubernetes.io/name=till,tier in (a,b),env notin (),x,!y";
    assert_eq!(plan.unwrap().namespaces, Namespaces::Labelled(text.to_owned()));
    let (plan, _) = spec(with(json!({"namespaceSelector": {}})));
    assert_eq!(plan.unwrap().namespaces, Namespaces::All);
    assert_eq!(spec(with(json!({}))).0.unwrap().namespaces, Namespaces::Own);
}

#[test]
fn an_event_names_the_object_and_holds_what_its_mode_says() {
    let pod = object("till", "u1", "7");
    let source = Name::new("shop", "changes");
    let change = Change {
        source: &source,
        server: "https://10.0.0.1:443/",
        verb: Verb::Update,
        object: &pod,
        api_version: "v1",
        kind: "Pod",
        plural: "pods",
    };
    let event = |more: Value| {
        let (plan, _) = spec(with(more));
        plan.unwrap().event(&change, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap()
    };
    let reference = event(json!({"ceOverrides": {"extensions": {"zone": "a"}}}));
    for (name, value) in [
        ("type", "dev.knative.apiserver.ref.update"),
        ("source", "https://10.0.0.1:443/"),
        ("subject", "/apis/v1/namespaces/shop/pods/till"),
        ("apiversion", "v1"),
        ("kind", "Pod"),
        ("name", "till"),
        ("namespace", "shop"),
        ("zone", "a"),
    ] {
        assert_eq!(reference.attribute(name), Some(value));
    }
    assert!(reference.id().ends_with("-u1-7-update"));
    let whole = event(json!({"mode": "Resource"}));
    assert_eq!(whole.ty(), "dev.knative.apiserver.resource.update");
    assert_eq!(pod.json["kind"], "Pod");
    let other = Change { source: &Name::new("shop", "other"), ..change };
    let (plan, _) = spec(with(json!({})));
    let other = plan.unwrap().event(&other, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
    assert_ne!(other.id(), reference.id(), "each source's events are its own");
}

#[test]
fn only_those_of_an_owner_count() {
    let pod = object("till", "u1", "7");
    let wants = |api_version: &str, kind: &str| {
        let owner = json!({"apiVersion": api_version, "kind": kind});
        spec(with(json!({"owner": owner}))).0.unwrap().wants(&pod)
    };
    assert!(wants("apps/v1", "ReplicaSet"));
    assert!(!wants("v1", "Node"), "it is no controller");
    assert!(spec(with(json!({}))).0.unwrap().wants(&pod));
}

#[test]
fn what_changed_is_found_by_comparing() {
    let mut seen = Seen::default();
    assert_eq!(seen.compare(&object("a", "u1", "1")), Taken::Added);
    seen.note(&object("a", "u1", "1"), true);
    seen.note(&object("b", "u2", "2"), true);
    assert_eq!(seen.compare(&object("a", "u1", "1")), Taken::Same);
    assert_eq!(seen.compare(&object("a", "u1", "3")), Taken::Updated);
    let known = Known { uid: "u1".into(), version: "1".into(), is_wanted: true };
    assert_eq!(seen.compare(&object("a", "u9", "3")), Taken::Replaced(known.clone()));
    let gone = seen.missing(|name| name.name == "b");
    assert_eq!(gone, [(Name::new("shop", "a"), known)]);
    assert!(seen.forget(&gone[0].0).is_some() && seen.len() == 1);
}
