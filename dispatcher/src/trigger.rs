//! A trigger as the workers know it: its plan, and what they share about it.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use channel::Name;

use crate::{DeliveryPlan, Filter, http::Endpoint};

/// What a trigger is to the program from its creation to its deletion, whatever changes in it.
///
/// A trigger that is deleted and created again gets another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriggerKey(pub u64);

/// A trigger that is complete and valid.
#[derive(Clone, Debug)]
pub struct TriggerPlan {
    /// What the user calls it.
    pub name: Name,
    /// Which events it wants.
    pub filter: Filter,
    /// Where they go.
    pub subscriber: Arc<Endpoint>,
    /// Where those go that could not be delivered, besides the dead letters that are always kept.
    pub dead_letter_sink: Option<Arc<Endpoint>>,
    /// How often, how patiently and in which form.
    pub delivery: DeliveryPlan,
    /// Whether events of one key are delivered one after the other.
    pub ordered: bool,
    /// Most deliveries at a time, over all workers.
    pub in_flight_max: NonZeroU32,
    /// Header lines of every request, each ended by CR LF; see [`TriggerPlan::request_headers`].
    pub request_headers: Box<[u8]>,
}

impl TriggerPlan {
    /// The header lines that Knative's dispatcher adds to every delivery of a trigger in `namespace`.
    pub fn request_headers(namespace: &str) -> Box<[u8]> {
        format!("prefer: reply\r\nkn-namespace: {namespace}\r\n").into_bytes().into()
    }
}

/// A trigger at work. A change of the plan makes a new one with the same key and usage.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its identity.
    pub key: TriggerKey,
    /// What it does.
    pub plan: Arc<TriggerPlan>,
    /// What it holds, over all workers.
    pub usage: Arc<Usage>,
}

/// What a trigger holds, over all workers.
#[derive(Debug, Default)]
pub struct Usage {
    in_flight: AtomicU32,
    /// Lanes of workers that have nothing under way because others have all there may be.
    starving: AtomicU32,
    waiting_events: AtomicUsize,
    waiting_bytes: AtomicUsize,
}

impl Usage {
    /// Counts a delivery that starts, unless `limit` are under way already.
    pub(crate) fn start(&self, limit: u32) -> bool {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if before >= limit {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        before < limit
    }

    /// Counts a lane that starves, or no longer does.
    pub(crate) fn starve(&self, starves: bool) {
        if starves {
            self.starving.fetch_add(1, Ordering::Relaxed);
        } else {
            self.starving.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether another worker's lane starves.
    pub(crate) fn is_wanted(&self) -> bool {
        self.starving.load(Ordering::Relaxed) > 0
    }

    /// Counts a delivery that ended.
    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts an event that waits, unless the quota is reached. One always may.
    pub(crate) fn wait(&self, bytes: usize, quota: Quota) -> bool {
        let events = self.waiting_events.fetch_add(1, Ordering::Relaxed);
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = events == 0 || (events < quota.events && before + bytes <= quota.bytes);
        if !fits {
            self.stop_waiting(bytes);
        }
        fits
    }

    /// Counts an event that must wait, quota or not: it was taken on before.
    pub(crate) fn wait_again(&self, bytes: usize) {
        self.waiting_events.fetch_add(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts an event that waits no longer.
    pub(crate) fn stop_waiting(&self, bytes: usize) {
        self.waiting_events.fetch_sub(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Most that one trigger may let wait: its share of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Events.
    pub events: usize,
    /// Their bytes.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_waits_within_its_share() {
        let usage = Usage::default();
        let quota = Quota { events: 2, bytes: 100 };
        assert!(usage.wait(60, quota));
        assert!(!usage.wait(60, quota), "bytes");
        assert!(usage.wait(40, quota));
        usage.stop_waiting(60);
        assert!(usage.wait(1, quota));
        assert!(!usage.wait(1, quota), "events");
        let small = Quota { events: 0, bytes: 10 };
        assert!(Usage::default().wait(60, small), "alone");
    }

    #[test]
    fn deliveries_under_way_are_counted_over_all_workers() {
        let usage = Usage::default();
        assert!(usage.start(1));
        assert!(!usage.start(1));
        usage.end();
        assert!(usage.start(1));
    }
}
