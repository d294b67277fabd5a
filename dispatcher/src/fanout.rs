//! What all workers share about one hub, a broker or a channel: who wants its events, and what the deliveries need.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use channel::{Budget, Hub, Sink};

use crate::{Quota, Trigger, TriggerKey, dead_letter::DeadLetters, route::RouteTable};

/// The triggers of a hub at one moment, and the index over their filters.
#[derive(Debug)]
pub struct Routes {
    table: RouteTable,
    triggers: Vec<Arc<Trigger>>,
}

impl Routes {
    /// Indexes the filters of `triggers`.
    pub fn new(triggers: Vec<Arc<Trigger>>) -> Self {
        let filters = (0..).zip(triggers.iter().map(|trigger| &trigger.plan.filter));
        Self { table: RouteTable::new(filters), triggers }
    }

    /// The index; it finds places in [`Routes::triggers`].
    pub fn table(&self) -> &RouteTable {
        &self.table
    }

    /// The triggers.
    pub fn triggers(&self) -> &[Arc<Trigger>] {
        &self.triggers
    }

    /// The trigger of that identity.
    pub fn find(&self, key: TriggerKey) -> Option<&Arc<Trigger>> {
        self.triggers.iter().find(|trigger| trigger.key == key)
    }
}

/// One hub, as far as routing and delivering its events goes.
#[derive(Debug)]
pub struct Fanout {
    /// Which one.
    pub hub: Hub,
    /// Who wants what; swapped whole when a trigger changes.
    pub routes: ArcSwap<Routes>,
    /// Where events end that could not be delivered.
    pub dead_letters: Arc<DeadLetters>,
    /// The hub's way in, where replies go that go back to it; see [`crate::Replies`].
    pub replies: Arc<dyn Sink>,
    /// The memory that events and what is kept about them may take.
    pub budget: Arc<Budget>,
    /// Most that each trigger may let wait, in its lanes and its overflow.
    pub quota: Quota,
    /// Whether what waits outlives the process: then a process that ends leaves it where it is.
    pub outlives: bool,
    /// Counts triggers that begin to use their overflow.
    pub overflows: Overflows,
}

/// How many triggers of a hub have begun to use their overflow, so that every worker gets to know.
#[derive(Debug, Default)]
pub struct Overflows(AtomicU64);

impl Overflows {
    /// One more has begun.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
