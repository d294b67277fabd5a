//! Event -> kept in its shard, within the bounds; or refused.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{
    Batch, Budget, Channel, Charge, Depth, Durability, Event, Name, Overflow, Publish,
    PublishError, Reader, Strength,
    drain::{DrainRate, retry_after},
    key_worker,
    memory::{
        lease::{Shard, ShardReader},
        overflow::MemoryOverflow,
    },
};

/// Bounds of a memory channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Most events stored and not settled. Default 200,000.
    pub events_max: usize,
    /// Most bytes of one event, attributes and data. Default 1 MiB and 64 KiB for attributes.
    pub event_bytes_max: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { events_max: 200_000, event_bytes_max: (1 << 20) + (64 << 10) }
    }
}

/// A channel in the memory of this process.
pub struct Memory {
    limits: MemoryLimits,
    budget: Arc<Budget>,
    shards: Box<[Arc<Shard>]>,
    /// Events stored and not settled, over all shards.
    events: Arc<AtomicUsize>,
    keyed: AtomicBool,
    refusals: Mutex<Refusals>,
}

/// The bounds, by their names in the configuration.
const BOUNDS: [&str; 3] = [EVENTS_MAX, BYTES_MAX, EVENT_BYTES_MAX];
const EVENTS_MAX: &str = "channel.memory.eventsMax";
const BYTES_MAX: &str = "channel.memory.bytesMax";
const EVENT_BYTES_MAX: &str = "channel.memory.eventBytesMax";

/// What is written down when something is refused.
#[derive(Debug)]
struct Refusals {
    drain: DrainRate,
    /// How often each of [`BOUNDS`] was reached.
    counts: [u64; BOUNDS.len()],
}

impl Refusals {
    fn count(&mut self, bound: &'static str) {
        let place = BOUNDS.iter().position(|&each| each == bound);
        if let Some(count) = place.and_then(|place| self.counts.get_mut(place)) {
            *count += 1;
        }
    }
}

impl Memory {
    /// A channel with a shard for each of `workers`, at least one, whose events are charged to `budget`.
    pub fn new(workers: usize, limits: MemoryLimits, budget: Arc<Budget>) -> Arc<Self> {
        let events = Arc::new(AtomicUsize::new(0));
        let count = workers.max(1);
        Arc::new(Self {
            limits,
            budget,
            shards: (0..count).map(|index| Shard::new(index, count, Arc::clone(&events))).collect(),
            events,
            keyed: AtomicBool::new(false),
            refusals: Mutex::new(Refusals {
                drain: DrainRate::new(Instant::now()),
                counts: [0; BOUNDS.len()],
            }),
        })
    }

    fn shard(&self, worker: usize, event: &Event) -> Option<&Arc<Shard>> {
        let count = self.shards.len();
        let is_keyed = self.keyed.load(Ordering::Acquire);
        self.shards.get(if is_keyed { key_worker(event, count) } else { worker % count })
    }

    fn full(&self, bound: &'static str) -> PublishError {
        let published: u64 = self.shards.iter().map(|shard| shard.published()).sum();
        let pending = self.events.load(Ordering::Relaxed);
        let settled = published.saturating_sub(pending as u64);
        let mut refusals = self.refusals();
        refusals.count(bound);
        let rate = refusals.drain.sample(Instant::now(), settled);
        PublishError::Full { bound, retry_after: retry_after(pending, rate, fastrand::f64()) }
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel for Memory {
    fn kind(&self) -> &'static str {
        "InMemoryChannel"
    }

    fn durability(&self) -> Durability {
        Durability { strength: Strength::None, replicated: false }
    }

    fn event_bytes_max(&self) -> usize {
        self.limits.event_bytes_max
    }

    fn reserve(&self, bytes: usize) -> Result<Charge, PublishError> {
        self.budget.try_charge(bytes).ok_or_else(|| self.full(BYTES_MAX))
    }

    fn publish(&self, worker: usize, events: Batch) -> Publish {
        if self.shards.iter().any(|shard| shard.is_closed()) {
            let reason = "it is closing".into();
            return Publish::done(Err(PublishError::Down { reason }));
        }
        let limit = self.limits.event_bytes_max;
        if let Some(size) = events.iter().map(Event::size).find(|&size| size > limit) {
            self.refusals().count(EVENT_BYTES_MAX);
            return Publish::done(Err(PublishError::TooLarge { size, limit }));
        }
        let before = self.events.fetch_add(events.len(), Ordering::Relaxed);
        if before + events.len() > self.limits.events_max {
            self.events.fetch_sub(events.len(), Ordering::Relaxed);
            return Publish::done(Err(self.full(EVENTS_MAX)));
        }
        let mut last = None;
        for event in events {
            last = self.shard(worker, &event).map(|shard| shard.keep(event));
        }
        Publish::done(last.ok_or_else(|| PublishError::Down { reason: "nothing to store".into() }))
    }

    fn keep_keys_together(&self, keyed: bool) {
        self.keyed.store(keyed, Ordering::Release);
    }

    fn reader(&self, worker: usize) -> Box<dyn Reader> {
        let index = worker % self.shards.len();
        Box::new(ShardReader::new(self.shards.get(index).map(Arc::clone)))
    }

    fn depth(&self) -> Depth {
        Depth {
            events: self.events.load(Ordering::Relaxed),
            bytes: self.shards.iter().map(|shard| shard.bytes()).sum(),
        }
    }

    fn overflow(&self, _trigger: &Name, ordered: bool) -> Arc<dyn Overflow> {
        Arc::new(MemoryOverflow::new(self.shards.len(), ordered))
    }

    fn bounds_reached(&self) -> Vec<(&'static str, u64)> {
        BOUNDS.into_iter().zip(self.refusals().counts).collect()
    }

    fn close(&self) {
        for shard in &self.shards {
            shard.close();
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Draft, SpecVersion};

    use super::*;

    #[tokio::test]
    async fn every_bound_that_is_reached_is_counted() {
        let event = || {
            let mut draft = Draft::new(SpecVersion::V10);
            for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")] {
                draft.push_wire(name, value.as_bytes()).unwrap();
            }
            draft.finish().unwrap()
        };
        let reached = async |limits: MemoryLimits| {
            let channel = Memory::new(1, limits, Budget::new(100));
            assert!(channel.reserve(101).is_err() && channel.reserve(100).is_ok());
            for _ in 0..3 {
                drop(channel.publish(0, Batch::from_iter([event()])).await);
            }
            channel.bounds_reached()
        };
        let (events, bytes, size) = (EVENTS_MAX, BYTES_MAX, EVENT_BYTES_MAX);
        let limits = MemoryLimits { events_max: 1, ..MemoryLimits::default() };
        assert_eq!(reached(limits).await, [(events, 2), (bytes, 1), (size, 0)]);
        let limits = MemoryLimits { event_bytes_max: 9, ..limits };
        assert_eq!(reached(limits).await, [(events, 0), (bytes, 1), (size, 3)]);
    }
}
