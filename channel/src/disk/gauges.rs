//! What the threads of a disk channel tell each other: counts, bounds, and that something failed.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::Thread,
    time::Instant,
};

use crate::{
    PublishError,
    disk::settings::{
        BOUNDS, BYTES_MAX, DiskSettings, EVENTS_MAX, FREE_BYTES_MIN, FREE_PERCENT_MIN,
    },
    drain::{DrainRate, retry_after},
};

/// Wakes a thread that parks; never blocks.
#[derive(Debug, Default)]
pub(super) struct Bell(OnceLock<Thread>);

impl Bell {
    /// To be called once, by the thread that is to be woken or with it.
    pub(super) fn hang(&self, thread: &Thread) {
        self.0.get_or_init(|| thread.clone());
    }

    pub(super) fn ring(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// The counts and states of one channel.
pub(super) struct Gauges {
    pub(super) settings: DiskSettings,
    /// Events stored or on their way, and not settled.
    pub(super) events: AtomicUsize,
    /// Bytes of their records.
    pub(super) bytes: AtomicUsize,
    /// Events ever settled by this process.
    pub(super) settled: AtomicU64,
    /// Bytes of segments that hold something unsettled.
    pub(super) needed: AtomicU64,
    /// Bytes on their way to the log.
    pub(super) pending: AtomicUsize,
    /// Bytes of what waits and of notes.
    pub(super) waiting: AtomicU64,
    /// What the file takes that they are in.
    pub(super) waiting_on_disk: AtomicU64,
    /// Bytes of stored events that are in memory and not lent yet.
    pub(super) ahead: AtomicUsize,
    /// Whether something was settled since the writer last looked.
    pub(super) has_settled: AtomicBool,
    /// Whether stored events are to be read from the log before new ones are lent.
    pub(super) is_behind: AtomicBool,
    /// Whether anybody has asked for an event.
    pub(super) is_read: AtomicBool,
    /// Whether the file system has less than it should have free.
    pub(super) is_low: AtomicBool,
    /// Whether what must be free is a share of the file system.
    pub(super) is_share: AtomicBool,
    /// Whether it has less than half of that: then nothing may wait that can be where it is.
    pub(super) is_tight: AtomicBool,
    /// Whether nothing new is taken.
    pub(super) is_closed: AtomicBool,
    /// Whether the threads are to finish.
    pub(super) is_ending: AtomicBool,
    pub(super) writer: Bell,
    pub(super) feeder: Bell,
    pub(super) keeper: Bell,
    failed: OnceLock<String>,
    refusals: Mutex<Refusals>,
}

struct Refusals {
    drain: DrainRate,
    /// How often each of [`BOUNDS`] was reached.
    counts: [u64; BOUNDS.len()],
}

impl Gauges {
    pub(super) fn new(settings: DiskSettings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            events: AtomicUsize::default(),
            bytes: AtomicUsize::default(),
            settled: AtomicU64::default(),
            needed: AtomicU64::default(),
            pending: AtomicUsize::default(),
            waiting: AtomicU64::default(),
            waiting_on_disk: AtomicU64::default(),
            ahead: AtomicUsize::default(),
            has_settled: AtomicBool::default(),
            is_behind: AtomicBool::default(),
            is_read: AtomicBool::default(),
            is_low: AtomicBool::default(),
            is_share: AtomicBool::default(),
            is_tight: AtomicBool::default(),
            is_closed: AtomicBool::default(),
            is_ending: AtomicBool::default(),
            writer: Bell::default(),
            feeder: Bell::default(),
            keeper: Bell::default(),
            failed: OnceLock::new(),
            refusals: Mutex::new(Refusals {
                drain: DrainRate::new(Instant::now()),
                counts: [0; BOUNDS.len()],
            }),
        })
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// What failed for good, in words.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// Stops the channel because its storage cannot be trusted any more.
    pub(super) fn fail(&self, what: &str, error: &dyn std::error::Error) {
        let mut reason = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        tracing::error!(%reason, "the disk channel stops");
        self.failed.get_or_init(|| reason);
    }

    /// Why nothing can be taken now, unless something can.
    pub(super) fn down(&self) -> Option<PublishError> {
        if let Some(reason) = self.failed() {
            return Some(PublishError::Down { reason: reason.to_owned() });
        }
        let is_closed = self.is_closed.load(Ordering::Acquire);
        is_closed.then(|| PublishError::Down { reason: "it is closing".into() })
    }

    /// Counts a refusal.
    pub(super) fn count(&self, bound: &'static str) {
        let place = BOUNDS.iter().position(|&each| each == bound);
        let mut refusals = self.refusals();
        if let Some(count) = place.and_then(|place| refusals.counts.get_mut(place)) {
            *count += 1;
        }
    }

    /// The refusal for a bound that is reached.
    pub(super) fn full(&self, bound: &'static str) -> PublishError {
        self.count(bound);
        let pending = self.events.load(Ordering::Relaxed);
        let settled = self.settled.load(Ordering::Relaxed);
        let rate = self.refusals().drain.sample(Instant::now(), settled);
        PublishError::Full { bound, retry_after: retry_after(pending, rate, fastrand::f64()) }
    }

    /// The bound that keeps room in the file system: the larger of two.
    pub(super) fn room_bound(&self) -> &'static str {
        if self.is_share.load(Ordering::Relaxed) { FREE_PERCENT_MIN } else { FREE_BYTES_MIN }
    }

    /// How often each bound was reached.
    pub(super) fn bounds_reached(&self) -> Vec<(&'static str, u64)> {
        BOUNDS.into_iter().zip(self.refusals().counts).collect()
    }

    /// Takes room for events of `bytes` on disk.
    pub(super) fn admit(&self, events: usize, bytes: usize) -> Result<(), PublishError> {
        if self.is_low.load(Ordering::Relaxed) {
            return Err(self.full(self.room_bound()));
        }
        let max = self.settings.bytes_max;
        // Nothing new comes in for which files would have to grow; what is accepted goes by its own size,
        // because it must have somewhere to wait.
        let beside = self.waiting_on_disk.load(Ordering::Relaxed);
        let beside = beside.saturating_sub(self.waiting.load(Ordering::Relaxed));
        if self.used() + beside + bytes as u64 > max - max / 16 {
            return Err(self.full(BYTES_MAX));
        }
        let before = self.events.fetch_add(events, Ordering::Relaxed);
        if before + events > self.settings.events_max {
            self.events.fetch_sub(events, Ordering::Relaxed);
            return Err(self.full(EVENTS_MAX));
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pending.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back what [`Gauges::admit`] took.
    pub(super) fn dismiss(&self, events: usize, bytes: usize) {
        self.events.fetch_sub(events, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.pending.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes on disk that are needed, or will be.
    pub(super) fn used(&self) -> u64 {
        self.needed.load(Ordering::Relaxed)
            + self.waiting.load(Ordering::Relaxed)
            + self.pending.load(Ordering::Relaxed) as u64
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges")
            .field("events", &self.events)
            .field("bytes", &self.bytes)
            .field("failed", &self.failed())
            .finish_non_exhaustive()
    }
}
