//! The custom resource definitions of our kinds: what a cluster must know to keep them.
//!
//! A definition is made from the specs themselves, so that a field is described in one place: where it is read.
//! Names, versions, columns and labels are Knative's, so that its clients, and objects made for it, work on ours.
//!
//! # What is not refused here
//!
//! An API server holds the rules that stand beside the specs. It cannot say which annotations a Broker may have, look
//! into filters inside of filters, or parse an expression of CloudEvents SQL, and it knows no other object.
//!
//! # Reading order
//!
//! `kinds` (the table), `schema` (from what schemars says to what Kubernetes takes).

mod kinds;
mod schema;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

pub use kinds::{CRDS, Crd};

impl Crd {
    /// The definition, as `kubectl apply` takes it.
    pub fn definition(&self) -> Value {
        let mut metadata = json!({
            "name": format!("{}.{}", self.plural, self.group),
            "labels": self.labels(),
        });
        if let (false, Some(metadata)) = (self.event_types.is_empty(), metadata.as_object_mut()) {
            metadata.insert("annotations".to_owned(), self.annotations());
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": {
                "group": self.group,
                "names": self.names(),
                "scope": "Namespaced",
                "versions": self.versions.iter().map(|name| self.version(name)).collect::<Value>(),
            },
        })
    }

    /// The definition as a document of YAML.
    ///
    /// # Errors
    ///
    /// When it cannot be written as YAML, which would be a mistake in the schema.
    pub fn yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(&self.definition())
    }

    /// Whether a person means it by `name`: its kind, plural, singular or short name.
    pub fn is_called(&self, name: &str) -> bool {
        let names = [self.kind, self.plural].into_iter().chain(self.short_name);
        names.into_iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Its name in the API, and of its file.
    pub fn singular(&self) -> String {
        self.kind.to_lowercase()
    }

    fn labels(&self) -> Value {
        // Knative's tools install definitions by the second one first.
        let shared = [("app.kubernetes.io/name", "catchment"), ("knative.dev/crd-install", "true")];
        let ducks = self.ducks.iter().map(|duck| (*duck, "true"));
        let all = shared.into_iter().chain(ducks);
        all.map(|(key, value)| (key.to_owned(), Value::from(value))).collect()
    }

    /// By which clients list what a source may make.
    fn annotations(&self) -> Value {
        let types = self.event_types.iter();
        let types: Value = types
            .map(|(kind, description)| json!({ "type": kind, "description": description }))
            .collect();
        json!({ "registry.knative.dev/eventTypes": types.to_string() })
    }

    fn names(&self) -> Value {
        let mut names = json!({
            "kind": self.kind,
            "plural": self.plural,
            "singular": self.singular(),
            "categories": self.categories,
        });
        if let (Some(short), Some(names)) = (self.short_name, names.as_object_mut()) {
            names.insert("shortNames".to_owned(), json!([short]));
        }
        names
    }

    fn version(&self, name: &str) -> Value {
        let mut schema = json!({
            "description": self.description,
            "type": "object",
            "properties": {
                "apiVersion": { "type": "string" },
                "kind": { "type": "string" },
                "metadata": { "type": "object" },
                "spec": schema::structural((self.spec)()),
                "status": schema::structural((self.status)()),
            },
        });
        if let (true, Some(schema)) = (self.needs_spec, schema.as_object_mut()) {
            schema.insert("required".to_owned(), json!(["spec"]));
        }
        let mut subresources = json!({ "status": {} });
        if let (Some(scale), Some(map)) = (self.scale, subresources.as_object_mut()) {
            let paths = json!({
                "specReplicasPath": scale.wanted,
                "statusReplicasPath": scale.reached,
                "labelSelectorPath": scale.selector,
            });
            map.insert("scale".to_owned(), paths);
        }
        json!({
            "name": name,
            "served": true,
            "storage": self.versions.first() == Some(&name),
            "subresources": subresources,
            "additionalPrinterColumns": self.columns,
            "schema": { "openAPIV3Schema": schema },
        })
    }
}
