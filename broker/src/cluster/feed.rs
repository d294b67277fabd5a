//! All that is followed of a cluster, as snapshots of what it wants: the same that a folder gives.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use channel::Name;
use kube::{
    Api, Client, Config, ResourceExt as _,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, sync::DropGuard, task::TaskTracker};

use super::{
    Error, ObjectWatches,
    kinds::{FOLLOWED, Followed},
    referred::{KindKey, Referred},
    secrets::{Answer, Secrets},
    seen::Seen,
    shared::Shared,
    subject::{Subject, look_up},
    troubles::Troubles,
    wanted,
    watch::{Change, News, Watched, follow},
};
use crate::{
    addresses::Addresses,
    config::KubernetesSettings,
    manifest::{self, Kind, Objects, Snapshot},
};

/// Changes that wait to be taken in.
const CHANGES_MAX: usize = 1024;

/// Kinds that references may name.
const KINDS_MAX: usize = 64;

/// Config maps that brokers may name.
const CONFIG_MAPS_MAX: usize = 256;

/// The least time between two snapshots: a flood of changes is told in few.
const APART: Duration = Duration::from_millis(100);

/// A watch at work.
#[derive(Debug)]
struct Following {
    /// Whether it has told what there is, or why it cannot.
    has_answered: bool,
    _stop: DropGuard,
}

/// A cluster, followed.
pub struct Cluster {
    config: Config,
    client: Client,
    namespace: String,
    shared: Arc<Shared>,
    objects: Objects,
    /// What of each object was last taken in: its generation, labels and annotations.
    versions: HashMap<(Kind, Name), u64>,
    foreign: BTreeSet<Name>,
    /// The config map that each broker names.
    configs: BTreeMap<Name, Name>,
    following: HashMap<Subject, Following>,
    secrets: Secrets,
    sender: mpsc::Sender<News<Subject>>,
    changes: mpsc::Receiver<News<Subject>>,
    tasks: TaskTracker,
    troubles: Arc<Troubles>,
    /// Config maps and Secrets that were told of since the last snapshot, and those that are in it.
    answering: Vec<(Kind, Name)>,
    answered: Vec<(Kind, Name)>,
    /// Whether something has changed since the last snapshot.
    is_stale: bool,
    /// When the next snapshot may be made.
    next_at: Instant,
    /// Whether the first snapshot was given.
    is_begun: bool,
    snapshot: Snapshot,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Begins to follow the cluster of the kubeconfig, or the one that this pod runs in.
    ///
    /// # Errors
    ///
    /// When neither is there, or what they say cannot be used. A server that does not answer is no
    /// error here: it is asked until it does.
    pub async fn open(settings: &KubernetesSettings) -> Result<Self, Error> {
        let config = Config::infer().await;
        // Its text holds those of its causes.
        let config = config.map_err(|error| Error::NotConfigured(error.to_string()))?;
        let namespace = config.default_namespace.clone();
        tracing::info!(server = %config.cluster_url, %namespace, "following a cluster");
        let client = Client::try_from(config.clone()).map_err(Error::Unusable)?;
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let mut cluster = Self {
            config,
            secrets: Secrets::new(client.clone()),
            client,
            namespace,
            shared: Arc::default(),
            objects: Objects::default(),
            versions: HashMap::new(),
            foreign: BTreeSet::new(),
            configs: BTreeMap::new(),
            following: HashMap::new(),
            sender,
            changes,
            tasks: TaskTracker::new(),
            troubles: Arc::default(),
            answering: Vec::new(),
            answered: Vec::new(),
            is_stale: true,
            next_at: Instant::now(),
            is_begun: false,
            snapshot: Snapshot::default(),
        };
        let is_followed = |it: &&Followed| {
            (settings.messaging || !it.is_messaging()) && (settings.sources || !it.is_source())
        };
        for followed in FOLLOWED.iter().filter(is_followed) {
            let kind = followed.resource();
            let api = Api::all_with(cluster.client.clone(), &kind);
            let called = followed.full_name();
            cluster.watch(Subject::Ours(followed.kind), Watched { api, kind, called, only: None });
        }
        Ok(cluster)
    }

    /// What makes sources of its changes.
    pub(crate) fn watches(&self) -> ObjectWatches {
        let (config, client) = (self.config.clone(), self.client.clone());
        ObjectWatches { config, client, shared: Arc::clone(&self.shared) }
    }

    /// The client of its API server.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace that this process is in.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Tells in `troubles` what cannot be followed for now.
    pub fn tell_troubles(&mut self, troubles: Arc<Troubles>) {
        self.troubles = troubles;
    }

    /// What the cluster wants, as of the last snapshot.
    pub fn current(&self) -> Snapshot {
        self.snapshot.clone()
    }

    /// Waits until the cluster wants something else, and tells what; the first time, until all that
    /// it wants is known. Changes in quick succession are told as one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a change that was noticed is told by the next call.
    pub async fn next_change(&mut self) -> Snapshot {
        // The last snapshot is at work by now.
        for about in std::mem::take(&mut self.answered) {
            self.shared.set_unanswered(&about, false);
        }
        loop {
            let is_due = !self.is_begun || Instant::now() >= self.next_at;
            if self.is_stale && is_due && (self.is_begun || self.is_known()) {
                self.is_stale = false;
                self.next_at = Instant::now() + APART;
                let addresses: Arc<dyn Addresses> = Arc::<Referred>::clone(&self.shared.referred);
                self.objects.set_foreign(self.foreign.clone());
                self.snapshot = self.objects.link(&addresses);
                let is_waited_for = self.follow_wanted();
                if self.is_begun || !is_waited_for {
                    self.is_begun = true;
                    self.answered = std::mem::take(&mut self.answering);
                    return self.current();
                }
                self.is_stale = true;
            }
            let news = tokio::select! {
                biased;
                // We hold a sender ourselves, so there is always one to come.
                Some(news) = self.changes.recv() => news,
                Some(answer) = self.secrets.next() => {
                    self.take_secret(answer);
                    continue;
                }
                () = time::sleep_until(self.next_at), if self.is_stale && self.is_begun => continue,
            };
            self.take(news);
            while let Ok(news) = self.changes.try_recv() {
                self.take(news);
            }
        }
    }

    /// Whether every watch has answered, and every Secret was asked for.
    fn is_known(&self) -> bool {
        self.following.values().all(|following| following.has_answered) && self.secrets.is_known()
    }

    fn watch(&mut self, from: Subject, watched: Watched) {
        let stop = CancellationToken::new();
        let following = Following { has_answered: false, _stop: stop.clone().drop_guard() };
        self.following.insert(from.clone(), following);
        self.tasks.spawn(follow(watched, from, self.sender.clone(), stop));
    }

    /// Follows what is referred to, and nothing else. Returns whether an answer is to be waited for.
    fn follow_wanted(&mut self) -> bool {
        let kinds = wanted::kinds(&self.snapshot.resources);
        let fixed = manifest::default_channel_maps();
        let configs: HashSet<&Name> = self.configs.values().chain(&fixed).collect();
        let stale: Vec<Subject> = self
            .following
            .keys()
            .filter(|from| match from {
                Subject::Ours(_) => false,
                Subject::Referred(key) => !kinds.contains(key),
                Subject::ConfigMap(name) => !configs.contains(name),
            })
            .cloned()
            .collect();
        let configs: Vec<Name> = configs.into_iter().take(CONFIG_MAPS_MAX).cloned().collect();
        for from in stale {
            self.following.remove(&from);
            self.troubles.remove(&from.to_string());
            match from {
                Subject::Referred(key) => self.shared.referred.forget(&key),
                Subject::ConfigMap(name) => {
                    self.shared.set_unanswered(&(Kind::ConfigMap, name.clone()), false);
                    self.is_stale |= self.forget(Kind::ConfigMap, &name);
                }
                Subject::Ours(_) => {}
            }
        }
        for key in kinds.into_iter().take(KINDS_MAX) {
            let is_ours = FOLLOWED.iter().any(|followed| {
                KindKey::ours(followed) == key
                    && self.following.contains_key(&Subject::Ours(followed.kind))
            });
            if !is_ours && !self.following.contains_key(&Subject::Referred(key.clone())) {
                self.look_up(key);
            }
        }
        for name in configs {
            if !self.following.contains_key(&Subject::ConfigMap(name.clone())) {
                let kind = GroupVersionKind::gvk("", "v1", "ConfigMap");
                let kind = ApiResource::from_gvk_with_plural(&kind, "configmaps");
                let api = Api::namespaced_with(self.client.clone(), &name.namespace, &kind);
                self.shared.set_unanswered(&(Kind::ConfigMap, name.clone()), true);
                let called = format!("configmap {name}");
                let only = Some(name.name.clone());
                self.watch(Subject::ConfigMap(name), Watched { api, kind, called, only });
            }
        }
        let secrets = wanted::secrets(&self.snapshot.resources);
        self.is_stale |=
            self.secrets.follow(secrets, &mut self.objects, &self.troubles, &self.shared);
        !self.is_known()
    }

    /// Finds out how the API server knows a kind, then follows it.
    fn look_up(&mut self, key: KindKey) {
        let stop = CancellationToken::new();
        let following = Following { has_answered: false, _stop: stop.clone().drop_guard() };
        self.following.insert(Subject::Referred(key.clone()), following);
        self.shared.referred.ask(&key);
        let (client, changes) = (self.client.clone(), self.sender.clone());
        self.tasks.spawn(look_up(client, key, changes, stop, |_| {}));
    }

    fn take(&mut self, News { from, change }: News<Subject>) {
        // A watch that was ended may have told something before.
        let hash_map::Entry::Occupied(mut following) = self.following.entry(from.clone()) else {
            return;
        };
        match &change {
            Change::Listed(_) => following.get_mut().has_answered = true,
            Change::Absent => following.get_mut().has_answered = !from.is_needed(),
            Change::Failed(_) => {
                following.get_mut().has_answered |= !matches!(from, Subject::Ours(_));
            }
            Change::Put(..) | Change::Gone(_) | Change::Recovered => {}
        }
        let about = from.to_string();
        match &change {
            Change::Failed(why) => self.troubles.add(&about, why),
            Change::Absent if from.is_needed() => {
                self.troubles.add(&about, &format!("the cluster does not have {about}"));
            }
            _ => self.troubles.remove(&about),
        }
        from.log(&change);
        let is_news = match from {
            Subject::Ours(kind) => self.take_ours(kind, change),
            Subject::Referred(key) => self.shared.take_referred(&key, change),
            Subject::ConfigMap(name) => {
                self.answering.push((Kind::ConfigMap, name.clone()));
                self.take_config_map(&name, change)
            }
        };
        if is_news {
            self.shared.seen.change();
        }
        self.is_stale |= is_news;
    }

    fn take_secret(&mut self, answer: Answer) {
        if self.secrets.is_awaited(&answer.name) {
            self.answering.push((Kind::Secret, answer.name.clone()));
        }
        self.is_stale |= self.secrets.take(answer, &mut self.objects, &self.troubles);
    }

    fn take_config_map(&mut self, name: &Name, change: Change) -> bool {
        match change {
            Change::Put(_, object, unreadable) => {
                self.put(Kind::ConfigMap, name, &object, unreadable)
            }
            Change::Listed(names) if names.contains(name) => false,
            Change::Gone(_) | Change::Listed(_) => {
                self.forget(Kind::ConfigMap, name);
                true
            }
            Change::Absent | Change::Failed(_) => true,
            Change::Recovered => false,
        }
    }

    fn take_ours(&mut self, kind: Kind, change: Change) -> bool {
        let key = Followed::of(kind).map(KindKey::ours);
        match change {
            Change::Put(name, object, unreadable) => {
                let seen = Seen::of(kind, &object);
                let is_foreign = seen.foreign_class.is_some();
                let is_ending = seen.is_ending;
                let config = seen.config.clone();
                self.shared.seen.put((kind, name.clone()), seen);
                let mut is_news = key
                    .filter(|_| kind.is_addressable())
                    .is_some_and(|key| self.shared.referred.put(&key, &name, &object).is_moved);
                if kind == Kind::Broker {
                    match config.filter(|_| !is_foreign && !is_ending) {
                        Some(config) => drop(self.configs.insert(name.clone(), config)),
                        None => drop(self.configs.remove(&name)),
                    }
                    is_news |= if is_foreign {
                        self.foreign.insert(name.clone())
                    } else {
                        self.foreign.remove(&name)
                    };
                }
                is_news
                    | if is_foreign || is_ending {
                        self.forget(kind, &name)
                    } else {
                        self.put(kind, &name, &object, unreadable)
                    }
            }
            Change::Gone(name) => {
                self.lose(kind, &name);
                true
            }
            Change::Listed(names) => {
                let known: Vec<Name> = {
                    let seen = self.shared.seen.lock();
                    let known =
                        seen.keys().filter(|(of, name)| *of == kind && !names.contains(name));
                    known.map(|(_, name)| name.clone()).collect()
                };
                for name in &known {
                    self.lose(kind, name);
                }
                let is_news = key.is_some_and(|key| self.shared.referred.set_listed(&key, &names));
                is_news | !known.is_empty() | !self.is_begun
            }
            Change::Absent => {
                if let Some(key) = key {
                    self.shared.referred.set_absent(&key);
                }
                !self.is_begun
            }
            Change::Failed(_) | Change::Recovered => false,
        }
    }

    /// An object of ours is gone.
    fn lose(&mut self, kind: Kind, name: &Name) {
        self.shared.seen.lock().remove(&(kind, name.clone()));
        self.shared.seen.change();
        if let Some(followed) = Followed::of(kind) {
            self.shared.referred.remove(&KindKey::ours(followed), name);
        }
        if kind == Kind::Broker {
            self.foreign.remove(name);
        }
        self.forget(kind, name);
    }

    /// Takes in what an object wants. Returns whether that may be news: a change of its status is not.
    fn put(
        &mut self,
        kind: Kind,
        name: &Name,
        object: &DynamicObject,
        unreadable: Option<String>,
    ) -> bool {
        let mut hasher = DefaultHasher::new();
        (object.metadata.generation, object.annotations(), object.labels()).hash(&mut hasher);
        if kind == Kind::ConfigMap {
            object.resource_version().hash(&mut hasher);
        }
        object.uid().hash(&mut hasher);
        let version = hasher.finish();
        if self.versions.insert((kind, name.clone()), version) == Some(version) {
            return false;
        }
        if let Some(why) = unreadable {
            let generation = object.metadata.generation.unwrap_or_default();
            self.objects.put_unreadable(kind, name, generation, &why);
            return true;
        }
        // An object as it was given is JSON.
        let Ok(json) = serde_json::to_value(object) else { return false };
        self.objects.put(kind.as_str(), name, &json);
        true
    }

    /// Returns whether the object was known.
    fn forget(&mut self, kind: Kind, name: &Name) -> bool {
        self.versions.remove(&(kind, name.clone()));
        if kind == Kind::Broker {
            self.configs.remove(name);
        }
        self.objects.remove(kind.as_str(), name)
    }
}
