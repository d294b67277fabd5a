//! Resources -> running pieces: channels, gates, routes; and a change to just what it changes.
//!
//! A channel that is not at hand is opened beside the controller: `opening`. What a broker is at
//! each moment, and which steps a change asks for, is in `broker`.

mod broker;
mod emptying;
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
use channel::{Budget, Found, Name, Reference, Strength, Target};
use dispatcher::{Fanout, Overflows, Quota, Routes, Trigger, TriggerPlan, TriggerSpec, Usage};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    channels::{OpenChannel, Opener},
    config::Settings,
    control::{BrokerState, Control, Inventory, NotReady, PausedBy, TriggerState},
    ingress::{Admission, Gates},
    manifest::{Resource, Snapshot, broker_of},
    spec::BrokerSpec,
    worker::Command,
};

use broker::Broker;
use opening::Openings;
pub use opening::Report;
use planning::Targets;
pub(crate) use planning::{Wanted, address_of, found};

/// Turns what the user wrote into what runs. Its only state is what runs already.
#[derive(Debug)]
pub struct Controller {
    settings: Arc<Settings>,
    control: Arc<Control>,
    gates: Arc<ArcSwap<Gates>>,
    /// Where the way in can be reached, for references to brokers.
    address: SocketAddr,
    openings: Openings,
    /// What the user wants.
    snapshot: Snapshot,
    brokers: BTreeMap<Name, Broker>,
    triggers: BTreeMap<Name, Known>,
    /// Triggers that are gone, and whose overflows are to be cleared.
    ended: Vec<Arc<Trigger>>,
    /// What follows the ledgers that others write to.
    followers: TaskTracker,
}

/// How long clearing the overflow of a deleted trigger may hold up other changes.
const CLEAR_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

#[derive(Debug)]
struct Running {
    state: BrokerState,
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
    broker: u64,
    broker_name: Name,
    paused: bool,
    /// Which of its broker's channels it was made for, by address: it holds an overflow of that one.
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
        address: SocketAddr,
    ) -> Self {
        Self {
            settings,
            control,
            gates,
            address,
            openings: Openings::new(opener),
            snapshot: Snapshot::default(),
            brokers: BTreeMap::new(),
            triggers: BTreeMap::new(),
            ended: Vec::new(),
            followers: TaskTracker::new(),
        }
    }

    /// Makes what runs what `snapshot` says. When it returns, new events go by the new resources;
    /// brokers whose channel is not at hand follow as [`Controller::take`] is told of it.
    ///
    /// Not cancel safe: a change is to be made whole.
    pub async fn apply(&mut self, snapshot: &Snapshot) {
        self.snapshot = snapshot.clone();
        let gone = self.follow_brokers().await;
        self.follow(gone).await;
    }

    /// Looks at the triggers again, because something beside the resources has changed.
    ///
    /// Not cancel safe: a change is to be made whole.
    pub async fn look_again(&mut self) {
        self.follow(Vec::new()).await;
    }

    /// Puts the triggers in place, then opens the gates, then lets go of what is `gone`.
    async fn follow(&mut self, gone: Vec<Name>) {
        let snapshot = self.snapshot.clone();
        let triggers = self.follow_triggers(&snapshot).await;
        // Gates open only now: whoever gets a 202 finds the triggers in place.
        self.swap_gates();
        for broker in &gone {
            self.tell_workers(|| Command::Forget { broker: broker.clone() }).await;
            tracing::info!(broker = %broker, "broker is gone");
        }
        let default = self.settings.channel_default;
        let channels = self.brokers.iter();
        let channels = channels
            .map(|(name, broker)| (name.clone(), broker.choice.kind(default).as_str()))
            .collect();
        let brokers =
            self.brokers.iter().map(|(name, broker)| (name.clone(), broker.state())).collect();
        let problems = snapshot.problems;
        let leaving = self.brokers.values().filter_map(Broker::emptying).cloned().collect();
        let (resources, generations) = (snapshot.resources, snapshot.generations);
        let inventory =
            Inventory { brokers, leaving, channels, triggers, problems, resources, generations };
        self.control.inventory.store(Arc::new(inventory));
    }

    /// Starts a broker on its open channel; workers read it once its triggers are there.
    async fn run(&self, name: &Name, open: OpenChannel, budget: Arc<Budget>) -> Running {
        let settings = &self.settings;
        let OpenChannel { channel, notes, .. } = open;
        let gate = Arc::new(Admission::new(name.clone(), Arc::clone(&channel)));
        let fanout = Arc::new(Fanout {
            name: name.clone(),
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
            broker = %name,
            channel = channel.kind(),
            durability = durability.strength.as_str(),
            "broker is open"
        );
        let state = BrokerState { fanout, channel, pauses: notes.pauses };
        let stop = CancellationToken::new();
        if let Some(following) = open.following {
            let (stop, control) = (stop.clone(), Arc::clone(&self.control));
            self.followers.spawn(following.run(stop, move || control.look_soon()));
        }
        Running { state, gate, is_read: AtomicBool::new(false), _stop: stop.drop_guard() }
    }

    async fn follow_triggers(&mut self, snapshot: &Snapshot) -> BTreeMap<Name, TriggerState> {
        let resources = &snapshot.resources;
        let mut states = BTreeMap::new();
        let mut by_broker: HashMap<Name, Vec<Arc<Trigger>>> = HashMap::new();
        for (name, resource) in &resources.triggers {
            // The loader lets no trigger through that names none.
            let Some(broker) = broker_of(name, &resource.spec) else { continue };
            let wanted = Wanted { name, resource, broker: broker.clone() };
            let of_broker = resources.brokers.get(&broker);
            let running = self.trigger(&wanted, of_broker.map(|resource| &**resource));
            if let Ok((trigger, _)) = &running {
                by_broker.entry(broker.clone()).or_default().push(Arc::clone(trigger));
            }
            let paused =
                running.as_ref().ok().filter(|(trigger, _)| trigger.plan.paused).map(|_| {
                    let of_broker = self.brokers.get(&broker);
                    let running = of_broker.and_then(Broker::running);
                    let is_operators =
                        running.is_some_and(|running| running.state.pauses.has(name));
                    if is_operators { PausedBy::Operator } else { PausedBy::Manifest }
                });
            let filter = filter_as_written(&resource.spec);
            let of_broker = of_broker.map(|resource| &resource.spec);
            let sink_from = wanted.sink(of_broker).map(|(_, from)| from);
            let name = name.clone();
            let (running, unresolved) = match running {
                Ok((running, unresolved)) => (Ok(running), unresolved),
                Err(why) => (Err(why), None),
            };
            let state = TriggerState {
                name: name.clone(),
                broker,
                filter,
                running,
                unresolved,
                paused,
                sink_from,
            };
            states.insert(name, state);
        }
        for (name, known) in &self.triggers {
            let is_ready = states.get(name).is_some_and(|state| state.running.is_ok());
            let is_there = states.contains_key(name);
            known.running.usage.keep(is_there && !is_ready);
        }
        for (name, broker) in &self.brokers {
            let Some(running) = broker.running() else { continue };
            let triggers = by_broker.remove(name).unwrap_or_default();
            self.route(running, triggers).await;
            if !running.is_read.swap(true, Ordering::AcqRel) {
                let BrokerState { fanout, channel, .. } = &running.state;
                self.tell_workers(|| Command::Open {
                    fanout: Arc::clone(fanout),
                    channel: Arc::clone(channel),
                })
                .await;
                self.resume_sinks(fanout).await;
            }
        }
        self.end_triggers(&states).await;
        states
    }

    /// Says to the triggers of a broker that is gone that what waits is kept until it comes back.
    fn keep_waiting_of(&self, broker: &Name) {
        let of_broker = |known: &&Known| known.made_from.broker_name == *broker;
        self.triggers.values().filter(of_broker).for_each(|known| known.running.usage.keep(true));
    }

    /// Gives a broker its triggers, unless it has just these.
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
            tracing::error!(broker = %fanout.name, "the index of triggers could not be built");
            return;
        };
        fanout.routes.store(Arc::new(routes));
        self.tell_workers(|| Command::Refresh { fanout: Arc::clone(fanout) }).await;
        tracing::info!(broker = %fanout.name, triggers = count, "triggers changed");
    }

    /// The trigger at work: the one that runs already when nothing that counts has changed.
    ///
    /// One whose subscriber cannot be found any more goes on with where that was: its events wait
    /// there, or become dead letters, where a trigger that is not at work would not want them. Then
    /// why it cannot be found is returned too.
    fn trigger(
        &mut self,
        wanted: &Wanted<'_>,
        broker: Option<&Resource<BrokerSpec>>,
    ) -> Result<(Arc<Trigger>, Option<NotReady>), NotReady> {
        let Some(broker) = broker else {
            return Err(wanted.homeless());
        };
        let found = wanted.targets(broker, |reference| self.find(reference));
        let of_broker = self.broker_at_work(&wanted.broker)?;
        let (targets, unresolved) = match found {
            Ok(targets) => (targets, None),
            Err(why) => {
                let known = self.triggers.get(wanted.name);
                let known = known.filter(|known| known.made_from.trigger == wanted.resource.hash);
                let known = known.ok_or_else(|| why.clone())?;
                (known.made_from.targets.clone(), Some(why))
            }
        };
        let is_paused = of_broker.pauses.has(wanted.name);
        let made_from = Origin {
            trigger: wanted.resource.hash,
            broker: broker.hash,
            broker_name: wanted.broker.clone(),
            paused: is_paused,
            channel: Arc::as_ptr(&of_broker.channel).addr(),
            targets: targets.clone(),
        };
        let known = self.triggers.get(wanted.name);
        if let Some(known) = known.filter(|known| known.made_from == made_from) {
            known.running.usage.keep(false);
            return Ok((Arc::clone(&known.running), unresolved));
        }
        let mut plan = wanted.plan(broker, &targets)?;
        plan.paused |= is_paused;
        // Another broker means other events: what waits belongs to the old one.
        let same = known.filter(|known| {
            known.made_from.broker_name == wanted.broker
                && known.made_from.channel == made_from.channel
        });
        let running = Arc::new(succeed(same.map(|known| &*known.running), plan, &of_broker));
        let known = Known { made_from, running: Arc::clone(&running) };
        if let Some(before) = self.triggers.insert(wanted.name.clone(), known)
            && before.made_from.broker_name != wanted.broker
        {
            self.ended.push(before.running);
        }
        Ok((running, unresolved))
    }

    /// Lets go of what waits for triggers that are gone; of those that are only not ready it stays.
    async fn end_triggers(&mut self, states: &BTreeMap<Name, TriggerState>) {
        let gone: Vec<Name> =
            self.triggers.keys().filter(|name| !states.contains_key(*name)).cloned().collect();
        let gone = gone.iter().filter_map(|name| self.triggers.remove(name));
        let gone: Vec<_> = gone.map(|known| known.running).collect();
        gone.iter().for_each(|trigger| trigger.usage.keep(false));
        self.ended.extend(gone);
        if self.ended.is_empty() {
            return;
        }
        for running in self.brokers.values().filter_map(Broker::running) {
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

    /// Where a reference leads: to a broker of this process, or to what others know of.
    fn find(&self, reference: &Reference) -> Result<Found, String> {
        match &self.snapshot.addresses {
            Some(addresses) if self.broker_address(reference).is_none() => {
                addresses.find(reference)
            }
            _ => found(reference, self.broker_address(reference)),
        }
    }

    /// The address of a broker of this process.
    fn broker_address(&self, reference: &Reference) -> Option<Target> {
        let of_kind = reference.kind.as_deref() == Some("Broker");
        let name = Name::new(reference.namespace.clone()?, reference.name.clone()?);
        if !of_kind || !self.brokers.contains_key(&name) {
            return None;
        }
        address_of(self.address, &name)
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
fn succeed(before: Option<&Trigger>, plan: TriggerPlan, broker: &BrokerState) -> Trigger {
    let plan = Arc::new(plan);
    let Some(before) = before else {
        let key = broker.fanout.dead_letters.claim_key(&plan.name);
        let overflow = broker.channel.overflow(&plan.name, plan.ordered);
        // What others share is counted as it is seen.
        let found = if broker.is_shared() { 0 } else { overflow.depth().events };
        let usage = Arc::new(Usage::with_found(found));
        if found > 0 || broker.channel.overflowing().contains(&plan.name) {
            tracing::info!(trigger = %plan.name, "events wait from before");
            usage.overflow();
            broker.fanout.overflows.add();
        }
        return Trigger { key, plan, usage, overflow };
    };
    before.usage.keep(false);
    let overflow = if before.plan.ordered == plan.ordered {
        Arc::clone(&before.overflow)
    } else {
        before.overflow.close();
        broker.channel.overflow(&plan.name, plan.ordered)
    };
    Trigger { key: before.key, plan, usage: Arc::clone(&before.usage), overflow }
}

fn filter_as_written(spec: &TriggerSpec) -> serde_json::Value {
    serde_json::json!({ "filter": spec.filter, "filters": spec.filters })
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
