//! How long to wait before something is tried again.

use std::time::Duration;

/// Waits that double up to a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest one.
    pub max: Duration,
}

impl Backoff {
    /// Between attempts to hand an event to a sink.
    pub const PUT: Self = Self { first: Duration::from_millis(100), max: Duration::from_secs(15) };
    /// Between restarts of a source that failed.
    pub const RESTART: Self = Self { first: Duration::from_secs(1), max: Duration::from_secs(60) };

    /// The wait before attempt `attempt + 1`, where the first attempt is 1. `chance`, from 0 to 1,
    /// takes up to half of it away, so that those who failed together do not come back together.
    pub fn wait(self, attempt: u32, chance: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(5) };
        let waits = [0, 1, 2, 3, 4, 1_000_000].map(|attempt| backoff.wait(attempt, 0.0).as_secs());
        assert_eq!(waits, [1, 1, 2, 4, 5, 5]);
        assert_eq!(backoff.wait(1, 1.0), Duration::from_millis(500));
    }
}
