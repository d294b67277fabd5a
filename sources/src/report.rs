//! What is known of a source that runs: where it stands, and what it counted.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use jiff::Timestamp;
use serde::Serialize;

/// Where a source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Phase {
    /// It has not run yet.
    #[default]
    Starting,
    /// It runs.
    Running,
    /// It runs, and cannot do all that it should yet; it goes on by itself when it can.
    Waiting {
        /// In one word, as a condition's reason.
        reason: &'static str,
        /// For people, in words of one line.
        message: String,
    },
    /// It failed and is started again.
    Failed {
        /// Why it failed.
        reason: String,
        /// How often in a row.
        attempts: u32,
    },
    /// It was told to stop.
    Stopped,
}

/// What a source counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Events that the sink stored.
    pub made: u64,
    /// Events that the sink will never take, and requests that were refused.
    pub refused: u64,
    /// Attempts to hand an event over that failed and were made again.
    pub retried: u64,
    /// What was there already: deliveries that were made twice.
    pub repeated: u64,
    /// Ticks that made no event because a newer one did.
    pub skipped: u64,
    /// Starts after a failure.
    pub restarts: u64,
    /// Milliseconds from the time of the last event to its being stored.
    pub lag_millis: i64,
}

impl Counts {
    /// Adds what another source counted; the longer lag stays.
    pub fn add(&mut self, other: &Self) {
        self.made += other.made;
        self.refused += other.refused;
        self.retried += other.retried;
        self.repeated += other.repeated;
        self.skipped += other.skipped;
        self.restarts += other.restarts;
        self.lag_millis = self.lag_millis.max(other.lag_millis);
    }
}

/// What is known of a source; it outlives changes of the source's spec.
#[derive(Debug, Default)]
pub struct Report {
    phase: Mutex<Phase>,
    last_event: AtomicI64,
    last_refusal: Mutex<Option<String>>,
    trouble: Mutex<Option<String>>,
    made: AtomicU64,
    refused: AtomicU64,
    retried: AtomicU64,
    repeated: AtomicU64,
    skipped: AtomicU64,
    restarts: AtomicU64,
    lag_millis: AtomicI64,
    /// 0 when there is none.
    webhook_id: AtomicU64,
}

impl Report {
    /// Where the source stands.
    pub fn phase(&self) -> Phase {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it counted so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            made: read(&self.made),
            refused: read(&self.refused),
            retried: read(&self.retried),
            repeated: read(&self.repeated),
            skipped: read(&self.skipped),
            restarts: read(&self.restarts),
            lag_millis: self.lag_millis.load(Ordering::Relaxed),
        }
    }

    /// When its last event was stored.
    pub fn last_event(&self) -> Option<Timestamp> {
        let millis = self.last_event.load(Ordering::Relaxed);
        if millis == 0 { None } else { Timestamp::from_millisecond(millis).ok() }
    }

    /// Why the last event or request that was refused was refused.
    pub fn last_refusal(&self) -> Option<String> {
        self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What keeps a source that runs from doing all that it should.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what keeps it from that; `None` when nothing does any more.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The id of the webhook that was made for it elsewhere.
    pub fn webhook_id(&self) -> Option<u64> {
        Some(self.webhook_id.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    pub(crate) fn set_webhook_id(&self, id: Option<u64>) {
        self.webhook_id.store(id.unwrap_or_default(), Ordering::Relaxed);
    }

    pub(crate) fn enter(&self, phase: Phase) {
        if matches!(phase, Phase::Failed { .. }) {
            self.restarts.fetch_add(1, Ordering::Relaxed);
        }
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Counts an event of `time` that was stored at `now`.
    pub(crate) fn made(&self, time: Timestamp, now: Timestamp) {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.last_event.store(now.as_millisecond(), Ordering::Relaxed);
        let lag = now.as_millisecond() - time.as_millisecond();
        self.lag_millis.store(lag, Ordering::Relaxed);
    }

    /// Counts an event or a request that will never be taken.
    pub fn refused(&self, reason: &impl ToString) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let reason = Some(reason.to_string());
        *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(crate) fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn repeated(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn skipped(&self, ticks: u64) {
        self.skipped.fetch_add(ticks, Ordering::Relaxed);
    }
}
