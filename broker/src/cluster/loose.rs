//! An object of any kind whose parts are read one by one, so that one that cannot be read hides no other.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference, Time};
use kube::{
    Resource,
    core::{ApiResource, DynamicObject, DynamicResourceScope, ObjectMeta, TypeMeta},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, value::RawValue};

/// An object as a server gives it, its parts still text.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Loose {
    #[serde(default, deserialize_with = "shallow")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<Box<RawValue>>,
    #[serde(default)]
    status: Option<Box<RawValue>>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    binary_data: Option<Box<RawValue>>,
}

/// What is used of an object's metadata.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Shallow {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    finalizers: Option<Vec<String>>,
    owner_references: Option<Vec<OwnerReference>>,
    managed_fields: Option<Vec<Manager>>,
}

/// Who wrote something of an object; what it was may be as deep as the object.
#[derive(Deserialize)]
struct Manager {
    manager: Option<String>,
    subresource: Option<String>,
}

fn shallow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let read = Shallow::deserialize(deserializer)?;
    let managers = read.managed_fields.map(|all| {
        let entry = |Manager { manager, subresource }| ManagedFieldsEntry {
            manager,
            subresource,
            ..ManagedFieldsEntry::default()
        };
        all.into_iter().map(entry).collect()
    });
    Ok(ObjectMeta {
        name: read.name,
        namespace: read.namespace,
        uid: read.uid,
        resource_version: read.resource_version,
        generation: read.generation,
        creation_timestamp: read.creation_timestamp,
        deletion_timestamp: read.deletion_timestamp,
        annotations: read.annotations,
        labels: read.labels,
        finalizers: read.finalizers,
        owner_references: read.owner_references,
        managed_fields: managers,
        ..ObjectMeta::default()
    })
}

impl Loose {
    /// The object with all parts that can be read, and what cannot, with why.
    ///
    /// A part may be too deep: an API server takes what no parser here goes down into.
    pub(super) fn read(self, kind: &ApiResource) -> (DynamicObject, Option<String>) {
        let mut data = Map::new();
        let mut unreadable = None;
        let parts = [
            ("spec", self.spec),
            ("status", self.status),
            ("data", self.data),
            ("binaryData", self.binary_data),
        ];
        for (field, part) in parts {
            let Some(part) = part else { continue };
            match serde_json::from_str::<Value>(part.get()) {
                Ok(value) => drop(data.insert(field.to_owned(), value)),
                // What was reported is ours to write again.
                Err(_) if field == "status" => {}
                Err(error) => unreadable = Some(format!("{field}: cannot be read: {error}")),
            }
        }
        let types = TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() };
        let object = DynamicObject {
            types: Some(types),
            metadata: self.metadata,
            data: Value::Object(data),
        };
        (object, unreadable)
    }
}

impl Resource for Loose {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        kind.kind.as_str().into()
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        kind.group.as_str().into()
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        kind.version.as_str().into()
    }

    fn api_version(kind: &ApiResource) -> Cow<'_, str> {
        kind.api_version.as_str().into()
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        kind.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;

    use super::*;

    #[test]
    fn what_is_too_deep_is_told_and_hides_nothing_else() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(300), "}".repeat(300));
        let object = format!(
            r#"{{"metadata":{{"name":"n","generation":3,"managedFields":[{{"manager":"m","fieldsV1":{deep}}}]}},"spec":{deep},"status":{{"x":1}}}}"#
        );
        let list = format!(r#"{{"items":[{object}],"metadata":{{}}}}"#);
        let list: kube::core::ObjectList<Loose> = serde_json::from_str(&list).unwrap();
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("g", "v1", "K"));
        let (read, why) = list.items.into_iter().next().unwrap().read(&kind);
        assert_eq!((read.metadata.generation, &read.data["status"]["x"]), (Some(3), &1.into()));
        assert!(why.unwrap().starts_with("spec: cannot be read: recursion limit exceeded"));
        let event = format!(r#"{{"type":"ADDED","object":{object}}}"#);
        assert!(serde_json::from_str::<kube::core::WatchEvent<Loose>>(&event).is_ok());
    }
}
