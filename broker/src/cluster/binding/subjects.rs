//! Objects with pod templates, watched: of each what decides whether it is to be written to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map},
    sync::{Arc, OnceLock},
};

use channel::Name;
use kube::{
    Client, ResourceExt as _,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, sync::DropGuard, task::TaskTracker};

use super::{standing::UNAVAILABLE, template::MANAGER_PREFIX};
use crate::cluster::{
    Troubles,
    apiserver::FORBIDDEN,
    referred::KindKey,
    subject::{Subject, look_up},
    watch::{Change, News},
};

/// Changes that wait to be taken in.
const CHANGES_MAX: usize = 1024;

/// Kinds that are watched.
const KINDS_MAX: usize = 16;

/// The label of an object that is not to be bound, as Knative has it.
const EXCLUDE: &str = "bindings.knative.dev/exclude";

/// An object with a pod template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) labels: BTreeMap<String, String>,
    /// The names of the SinkBindings that have put something into it.
    pub(super) bound_by: Vec<String>,
    /// The uid of what controls it.
    pub(super) controller: Option<String>,
    /// Whether its pods are available, as a Deployment says it of its present generation; and why not.
    pub(super) available: Option<Result<(), String>>,
    pub(super) is_ending: bool,
}

impl Thing {
    /// What is kept of an object.
    pub(super) fn of(object: &DynamicObject) -> Self {
        let managers = object.managed_fields().iter().filter_map(|entry| entry.manager.as_deref());
        let bound_by = managers.filter_map(|manager| manager.strip_prefix(MANAGER_PREFIX));
        let controller = object.owner_references().iter().find(|it| it.controller == Some(true));
        Self {
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            labels: object.labels().clone(),
            bound_by: bound_by.map(ToOwned::to_owned).collect(),
            controller: controller.map(|it| it.uid.clone()),
            available: available(object),
            is_ending: object.metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether it asks to be left alone.
    pub(super) fn is_excluded(&self) -> bool {
        self.labels.get(EXCLUDE).is_some_and(|value| value == "true")
    }
}

fn available(object: &DynamicObject) -> Option<Result<(), String>> {
    let status = object.data.get("status")?;
    let observed = status.get("observedGeneration").and_then(Value::as_i64);
    let conditions = status.get("conditions").and_then(Value::as_array)?;
    let is_it = |it: &&Value| it.get("type").and_then(Value::as_str) == Some("Available");
    let condition = conditions.iter().find(is_it)?;
    let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
    if observed != object.metadata.generation {
        return None;
    }
    match text("status") {
        "True" => Some(Ok(())),
        "False" => Some(Err(text("message").to_owned())),
        _ => None,
    }
}

/// What is known of the objects of a kind as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing yet.
    #[default]
    Asked,
    /// All of them.
    Listed,
    /// The cluster does not have the kind.
    Absent,
    /// They cannot be told for now, for this reason; those that were told of are still known.
    Failed(String),
}

struct OfKind {
    known: Known,
    was_listed: bool,
    things: BTreeMap<Name, Thing>,
    /// How the API server knows the kind, once it does.
    resource: Arc<OnceLock<ApiResource>>,
    _stop: DropGuard,
}

/// All of them, of the kinds that are asked for.
pub(super) struct Subjects {
    client: Client,
    kinds: HashMap<KindKey, OfKind>,
    sender: mpsc::Sender<News<Subject>>,
    changes: mpsc::Receiver<News<Subject>>,
    tasks: TaskTracker,
    troubles: Arc<Troubles>,
}

impl Subjects {
    /// What cannot be watched is told in `troubles`.
    pub(super) fn new(client: Client, troubles: Arc<Troubles>) -> Self {
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let (kinds, tasks) = (HashMap::new(), TaskTracker::new());
        Self { client, kinds, sender, changes, tasks, troubles }
    }

    /// Watches the objects of these kinds, as many as may be, and no others.
    pub(super) fn watch(&mut self, wanted: &BTreeSet<KindKey>) {
        let gone: Vec<KindKey> =
            self.kinds.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in gone {
            self.kinds.remove(&key);
            self.troubles.remove(&about(&key));
        }
        for key in wanted.iter().take(KINDS_MAX) {
            if let hash_map::Entry::Vacant(vacant) = self.kinds.entry(key.clone()) {
                let (stop, resource) =
                    (CancellationToken::new(), Arc::<OnceLock<ApiResource>>::default());
                vacant.insert(OfKind {
                    known: Known::Asked,
                    was_listed: false,
                    things: BTreeMap::new(),
                    resource: Arc::clone(&resource),
                    _stop: stop.clone().drop_guard(),
                });
                let (client, changes) = (self.client.clone(), self.sender.clone());
                let found = move |kind: &ApiResource| drop(resource.set(kind.clone()));
                self.tasks.spawn(look_up(client, key.clone(), changes, stop, found));
            }
        }
    }

    /// Waits for a change, and takes in all that have come. Cancel safe.
    pub(super) async fn changed(&mut self) {
        // We hold a sender ourselves, so there is always one to come.
        if let Some(news) = self.changes.recv().await {
            self.take(news);
        }
        while let Ok(news) = self.changes.try_recv() {
            self.take(news);
        }
    }

    fn take(&mut self, News { from, change }: News<Subject>) {
        let Subject::Referred(key) = &from else { return };
        // A watch that was ended may have told something before.
        let Some(of_kind) = self.kinds.get_mut(key) else { return };
        from.log(&change);
        match &change {
            Change::Failed(why) => self.troubles.add(&about(key), why),
            _ => self.troubles.remove(&about(key)),
        }
        match change {
            Change::Put(name, object, _) => {
                of_kind.things.insert(name, Thing::of(&object));
            }
            Change::Gone(name) => drop(of_kind.things.remove(&name)),
            Change::Listed(names) => {
                of_kind.things.retain(|name, _| names.contains(name));
                (of_kind.known, of_kind.was_listed) = (Known::Listed, true);
            }
            Change::Absent => {
                of_kind.things.clear();
                of_kind.known = Known::Absent;
            }
            Change::Failed(why) => of_kind.known = Known::Failed(why),
            Change::Recovered if of_kind.was_listed => of_kind.known = Known::Listed,
            Change::Recovered => of_kind.known = Known::Asked,
        }
    }

    /// What is known of a kind; `None` when there are too many to watch it.
    pub(super) fn known(&self, key: &KindKey) -> Option<&Known> {
        self.kinds.get(key).map(|of_kind| &of_kind.known)
    }

    /// Why nothing can be said of the objects of a kind, in one word and in many. That an API server
    /// is away for a while is no reason: they are as they were last known.
    pub(super) fn trouble(&self, key: &KindKey) -> Option<(&'static str, &str)> {
        let of_kind = self.kinds.get(key)?;
        let Known::Failed(why) = &of_kind.known else { return None };
        // An API server's text says when a right is missing.
        let is_forbidden = why.contains(" is forbidden: ");
        let reason = if is_forbidden { FORBIDDEN } else { UNAVAILABLE };
        (is_forbidden || !of_kind.was_listed).then_some((reason, why))
    }

    /// How the API server knows a kind; `None` before it was found out.
    pub(super) fn resource(&self, key: &KindKey) -> Option<&ApiResource> {
        self.kinds.get(key)?.resource.get()
    }

    pub(super) fn get(&self, key: &KindKey, name: &Name) -> Option<&Thing> {
        self.kinds.get(key)?.things.get(name)
    }

    /// The objects of a kind in one namespace.
    pub(super) fn of_namespace<'a>(
        &'a self,
        key: &KindKey,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Name, &'a Thing)> {
        let first = Name::new(namespace, "");
        let things = self.kinds.get(key).map(|of_kind| of_kind.things.range(first..));
        things.into_iter().flatten().take_while(move |(name, _)| name.namespace == namespace)
    }

    /// All objects, with their kinds.
    pub(super) fn all(&self) -> impl Iterator<Item = (&KindKey, &Name, &Thing)> {
        self.kinds.iter().flat_map(|(key, of_kind)| {
            of_kind.things.iter().map(move |(name, thing)| (key, name, thing))
        })
    }

    /// Notes an object as it is after it was written to; the watch may have told of a later one.
    pub(super) fn note(&mut self, key: &KindKey, name: &Name, object: &DynamicObject) {
        let Some(of_kind) = self.kinds.get_mut(key) else { return };
        let thing = Thing::of(object);
        let known = of_kind.things.get(name);
        if known.is_none_or(|known| known.generation <= thing.generation) {
            of_kind.things.insert(name.clone(), thing);
        }
    }
}

/// What the objects of a kind are called among the troubles.
fn about(key: &KindKey) -> String {
    format!("subjects {key}")
}
