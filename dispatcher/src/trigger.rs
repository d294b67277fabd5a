//! A trigger as the workers know it: its plan, and what they share about it.
//!
//! A subscription is one too: it wants every event of its channel, and has its own place for replies.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use channel::{Name, Overflow};

use crate::{DeliveryPlan, Filter, http::Endpoint};

/// What a trigger is to the program from its creation to its deletion, whatever changes in it.
///
/// A trigger that is deleted and created again gets another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriggerKey(pub u64);

impl TriggerKey {
    /// A key that this process has not given before.
    pub fn fresh() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// What becomes of the events that a subscriber answers with.
#[derive(Clone, Debug)]
pub enum Replies {
    /// They come back to the hub that sent the event, as a broker's do.
    Hub,
    /// They go on to this destination. One that is not taken there counts as a failed attempt.
    To(Arc<Endpoint>),
    /// Nobody wants them.
    Discarded,
}

/// A trigger that is complete and valid.
#[derive(Clone, Debug)]
pub struct TriggerPlan {
    /// What the user calls it.
    pub name: Name,
    /// Which events it wants.
    pub filter: Filter,
    /// Where they go.
    pub subscriber: Arc<Endpoint>,
    /// What becomes of the events that it answers with.
    pub replies: Replies,
    /// Where those go that could not be delivered, besides the dead letters that are always kept.
    pub dead_letter_sink: Option<Arc<Endpoint>>,
    /// How often, how patiently and in which form.
    pub delivery: DeliveryPlan,
    /// Whether events of one key are delivered one after the other.
    pub ordered: bool,
    /// Whether nothing is delivered for now: its events wait in the overflow.
    pub paused: bool,
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
    /// Where its events wait beside the lanes.
    pub overflow: Arc<dyn Overflow>,
}

/// What a trigger holds, over all workers.
#[derive(Debug, Default)]
pub struct Usage {
    in_flight: AtomicU32,
    /// Whether something waits in the overflow, or did: then every worker reads it.
    overflows: AtomicBool,
    /// Whether what waits outlives the lanes.
    kept: AtomicBool,
    /// Events that were in the overflow before this process.
    found: AtomicUsize,
    /// Lanes of workers that have nothing under way because others have all there may be.
    starving: AtomicU32,
    waiting_events: AtomicUsize,
    waiting_bytes: AtomicUsize,
}

impl Usage {
    /// The usage of a trigger whose overflow held `found` events when the process opened it.
    pub fn with_found(found: usize) -> Self {
        let overflows = AtomicBool::new(found > 0);
        Self { overflows, found: AtomicUsize::new(found), ..Self::default() }
    }

    /// Events that were in the overflow before this process: matched then, waiting since.
    pub fn found(&self) -> usize {
        self.found.load(Ordering::Relaxed)
    }

    /// Says whether what waits is kept when the lanes end, because the trigger is only not ready; else
    /// it is purged with the trigger.
    pub fn keep(&self, kept: bool) {
        self.kept.store(kept, Ordering::Release);
    }

    /// Whether what waits is kept when the lanes end.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    /// Notes that the overflow is in use. Returns whether that is news.
    pub fn overflow(&self) -> bool {
        !self.overflows.swap(true, Ordering::AcqRel)
    }

    /// Whether the overflow is in use.
    pub fn overflows(&self) -> bool {
        self.overflows.load(Ordering::Acquire)
    }

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

/// Most that may wait.
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
