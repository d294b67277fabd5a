//! Up to where everything of a stream is settled: only ever more of it.

use std::sync::atomic::{AtomicU64, Ordering};

/// The last sequence number of which it is known that all up to it is settled.
#[derive(Debug, Default)]
pub(super) struct Watermark(AtomicU64);

impl Watermark {
    /// `None` when nothing is known.
    pub(super) fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&sequence| sequence > 0)
    }

    /// All up to `sequence` is settled.
    pub(super) fn raise(&self, sequence: u64) {
        self.0.fetch_max(sequence, Ordering::Relaxed);
    }
}
