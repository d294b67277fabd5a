//! What the feed of a cluster shares with whoever reports to it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use channel::Name;

use super::{apiserver::Standings, binding::Bindings, referred::Referred, seen::AllSeen};

/// What is shared with whoever reports.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) seen: AllSeen,
    pub(super) referred: Arc<Referred>,
    /// How the sources are that watch the cluster.
    pub(super) standings: Standings,
    /// How far the programs are that are told where their events go.
    pub(super) bindings: Bindings,
    /// Config maps that nobody has told of yet.
    unanswered: Mutex<BTreeSet<Name>>,
}

impl Shared {
    /// Config maps that nobody has told of yet.
    pub(super) fn unanswered(&self) -> BTreeSet<Name> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes whether a config map is still to be told of.
    pub(super) fn set_unanswered(&self, name: &Name, is_so: bool) {
        let mut all = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = if is_so { all.insert(name.clone()) } else { all.remove(name) };
        if is_news {
            self.seen.change();
        }
    }
}
