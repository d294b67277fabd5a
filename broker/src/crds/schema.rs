//! From what schemars says of a type to a structural schema, the form that Kubernetes takes.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// What schemars says, with every type written out where it is used.
pub(super) fn of<T: JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<T>()
}

/// The same as Kubernetes takes it: one type for each value, no definitions, choices as `enum`.
///
/// What may be `null` in Rust may only be absent here: an API server takes a `null` out.
pub(super) fn structural(schema: Schema) -> Value {
    let mut schema = schema.to_value();
    settle(&mut schema);
    schema
}

fn settle(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    for beside in ["$schema", "title", "default"] {
        map.remove(beside);
    }
    if map.get("additionalProperties") == Some(&Value::Bool(true)) {
        map.remove("additionalProperties");
        map.insert("x-kubernetes-preserve-unknown-fields".to_owned(), Value::Bool(true));
    }
    drop_null(map);
    gather_choices(map);
    // Others are unknown to Kubernetes, which warns of them.
    if map.get("format").is_some_and(|format| !["int32", "int64"].map(Value::from).contains(format))
    {
        map.remove("format");
    }
    if map.get("x-kubernetes-validations") == Some(&json!([])) {
        map.remove("x-kubernetes-validations");
    }
    if let Some(Value::String(text)) = map.remove("description") {
        map.shift_insert(0, "description".to_owned(), plain(&text).into());
    }
    for (_, inner) in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
    {
        settle(inner);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(inner) {
            settle(inner);
        }
    }
}

/// Takes `null` out of what a value may be.
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|one| !one.is_null());
    }
    let Some(Value::Array(mut either)) = map.remove("anyOf") else { return };
    either.retain(|one| one.get("type").is_none_or(|of| of != "null"));
    if let Some(Value::Object(only)) = either.pop() {
        for (key, value) in only {
            // What is said of the field goes over what is said of its type.
            map.entry(key).or_insert(value);
        }
    }
}

/// Makes one `enum` of constants that are described one by one.
fn gather_choices(map: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = map.remove("oneOf") else { return };
    let values = choices.iter().flat_map(|choice| {
        let constant = choice.get("const").cloned();
        let several = choice.get("enum").and_then(Value::as_array).cloned().unwrap_or_default();
        constant.into_iter().chain(several)
    });
    let values: Value = values.collect();
    map.insert("type".to_owned(), "string".into());
    // A list that stands beside the constants goes over them: it has names that are read as well.
    map.entry("enum").or_insert(values);
}

/// A comment of the code as a reader of the API wants it: the first paragraph, without links and line ends.
fn plain(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    first.replace('\n', " ").replace(['`', '[', ']'], "")
}
