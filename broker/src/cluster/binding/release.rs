//! What is left of a SinkBinding in an object where others have set one of its variables since.
//!
//! An API server that takes a variable away takes it whole, though its value may be somebody else's by now. Where that is so, the
//! rest is taken out by hand, and the name of the SinkBinding with it.

use ::sources::binding::VARIABLES;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::template::{LISTS, path};

/// What to merge into an object so that all of a SinkBinding is gone from it but what others have
/// set; `None` when nobody has, and taking everything away does it.
pub(super) fn without(kind: &str, object: &DynamicObject, manager: &str) -> Option<Value> {
    let entries = object.metadata.managed_fields.as_ref()?;
    let mine = entries.iter().find(|it| it.manager.as_deref() == Some(manager))?;
    let fields = serde_json::to_value(&mine.fields_v1).ok()?;
    let owned = path(kind).iter().chain(&["spec"]);
    let owned = owned.fold(&fields, |fields, field| at(fields, &format!("f:{field}")));
    let pod = path(kind).iter().try_fold(&object.data, |value, field| value.get(field))?;
    let pod = pod.get("spec")?;
    let mut is_shared = false;
    let mut lists = serde_json::Map::new();
    for list in LISTS {
        let Some(containers) = pod.get(list).and_then(Value::as_array) else { continue };
        let owned = at(owned, &format!("f:{list}"));
        let mut kept = containers.clone();
        for container in &mut kept {
            let owned = at(at(owned, &key(container.get("name"))), "f:env");
            let Some(env) = container.get_mut("env").and_then(Value::as_array_mut) else {
                continue;
            };
            env.retain(|variable| {
                let owned = at(owned, &key(variable.get("name")));
                let is_of_it = variable.get("name").and_then(Value::as_str);
                let is_put_in =
                    is_of_it.is_some_and(|name| VARIABLES.contains(&name)) && !owned.is_null();
                let is_value_ours = owned.get("f:value").is_some();
                is_shared |= is_put_in && !is_value_ours;
                !(is_put_in && is_value_ours)
            });
        }
        lists.insert(list.to_owned(), kept.into());
    }
    if !is_shared {
        return None;
    }
    let others: Vec<_> =
        entries.iter().filter(|it| it.manager.as_deref() != Some(manager)).collect();
    let spec = json!({"spec": lists});
    let mut patch = path(kind).iter().rev().fold(spec, |inner, field| json!({*field: inner}));
    let metadata = json!({
        "uid": object.metadata.uid,
        "resourceVersion": object.metadata.resource_version,
        "managedFields": others,
    });
    patch.as_object_mut()?.insert("metadata".to_owned(), metadata);
    Some(patch)
}

fn at<'a>(fields: &'a Value, field: &str) -> &'a Value {
    fields.get(field).unwrap_or(&Value::Null)
}

/// How an element of a list is called in what a manager owns.
fn key(name: Option<&Value>) -> String {
    format!("k:{}", json!({"name": name}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(env: &Value, owned: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "managedFields": [
                {"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {
                    "f:containers": {r#"k:{"name":"c"}"#: {".": {}, "f:env": owned}}}}}}},
                {"manager": "kubectl-set", "operation": "Update"},
            ]},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}},
        }))
        .unwrap()
    }

    #[test]
    fn what_others_have_set_is_kept() {
        let env = json!([
            {"name": "K_SINK", "value": "theirs"}, {"name": "K_CE_OVERRIDES"}, {"name": "OWN"}]);
        let whole = json!({".": {}, "f:name": {}, "f:value": {}});
        let named = json!({".": {}, "f:name": {}});
        let (sink, overrides) = (r#"k:{"name":"K_SINK"}"#, r#"k:{"name":"K_CE_OVERRIDES"}"#);
        let shared = object(&env, &json!({sink: named, overrides: whole}));
        let patch = without("Deployment", &shared, "m").unwrap();
        let left = json!([{"name": "c", "image": "i", "env": [
            {"name": "K_SINK", "value": "theirs"}, {"name": "OWN"}]}]);
        assert_eq!(patch["spec"]["template"]["spec"], json!({"containers": left}));
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let managers = &patch["metadata"]["managedFields"];
        assert_eq!(
            (managers[0]["manager"].as_str(), &managers[1]),
            (Some("kubectl-set"), &Value::Null)
        );
        let own = object(&env, &json!({sink: whole, overrides: whole}));
        assert_eq!(without("Deployment", &own, "m"), None);
        assert_eq!(without("Deployment", &own, "other"), None);
    }
}
