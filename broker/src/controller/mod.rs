//! Resources -> running pieces: channels, gates, routes; and a change to just what it changes.
//!
//! A channel that is not at hand is opened beside the controller: `opening`. What a broker or a
//! channel is at each moment, and which steps a change asks for, is in `hub`.

mod emptying;
mod here;
mod hub;
mod opening;
mod planning;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use channel::{Budget, Found, Hub, HubKind, Name, Reference, Strength};
use dispatcher::{Fanout, Overflows, Quota, Routes, Trigger, TriggerPlan, Usage};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    channels::{OpenChannel, Opener},
    cluster::ObjectWatches,
    config::Settings,
    control::{Control, HubState, Inventory, NotReady, PausedBy, TriggerState},
    ingress::{Admission, Gates},
    manifest::{Resources, Snapshot},
    sourcing::{Endpoints, Guide, Sources},
    worker::Command,
};

use here::Here;
use hub::Site;
use opening::Openings;
pub use opening::Report;
use planning::Targets;
pub(crate) use planning::{OfHub, Wanted, address_of, found};

/// Turns what the user wrote into what runs. Its only state is what runs already.
#[derive(Debug)]
pub struct Controller {
    settings: Arc<Settings>,
    control: Arc<Control>,
    gates: Arc<ArcSwap<Gates>>,
    /// Where the way in can be reached, for references to hubs.
    address: SocketAddr,
    openings: Openings,
    /// What the user wants.
    snapshot: Snapshot,
    hubs: BTreeMap<Hub, Site>,
    /// Triggers and subscriptions, by the kind of their hub and by name.
    triggers: BTreeMap<(HubKind, Name), Known>,
    /// Triggers that are gone, and whose overflows are to be cleared.
    ended: Vec<Arc<Trigger>>,
    sources: Sources,
    /// What follows the ledgers that others write to.
    followers: TaskTracker,
}

/// How long clearing the overflow of a deleted trigger may hold up other changes.
const CLEAR_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

#[derive(Debug)]
struct Running {
    state: HubState,
    gate: Arc<Admission>,
    /// Whether workers read its channel. They begin when its triggers are there: an event that is
    /// lent before would be wanted by nobody.
    is_read: AtomicBool,
    /// Ends what follows its ledger.
    _stop: DropGuard,
}

/// A trigger that runs, and what it was made from.
#[derive(Debug)]
struct Known {
    made_from: Origin,
    running: Arc<Trigger>,
}

/// Equal as long as a trigger's plan would be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    trigger: u64,
    of_hub: u64,
    hub: Hub,
    paused: bool,
    /// Which of its hub's channels it was made for, by address: it holds an overflow of that one.
    channel: usize,
    targets: Targets,
}

impl Controller {
    /// A controller of nothing yet, with channels by `opener`. The way in is reached at `address`.
    pub fn new(
        settings: Arc<Settings>,
        opener: Arc<dyn Opener>,
        control: Arc<Control>,
        gates: Arc<ArcSwap<Gates>>,
        endpoints: Arc<ArcSwap<Endpoints>>,
        address: SocketAddr,
    ) -> Self {
        let sources = Sources::new(
            &settings,
            Arc::clone(&opener),
            Arc::clone(&control),
            Arc::clone(&gates),
            endpoints,
        );
        Self {
            sources,
            settings,
            control,
            gates,
            address,
            openings: Openings::new(opener),
            snapshot: Snapshot::default(),
            hubs: BTreeMap::new(),
            triggers: BTreeMap::new(),
            ended: Vec::new(),
            followers: TaskTracker::new(),
        }
    }

    /// Lets sources of a cluster's changes watch it by `watches`; without, they say that they cannot.
    pub(crate) fn watch_by(&mut self, watches: ObjectWatches) {
        self.sources.watch_by(watches);
    }

    /// Makes what runs what `snapshot` says. When it returns, new events go by the new resources;
    /// hubs whose channel is not at hand follow as [`Controller::take`] is told of it.
    ///
    /// Not cancel safe: a change is to be made whole.
    pub async fn apply(&mut self, snapshot: &Snapshot) {
        self.snapshot = snapshot.clone();
        let gone = self.follow_hubs().await;
        self.follow(gone).await;
    }

    /// Looks at the triggers again, because something beside the resources has changed.
    ///
    /// Not cancel safe: a change is to be made whole.
    pub async fn look_again(&mut self) {
        self.follow(Vec::new()).await;
    }

    /// Puts the triggers in place, then opens the gates, then lets go of what is `gone`.
    async fn follow(&mut self, gone: Vec<Hub>) {
        let snapshot = self.snapshot.clone();
        let takers = self.follow_triggers(&snapshot).await;
        // Gates open only now: whoever gets a 202 finds the triggers in place.
        self.swap_gates();
        for hub in &gone {
            self.tell_workers(|| Command::Forget { hub: hub.clone() }).await;
            tracing::info!(%hub, "{} is gone", hub.kind.as_str());
        }
        // Sources begin only now: what they make finds its triggers in place.
        let guide = Here {
            snapshot: &snapshot,
            default: self.settings.channel_default,
            address: self.address,
        };
        let sources = self.sources.follow(&snapshot, &guide);
        let default = self.settings.channel_default;
        let kinds = self.hubs.iter();
        let kinds = kinds.map(|(hub, site)| (hub.clone(), site.choice.kind(default).as_str()));
        let hubs_of = |kind| {
            let of_kind = self.hubs.iter().filter(move |(hub, _)| hub.kind == kind);
            of_kind.map(|(hub, site)| (hub.name.clone(), site.state())).collect()
        };
        let [triggers, subscriptions] = takers;
        let inventory = Inventory {
            brokers: hubs_of(HubKind::Broker),
            channels: hubs_of(HubKind::Channel),
            leaving: self.hubs.values().filter_map(Site::emptying).cloned().collect(),
            kinds: kinds.collect(),
            triggers,
            subscriptions,
            sources,
            problems: snapshot.problems,
            resources: snapshot.resources,
            generations: snapshot.generations,
        };
        self.control.inventory.store(Arc::new(inventory));
    }

    /// Starts a hub on its open channel; workers read it once its triggers are there.
    async fn run(&self, hub: &Hub, open: OpenChannel, budget: Arc<Budget>) -> Running {
        let settings = &self.settings;
        let OpenChannel { channel, notes, .. } = open;
        let gate = Arc::new(Admission::new(hub.clone(), Arc::clone(&channel)));
        let fanout = Arc::new(Fanout {
            hub: hub.clone(),
            routes: ArcSwap::from_pointee(Routes::new(Vec::new())),
            dead_letters: notes.dead_letters,
            replies: Arc::<Admission>::clone(&gate),
            quota: quota(settings, &budget, channel.durability().strength),
            budget,
            outlives: channel.durability().strength != Strength::None,
            overflows: Overflows::default(),
        });
        let durability = channel.durability();
        tracing::info!(
            %hub,
            channel = channel.kind(),
            durability = durability.strength.as_str(),
            "{} is open",
            hub.kind.as_str()
        );
        let state = HubState { fanout, channel, pauses: notes.pauses };
        let stop = CancellationToken::new();
        if let Some(following) = open.following {
            let (stop, control) = (stop.clone(), Arc::clone(&self.control));
            self.followers.spawn(following.run(stop, move || control.look_soon()));
        }
        Running { state, gate, is_read: AtomicBool::new(false), _stop: stop.drop_guard() }
    }

    /// Puts triggers and subscriptions in place.
    async fn follow_triggers(&mut self, snapshot: &Snapshot) -> [BTreeMap<Name, TriggerState>; 2] {
        let resources = &snapshot.resources;
        let of_triggers = resources.triggers.iter();
        let of_subscriptions = resources.subscriptions.iter();
        let wanted = of_triggers
            .filter_map(|(name, resource)| Wanted::trigger(name, resource))
            .chain(of_subscriptions.filter_map(|(name, it)| Wanted::subscription(name, it)));
        let mut states: [BTreeMap<Name, TriggerState>; 2] = Default::default();
        let mut by_hub: HashMap<Hub, Vec<Arc<Trigger>>> = HashMap::new();
        for wanted in wanted {
            let of_hub = self.of_hub(&wanted, resources);
            let running = self.trigger(&wanted, of_hub);
            if let Ok((trigger, _)) = &running {
                by_hub.entry(wanted.hub.clone()).or_default().push(Arc::clone(trigger));
            }
            let state = self.state_of(&wanted, of_hub, running);
            let [triggers, subscriptions] = &mut states;
            let of_kind = match wanted.hub.kind {
                HubKind::Broker => triggers,
                HubKind::Channel => subscriptions,
            };
            of_kind.insert(wanted.name.clone(), state);
        }
        let [triggers, subscriptions] = &states;
        let find = |kind: HubKind, name: &Name| match kind {
            HubKind::Broker => triggers.get(name),
            HubKind::Channel => subscriptions.get(name),
        };
        for ((kind, name), known) in &self.triggers {
            let is_ready = find(*kind, name).is_some_and(|state| state.running.is_ok());
            let is_there = find(*kind, name).is_some();
            known.running.usage.keep(is_there && !is_ready);
        }
        for (hub, site) in &self.hubs {
            let Some(running) = site.running() else { continue };
            let triggers = by_hub.remove(hub).unwrap_or_default();
            self.route(running, triggers).await;
            if !running.is_read.swap(true, Ordering::AcqRel) {
                let HubState { fanout, channel, .. } = &running.state;
                self.tell_workers(|| Command::Open {
                    fanout: Arc::clone(fanout),
                    channel: Arc::clone(channel),
                })
                .await;
                self.resume_sinks(fanout).await;
            }
        }
        let is_there = |(kind, name): &(HubKind, Name)| find(*kind, name).is_some();
        let gone: Vec<_> = self.triggers.keys().filter(|key| !is_there(key)).cloned().collect();
        self.end_triggers(&gone).await;
        states
    }

    /// What the resource of the hub says whose events are wanted, if there is such a hub.
    fn of_hub<'a>(&self, wanted: &Wanted<'_>, resources: &'a Resources) -> Option<OfHub<'a>> {
        let name = &wanted.hub.name;
        let Some(reference) = wanted.channel() else {
            return resources.brokers.get(name).map(|resource| OfHub::broker(resource));
        };
        let resource = resources.channels.get(name)?;
        let is_meant = resource.spec.is_meant(reference, self.settings.channel_default);
        is_meant.then(|| OfHub::channel(resource))
    }

    fn state_of(
        &self,
        wanted: &Wanted<'_>,
        of_hub: Option<OfHub<'_>>,
        running: Result<(Arc<Trigger>, Option<NotReady>), NotReady>,
    ) -> TriggerState {
        let (running, unresolved) = match running {
            Ok((running, unresolved)) => (Ok(running), unresolved),
            Err(why) => (Err(why), None),
        };
        let paused = running.as_ref().ok().filter(|trigger| trigger.plan.paused).map(|_| {
            let site = self.hubs.get(&wanted.hub).and_then(Site::running);
            let is_operators = site.is_some_and(|site| site.state.pauses.has(wanted.name));
            if is_operators { PausedBy::Operator } else { PausedBy::Manifest }
        });
        TriggerState {
            name: wanted.name.clone(),
            hub: wanted.hub.clone(),
            written: match wanted.hub.kind {
                HubKind::Broker => self.snapshot.resources.triggers.get(wanted.name).cloned(),
                HubKind::Channel => None,
            },
            running,
            unresolved,
            paused,
            sink_from: wanted.sink(of_hub).map(|(_, from)| from),
        }
    }

    /// Says to the triggers of a hub that is gone that what waits is kept until it comes back.
    fn keep_waiting_of(&self, hub: &Hub) {
        let of_hub = |known: &&Known| known.made_from.hub == *hub;
        self.triggers.values().filter(of_hub).for_each(|known| known.running.usage.keep(true));
    }

    /// Gives a hub its triggers, unless it has just these.
    async fn route(&self, running: &Running, triggers: Vec<Arc<Trigger>>) {
        let fanout = &running.state.fanout;
        let before = fanout.routes.load();
        let is_same = before.triggers().len() == triggers.len()
            && before.triggers().iter().zip(&triggers).all(|(a, b)| Arc::ptr_eq(a, b));
        if is_same {
            return;
        }
        running.state.channel.keep_keys_together(triggers.iter().any(|t| t.plan.ordered));
        let count = triggers.len();
        // An index over very many filters takes a while; events go on by the old one meanwhile.
        let routes = tokio::task::spawn_blocking(move || Routes::new(triggers)).await;
        let Ok(routes) = routes else {
            tracing::error!(hub = %fanout.hub, "the index of triggers could not be built");
            return;
        };
        fanout.routes.store(Arc::new(routes));
        self.tell_workers(|| Command::Refresh { fanout: Arc::clone(fanout) }).await;
        tracing::info!(hub = %fanout.hub, triggers = count, "triggers changed");
    }

    /// The trigger, or subscription, at work: the one that runs already when nothing that counts has
    /// changed.
    ///
    /// One whose subscriber cannot be found any more goes on with where that was: its events wait
    /// there, or become dead letters, where a trigger that is not at work would not want them. Then
    /// why it cannot be found is returned too.
    fn trigger(
        &mut self,
        wanted: &Wanted<'_>,
        of_hub: Option<OfHub<'_>>,
    ) -> Result<(Arc<Trigger>, Option<NotReady>), NotReady> {
        let Some(of_hub) = of_hub else {
            return Err(wanted.homeless());
        };
        let found = wanted.targets(of_hub, |reference| self.find(reference));
        let hub = self.hub_at_work(&wanted.hub)?;
        let key = (wanted.hub.kind, wanted.name.clone());
        let (targets, unresolved) = match found {
            Ok(targets) => (targets, None),
            Err(why) => {
                let known = self.triggers.get(&key);
                let known = known.filter(|known| known.made_from.trigger == wanted.hash);
                let known = known.ok_or_else(|| why.clone())?;
                (known.made_from.targets.clone(), Some(why))
            }
        };
        let is_paused = hub.pauses.has(wanted.name);
        let made_from = Origin {
            trigger: wanted.hash,
            of_hub: of_hub.hash,
            hub: wanted.hub.clone(),
            paused: is_paused,
            channel: Arc::as_ptr(&hub.channel).addr(),
            targets: targets.clone(),
        };
        let known = self.triggers.get(&key);
        if let Some(known) = known.filter(|known| known.made_from == made_from) {
            known.running.usage.keep(false);
            return Ok((Arc::clone(&known.running), unresolved));
        }
        let mut plan = wanted.plan(of_hub, &targets)?;
        plan.paused |= is_paused;
        // Another hub means other events: what waits belongs to the old one.
        let same = known.filter(|known| {
            known.made_from.hub == wanted.hub && known.made_from.channel == made_from.channel
        });
        let running = Arc::new(succeed(same.map(|known| &*known.running), plan, &hub));
        let known = Known { made_from, running: Arc::clone(&running) };
        if let Some(before) = self.triggers.insert(key, known)
            && before.made_from.hub != wanted.hub
        {
            self.ended.push(before.running);
        }
        Ok((running, unresolved))
    }

    /// Lets go of what waits for triggers that are gone; of those that are only not ready it stays.
    async fn end_triggers(&mut self, gone: &[(HubKind, Name)]) {
        let gone = gone.iter().filter_map(|key| self.triggers.remove(key));
        let gone: Vec<_> = gone.map(|known| known.running).collect();
        gone.iter().for_each(|trigger| trigger.usage.keep(false));
        self.ended.extend(gone);
        if self.ended.is_empty() {
            return;
        }
        for running in self.hubs.values().filter_map(Site::running) {
            let fanout = &running.state.fanout;
            self.tell_workers(|| Command::Refresh { fanout: Arc::clone(fanout) }).await;
        }
        // Workers take orders in turn: once they answer, no lane of these triggers puts anything there.
        self.control.ask_all(|reply| Command::Pending { reply }).await;
        for trigger in std::mem::take(&mut self.ended) {
            let name = &trigger.plan.name;
            trigger.overflow.close();
            match tokio::time::timeout(CLEAR_TIMEOUT, trigger.overflow.clear()).await {
                Ok(Ok(0)) => {}
                Ok(Ok(purged)) => {
                    tracing::warn!(trigger = %name, purged, "events waited for a deleted trigger");
                }
                Ok(Err(error)) => {
                    tracing::error!(trigger = %name, %error, "what waits for a deleted trigger is still stored");
                }
                Err(_elapsed) => {
                    tracing::error!(trigger = %name, "what waits for a deleted trigger may still be stored");
                }
            }
        }
    }

    /// Stops the sources: before what is in hand goes to its end.
    pub async fn stop_sources(&mut self) {
        self.sources.stop().await;
    }

    /// Where a reference leads: to a hub of this process, or to what others know of.
    fn find(&self, reference: &Reference) -> Result<Found, String> {
        let default = self.settings.channel_default;
        Here { snapshot: &self.snapshot, default, address: self.address }.find(reference)
    }

    async fn tell_workers(&self, command: impl Fn() -> Command) {
        for (index, worker) in self.control.workers().iter().enumerate() {
            if worker.send(command()).await.is_err() {
                tracing::error!(worker = index, "a worker has ended");
            }
        }
    }
}

/// A trigger at work in place of `before`, or the first of its name.
fn succeed(before: Option<&Trigger>, plan: TriggerPlan, hub: &HubState) -> Trigger {
    let plan = Arc::new(plan);
    let Some(before) = before else {
        let key = hub.fanout.dead_letters.claim_key(&plan.name);
        let overflow = hub.channel.overflow(&plan.name, plan.ordered);
        // What others share is counted as it is seen.
        let found = if hub.is_shared() { 0 } else { overflow.depth().events };
        let usage = Arc::new(Usage::with_found(found));
        if found > 0 || hub.channel.overflowing().contains(&plan.name) {
            tracing::info!(trigger = %plan.name, "events wait from before");
            usage.overflow();
            hub.fanout.overflows.add();
        }
        return Trigger { key, plan, usage, overflow };
    };
    before.usage.keep(false);
    let overflow = if before.plan.ordered == plan.ordered {
        Arc::clone(&before.overflow)
    } else {
        before.overflow.close();
        hub.channel.overflow(&plan.name, plan.ordered)
    };
    Trigger { key: before.key, plan, usage: Arc::clone(&before.usage), overflow }
}

/// What one trigger may let wait: in memory a share of the channel, else what overflows may hold.
fn quota(settings: &Settings, budget: &Budget, strength: Strength) -> Quota {
    if strength != Strength::None {
        let overflow = &settings.overflow;
        return Quota { events: overflow.events_max, bytes: overflow.bytes_max };
    }
    let share = usize::from(settings.memory.trigger_share_percent);
    let part = |whole: usize| whole.saturating_mul(share) / 100;
    Quota { events: part(settings.memory.limits.events_max), bytes: part(budget.limit()) }
}
