//! How fast a channel drains, and when a refused producer should come back.

use std::time::{Duration, Instant};

/// How fast events were settled lately; looked at only when one is refused.
#[derive(Debug)]
pub(crate) struct DrainRate {
    since: Instant,
    settled: u64,
    per_second: f64,
}

impl DrainRate {
    const WINDOW: Duration = Duration::from_secs(10);

    /// A rate that is measured from `now` on.
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, settled: 0, per_second: 0.0 }
    }

    /// Settled events a second, from the count of all that ever were.
    pub(crate) fn sample(&mut self, now: Instant, settled: u64) -> f64 {
        let elapsed = now.saturating_duration_since(self.since);
        let drained = settled.saturating_sub(self.settled);
        if elapsed >= Self::WINDOW {
            self.per_second = per_second(drained, elapsed);
            (self.since, self.settled) = (now, settled);
        } else if self.per_second == 0.0 && !elapsed.is_zero() {
            return per_second(drained, elapsed);
        }
        self.per_second
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn per_second(drained: u64, elapsed: Duration) -> f64 {
    drained as f64 / elapsed.as_secs_f64()
}

/// When a refused producer should come back: the time that what is pending takes to drain, between
/// a second and a minute, spread by a fifth either way. `draw` is uniform in `[0, 1)`.
#[expect(clippy::cast_precision_loss, reason = "an estimate needs no more than 52 bits")]
pub(crate) fn retry_after(pending: usize, drained_per_second: f64, draw: f64) -> Duration {
    let seconds = (pending as f64 / drained_per_second.max(f64::MIN_POSITIVE)).clamp(1.0, 60.0);
    Duration::from_secs_f64(seconds * (0.8 + 0.4 * draw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_producer_comes_back_when_there_should_be_room() {
        for (pending, rate, draw, seconds) in [
            (100, 10.0, 0.5, 10.0),
            (1, 1000.0, 0.5, 1.0),
            (1000, 0.0, 0.5, 60.0),
            (100, 10.0, 0.0, 8.0),
        ] {
            assert_eq!(retry_after(pending, rate, draw).as_secs_f64(), seconds);
        }
    }

    #[test]
    fn the_drain_rate_is_that_of_the_last_window() {
        let start = Instant::now();
        let mut drain = DrainRate::new(start);
        assert_eq!(drain.sample(start + Duration::from_secs(1), 5), 5.0);
        assert_eq!(drain.sample(start + Duration::from_secs(10), 100), 10.0);
        assert_eq!(drain.sample(start + Duration::from_secs(11), 1000), 10.0);
    }
}
