//! Pod templates: where containers are in an object, and what is applied to tell them of a sink.

use ::sources::binding::Environment;
use channel::Name;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// What the field manager of a SinkBinding begins with; its name follows.
pub(super) const MANAGER_PREFIX: &str = "catchment-binding/";

/// The longest name of a field manager.
const MANAGER_LENGTH_MAX: usize = 128;

/// The lists of containers in a pod.
pub(super) const LISTS: [&str; 2] = ["containers", "initContainers"];

/// By what the field manager of a SinkBinding is told from others: its name, unless that is too long.
pub(super) fn manager_part(binding: &Name) -> String {
    let name = &binding.name;
    if MANAGER_PREFIX.len() + name.len() <= MANAGER_LENGTH_MAX {
        return name.clone();
    }
    let start: String = name.chars().take(64).collect();
    let digest = Sha256::digest(name.as_bytes());
    let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{start}~{hash}")
}

/// Where the pod template of a kind is.
pub(super) fn path(kind: &str) -> &'static [&'static str] {
    if kind == "CronJob" {
        &["spec", "jobTemplate", "spec", "template"]
    } else {
        &["spec", "template"]
    }
}

/// What to apply to an object so that its containers are told.
///
/// # Errors
///
/// In words, why it has nothing to put that into.
pub(super) fn bound(
    kind: &str,
    object: &DynamicObject,
    environment: &Environment,
) -> Result<Value, String> {
    let pod = pod(kind, object).ok_or_else(|| no_template(kind))?;
    let env: Vec<Value> = environment
        .variables()
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let mut lists = Map::new();
    for list in LISTS {
        let told: Vec<Value> = containers(pod, list)
            .filter_map(|container| container.get("name"))
            .map(|name| json!({"name": name, "env": env}))
            .collect();
        if !told.is_empty() {
            lists.insert(list.to_owned(), told.into());
        }
    }
    if lists.is_empty() {
        return Err(no_template(kind));
    }
    let spec = json!({"spec": lists});
    Ok(path(kind).iter().rev().fold(spec, |inner, field| json!({*field: inner})))
}

/// Whether all containers of an object are told that and nothing else.
pub(super) fn is_bound(kind: &str, object: &DynamicObject, environment: &Environment) -> bool {
    let Some(pod) = pod(kind, object) else { return false };
    LISTS.iter().flat_map(|list| containers(pod, list)).all(|container| {
        let env = container.get("env").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        environment.variables().iter().all(|(name, value)| {
            let found = env.iter().find(|it| it.get("name").and_then(Value::as_str) == Some(name));
            // An empty value is left out.
            found.is_some_and(|found| {
                let is_plain = found.get("valueFrom").is_none();
                is_plain && found.get("value").and_then(Value::as_str).unwrap_or_default() == value
            })
        })
    })
}

fn pod<'a>(kind: &str, object: &'a DynamicObject) -> Option<&'a Value> {
    let template = path(kind).iter().try_fold(&object.data, |value, field| value.get(field))?;
    template.get("spec")
}

fn containers<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    pod.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn no_template(kind: &str) -> String {
    format!("a {kind} has no containers at {}.spec", path(kind).join("."))
}

#[cfg(test)]
mod tests {
    use channel::Target;

    use super::*;

    fn environment() -> Environment {
        let url = "http://ingress/shop/till";
        let target = Target { url: url.parse().unwrap(), ca_certs: None, audience: None };
        Environment::new(url.to_owned(), &target, None)
    }

    fn object(spec: Value) -> DynamicObject {
        serde_json::from_value(
            json!({"apiVersion": "g/v1", "kind": "K", "metadata": {}, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn every_container_is_told_wherever_its_template_is() {
        let pod = json!({"spec": {
            "containers": [{"name": "a", "image": "x"}, {"name": "b"}],
            "initContainers": [{"name": "c"}],
        }});
        let env = json!([
            {"name": "K_SINK", "value": "http://ingress/shop/till"},
            {"name": "K_CE_OVERRIDES", "value": ""},
        ]);
        let told = json!({"template": {"spec": {
            "containers": [{"name": "a", "env": env}, {"name": "b", "env": env}],
            "initContainers": [{"name": "c", "env": env}],
        }}});
        let deployment = object(json!({"template": pod}));
        assert_eq!(
            bound("Deployment", &deployment, &environment()).unwrap(),
            json!({"spec": told})
        );
        let cron = object(json!({"jobTemplate": {"spec": {"template": pod}}}));
        let applied = bound("CronJob", &cron, &environment()).unwrap();
        assert_eq!(applied, json!({"spec": {"jobTemplate": {"spec": told}}}));
        let why = bound("Deployment", &cron, &environment()).unwrap_err();
        assert_eq!(why, "a Deployment has no containers at spec.template.spec");
    }

    #[test]
    fn a_container_that_is_told_something_else_is_found() {
        let with = |env: Value| {
            let pod = json!({"spec": {"containers": [{"name": "a", "env": env}]}});
            is_bound("Deployment", &object(json!({"template": pod})), &environment())
        };
        let sink = json!({"name": "K_SINK", "value": "http://ingress/shop/till"});
        assert!(with(json!([{"name": "A", "value": "b"}, sink, {"name": "K_CE_OVERRIDES"}])));
        assert!(!with(json!([sink])));
        assert!(!with(json!([{"name": "K_SINK", "value": "else"}, {"name": "K_CE_OVERRIDES"}])));
        let from = json!({"name": "K_CE_OVERRIDES", "valueFrom": {"fieldRef": {}}});
        assert!(!with(json!([sink, from])));
    }

    #[test]
    fn managers_have_names_that_an_api_server_takes() {
        let of = |name: &str| manager_part(&Name::new("shop", name));
        assert_eq!(of("till"), "till");
        let (one, other) = (of(&"a".repeat(253)), of(&"a".repeat(252)));
        assert!(one != other && MANAGER_PREFIX.len() + one.len() <= MANAGER_LENGTH_MAX);
    }
}
