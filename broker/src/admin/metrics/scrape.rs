//! The numbers of one moment, by the labels that they are shown under.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use ::sources::Counts;
use channel::{Depth, Durability, Hub, HubKind, Name};
use dispatcher::{http::ClientCounters, route::Counts as RouteCounts};

use super::process::ProcessUse;
use crate::{
    control::{Books, Control, HubState, Inventory, TriggerBooks},
    ingress::{BoundTally, ConnectionCounts, IngressTally},
    manifest::Severity,
};

/// Hubs, and triggers, that have metrics of their own: the first ones in the order of their names,
/// brokers before channels.
pub(super) const OWN_MAX: usize = 1000;

/// What all further ones are summed under. No resource is called so: their names have a slash.
pub(super) const OTHER: &str = "other";

/// The severities of manifest problems, in the order of [`Scrape::problems`].
pub(super) const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Note];

/// What the numbers of a hub are shown under: `namespace/name`, or [`OTHER`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HubLabel {
    pub(super) kind: HubKind,
    pub(super) text: String,
}

/// The numbers of one moment.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    pub(super) is_ready: bool,
    pub(super) workers: usize,
    pub(super) silent_workers: usize,
    pub(super) unrouted: IngressTally,
    /// By hub.
    pub(super) hubs: BTreeMap<HubLabel, HubNumbers>,
    /// By hub and trigger, which is `namespace/name` or [`OTHER`].
    pub(super) triggers: BTreeMap<(HubLabel, String), TriggerBooks>,
    /// By kind and source, which is `namespace/name` or [`OTHER`].
    pub(super) sources: BTreeMap<(&'static str, String), SourceNumbers>,
    pub(super) problems: [usize; SEVERITIES.len()],
    pub(super) memory_used: usize,
    pub(super) memory_limit: usize,
    pub(super) connections: ConnectionCounts,
    pub(super) bounds: BoundTally,
    pub(super) client: ClientCounters,
    pub(super) process: ProcessUse,
}

/// The numbers of one source, or of many.
#[derive(Debug, Default)]
pub(super) struct SourceNumbers {
    pub(super) ready: u64,
    pub(super) counts: Counts,
}

/// The numbers of one hub, or of many.
#[derive(Debug, Default)]
pub(super) struct HubNumbers {
    pub(super) ingress: IngressTally,
    /// Whether it is, or all of them are, at work; `None` for one that is only spoken of.
    pub(super) is_ready: Option<bool>,
    /// The kind of channel that it asks for, and whether that is open and can be reached. `None` for
    /// many: each may have another.
    pub(super) channel_up: Option<(&'static str, bool)>,
    pub(super) triggers_ready: usize,
    pub(super) triggers_not_ready: usize,
    /// `None` for a hub that is not ready. Of many, the numbers are sums.
    pub(super) running: Option<Running>,
}

/// The numbers of a hub at work.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// `None` for many: each may have another.
    pub(super) channel: Option<(&'static str, Durability)>,
    pub(super) depth: Depth,
    pub(super) letters: usize,
    pub(super) letter_bytes: usize,
    pub(super) routes: RouteCounts,
    /// How often bounds of the channel and of the dead letters were reached, by name.
    pub(super) bounds: BTreeMap<&'static str, u64>,
}

impl Scrape {
    /// Gathers everything. `started_at` is when the process started.
    pub(super) fn new(control: &Control, books: Books, started_at: SystemTime) -> Self {
        let scrape = Self {
            is_ready: control.is_ready(),
            workers: control.workers().len(),
            memory_used: control.budget.used(),
            memory_limit: control.budget.limit(),
            connections: control.connections.counts(),
            process: ProcessUse::now(started_at),
            ..Self::default()
        };
        scrape.with(books, &control.inventory.load())
    }

    /// Adds what books and inventory say.
    pub(super) fn with(mut self, books: Books, inventory: &Inventory) -> Self {
        self.silent_workers = books.silent_workers;
        self.unrouted = books.unrouted;
        (self.bounds, self.client) = (books.bounds, books.client);
        for problem in &inventory.problems {
            let severity = problem.problem.severity;
            let place = SEVERITIES.iter().position(|&each| each == severity);
            if let Some(count) = place.and_then(|place| self.problems.get_mut(place)) {
                *count += 1;
            }
        }
        self.add_sources(inventory);
        let mut labels = Labels::default();
        for (hub, state) in inventory.hubs() {
            let numbers = self.hubs.entry(labels.hub(&hub)).or_default();
            let is_up = state.as_ref().is_ok_and(|state| state.down().is_none());
            let kind = inventory.kinds.get(&hub);
            let is_first = numbers.is_ready.is_none();
            numbers.channel_up = kind.filter(|_| is_first).map(|&kind| (kind, is_up));
            numbers.is_ready = Some(is_up && numbers.is_ready.unwrap_or(true));
            if let Ok(state) = state {
                numbers.running = Some(Running::of(state, numbers.running.take()));
            }
        }
        for trigger in inventory.all_takers() {
            let numbers = self.hubs.entry(labels.hub(&trigger.hub)).or_default();
            match trigger.running {
                Ok(_) => numbers.triggers_ready += 1,
                Err(_) => numbers.triggers_not_ready += 1,
            }
        }
        for (hub, books) in books.hubs {
            let hub = labels.hub(&hub);
            self.hubs.entry(hub.clone()).or_default().ingress.add(&books.ingress);
            for (name, books) in books.triggers {
                let trigger = labels.trigger(&hub, &name);
                add(self.triggers.entry((hub.clone(), trigger)).or_default(), &books);
            }
        }
        self
    }

    fn add_sources(&mut self, inventory: &Inventory) {
        for (place, (id, state)) in inventory.sources.iter().enumerate() {
            let label = if place < OWN_MAX { id.name.to_string() } else { OTHER.to_owned() };
            let numbers = self.sources.entry((id.kind, label)).or_default();
            numbers.ready += u64::from(state.is_ready());
            if let Some(report) = &state.report {
                numbers.counts.add(&report.counts());
            }
        }
    }
}

/// Gives the first resources a label of their own, and all further ones the same.
#[derive(Debug, Default)]
struct Labels {
    hubs: BTreeSet<Hub>,
    triggers: usize,
}

impl Labels {
    fn hub(&mut self, hub: &Hub) -> HubLabel {
        let has_own =
            self.hubs.contains(hub) || (self.hubs.len() < OWN_MAX && self.hubs.insert(hub.clone()));
        let text = if has_own { hub.name.to_string() } else { OTHER.to_owned() };
        HubLabel { kind: hub.kind, text }
    }

    /// Asked once for each trigger.
    fn trigger(&mut self, hub: &HubLabel, name: &Name) -> String {
        if hub.text == OTHER || self.triggers == OWN_MAX {
            return OTHER.to_owned();
        }
        self.triggers += 1;
        name.to_string()
    }
}

impl Running {
    /// The numbers of a hub, added to those of others under the same label.
    fn of(state: &HubState, others: Option<Self>) -> Self {
        let durability = state.channel.durability();
        let channel = others.is_none().then(|| (state.channel.kind(), durability));
        let mut sum = Self { channel, ..others.unwrap_or_default() };
        let depth = state.channel.depth();
        sum.depth.events += depth.events;
        sum.depth.bytes += depth.bytes;
        let (letters, letter_bytes) = state.fanout.dead_letters.held();
        sum.letters += letters;
        sum.letter_bytes += letter_bytes;
        let routes = state.fanout.routes.load().table().counts();
        sum.routes.triggers += routes.triggers;
        sum.routes.shapes += routes.shapes;
        sum.routes.unindexed += routes.unindexed;
        let of_letters = state.fanout.dead_letters.bounds_reached();
        for (bound, count) in state.channel.bounds_reached().into_iter().chain(of_letters) {
            *sum.bounds.entry(bound).or_default() += count;
        }
        sum
    }
}

fn add(sum: &mut TriggerBooks, more: &TriggerBooks) {
    sum.tally.add(&more.tally);
    sum.dead += more.dead;
    sum.expired += more.expired;
    sum.purged += more.purged;
    sum.stalled += more.stalled;
    sum.overflow.events += more.overflow.events;
    sum.overflow.bytes += more.overflow.bytes;
    sum.paused |= more.paused;
    sum.concurrency = sum.concurrency.max(more.concurrency);
    sum.breaker = sum.breaker.max(more.breaker);
}
