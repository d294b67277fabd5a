//! What the feed of a cluster shares with whoever reports to it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use channel::Name;

use super::{
    apiserver::Standings,
    binding::Bindings,
    referred::{KindKey, Referred},
    seen::AllSeen,
    watch::Change,
};
use crate::manifest::Kind;

/// What is shared with whoever reports.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) seen: AllSeen,
    pub(super) referred: Arc<Referred>,
    /// How the sources are that watch the cluster.
    pub(super) standings: Standings,
    /// How far the programs are that are told where their events go.
    pub(super) bindings: Bindings,
    /// Config maps and Secrets that nobody has told of yet.
    unanswered: Mutex<BTreeSet<(Kind, Name)>>,
}

impl Shared {
    /// Config maps and Secrets that nobody has told of yet.
    pub(super) fn unanswered(&self) -> BTreeSet<(Kind, Name)> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes whether a config map or Secret is still to be told of.
    pub(super) fn set_unanswered(&self, about: &(Kind, Name), is_so: bool) {
        let mut all = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = if is_so { all.insert(about.clone()) } else { all.remove(about) };
        if is_news {
            self.seen.change();
        }
    }

    /// Takes in what became of a kind that is referred to. Returns whether references lead elsewhere now.
    pub(super) fn take_referred(&self, key: &KindKey, change: Change) -> bool {
        match change {
            Change::Put(name, object, _) => {
                let put = self.referred.put(key, &name, &object);
                if put.is_news {
                    self.seen.change();
                }
                put.is_moved
            }
            Change::Gone(name) => self.referred.remove(key, &name),
            Change::Listed(names) => self.referred.set_listed(key, &names),
            Change::Absent => {
                self.referred.set_absent(key);
                true
            }
            Change::Failed(why) => {
                self.referred.set_failed(key, why);
                true
            }
            Change::Recovered => self.referred.set_recovered(key),
        }
    }
}
