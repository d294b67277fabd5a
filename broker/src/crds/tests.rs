//! What holds of every definition before a server has seen it.

use serde_json::Value;

use super::CRDS;

/// Every schema below `schema`, with its path.
fn walk<'a>(schema: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    found.push((path.to_owned(), schema));
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        walk(inner, &format!("{path}.{name}"), found);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(inner) {
            walk(inner, &format!("{path}[]"), found);
        }
    }
}

fn every_schema(check: impl Fn(&str, &Value)) {
    for crd in CRDS {
        let definition = crd.definition();
        for version in definition["spec"]["versions"].as_array().unwrap() {
            let mut found = Vec::new();
            walk(&version["schema"]["openAPIV3Schema"], crd.kind, &mut found);
            assert!(found.len() > 20, "{}", crd.kind);
            found.iter().for_each(|(path, schema)| check(path, schema));
        }
    }
}

#[test]
fn every_value_has_one_type() {
    every_schema(|path, schema| {
        let is_either = schema["x-kubernetes-int-or-string"] == true;
        assert!(schema["type"].is_string() != is_either, "{path}: {schema}");
    });
}

#[test]
fn nothing_is_left_that_kubernetes_does_not_take() {
    every_schema(|path, schema| {
        let left =
            ["$ref", "$schema", "title", "default", "anyOf", "oneOf", "allOf", "const", "nullable"];
        for key in left {
            assert!(schema.get(key).is_none(), "{path} has {key}");
        }
        assert!(
            !schema["enum"].as_array().is_some_and(|values| values.contains(&Value::Null)),
            "{path}"
        );
        assert!(schema["format"].is_null() || schema["type"] == "integer", "{path}");
    });
}

#[test]
fn what_is_written_is_described() {
    every_schema(|path, schema| {
        let is_of_a_spec = path.contains(".spec.") && !path.ends_with("[]");
        let said = schema["description"].as_str().unwrap_or_default();
        assert!(!is_of_a_spec || !said.is_empty(), "{path} has no description");
        assert!(!said.contains(['`', '[', '\n']), "{path}: {said}");
    });
}

#[test]
fn kinds_are_found_by_each_of_their_names() {
    for (name, kind) in [
        ("Broker", "Broker"),
        ("triggers", "Trigger"),
        ("IMC", "InMemoryChannel"),
        ("subscription", "Subscription"),
        ("natsjsmc", "NatsJetStreamChannel"),
    ] {
        let found: Vec<_> =
            CRDS.iter().filter(|crd| crd.is_called(name)).map(|crd| crd.kind).collect();
        assert_eq!(found, [kind], "{name}");
    }
}
