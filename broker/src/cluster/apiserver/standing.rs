//! How the watches of each ApiServerSource are, for the conditions that tell of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use channel::Name;
use kube::core::Status;

use crate::cluster::error::in_words;

/// Why objects are not watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Trouble {
    /// In one word, as a condition's reason.
    pub(in crate::cluster) reason: &'static str,
    /// In words that name the verb and the resource.
    pub(in crate::cluster) why: String,
}

/// The reason when a right is missing.
pub(in crate::cluster) const FORBIDDEN: &str = "MissingPermissions";

impl Trouble {
    /// A request that failed.
    pub(super) fn of(doing: &str, error: &kube::Error) -> Self {
        let is_forbidden =
            matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403));
        let reason = if is_forbidden { FORBIDDEN } else { "WatchFailed" };
        Self { reason, why: in_words(doing, error) }
    }

    /// A watch that ended with a status.
    pub(super) fn of_status(doing: &str, status: &Status) -> Self {
        Self::of(doing, &kube::Error::Api(Box::new(status.clone())))
    }
}

/// How the watches of one source are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) struct Standing {
    /// Where it looks; the empty name stands for all namespaces.
    pub(in crate::cluster) namespaces: Vec<String>,
    /// Its watches by what they are about; `None` while one has not begun.
    pub(in crate::cluster) watches: BTreeMap<String, Option<Result<(), Trouble>>>,
}

impl Standing {
    /// The first of what is wrong, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        let mut states = self.watches.values().flatten();
        states.find_map(|state| state.as_ref().err()).map(|trouble| trouble.why.clone())
    }
}

/// How the watches of all of them are.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Standings {
    all: Mutex<BTreeMap<Name, Standing>>,
}

impl Standings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Standing>> {
        // What it guards is changed in single steps.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How those of one source are; `None` while it does not run.
    pub(in crate::cluster) fn get(&self, source: &Name) -> Option<Standing> {
        self.lock().get(source).cloned()
    }

    /// Changes what is known of a source that runs, which it is begun with. Returns whether that is
    /// news.
    pub(super) fn change(&self, source: &Name, change: impl FnOnce(&mut Standing)) -> bool {
        let mut all = self.lock();
        let standing = all.entry(source.clone()).or_default();
        let before = standing.clone();
        change(standing);
        *standing != before
    }

    /// Notes that a source does not run any more.
    pub(super) fn end(&self, source: &Name) {
        self.lock().remove(source);
    }
}
