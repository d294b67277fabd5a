//! How long requests took, in a fixed amount of memory.

use std::time::Duration;

/// Buckets per doubling: a percentile is at most 1/32 too high.
const STEPS: u64 = 32;
/// Enough for every 64-bit number of microseconds.
const BUCKETS: usize = 1920;

/// Counts of durations in buckets that grow with the duration.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Latency {
    /// No durations yet.
    pub(super) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: Duration::ZERO }
    }

    /// Counts one duration.
    pub(super) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket(micros)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(took);
    }

    /// The longest duration; zero when there is none.
    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// The duration that `percent` of all, from 0 to 100, do not exceed; `None` when there is
    /// none. At most 1/32 above the truth.
    pub(super) fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        let bound = u64::try_from(found).map_or(u64::MAX, upper_bound);
        Some(Duration::from_micros(bound).min(self.max))
    }
}

/// The first 64 buckets are one microsecond wide, every further 32 twice as wide as before.
fn bucket(micros: u64) -> usize {
    let doublings = u64::from((micros / STEPS).checked_ilog2().unwrap_or(0));
    let index = doublings * STEPS + (micros >> doublings);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The largest number of microseconds that falls into `bucket`.
fn upper_bound(bucket: u64) -> u64 {
    let doublings = (bucket / STEPS).saturating_sub(1);
    let start = (bucket - doublings * STEPS) << doublings;
    start.saturating_add((1 << doublings) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_below_the_bound_of_its_bucket() {
        for micros in (0..5000).chain([1 << 20, (1 << 40) + 12345, u64::MAX - 1, u64::MAX]) {
            let index = bucket(micros);
            assert!(index < BUCKETS, "{micros}");
            let bound = upper_bound(index as u64);
            assert!(bound >= micros && bound - micros <= micros / STEPS, "{micros} {bound}");
            assert!(index == 0 || upper_bound(index as u64 - 1) < micros, "{micros}");
        }
    }

    #[test]
    fn percentiles_are_close_and_never_above_the_maximum() {
        let mut latency = Latency::new();
        assert_eq!(latency.percentile(50), None);
        for millis in 1..=100 {
            latency.record(Duration::from_millis(millis));
        }
        let p50 = latency.percentile(50).unwrap();
        assert!(p50 >= Duration::from_millis(50) && p50 < Duration::from_millis(52), "{p50:?}");
        assert_eq!(latency.percentile(100), Some(Duration::from_millis(100)));
        assert_eq!(latency.max(), Duration::from_millis(100));
    }
}
