//! What a cluster is told: the conditions and addresses of our objects, by whoever leads.

mod bound;
mod broker;
mod channel;
mod cleaner;
mod conditions;
mod made;
mod source;
mod subscription;
mod trigger;
mod view;
mod write;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use ::channel::{Hub, Name, status::Condition};
use ::sources::SourceId;
use kube::Client;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    Cluster,
    binding::Binder,
    lease::Candidate,
    seen::{Seen, digest},
    shared::Shared,
};
use crate::{
    channels::Opener,
    config::KubernetesSettings,
    control::{Control, Inventory},
    manifest::{Kind, SourceKind},
};

use cleaner::Cleaner;
use made::Maker;
use view::View;
pub(super) use write::Teller;
use write::{Writer, Written};

/// The field manager that our writes are known by.
pub(super) const MANAGER: &str = "catchment";

/// How often it is looked whether something has changed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long what is wrong with a new object may be so for a moment only.
const NEW_FOR: Duration = Duration::from_millis(500);

/// Reports that are written before it is looked again.
const WRITES_MAX: usize = 256;

/// The first wait after a report that could not be written; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Classes of brokers that others are known to run.
const OTHER_CLASSES: [&str; 6] = [
    "MTChannelBasedBroker",
    "ChannelBasedBroker",
    "Kafka",
    "KafkaNamespaced",
    "RabbitMQBroker",
    "NatsJetStreamBroker",
];

/// What is to be told of one object.
#[derive(Debug)]
struct Report {
    kind: Kind,
    name: Name,
    status: Value,
    conditions: Vec<Condition>,
    /// What of it may not do what it is meant to.
    warnings: Vec<String>,
}

/// What was last told of an object, and what became of that.
#[derive(Clone, Copy, Debug)]
struct Told {
    wanted: u64,
    /// What the object said afterwards.
    seen: u64,
}

/// An object that could not be written to.
#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    again_at: Instant,
}

/// Tells the cluster how our objects are.
pub struct Reporter {
    client: Client,
    shared: Arc<Shared>,
    control: Arc<Control>,
    ingress_url: String,
    namespace: String,
    lease: String,
    opener: Arc<dyn Opener>,
    cleanup_timeout: Duration,
    /// What tells pods of others where their events go.
    binder: Option<Binder>,
    told: HashMap<(Kind, Name), Told>,
    failed: HashMap<(Kind, Name), Failed>,
    /// Whether something is not told yet because it may be so for a moment only.
    is_early: bool,
    /// Generations whose warnings were told.
    warned: HashMap<(Kind, Name), i64>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// What the last look was at; while it is the same there is nothing to tell.
#[derive(PartialEq, Eq)]
struct Looked {
    inventory: usize,
    changes: u64,
    down: Vec<Hub>,
    /// What sources find out by themselves: what keeps them from their work, and their webhooks.
    learnt: Vec<(SourceId, Option<String>, Option<u64>)>,
}

impl Reporter {
    /// Whoever tells `cluster` what `control` says.
    /// What deleted objects have stored is deleted by `opener`.
    pub fn new(
        cluster: &Cluster,
        control: Arc<Control>,
        opener: Arc<dyn Opener>,
        settings: &KubernetesSettings,
    ) -> Self {
        let namespace = cluster.namespace().to_owned();
        let ingress_url = settings.ingress_url.clone();
        let ingress_url = ingress_url
            .unwrap_or_else(|| format!("http://catchment-ingress.{namespace}.svc.cluster.local"));
        let binder = settings.sources.then(|| {
            let control = Arc::clone(&control);
            Binder::new(cluster, control, ingress_url.clone(), settings.cleanup_timeout)
        });
        Self {
            binder,
            client: cluster.client().clone(),
            shared: Arc::clone(cluster.shared()),
            control,
            ingress_url,
            namespace,
            lease: settings.lease.clone(),
            opener,
            cleanup_timeout: settings.cleanup_timeout,
            told: HashMap::new(),
            failed: HashMap::new(),
            is_early: false,
            warned: HashMap::new(),
        }
    }

    /// Tells what there is to tell, whenever this process leads, until `stop` fires.
    pub async fn run(mut self, stop: CancellationToken) {
        let leads = self.control.leads.clone();
        let leading = leads.subscribe();
        let candidate = Candidate::new(self.client.clone(), &self.namespace, &self.lease);
        let mut beside = JoinSet::new();
        beside.spawn(candidate.run(leads, Arc::clone(&self.control.troubles), stop.clone()));
        if let Some(binder) = self.binder.take() {
            beside.spawn(binder.run(leading.clone(), stop.clone()));
        }
        let (client, shared) = (self.client.clone(), Arc::clone(&self.shared));
        let mut maker = Maker::new(client, shared, &self.ingress_url);
        let (client, shared) = (self.client.clone(), Arc::clone(&self.shared));
        let opener = Arc::clone(&self.opener);
        let mut cleaner = Cleaner::new(client, shared, opener, self.cleanup_timeout);
        let (client, shared) = (self.client.clone(), Arc::clone(&self.shared));
        let writer = Writer::new(client, shared, leading.clone());
        let mut looks = time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = None;
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            if !*leading.borrow() {
                // What others write meanwhile is seen by the watches.
                (looked, self.told) = (None, HashMap::new());
                continue;
            }
            let inventory = self.control.inventory.load_full();
            let now = self.look(&inventory);
            let is_same = looked.as_ref() == Some(&now);
            let waits = maker.is_waiting() || cleaner.is_waiting() || !self.failed.is_empty();
            if is_same && !waits {
                continue;
            }
            let work = async {
                cleaner.look(&inventory).await;
                maker.make(&inventory).await
            };
            let Some(is_made) = stop.run_until_cancelled(work).await else { break };
            if is_same && self.failed.is_empty() && !is_made {
                continue;
            }
            let reports = self.reports(&inventory, &maker.unmade);
            let is_all = reports.len() < WRITES_MAX;
            if stop.run_until_cancelled(self.write(reports, &writer)).await.is_none() {
                break;
            }
            // What was written is seen too: a look after it finds nothing to tell.
            let is_early = std::mem::take(&mut self.is_early);
            looked = (is_all && !is_early).then_some(now);
        }
        while beside.join_next().await.is_some() {}
    }

    fn look(&self, inventory: &Arc<Inventory>) -> Looked {
        let is_down = |state: &Result<_, _>| {
            state.as_ref().is_ok_and(|state: &crate::control::HubState| state.down().is_some())
        };
        Looked {
            inventory: Arc::as_ptr(inventory).addr(),
            changes: self.shared.seen.changes(),
            down: inventory
                .hubs()
                .filter(|(_, state)| is_down(state))
                .map(|(hub, _)| hub)
                .collect(),
            learnt: inventory
                .sources
                .iter()
                .filter_map(|(id, state)| {
                    let waits = || state.waits_for().map(|why| why.message);
                    let (why, webhook) = (state.failure().or_else(waits), state.webhook_id());
                    (why.is_some() || webhook.is_some()).then(|| (id.clone(), why, webhook))
                })
                .collect(),
        }
    }

    /// What the cluster does not know yet, at most [`WRITES_MAX`].
    fn reports(&mut self, inventory: &Inventory, unmade: &BTreeMap<Name, String>) -> Vec<Report> {
        let shared = Arc::clone(&self.shared);
        let seen = shared.seen.lock();
        let mut view = View::new(inventory, &seen, &shared, &self.ingress_url, unmade);
        view.unanswered = shared.unanswered();
        let now = Instant::now();
        let mut reports = Vec::new();
        // Hubs come before those who want their events in the order of kinds: these say how they are.
        for ((kind, name), seen) in seen.iter().filter(|(_, seen)| !seen.is_ending) {
            let Some(report) = report(&mut view, *kind, name, seen) else { continue };
            let key = (*kind, name.clone());
            let wanted = digest(&report.status);
            let told = self.told.get(&key);
            let is_told = wanted == seen.digest
                || told.is_some_and(|told| told.wanted == wanted && told.seen == seen.digest);
            let is_warned =
                report.warnings.is_empty() || self.warned.get(&key) == Some(&seen.generation);
            // What is applied together comes by several watches: a moment later it may be there.
            let is_bad =
                conditions::ready(&report.conditions).is_some_and(|it| it.status != "True");
            let is_new = seen.since.is_some_and(|since| now - since < NEW_FOR);
            let is_early = is_bad && is_new && !seen.has_status;
            self.is_early |= is_early;
            let waits =
                is_early || self.failed.get(&key).is_some_and(|failed| failed.again_at > now);
            if (!is_told || !is_warned) && !waits && reports.len() < WRITES_MAX {
                reports.push(report);
            }
        }
        let is_there = |key: &(Kind, Name)| seen.contains_key(key);
        self.told.retain(|key, _| is_there(key));
        self.failed.retain(|key, _| is_there(key));
        self.warned.retain(|key, _| is_there(key));
        reports
    }

    async fn write(&mut self, reports: Vec<Report>, writer: &Writer) {
        for Written { kind, name, wanted, outcome } in writer.write(reports).await {
            let key = (kind, name);
            match outcome {
                Ok(Some(seen)) => {
                    self.failed.remove(&key);
                    self.warned.insert(key.clone(), seen.generation);
                    self.told.insert(key.clone(), Told { wanted, seen: seen.digest });
                    self.shared.seen.note(key, seen);
                }
                // It is gone.
                Ok(None) => drop(self.failed.remove(&key)),
                Err(_) => {
                    let times = self.failed.get(&key).map_or(0, |failed| failed.times) + 1;
                    let doublings = times.saturating_sub(1).min(16);
                    let wait = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX);
                    let again_at = Instant::now() + wait;
                    self.failed.insert(key, Failed { times, again_at });
                }
            }
        }
    }
}

/// Notes whether a channel is ready, for its subscriptions: the Channel before what stands behind it.
fn note_channel(view: &mut View<'_>, name: &Name, conditions: &[Condition]) {
    if let Some(ready) = conditions::ready(conditions)
        && !view.channels.contains_key(name)
    {
        view.channels.insert(name.clone(), ready.clone());
    }
}

/// What is to be told of an object, if anything is.
fn report(view: &mut View<'_>, kind: Kind, name: &Name, seen: &Seen) -> Option<Report> {
    // What others report on is theirs to say.
    let may_claim = !seen.has_status || seen.is_reported;
    let (status, conditions) = match kind {
        Kind::Broker => {
            let status = match &seen.foreign_class {
                None => broker::status(view, name, seen.config.as_ref())?,
                Some(class) if may_claim && !OTHER_CLASSES.contains(&class.as_str()) => {
                    broker::of_unknown_class(class, seen.generation)
                }
                Some(_) => return None,
            };
            let conditions = status.observed.conditions.clone();
            if seen.foreign_class.is_none()
                && let Some(ready) = conditions::ready(&conditions)
            {
                view.brokers.insert(name.clone(), ready.clone());
            }
            (serde_json::to_value(status), conditions)
        }
        Kind::Trigger => {
            let broker = seen.hub.as_ref();
            let of_broker = broker.map(|broker| (Kind::Broker, broker.clone()));
            let of_broker = of_broker.and_then(|key| view.seen.get(&key));
            let class = of_broker.and_then(|seen| seen.foreign_class.as_deref());
            let status = match class {
                None if of_broker.is_none() && !may_claim => return None,
                None => trigger::status(view, name, broker)?,
                Some(class) if may_claim && !OTHER_CLASSES.contains(&class) => {
                    trigger::of_unknown_class(broker?, class, seen.generation)
                }
                Some(_) => return None,
            };
            let conditions = status.observed.conditions.clone();
            (serde_json::to_value(status), conditions)
        }
        Kind::Channel => {
            let status = channel::status(view, name)?;
            let conditions = status.backing.observed.conditions.clone();
            note_channel(view, name, &conditions);
            (serde_json::to_value(status), conditions)
        }
        Kind::Backing(of) => {
            let status = channel::backing_status(view, of, name)?;
            let conditions = status.observed.conditions.clone();
            note_channel(view, name, &conditions);
            (serde_json::to_value(status), conditions)
        }
        Kind::Subscription => {
            let status = subscription::status(view, name, seen.hub.as_ref())?;
            let conditions = status.observed.conditions.clone();
            (serde_json::to_value(status), conditions)
        }
        Kind::Source(SourceKind::ApiServer) => {
            let status = source::watching_status(view, name)?;
            let conditions = status.source.observed.conditions.clone();
            (serde_json::to_value(status), conditions)
        }
        Kind::Source(of) if of.is_binding() => {
            let status = bound::status(view, of, name)?;
            let conditions = status.observed.conditions.clone();
            (serde_json::to_value(status), conditions)
        }
        Kind::Source(of) => {
            let status = source::status(view, of, name)?;
            let conditions = status.observed.conditions.clone();
            (serde_json::to_value(status), conditions)
        }
        Kind::ConfigMap | Kind::Secret => return None,
    };
    if view.is_waiting.take() {
        // Once it is known that is a change, and there is something to tell.
        return None;
    }
    // That a hub or a Secret is not there is a condition of its own.
    let is_condition = |field: &str| {
        ["spec.broker", "spec.channel", "spec.sink"].iter().any(|it| field.starts_with(it))
            || field.contains(".secretKeyRef.")
    };
    let warnings = view.warnings(kind, name).filter(|it| !is_condition(&it.field));
    let warnings = warnings.map(broker::in_line).collect();
    // A status is made of text and numbers alone.
    let status = status.unwrap_or_default();
    Some(Report { kind, name: name.clone(), status, conditions, warnings })
}
