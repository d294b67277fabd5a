//! What outlives a Broker or channel on a server: deleted with it, which a finalizer waits for.

use std::{collections::HashMap, sync::Arc};

use channel::{Erased, Hub, HubKind, Name};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{self, Duration, Instant},
};

use super::write::Teller;
use crate::{
    channels::{OpenFailure, Opener},
    cluster::{error::in_words, kinds::Followed, loose::Loose, seen::Seen, shared::Shared},
    control::Inventory,
    manifest::Kind,
    spec::{ChannelChoice, ChannelKind},
};

/// Waits for the topics of a deleted object.
pub(in crate::cluster) const KAFKA: &str = "catchment.dev/kafka";

/// Waits for the streams of a deleted object.
pub(in crate::cluster) const NATS: &str = "catchment.dev/nats";

/// The annotation by which a person gives up what cannot be deleted.
const ABANDON: &str = "catchment.dev/abandon";

/// How long other processes may take to let go of a deleted object.
const LET_GO: Duration = Duration::from_secs(2);

/// How soon a deletion that is not done is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Deletions at a time.
const AT_A_TIME: usize = 4;

/// How long one write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

type Key = (Kind, Name);

/// Puts finalizers on what has something to be deleted, and takes them off when that is done.
pub(super) struct Cleaner {
    client: Client,
    shared: Arc<Shared>,
    opener: Arc<dyn Opener>,
    teller: Teller,
    /// How long what cannot be deleted holds up the end of its object.
    patience: Duration,
    ending: HashMap<Key, Ending>,
    works: JoinSet<(Key, Result<Erased, OpenFailure>)>,
}

/// An object that is being deleted.
#[derive(Debug)]
struct Ending {
    since: Instant,
    next_at: Instant,
    is_at_work: bool,
    is_done: bool,
    /// Why it is not done yet.
    why: Option<String>,
}

impl Cleaner {
    pub(super) fn new(
        client: Client,
        shared: Arc<Shared>,
        opener: Arc<dyn Opener>,
        patience: Duration,
    ) -> Self {
        Self {
            teller: Teller::new(client.clone()),
            client,
            shared,
            opener,
            patience,
            ending: HashMap::new(),
            works: JoinSet::new(),
        }
    }

    /// Whether something is under way, so that it is looked again although nothing has changed.
    pub(super) fn is_waiting(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Looks what has come and what has gone. Deletions go on beside it.
    pub(super) async fn look(&mut self, inventory: &Inventory) {
        while let Some(ended) = self.works.try_join_next() {
            self.note(ended);
        }
        for (key, seen, finalizer) in self.unguarded(inventory) {
            let mut finalizers = seen.finalizers.clone();
            finalizers.push(finalizer.to_owned());
            self.write(&key, &seen, &finalizers).await;
        }
        for (key, seen) in self.handed_over() {
            let others = seen.finalizers.iter().filter(|it| *it != KAFKA && *it != NATS);
            let others: Vec<String> = others.cloned().collect();
            let note = "others run it now: what it has on its server is left there".to_owned();
            self.teller.warn(key.0, &key.1, &seen, "LeftBehind", note).await;
            self.write(&key, &seen, &others).await;
        }
        let ending = self.deleted(inventory);
        self.ending.retain(|key, _| ending.iter().any(|(known, _)| known == key));
        for (key, seen) in ending {
            self.clean(key, seen).await;
        }
    }

    /// Objects whose channel is on a server, without the finalizer for it.
    fn unguarded(&self, inventory: &Inventory) -> Vec<(Key, Seen, &'static str)> {
        let seen = self.shared.seen.lock();
        let resources = &inventory.resources;
        let brokers = inventory.kinds.iter().filter_map(|(hub, kept)| {
            let finalizer = match *kept {
                kind if kind == ChannelKind::Kafka.as_str() => KAFKA,
                kind if kind == ChannelKind::Nats.as_str() => NATS,
                _ => return None,
            };
            let kind = match hub.kind {
                HubKind::Broker => Kind::Broker,
                HubKind::Channel => resources.channels.get(&hub.name)?.spec.kind,
            };
            let key = (kind, hub.name.clone());
            let seen = seen.get(&key)?;
            let has_it = seen.finalizers.iter().any(|it| it == finalizer);
            (!has_it && !seen.is_ending).then(|| (key, seen.clone(), finalizer))
        });
        brokers.collect()
    }

    /// Objects of ours that others run now.
    fn handed_over(&self) -> Vec<(Key, Seen)> {
        let seen = self.shared.seen.lock();
        let is_theirs = |seen: &Seen| {
            seen.foreign_class.is_some() && !seen.is_ending && finalizer_of(seen).is_some()
        };
        let theirs = seen.iter().filter(|(_, seen)| is_theirs(seen));
        theirs.map(|(key, seen)| (key.clone(), seen.clone())).collect()
    }

    /// Deleted objects that wait for us, once this process has let go of them.
    fn deleted(&self, inventory: &Inventory) -> Vec<(Key, Seen)> {
        let seen = self.shared.seen.lock();
        let is_ours = |seen: &Seen| finalizer_of(seen).is_some();
        let all = seen.iter().filter(|(_, seen)| seen.is_ending && is_ours(seen));
        all.filter(|((kind, name), _)| {
            let hub = hub_of(*kind, name);
            hub.is_some_and(|hub| inventory.hub(&hub).is_none())
        })
        .map(|(key, seen)| (key.clone(), seen.clone()))
        .collect()
    }

    async fn clean(&mut self, key: Key, seen: Seen) {
        let Some(finalizer) = finalizer_of(&seen) else { return };
        let Some(hub) = hub_of(key.0, &key.1) else { return };
        let now = Instant::now();
        let ending = self.ending.entry(key.clone()).or_insert_with(|| Ending {
            since: now,
            next_at: now + LET_GO,
            is_at_work: false,
            is_done: false,
            why: None,
        });
        let is_given_up = seen.is_abandoned || now - ending.since >= self.patience;
        if ending.is_done || is_given_up {
            if !ending.is_done {
                let why = ending.why.clone().unwrap_or_else(|| "it was not tried".to_owned());
                let note =
                    format!("what {} has on its server is left there: {why}", hub.in_words());
                tracing::warn!(hub = %hub, %why, "what a deleted object has on its server is left there");
                self.teller.warn(key.0, &key.1, &seen, "LeftBehind", note).await;
            }
            let left: Vec<String> =
                seen.finalizers.iter().filter(|it| *it != finalizer).cloned().collect();
            self.write(&key, &seen, &left).await;
            return;
        }
        if ending.is_at_work || now < ending.next_at || self.works.len() >= AT_A_TIME {
            return;
        }
        ending.is_at_work = true;
        let choice = if finalizer == KAFKA {
            ChannelChoice::Kafka(Default::default())
        } else {
            ChannelChoice::Nats(Box::default())
        };
        let erase = self.opener.erase(&hub, &choice);
        let at = key.clone();
        self.works.spawn(async move { (key, erase.await) });
        if let Some(why) = ending.why.clone() {
            let note =
                format!("what {} has on its server is not deleted yet: {why}", hub.in_words());
            self.teller.warn(at.0, &at.1, &seen, "CleanupPending", note).await;
        }
    }

    fn note(&mut self, ended: Result<(Key, Result<Erased, OpenFailure>), tokio::task::JoinError>) {
        let Ok((key, erased)) = ended else {
            // A panic in there is a bug of ours: all are tried again.
            self.ending.values_mut().for_each(|ending| ending.is_at_work = false);
            return;
        };
        let Some(ending) = self.ending.get_mut(&key) else { return };
        ending.is_at_work = false;
        ending.next_at = Instant::now() + AGAIN_AFTER;
        match erased {
            Ok(erased) => {
                ending.is_done = erased.is_done();
                ending.why =
                    (!erased.is_done()).then(|| format!("left: {}", erased.left.join(", ")));
                if !erased.removed.is_empty() {
                    let removed = erased.removed.join(", ");
                    tracing::info!(object = %key.1, %removed, "what a deleted object had stored is deleted");
                }
            }
            // Nothing was ever stored on a server that nobody named.
            Err(failure) if failure.reason == "ChannelNotConfigured" => ending.is_done = true,
            Err(failure) => ending.why = Some(failure.message),
        }
    }

    /// Sets the finalizers of an object, if it is still as it was seen.
    async fn write(&self, (kind, name): &Key, seen: &Seen, finalizers: &[String]) {
        let Some(followed) = Followed::of(*kind) else { return };
        let resource = followed.resource();
        let api: Api<Loose> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let body = json!({ "metadata": {
            "uid": seen.uid,
            "resourceVersion": seen.version.to_string(),
            "finalizers": finalizers,
        }});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&body));
        let patched = time::timeout(WRITE_TIMEOUT, api.patch(&name.name, &params, &patch));
        match patched.await {
            Ok(Ok(object)) => {
                let (object, _) = object.read(&resource);
                // Of an object that is gone now the watch tells.
                self.shared.seen.note((*kind, name.clone()), Seen::of(*kind, &object));
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
            Ok(Err(error)) => {
                let doing = format!("cannot patch {} {name}", followed.full_name());
                tracing::warn!(why = %in_words(&doing, &error), "a finalizer could not be set");
            }
            Err(_) => tracing::warn!(object = %name, "a finalizer could not be set: no answer"),
        }
    }
}

/// The finalizer of ours that an object has.
fn finalizer_of(seen: &Seen) -> Option<&'static str> {
    [KAFKA, NATS].into_iter().find(|ours| seen.finalizers.iter().any(|it| it == ours))
}

fn hub_of(kind: Kind, name: &Name) -> Option<Hub> {
    match kind {
        Kind::Broker => Some(Hub::broker(name.clone())),
        Kind::Channel | Kind::Backing(_) => Some(Hub::channel(name.clone())),
        Kind::Trigger | Kind::Subscription | Kind::Source(_) | Kind::ConfigMap | Kind::Secret => {
            None
        }
    }
}

impl Seen {
    /// The annotation that gives up what cannot be deleted.
    pub(in crate::cluster) fn asks_to_abandon(object: &DynamicObject) -> bool {
        let annotations = object.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(ABANDON)).is_some_and(|value| value == "true")
    }
}
