//! The namespaces whose labels fit a selector, as they come and go.

use std::{collections::BTreeSet, future::pending};

use futures_util::{StreamExt as _, stream::BoxStream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use sources::apiserver::Namespaces;

use super::Trouble;
use crate::cluster::watch::Waits;

/// Seconds after which a watch is begun anew.
const WATCH_SECONDS: u32 = 60;

/// What is known of them.
pub(super) enum Members {
    /// These.
    Are(BTreeSet<String>),
    /// They cannot be told for now; those that are known stay.
    Unknown(Trouble),
}

/// Follows the namespaces of a selector.
pub(super) struct Followed {
    stream: Option<BoxStream<'static, Result<Event<Namespace>, watcher::Error>>>,
    known: BTreeSet<String>,
    listing: BTreeSet<String>,
}

/// Whoever tells which namespaces are meant; of those without a selector there is nothing to tell.
pub(super) fn members(client: &Client, namespaces: &Namespaces) -> Followed {
    let stream = match namespaces {
        Namespaces::Own | Namespaces::All => None,
        Namespaces::Labelled(selector) => {
            let config = watcher::Config::default().timeout(WATCH_SECONDS).labels(selector);
            let api = Api::<Namespace>::all(client.clone());
            Some(watcher::watcher(api, config).backoff(Waits::default()).boxed())
        }
    };
    Followed { stream, known: BTreeSet::new(), listing: BTreeSet::new() }
}

impl Followed {
    /// What is new about them. Cancel safe.
    pub(super) async fn next(&mut self) -> Members {
        let Some(stream) = &mut self.stream else { return pending().await };
        loop {
            match stream.next().await {
                None => return pending().await,
                Some(Ok(Event::Init)) => {
                    self.listing.clear();
                    continue;
                }
                Some(Ok(Event::InitApply(namespace))) => {
                    self.listing.insert(namespace.name_any());
                    continue;
                }
                Some(Ok(Event::InitDone)) => self.known = std::mem::take(&mut self.listing),
                Some(Ok(Event::Apply(namespace))) => {
                    self.known.insert(namespace.name_any());
                }
                Some(Ok(Event::Delete(namespace))) => {
                    self.known.remove(&namespace.name_any());
                }
                Some(Err(error)) => {
                    let doing = "cannot list and watch namespaces";
                    let trouble = match &error {
                        watcher::Error::InitialListFailed(error)
                        | watcher::Error::WatchStartFailed(error)
                        | watcher::Error::WatchFailed(error) => Trouble::of(doing, error),
                        watcher::Error::WatchError(status) => Trouble::of_status(doing, status),
                        watcher::Error::NoResourceVersion => {
                            let why = format!("{doing}: they have no resource versions");
                            Trouble { reason: "WatchFailed", why }
                        }
                    };
                    return Members::Unknown(trouble);
                }
            }
            return Members::Are(self.known.clone());
        }
    }
}
