//! What the objects of a cluster say together: each is to the rest what a file is to a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use channel::Name;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    document::{self, Any, Content, Item},
    kind::Kind,
    problem::{Position, Problem},
    resource::{Origin, Resource, Secret},
    state::State,
};
use crate::{addresses::Addresses, manifest::Snapshot};

/// The objects as they were last seen, and what follows from them.
///
/// An object that cannot be used as it is written counts as it was when it could.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    state: State,
    generations: BTreeMap<Arc<PathBuf>, i64>,
}

/// What stands for an object where others have a file: `Trigger default/orders`.
pub(crate) fn file_of(kind: &str, name: &Name) -> PathBuf {
    PathBuf::from(format!("{kind} {name}"))
}

impl Objects {
    /// Takes in an object as an API server gives it.
    pub(crate) fn put(&mut self, kind: &str, name: &Name, object: &Value) {
        let file = Arc::new(file_of(kind, name));
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
        self.generations.insert(Arc::clone(&file), generation.unwrap_or_default());
        let content = document::read_object(&file, object);
        self.state.learn(PathBuf::clone(&file), content);
    }

    /// Takes in an object of which a part cannot be read: `why` begins with its field.
    pub(crate) fn put_unreadable(&mut self, kind: Kind, name: &Name, generation: i64, why: &str) {
        let file = Arc::new(file_of(kind.as_str(), name));
        self.generations.insert(Arc::clone(&file), generation);
        let (field, message) = why.split_once(": ").unwrap_or(("", why));
        let problem = Problem::at(&file, Position::NONE, message);
        let problem = Problem { field: field.to_owned(), ..problem };
        self.state.learn(PathBuf::clone(&file), Content::of_bad(kind, name, problem));
    }

    /// Takes in a Secret that was read.
    pub(crate) fn put_secret(&mut self, name: &Name, secret: Secret) {
        let file = file_of(Kind::Secret.as_str(), name);
        let origin = Origin { file: Arc::new(file.clone()), position: Position::NONE };
        let resource = Resource {
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            hash: secret.hash(),
            generation: 0,
            origin,
            places: Vec::new(),
            spec: secret,
        };
        let item = Item { name: name.clone(), resource: Any::Secret(Arc::new(resource)) };
        self.state.learn(file, Content { items: vec![item], ..Content::default() });
    }

    /// Notes why a Secret cannot be read that never was.
    pub(crate) fn put_unread_secret(&mut self, name: &Name, why: &str) {
        let file = Arc::new(file_of(Kind::Secret.as_str(), name));
        let problem = Problem::at(&file, Position::NONE, why);
        self.state.learn(PathBuf::clone(&file), Content::of_bad(Kind::Secret, name, problem));
    }

    /// Forgets an object that is gone. Returns whether it was known.
    pub(crate) fn remove(&mut self, kind: &str, name: &Name) -> bool {
        let file = file_of(kind, name);
        self.generations.remove(&file);
        self.state.remove(&file)
    }

    /// Says which brokers others run.
    pub(crate) fn set_foreign(&mut self, brokers: BTreeSet<Name>) {
        self.state.set_foreign(brokers);
    }

    /// What all of them say now. What this process does not run is found by `addresses`.
    pub(crate) fn link(&mut self, addresses: &Arc<dyn Addresses>) -> Snapshot {
        self.state.relink(Timestamp::now());
        let mut snapshot = self.state.snapshot().clone();
        for standing in &snapshot.problems {
            let file = &standing.problem.file;
            if let Some(generation) = self.generations.get(file) {
                snapshot.generations.insert(Arc::clone(file), *generation);
            }
        }
        snapshot.addresses = Some(Arc::clone(addresses));
        snapshot
    }
}
