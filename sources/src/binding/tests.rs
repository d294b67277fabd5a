//! What is taken and refused of both kinds, and what containers are told.

use channel::{Invalid, Name, Target};
use serde_json::{Value, json};

use super::*;

fn name() -> Name {
    Name::new("shop", "till")
}

fn binding(spec: Value) -> Result<BindingPlan, Vec<String>> {
    let spec: SinkBindingSpec = serde_json::from_value(spec).unwrap();
    let mut problems = Vec::new();
    let plan = BindingPlan::new(&name(), &spec, &mut problems);
    plan.ok_or_else(|| problems.iter().map(Invalid::to_string).collect())
}

fn container(spec: Value) -> Result<ContainerPlan, Vec<String>> {
    let spec: ContainerSourceSpec = serde_json::from_value(spec).unwrap();
    let mut problems = Vec::new();
    let plan = ContainerPlan::new("till", &spec, &mut problems);
    plan.ok_or_else(|| problems.iter().map(Invalid::to_string).collect())
}

#[test]
fn a_subject_is_named_or_labelled() {
    let sink = json!({"uri": "http://127.0.0.1:1/"});
    let with = |subject: Value| binding(json!({"subject": subject, "sink": sink}));
    let of = |which: Value| {
        let mut subject = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
        subject.as_object_mut().unwrap().extend(which.as_object().unwrap().clone());
        with(subject)
    };
    let named = of(json!({"name": "a", "namespace": "shop"})).unwrap();
    assert_eq!(named.subject.which, Which::Named("a".to_owned()));
    assert!(of(json!({"selector": {"matchLabels": {"app": "a"}}})).is_ok());
    let neither = "spec.subject: expected exactly one of name and selector, got neither";
    assert_eq!(of(json!({})).unwrap_err(), [neither]);
    assert_eq!(of(json!({"name": ""})).unwrap_err(), [neither]);
    let both = "spec.subject: expected exactly one of name and selector, got both";
    assert_eq!(of(json!({"name": "a", "selector": {}})).unwrap_err(), [both]);
    let elsewhere = "spec.subject.namespace: must be the namespace of the SinkBinding, shop";
    assert_eq!(of(json!({"name": "a", "namespace": "bank"})).unwrap_err(), [elsewhere]);
    let wrong = of(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}));
    assert!(wrong.unwrap_err()[0].starts_with("spec.subject.selector.matchExpressions[0].values"));
    let wrong = with(json!({"apiVersion": "Apps", "name": "A b"})).unwrap_err();
    let fields = ["spec.subject.apiVersion", "spec.subject.kind", "spec.subject.name"];
    assert!(wrong.iter().zip(fields).all(|(it, field)| it.starts_with(field)), "{wrong:?}");
    let wrong = binding(json!({})).unwrap_err();
    assert!(wrong[0].starts_with("spec.subject: is required"), "{wrong:?}");
    assert!(wrong[1].starts_with("spec.sink"), "{wrong:?}");
}

#[test]
fn containers_get_a_name_and_need_an_image() {
    let with = |containers: Value| {
        let template = json!({"spec": {"containers": containers}});
        container(json!({"template": template, "sink": {"uri": "http://127.0.0.1:1/"}}))
    };
    let plan = with(json!([{"image": "a"}, {"image": "b", "name": "own"}])).unwrap();
    let containers = &plan.template["spec"]["containers"];
    assert_eq!((&containers[0]["name"], &containers[1]["name"]), (&json!("till-0"), &json!("own")));
    let none = ["spec.template.spec.containers: must list at least one container"];
    assert_eq!(with(json!([])).unwrap_err(), none);
    assert_eq!(with(json!("a")).unwrap_err(), none);
    let image = ["spec.template.spec.containers[1].image: is required"];
    assert_eq!(with(json!([{"image": "a"}, {"name": "b"}])).unwrap_err(), image);
    let map = ["spec.template.spec.containers[0]: must be a map"];
    assert_eq!(with(json!(["a"])).unwrap_err(), map);
}

#[test]
fn containers_are_told_by_their_environment() {
    let url = "http://ingress/shop/till";
    let mut target =
        Target { url: url.parse().unwrap(), ca_certs: Some(String::new()), audience: None };
    let bare = Environment::new(url.to_owned(), &target, None);
    let told = [("K_SINK", url.to_owned()), ("K_CE_OVERRIDES", String::new())];
    assert_eq!(bare.variables(), told);
    target.ca_certs = Some("PEM".to_owned());
    let overrides = serde_json::from_value(json!({"extensions": {"zone": "\"x\""}})).unwrap();
    let full = Environment::new(url.to_owned(), &target, Some(&overrides));
    let told = [
        ("K_SINK", url.to_owned()),
        ("K_CE_OVERRIDES", r#"{"extensions":{"zone":"\"x\""}}"#.to_owned()),
        ("K_CA_CERTS", "PEM".to_owned()),
    ];
    assert_eq!(full.variables(), told);
}
