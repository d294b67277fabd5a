//! A look at all SinkBindings and ContainerSources, again and again, by whoever leads.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ::sources::SourceId;
use channel::Name;
use futures_util::{StreamExt as _, stream};
use tokio::{
    select,
    sync::watch,
    time::{self, Duration, Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    ending::Ending,
    requests::Requests,
    standing::{Key, Standing},
    subjects::Subjects,
    wanted::Wanted,
    work::{Done, State, Target},
};
use crate::{
    cluster::{Cluster, apiserver::Trouble, finder::Finder, report::Teller, shared::Shared},
    control::{Control, Inventory},
    manifest::SourceKind,
};

/// How often it is looked whether something has changed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long an API server may refuse or not answer before that is told: one that begins does for a moment.
const DOUBTED_FOR: Duration = Duration::from_secs(10);

/// Requests at a time.
const AT_A_TIME: usize = 8;

/// Tells pods of others where their events go.
pub(in crate::cluster) struct Binder {
    pub(super) requests: Requests,
    pub(super) shared: Arc<Shared>,
    control: Arc<Control>,
    ingress_url: String,
    pub(super) teller: Teller,
    /// How long what cannot be taken out holds up the end of a SinkBinding.
    pub(super) patience: Duration,
    pub(super) subjects: Subjects,
    pub(super) states: HashMap<Target, State>,
    /// Deleted SinkBindings that wait.
    pub(super) ending: HashMap<Name, Ending>,
    /// Since when what an API server does not let happen is so.
    doubts: HashMap<Key, Instant>,
    /// When it is to be looked again although nothing has changed.
    pub(super) next_at: Option<Instant>,
}

impl Binder {
    pub(in crate::cluster) fn new(
        cluster: &Cluster,
        control: Arc<Control>,
        ingress_url: String,
        patience: Duration,
    ) -> Self {
        let client = cluster.client().clone();
        Self {
            requests: Requests::new(client.clone()),
            shared: Arc::clone(cluster.shared()),
            control: Arc::clone(&control),
            ingress_url,
            teller: Teller::new(client.clone()),
            patience,
            subjects: Subjects::new(client, Arc::clone(&control.troubles)),
            states: HashMap::new(),
            ending: HashMap::new(),
            doubts: HashMap::new(),
            next_at: None,
        }
    }

    /// Does what there is to do, whenever this process leads, until `stop` fires.
    pub(in crate::cluster) async fn run(
        mut self,
        leading: watch::Receiver<bool>,
        stop: CancellationToken,
    ) {
        let mut looks = time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = None;
        loop {
            select! {
                biased;
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
                () = self.subjects.changed() => {
                    looked = None;
                    continue;
                }
            }
            if !*leading.borrow() {
                // Whoever leads sees to it; a new leader looks at everything anew.
                self.subjects.watch(&BTreeSet::new());
                (looked, self.states, self.ending) = (None, HashMap::new(), HashMap::new());
                self.doubts.clear();
                if self.shared.bindings.set(BTreeMap::new()) {
                    self.forget_troubles();
                }
                continue;
            }
            let inventory = self.control.inventory.load_full();
            let now = (Arc::as_ptr(&inventory).addr(), self.shared.seen.changes());
            let is_due = self.next_at.is_some_and(|at| at <= Instant::now());
            if looked == Some(now) && !is_due {
                continue;
            }
            if stop.run_until_cancelled(self.look(&inventory)).await.is_none() {
                return;
            }
            looked = Some(now);
        }
    }

    /// Not cancel safe: what was done may be done again, which changes nothing.
    async fn look(&mut self, inventory: &Inventory) {
        self.next_at = None;
        let wanted = {
            let seen = self.shared.seen.lock();
            let (referred, ingress_url) = (&*self.shared.referred, self.ingress_url.as_str());
            Wanted::of(&Finder { inventory, referred, ingress_url }, &seen)
        };
        self.subjects.watch(&wanted.kinds());
        let unmarked = self.mark(&wanted).await;
        let works = self.works(&wanted, &unmarked);
        let is_done: Vec<(Target, u64, Done)> = {
            let requests = &self.requests;
            let works = works.into_iter().map(|work| work.run(requests));
            stream::iter(works).buffer_unordered(AT_A_TIME).collect().await
        };
        for (target, digest, done) in is_done {
            self.note(target, digest, done);
        }
        self.end(&wanted).await;
        self.tell(&wanted, &unmarked, inventory);
    }

    /// Says how far everything is.
    fn tell(
        &mut self,
        wanted: &Wanted,
        unmarked: &BTreeMap<Name, Option<Trouble>>,
        inventory: &Inventory,
    ) {
        let mut standings: BTreeMap<Key, Standing> = BTreeMap::new();
        for binding in &wanted.bindings {
            let key = (SourceKind::SinkBinding, binding.name.clone());
            let bound = self.is_bound(binding, unmarked.get(&binding.name));
            standings.extend(bound.map(|bound| (key, Standing::of(bound))));
        }
        for source in &wanted.containers {
            let key = (SourceKind::Container, source.name.clone());
            standings.extend(self.runs(source).map(|standing| (key, standing)));
        }
        self.hold_back(&mut standings);
        for ((kind, name), standing) in &standings {
            let id = SourceId { kind: kind.as_str(), name: name.clone() };
            let state = inventory.sources.get(&id);
            if let Some(report) = state.and_then(|state| state.report.as_ref()) {
                report.set_trouble(standing.trouble());
            }
        }
        if self.shared.bindings.set(standings) {
            self.shared.seen.change();
        }
    }

    /// Takes back what was said on the admin side: somebody else knows now.
    fn forget_troubles(&self) {
        let inventory = self.control.inventory.load();
        for (id, state) in &inventory.sources {
            let is_binding =
                SourceKind::ALL.iter().any(|it| it.is_binding() && it.as_str() == id.kind);
            if let Some(report) = state.report.as_ref().filter(|_| is_binding) {
                report.set_trouble(None);
            }
        }
    }

    /// Leaves what may be so for a moment only as it was last told.
    fn hold_back(&mut self, standings: &mut BTreeMap<Key, Standing>) {
        let now = Instant::now();
        self.doubts.retain(|key, _| standings.get(key).is_some_and(Standing::is_doubtful));
        let doubtful: Vec<Key> = standings
            .iter()
            .filter(|(_, standing)| standing.is_doubtful())
            .map(|(key, _)| key.clone())
            .collect();
        for key in doubtful {
            let told_at = *self.doubts.entry(key.clone()).or_insert(now) + DOUBTED_FOR;
            if told_at <= now {
                continue;
            }
            self.look_at(told_at);
            match self.shared.bindings.get(key.0, &key.1) {
                Some(before) => drop(standings.insert(key, before)),
                None => drop(standings.remove(&key)),
            }
        }
    }

    /// Looks again no later than at that time.
    pub(super) fn look_at(&mut self, at: Instant) {
        self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
    }
}
