//! The numbers of one moment, by the labels that they are shown under.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use channel::{Depth, Durability, Name};
use dispatcher::{http::ClientCounters, route::Counts};

use super::process::ProcessUse;
use crate::{
    control::{Books, BrokerState, Control, Inventory, TriggerBooks},
    ingress::{BoundTally, ConnectionCounts, IngressTally},
    manifest::Severity,
};

/// Brokers, and triggers, that have metrics of their own: the first ones in the order of their names.
pub(super) const OWN_MAX: usize = 1000;

/// What all further ones are summed under. No resource is called so: their names have a slash.
pub(super) const OTHER: &str = "other";

/// The severities of manifest problems, in the order of [`Scrape::problems`].
pub(super) const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Note];

/// The numbers of one moment.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    pub(super) is_ready: bool,
    pub(super) workers: usize,
    pub(super) silent_workers: usize,
    pub(super) unrouted: IngressTally,
    /// By `namespace/name`, or [`OTHER`].
    pub(super) brokers: BTreeMap<String, BrokerNumbers>,
    /// By broker and trigger, each `namespace/name` or [`OTHER`].
    pub(super) triggers: BTreeMap<(String, String), TriggerBooks>,
    pub(super) problems: [usize; SEVERITIES.len()],
    pub(super) memory_used: usize,
    pub(super) memory_limit: usize,
    pub(super) connections: ConnectionCounts,
    pub(super) bounds: BoundTally,
    pub(super) client: ClientCounters,
    pub(super) process: ProcessUse,
}

/// The numbers of one broker, or of many.
#[derive(Debug, Default)]
pub(super) struct BrokerNumbers {
    pub(super) ingress: IngressTally,
    /// Whether it is, or all of them are, at work; `None` for one that is only spoken of.
    pub(super) is_ready: Option<bool>,
    /// The kind of channel that it asks for, and whether that is open and can be reached. `None` for
    /// many: each may have another.
    pub(super) channel_up: Option<(&'static str, bool)>,
    pub(super) triggers_ready: usize,
    pub(super) triggers_not_ready: usize,
    /// `None` for a broker that is not ready. Of many, the numbers are sums.
    pub(super) running: Option<Running>,
}

/// The numbers of a broker at work.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// `None` for many: each may have another.
    pub(super) channel: Option<(&'static str, Durability)>,
    pub(super) depth: Depth,
    pub(super) letters: usize,
    pub(super) letter_bytes: usize,
    pub(super) routes: Counts,
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
        let mut labels = Labels::default();
        for (name, broker) in &inventory.brokers {
            let numbers = self.brokers.entry(labels.broker(name)).or_default();
            let is_up = broker.as_ref().is_ok_and(|state| state.down().is_none());
            let kind = inventory.channels.get(name);
            let is_first = numbers.is_ready.is_none();
            numbers.channel_up = kind.filter(|_| is_first).map(|&kind| (kind, is_up));
            numbers.is_ready = Some(is_up && numbers.is_ready.unwrap_or(true));
            if let Ok(state) = broker {
                numbers.running = Some(Running::of(state, numbers.running.take()));
            }
        }
        for trigger in inventory.triggers.values() {
            let numbers = self.brokers.entry(labels.broker(&trigger.broker)).or_default();
            match trigger.running {
                Ok(_) => numbers.triggers_ready += 1,
                Err(_) => numbers.triggers_not_ready += 1,
            }
        }
        for (name, books) in books.brokers {
            let broker = labels.broker(&name);
            self.brokers.entry(broker.clone()).or_default().ingress.add(&books.ingress);
            for (name, books) in books.triggers {
                let trigger = labels.trigger(&broker, &name);
                add(self.triggers.entry((broker.clone(), trigger)).or_default(), &books);
            }
        }
        self
    }
}

/// Gives the first resources a label of their own, and all further ones the same.
#[derive(Debug, Default)]
struct Labels {
    brokers: BTreeSet<Name>,
    triggers: usize,
}

impl Labels {
    fn broker(&mut self, name: &Name) -> String {
        let has_own = self.brokers.contains(name)
            || (self.brokers.len() < OWN_MAX && self.brokers.insert(name.clone()));
        if has_own { name.to_string() } else { OTHER.to_owned() }
    }

    /// Asked once for each trigger.
    fn trigger(&mut self, broker: &str, name: &Name) -> String {
        if broker == OTHER || self.triggers == OWN_MAX {
            return OTHER.to_owned();
        }
        self.triggers += 1;
        name.to_string()
    }
}

impl Running {
    /// The numbers of a broker, added to those of others under the same label.
    fn of(state: &BrokerState, others: Option<Self>) -> Self {
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
