//! A change of an object → an event.

use bytes::Bytes;
use channel::{Data, Draft, Event, Invalid, Kind, Name, SpecVersion};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ApiServerPlan, Known, Mode};
use crate::{notes::fingerprint, status::EventAttributes};

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is new, or new to whoever looks.
    Add,
    /// It is another version.
    Update,
    /// It is gone, or gone from view.
    Delete,
}

impl Verb {
    /// The last word of the event's type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl Mode {
    fn event_type(self, verb: Verb) -> String {
        let what = match self {
            Self::Reference => "ref",
            Self::Resource => "resource",
        };
        format!("dev.knative.apiserver.{what}.{}", verb.as_str())
    }
}

/// An object as an API server gives it.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its name; the namespace is empty when its kind has none.
    pub name: Name,
    /// What tells it from others of its name.
    pub uid: String,
    /// Its resource version.
    pub version: String,
    /// All of it.
    pub json: Value,
}

impl Object {
    /// Reads an object of a kind, which an element of a list does not say. `None` if it is none.
    pub fn new(mut json: Value, api_version: &str, kind: &str) -> Option<Self> {
        let text = |field: &str| {
            let text = json.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let (name, uid, version) =
            (Name::new(text("namespace"), text("name")), text("uid"), text("resourceVersion"));
        let fields = json.as_object_mut()?;
        fields.entry("apiVersion").or_insert_with(|| api_version.into());
        fields.entry("kind").or_insert_with(|| kind.into());
        Some(Self { name, uid, version, json })
    }

    /// What is left of one that is gone and that nobody kept.
    pub fn gone(name: &Name, known: &Known, api_version: &str, kind: &str) -> Self {
        let mut metadata = json!({
            "name": name.name,
            "uid": known.uid,
            "resourceVersion": known.version,
        });
        if let (false, Some(fields)) = (name.namespace.is_empty(), metadata.as_object_mut()) {
            fields.insert("namespace".to_owned(), name.namespace.as_str().into());
        }
        let json = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
        let (uid, version) = (known.uid.to_string(), known.version.to_string());
        Self { name: name.clone(), uid, version, json }
    }

    /// When it was made.
    pub fn created(&self) -> Option<Timestamp> {
        self.json.pointer("/metadata/creationTimestamp")?.as_str()?.parse().ok()
    }

    /// Whether its controller is of that kind.
    fn is_controlled_by(&self, api_version: &str, kind: &str) -> bool {
        let owners = self.json.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let of = |owner: &Value, field: &str, text: &str| {
            owner.get(field).and_then(Value::as_str) == Some(text)
        };
        owners.into_iter().flatten().any(|owner| {
            owner.get("controller").and_then(Value::as_bool) == Some(true)
                && of(owner, "apiVersion", api_version)
                && of(owner, "kind", kind)
        })
    }
}

/// A change of an object, seen by the source of a name.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Who saw it.
    pub source: &'a Name,
    /// The address of the API server.
    pub server: &'a str,
    /// What happened.
    pub verb: Verb,
    /// To whom; as it was last, when it is gone.
    pub object: &'a Object,
    /// Group and version of its kind.
    pub api_version: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// The name of the kind in paths.
    pub plural: &'a str,
}

impl ApiServerPlan {
    /// Whether changes of an object are told of.
    pub fn wants(&self, object: &Object) -> bool {
        let owner = self.owner.as_ref();
        owner.is_none_or(|owner| object.is_controlled_by(&owner.api_version, &owner.kind))
    }

    /// The event of a change that is seen at `time`.
    ///
    /// # Errors
    ///
    /// When an attribute breaks a rule.
    pub fn event(&self, change: &Change<'_>, time: Timestamp) -> Result<Event, Invalid> {
        let Change { object, api_version, kind, .. } = change;
        let Name { namespace, name } = &object.name;
        let mut draft = Draft::new(SpecVersion::V10);
        // Two sources may see one change: each makes an event of its own of it.
        let seer = fingerprint(&[&change.source.namespace, &change.source.name], 4);
        let id = format!("{seer}-{}-{}-{}", object.uid, object.version, change.verb.as_str());
        draft.push_text("id", &id, Kind::String)?;
        draft.push_text("source", change.server, Kind::String)?;
        draft.push_text("type", &self.mode.event_type(change.verb), Kind::String)?;
        draft.push_text("subject", &change.subject(), Kind::String)?;
        draft.push_text("time", &time.to_string(), Kind::String)?;
        draft.push_text("apiversion", api_version, Kind::String)?;
        draft.push_text("kind", kind, Kind::String)?;
        draft.push_text("name", name, Kind::String)?;
        if !namespace.is_empty() {
            draft.push_text("namespace", namespace, Kind::String)?;
        }
        draft.content_type(b"application/json")?;
        let data = match self.mode {
            Mode::Resource => object.json.to_string(),
            Mode::Reference => {
                let mut reference = json!({
                    "apiVersion": api_version,
                    "kind": kind,
                    "name": name,
                    "uid": object.uid,
                    "resourceVersion": object.version,
                });
                if let (false, Some(map)) = (namespace.is_empty(), reference.as_object_mut()) {
                    map.insert("namespace".to_owned(), namespace.as_str().into());
                }
                reference.to_string()
            }
        };
        draft.set_data(Some(Data::opaque(Bytes::from(data))));
        self.overrides.apply(&mut draft);
        draft.finish()
    }
}

impl Change<'_> {
    /// The path of the object, as Knative writes it: those of the core group begin with `/apis` too.
    fn subject(&self) -> String {
        let Name { namespace, name } = &self.object.name;
        let (api_version, plural) = (self.api_version, self.plural);
        if namespace.is_empty() {
            format!("/apis/{api_version}/{plural}/{name}")
        } else {
            format!("/apis/{api_version}/namespaces/{namespace}/{plural}/{name}")
        }
    }
}

/// What the events of a source at that API server say of themselves.
pub fn ce_attributes(plan: &ApiServerPlan, server: &str) -> Vec<EventAttributes> {
    let verbs = [Verb::Add, Verb::Delete, Verb::Update].into_iter();
    let source = || server.to_owned();
    verbs
        .map(|verb| EventAttributes { kind: plan.mode.event_type(verb), source: source() })
        .collect()
}
