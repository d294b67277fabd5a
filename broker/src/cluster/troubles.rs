//! What cannot be followed of a cluster for now, for whoever asks why nothing happens.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

/// What cannot be followed, each with why: `triggers.eventing.knative.dev` and the API server's words.
#[derive(Debug, Default)]
pub struct Troubles {
    all: ArcSwap<BTreeMap<String, String>>,
}

impl Troubles {
    /// All of them, by what they are about.
    pub fn all(&self) -> Arc<BTreeMap<String, String>> {
        self.all.load_full()
    }

    /// Notes that something cannot be followed for now.
    pub(super) fn add(&self, about: &str, why: &str) {
        let mut all = BTreeMap::clone(&self.all.load());
        all.insert(about.to_owned(), why.to_owned());
        self.all.store(Arc::new(all));
    }

    /// Notes that it is followed again, or not wanted any more.
    pub(super) fn remove(&self, about: &str) {
        if self.all.load().contains_key(about) {
            let mut all = BTreeMap::clone(&self.all.load());
            all.remove(about);
            self.all.store(Arc::new(all));
        }
    }
}
