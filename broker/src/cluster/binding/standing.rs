//! How far each SinkBinding and ContainerSource is, for the conditions that tell of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ::sources::status::Holds;
use channel::Name;

use crate::{cluster::apiserver::FORBIDDEN, manifest::SourceKind};

/// The reason when an API server does not answer.
pub(super) const UNAVAILABLE: &str = "SubjectUnavailable";

/// How far one of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Standing {
    /// Whether all containers are told where their events go.
    pub(in crate::cluster) bound: Holds,
    /// Whether the pods of a ContainerSource run.
    pub(in crate::cluster) runs: Holds,
}

impl Standing {
    /// One that has no pods of its own.
    pub(super) fn of(bound: Holds) -> Self {
        Self { bound, runs: Holds::True }
    }

    /// Whether an API server did not let something happen, which may be so for a moment only.
    pub(super) fn is_doubtful(&self) -> bool {
        let reasons = [FORBIDDEN, UNAVAILABLE];
        matches!(&self.bound, Holds::False { reason, .. } if reasons.contains(reason))
    }

    /// Why it is not as it should be, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        [&self.bound, &self.runs].into_iter().find_map(|holds| match holds {
            Holds::False { message, .. } => Some(message.clone()),
            Holds::True | Holds::Unknown { .. } => None,
        })
    }
}

/// What one of them is known by.
pub(super) type Key = (SourceKind, Name);

/// How far all of them are.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Bindings {
    all: Mutex<BTreeMap<Key, Standing>>,
}

impl Bindings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Standing>> {
        // What it guards is changed in single steps.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far one is; `None` while it was not looked at.
    pub(in crate::cluster) fn get(&self, kind: SourceKind, name: &Name) -> Option<Standing> {
        self.lock().get(&(kind, name.clone())).cloned()
    }

    /// Notes how far all are. Returns whether that is news.
    pub(super) fn set(&self, standings: BTreeMap<Key, Standing>) -> bool {
        let mut all = self.lock();
        let is_news = *all != standings;
        *all = standings;
        is_news
    }
}
