//! The Deployment that runs the pods of a ContainerSource.

use ::sources::binding::{CONTAINER_KIND, Environment, VARIABLES};
use channel::Name;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::wanted::Container;

/// What its name ends with.
const SUFFIX: &str = "-deployment";

/// The longest name, and value of a label.
const NAME_LENGTH_MAX: usize = 63;

/// What is applied: metadata, and the fields beside it.
pub(super) struct Applied {
    pub(super) metadata: Value,
    pub(super) fields: Value,
}

/// The name of the Deployment of a ContainerSource.
pub(super) fn name_of(source: &Name) -> Name {
    let name = &source.name;
    let called = format!("{}{SUFFIX}", cut(name, NAME_LENGTH_MAX - SUFFIX.len()));
    Name::new(source.namespace.as_str(), called)
}

/// The label by which the pods of a ContainerSource are found, and its value.
pub(super) fn label(source: &Name) -> (&'static str, String) {
    ("sources.knative.dev/containerSource", cut(&source.name, NAME_LENGTH_MAX))
}

/// A name that is not longer than `max`, and another one for each name.
fn cut(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    let digest = Sha256::digest(name.as_bytes());
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = name.chars().take(max - hash.len()).collect();
    kept + &hash
}

/// The Deployment of a ContainerSource whose containers are told `environment`.
///
/// Its labels are those that Knative's has, so that one that Knative made is taken over. How many pods there are
/// is left to others.
pub(super) fn applied(source: &Container, environment: &Environment) -> Applied {
    let name = &source.name;
    let (label, value) = label(name);
    let labels =
        json!({ "sources.knative.dev/source": "container-source-controller", label: value });
    let mut template = source.plan.template.clone();
    edit(&mut template, "metadata", |metadata| {
        // Some clients write that nobody has set it; an API server sets it itself.
        metadata.remove("creationTimestamp");
        edit(metadata, "labels", |all| all.extend(labels.as_object().cloned().unwrap_or_default()));
    });
    edit(&mut template, "spec", |pod| {
        // An API server keeps an old name of that field beside it, and would put it back from there.
        let account = pod.get("serviceAccountName").cloned().unwrap_or_else(|| "".into());
        pod.insert("serviceAccountName".to_owned(), account.clone());
        pod.insert("serviceAccount".to_owned(), account);
        for list in ["containers", "initContainers"] {
            let containers = pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
            for container in containers.filter_map(Value::as_object_mut) {
                tell(container, environment);
            }
        }
    });
    let metadata = json!({
        "name": name_of(name).name,
        "namespace": name.namespace,
        "labels": labels,
        "ownerReferences": [{
            "apiVersion": "sources.knative.dev/v1",
            "kind": CONTAINER_KIND,
            "name": name.name,
            "uid": source.seen.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    });
    let fields = json!({"spec": {"selector": {"matchLabels": labels}, "template": template}});
    Applied { metadata, fields }
}

/// Puts the variables behind those that a container has, in place of any of the same names.
fn tell(container: &mut Map<String, Value>, environment: &Environment) {
    let mut env = match container.remove("env") {
        Some(Value::Array(env)) => env,
        _ => Vec::new(),
    };
    env.retain(|it| {
        !it.get("name").and_then(Value::as_str).is_some_and(|name| VARIABLES.contains(&name))
    });
    let told = environment.variables().iter();
    env.extend(told.map(|(name, value)| json!({"name": name, "value": value})));
    container.insert("env".to_owned(), env.into());
}

/// Changes the map that a field holds; it is made when there is none.
fn edit(map: &mut Map<String, Value>, field: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut inner = match map.remove(field) {
        Some(Value::Object(inner)) => inner,
        _ => Map::new(),
    };
    change(&mut inner);
    map.insert(field.to_owned(), inner.into());
}

#[cfg(test)]
mod tests {
    use ::sources::binding::{ContainerPlan, ContainerSourceSpec};
    use channel::Target;

    use super::*;
    use crate::cluster::seen::Seen;

    #[test]
    fn the_template_is_kept_and_told() {
        let spec: ContainerSourceSpec = serde_json::from_value(json!({
            "sink": {"uri": "http://x/"},
            "template": {
                "metadata": {"creationTimestamp": null, "labels": {"own": "a"}},
                "spec": {
                    "serviceAccountName": "sender",
                    "initContainers": [{"name": "i", "image": "i"}],
                    "containers": [{"image": "a", "env": [{"name": "K_SINK", "value": "b"}, {"name": "A", "value": "b"}]}],
                },
            },
        }))
        .unwrap();
        let plan = ContainerPlan::new("till", &spec, &mut Vec::new()).unwrap();
        let seen = Seen { uid: "u".to_owned(), ..Seen::default() };
        let name = Name::new("shop", "till");
        let source = Container { name, seen, plan, environment: None };
        let target = Target { url: "http://x/".parse().unwrap(), ca_certs: None, audience: None };
        let environment = Environment::new("http://x".to_owned(), &target, None);
        let Applied { metadata, fields } = applied(&source, &environment);
        assert_eq!(metadata["name"], "till-deployment");
        assert_eq!(metadata["ownerReferences"][0]["uid"], "u");
        let template = &fields["spec"]["template"];
        let labels = json!({
            "own": "a",
            "sources.knative.dev/source": "container-source-controller",
            "sources.knative.dev/containerSource": "till",
        });
        assert_eq!(template["metadata"], json!({"labels": labels}));
        let told = json!([
            {"name": "K_SINK", "value": "http://x"}, {"name": "K_CE_OVERRIDES", "value": ""}]);
        let pod = &template["spec"];
        assert_eq!(pod["initContainers"][0]["env"], told);
        assert_eq!(pod["containers"][0]["name"], "till-0");
        assert_eq!(pod["containers"][0]["env"][0], json!({"name": "A", "value": "b"}));
        assert_eq!(pod["containers"][0]["env"][1], told[0]);
        assert_eq!(pod["serviceAccountName"], "sender");
    }

    #[test]
    fn a_name_is_never_too_long() {
        let of = |name: String| name_of(&Name::new("shop", name)).name;
        assert_eq!(of("a".repeat(52)), format!("{}-deployment", "a".repeat(52)));
        let (one, other) = (of("a".repeat(53)), of("a".repeat(54)));
        assert!(one != other && one.len() == 63 && one.ends_with(SUFFIX));
        assert_eq!(label(&Name::new("shop", "a".repeat(253))).1.len(), 63);
    }
}
