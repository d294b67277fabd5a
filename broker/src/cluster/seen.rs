//! What a cluster says of our objects beside what they want: who they are, and what was reported.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use channel::{Name, status::Condition};
use jiff::Timestamp;
use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::Value;
use tokio::time::Instant;

use super::{binding::BOUND, report::MANAGER};
use crate::{
    manifest::Kind,
    spec::{CLASS, CLASS_ANNOTATION},
};

/// An object of one of our kinds, as it was last seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) uid: String,
    /// When it was first seen.
    pub(super) since: Option<Instant>,
    /// Which of two looks is the later one: resource versions of an object are counted up.
    pub(super) version: u64,
    pub(super) generation: i64,
    /// The class of a Broker that is not ours.
    pub(super) foreign_class: Option<String>,
    /// The config map that a Broker names.
    pub(super) config: Option<Name>,
    /// The broker that a Trigger names, the channel that a Subscription names.
    pub(super) hub: Option<Name>,
    /// The `spec` that a Channel's template gives what stands behind it.
    pub(super) template: Option<Value>,
    /// Whether a Channel stands before it.
    pub(super) is_backing: bool,
    pub(super) is_ending: bool,
    pub(super) finalizers: Vec<String>,
    /// Whether a person has given up what cannot be deleted.
    pub(super) is_abandoned: bool,
    /// The kinds of what a SinkBinding was put into, as it says itself.
    pub(super) bound_kinds: Option<Box<str>>,
    /// Whether anything was reported of it by anybody.
    pub(super) has_status: bool,
    /// Whether it was reported by us.
    pub(super) is_reported: bool,
    /// What `status` says, the times of changes aside.
    pub(super) digest: u64,
    /// When each condition last changed.
    pub(super) changes: Box<[Changed]>,
}

/// A condition's state, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    /// Hash of its type: there may be very many objects, each with the same few types.
    kind: u64,
    status: Status,
    /// Since when; a condition may not say.
    since: Option<Timestamp>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    True,
    False,
    Unknown,
}

impl Status {
    fn read(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

impl Changed {
    /// What is kept of a condition.
    pub(super) fn new(kind: &str, status: &str, since: Option<&str>) -> Self {
        let since = since.and_then(|since| since.parse().ok());
        Self { kind: hash_of(kind), status: Status::read(status), since }
    }

    /// Whether it is about a condition of that type.
    pub(super) fn is_of(&self, kind: &str) -> bool {
        self.kind == hash_of(kind)
    }

    /// Whether its status is that one.
    pub(super) fn is(&self, status: &str) -> bool {
        self.status == Status::read(status)
    }

    /// Since when, as a condition says it.
    pub(super) fn since(&self) -> Option<String> {
        self.since.map(in_seconds)
    }
}

/// A time as Kubernetes writes it.
pub(super) fn in_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Seen {
    /// What is kept of an object.
    pub(super) fn of(kind: Kind, object: &DynamicObject) -> Self {
        let status = object.data.get("status").filter(|status| !is_empty(status));
        let conditions = status.and_then(|status| status.get("conditions"));
        let conditions: Vec<Condition> = conditions
            .and_then(|conditions| serde_json::from_value(conditions.clone()).ok())
            .unwrap_or_default();
        let changes = conditions.iter().map(|condition| {
            let since = condition.last_transition_time.as_deref();
            Changed::new(&condition.kind, &condition.status, since)
        });
        let is_broker = kind == Kind::Broker;
        let class = object.annotations().get(CLASS_ANNOTATION);
        let class = class.filter(|class| is_broker && !class.is_empty() && *class != CLASS);
        let namespace = object.namespace().unwrap_or_default();
        let text = |pointer| object.data.pointer(pointer).and_then(Value::as_str);
        let broker = text("/spec/broker").or_else(|| text("/spec/brokerRef/name"));
        let config = text("/spec/config/name").filter(|_| is_broker);
        let config_in = text("/spec/config/namespace").unwrap_or(&namespace);
        Self {
            uid: object.uid().unwrap_or_default(),
            since: None,
            version: object.resource_version().and_then(|it| it.parse().ok()).unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            foreign_class: class.cloned(),
            config: config.map(|config| Name::new(config_in, config)),
            hub: match kind {
                Kind::Trigger => broker.map(|broker| {
                    Name::new(text("/spec/brokerRef/namespace").unwrap_or(&namespace), broker)
                }),
                Kind::Subscription => {
                    text("/spec/channel/name").map(|channel| Name::new(&*namespace, channel))
                }
                _ => None,
            },
            template: (kind == Kind::Channel)
                .then(|| object.data.pointer("/spec/channelTemplate/spec").cloned())
                .flatten(),
            is_backing: object.owner_references().iter().any(|owner| owner.kind == "Channel"),
            is_ending: object.metadata.deletion_timestamp.is_some(),
            finalizers: object.finalizers().to_vec(),
            is_abandoned: Self::asks_to_abandon(object),
            bound_kinds: object.annotations().get(BOUND).map(|kinds| kinds.as_str().into()),
            has_status: status.is_some(),
            is_reported: object.managed_fields().iter().any(|entry| {
                entry.manager.as_deref() == Some(MANAGER)
                    && entry.subresource.as_deref() == Some("status")
            }),
            digest: digest(status.unwrap_or(&Value::Null)),
            changes: changes.collect(),
        }
    }
}

fn is_empty(status: &Value) -> bool {
    status.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Equal for what says the same, whenever its conditions changed and in whatever order its fields are.
pub(super) fn digest(status: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash(status, &mut hasher);
    hasher.finish()
}

fn hash(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> =
                fields.keys().filter(|key| *key != "lastTransitionTime").collect();
            keys.sort_unstable();
            keys.len().hash(hasher);
            for key in keys {
                key.hash(hasher);
                fields.get(key).iter().for_each(|value| hash(value, hasher));
            }
        }
        Value::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| hash(item, hasher));
        }
        other => other.to_string().hash(hasher),
    }
}

/// All of them, shared by what follows the cluster and what reports to it.
#[derive(Debug, Default)]
pub(super) struct AllSeen {
    objects: Mutex<BTreeMap<(Kind, Name), Seen>>,
    /// Changes that reports may depend on.
    changes: AtomicU64,
}

impl AllSeen {
    /// A look at all of them; not to be held across waiting.
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<(Kind, Name), Seen>> {
        // What it guards is changed in single steps.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an object as it is now.
    pub(super) fn put(&self, key: (Kind, Name), seen: Seen) {
        let mut objects = self.lock();
        let known = objects.get(&key).filter(|known| known.uid == seen.uid);
        let since = known.and_then(|known| known.since).unwrap_or_else(Instant::now);
        objects.insert(key, Seen { since: Some(since), ..seen });
        drop(objects);
        self.change();
    }

    /// How many changes there were so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Notes that something has changed that reports may depend on.
    pub(super) fn change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes what became of an object when it was written to; the watch may have told of later ones.
    pub(super) fn note(&self, key: (Kind, Name), seen: Seen) {
        let mut objects = self.lock();
        if let Some(known) = objects.get_mut(&key)
            && known.uid == seen.uid
            && known.version <= seen.version
        {
            *known = Seen { since: known.since, ..seen };
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_covers_all_but_order_and_times() {
        let one = json!({"a": 1, "conditions": [{"type": "Ready", "lastTransitionTime": "x"}]});
        let other = json!({"conditions": [{"lastTransitionTime": "y", "type": "Ready"}], "a": 1});
        assert_eq!(digest(&one), digest(&other));
        assert_ne!(digest(&one), digest(&json!({"a": 2, "conditions": [{"type": "Ready"}]})));
        assert_ne!(digest(&json!(["1"])), digest(&json!([1])));
        assert_ne!(digest(&json!(null)), digest(&json!({})));
    }
}
