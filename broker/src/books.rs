//! What became of events, over all workers: sums that add up whenever they are read.

use std::collections::BTreeMap;

use channel::{Depth, Hub, Name};
use dispatcher::{HeldTally, LaneReport, Tally, breaker, http::ClientCounters};

use crate::{
    ingress::{BoundTally, IngressTally},
    worker::WorkerReport,
};

/// What became of the events of one hub, over all workers.
#[derive(Clone, Debug, Default)]
pub struct HubBooks {
    /// What its way in has seen.
    pub ingress: IngressTally,
    /// Its triggers, by name; of a channel its subscriptions.
    pub triggers: BTreeMap<Name, TriggerBooks>,
}

/// What became of the events of one trigger, over all workers.
///
/// `tally.matched = tally.delivered + dead + expired + purged + tally.waiting + tally.in_flight`.
#[derive(Clone, Debug, Default)]
pub struct TriggerBooks {
    /// The sum of the workers' books.
    pub tally: Tally,
    /// Dead letters held now.
    pub dead: i64,
    /// Dead letters whose retention ended.
    pub expired: i64,
    /// Events purged, by an operator or with the trigger.
    pub purged: i64,
    /// The worst state of the subscriber's breaker over all workers.
    pub breaker: BreakerState,
    /// Deliveries that may be under way at a time, the most over all workers.
    pub concurrency: u32,
    /// Events, counted as in flight, that wait for room among the hub's dead letters. While there
    /// are any nothing is delivered.
    pub stalled: usize,
    /// What waits in its overflow.
    pub overflow: Depth,
    /// Whether somebody has paused it.
    pub paused: bool,
}

/// What a breaker does, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// Everything is sent.
    #[default]
    Closed,
    /// Only probes are sent.
    HalfOpen,
    /// Nothing is sent.
    Open,
}

impl From<breaker::State> for BreakerState {
    fn from(state: breaker::State) -> Self {
        match state {
            breaker::State::Closed => Self::Closed,
            breaker::State::HalfOpen => Self::HalfOpen,
            breaker::State::Open { .. } => Self::Open,
        }
    }
}

impl BreakerState {
    /// The name that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "halfOpen",
            Self::Open => "open",
        }
    }
}

/// The books of the whole process at one moment.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// By hub.
    pub hubs: BTreeMap<Hub, HubBooks>,
    /// Requests refused before a hub was known.
    pub unrouted: IngressTally,
    /// How often each bound of the way in was reached.
    pub bounds: BoundTally,
    /// What the clients that deliver have done.
    pub client: ClientCounters,
    /// Workers that did not answer in time.
    pub silent_workers: usize,
}

impl Books {
    pub(crate) fn add(&mut self, report: WorkerReport) {
        self.bounds.add(&report.bounds);
        self.client.add(&report.client);
        for (hub, lanes) in report.lanes {
            let of_hub = self.hubs.entry(hub).or_default();
            for lane in lanes {
                of_hub.triggers.entry(lane.trigger.plan.name.clone()).or_default().add(&lane);
            }
        }
        for (hub, tally) in report.ingress {
            self.hubs.entry(hub).or_default().ingress.add(&tally);
        }
        self.unrouted.add(&report.unrouted);
    }
}

impl TriggerBooks {
    fn add(&mut self, lane: &LaneReport) {
        self.tally.add(&lane.tally);
        self.breaker = self.breaker.max(lane.breaker.into());
        self.concurrency = self.concurrency.max(lane.concurrency);
        self.stalled += lane.stalled;
    }

    /// Counts what other processes have put into the overflow as matched, or what they have taken out
    /// of it as their own: as far as can be seen from here.
    pub(crate) fn share(&mut self) {
        let stored = i64::try_from(self.overflow.events).unwrap_or(i64::MAX);
        let unseen = stored - self.tally.waiting - self.tally.in_flight;
        let of_others = unseen.max(0).max(-self.tally.waiting);
        self.tally.matched += of_others;
        self.tally.waiting += of_others;
    }

    /// Adds what no worker has seen: dead letters that were told of or taken away, and the events
    /// that were found waiting.
    pub(crate) fn settle(&mut self, held: HeldTally, found: usize) {
        let found = i64::try_from(found).unwrap_or(i64::MAX);
        self.tally.matched += held.matched + found;
        self.tally.waiting += found;
        self.dead = self.tally.dead + held.dead;
        self.purged = self.tally.purged + held.purged;
        self.expired = held.expired;
    }
}
