//! How long to wait before an event is sent again.
//!
//! # Why
//!
//! Knative's specification, documents, Go code and Java code define four different schedules. The
//! one here is the common core that users can predict from what they wrote: the first wait is
//! `backoffDelay`, then `linear` adds it each time (`d`, `2d`, `3d`: Java, and the broker's page;
//! Go's first wait is zero, which retries into the very failure) and `exponential` doubles it
//! (`d`, `2d`, `4d`: Go; Java begins at `2d`). A ceiling and jitter are added: Knative has neither,
//! so its products overflow and fifty equal failures are retried in the same millisecond.

use std::time::Duration;

/// Ceiling of waits that grow, before jitter.
pub const BACKOFF_CAP: Duration = Duration::from_secs(5 * 60);

/// Smallest and largest factor by which chance scales a wait.
const JITTER: (f64, f64) = (0.8, 1.2);

/// How waits grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffPolicy {
    /// By the same amount each time.
    Linear,
    /// Twofold each time.
    Exponential,
}

/// Waits between the attempts of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// How waits grow.
    pub policy: BackoffPolicy,
    /// The first wait.
    pub delay: Duration,
}

impl BackoffPolicy {
    /// The name that users write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Exponential => "exponential",
        }
    }
}

impl Backoff {
    /// Returns the wait before retry number `retry`, which counts from 1.
    ///
    /// `draw`, uniform in `[0, 1)`, scales it into 0.8 to 1.2 of the schedule, so the mean is what
    /// the user wrote. The schedule stops growing at [`BACKOFF_CAP`], or at `delay` when that is
    /// longer. A subscriber that asks for `retry_after` is given that time, up to
    /// `retry_after_max`, if it is longer than the schedule's; jitter never shortens it.
    ///
    /// Spec: Knative `DeliverySpec`, `backoffPolicy`, `backoffDelay` and `retryAfterMax`.
    pub fn wait(
        &self,
        retry: u32,
        draw: f64,
        retry_after: Option<Duration>,
        retry_after_max: Duration,
    ) -> Duration {
        let scheduled = scaled(self.unscaled(retry), draw);
        scheduled.max(retry_after.unwrap_or_default().min(retry_after_max))
    }

    fn unscaled(&self, retry: u32) -> Duration {
        let steps = retry.max(1);
        let factor = match self.policy {
            BackoffPolicy::Linear => Some(u128::from(steps)),
            BackoffPolicy::Exponential => 2_u128.checked_pow(steps - 1),
        };
        let cap = BACKOFF_CAP.max(self.delay);
        if self.delay.is_zero() {
            return Duration::ZERO;
        }
        let nanos = factor.and_then(|factor| factor.checked_mul(self.delay.as_nanos()));
        nanos.and_then(|nanos| u64::try_from(nanos).ok()).map_or(cap, Duration::from_nanos).min(cap)
    }
}

/// Scales `wait` by chance: `draw` from 0 to 1 gives 0.8 to 1.2 of it.
pub(crate) fn scaled(wait: Duration, draw: f64) -> Duration {
    let (least, most) = JITTER;
    let factor = least + (most - least) * within_unit(draw);
    Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// A draw that cannot do harm: between 0 and 1, and a number.
pub(crate) fn within_unit(draw: f64) -> f64 {
    if draw.is_nan() { 0.0 } else { draw.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIDDLE: f64 = 0.5;

    #[track_caller]
    fn check(policy: BackoffPolicy, delay_ms: u64, expected_ms: &[u128]) {
        let backoff = Backoff { policy, delay: Duration::from_millis(delay_ms) };
        let schedule: Vec<u128> = (1..)
            .map(|retry| backoff.wait(retry, MIDDLE, None, Duration::ZERO).as_millis())
            .take(expected_ms.len())
            .collect();
        assert_eq!(schedule, expected_ms);
    }

    #[test]
    fn linear_waits_grow_by_the_delay_and_begin_with_it() {
        check(BackoffPolicy::Linear, 500, &[500, 1000, 1500, 2000]);
    }

    #[test]
    fn exponential_waits_double_and_begin_with_the_delay() {
        check(BackoffPolicy::Exponential, 200, &[200, 400, 800, 1600, 3200]);
    }

    #[test]
    fn waits_stop_growing_at_five_minutes() {
        let cap = 300_000;
        check(BackoffPolicy::Linear, 140_000, &[140_000, 280_000, cap, cap]);
        check(BackoffPolicy::Exponential, 100_000, &[100_000, 200_000, cap, cap]);
    }

    #[test]
    fn a_delay_above_the_ceiling_is_kept_as_written() {
        check(BackoffPolicy::Exponential, 3_600_000, &[3_600_000, 3_600_000]);
    }

    #[test]
    fn no_delay_means_no_wait_however_often() {
        let backoff = Backoff { policy: BackoffPolicy::Exponential, delay: Duration::ZERO };
        assert_eq!(backoff.wait(u32::MAX, 0.9, None, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn the_thousandth_doubling_is_the_ceiling_not_an_overflow() {
        for delay in [Duration::from_nanos(1), Duration::from_secs(1)] {
            let backoff = Backoff { policy: BackoffPolicy::Exponential, delay };
            for retry in [90, 130, 1000, u32::MAX] {
                assert_eq!(backoff.wait(retry, MIDDLE, None, Duration::ZERO), BACKOFF_CAP);
            }
        }
    }

    #[test]
    fn retry_after_lengthens_a_wait_up_to_its_bound_and_never_shortens_it() {
        let backoff = Backoff { policy: BackoffPolicy::Linear, delay: Duration::from_secs(10) };
        let cases = [
            (None, 3600, 10),
            (Some(2), 3600, 10),
            (Some(60), 3600, 60),
            (Some(7200), 3600, 3600),
            (Some(60), 0, 10),
        ];
        for (asked, max, expected) in cases {
            let asked = asked.map(Duration::from_secs);
            let wait = backoff.wait(1, MIDDLE, asked, Duration::from_secs(max));
            assert_eq!(wait, Duration::from_secs(expected), "{asked:?}, at most {max}");
        }
    }

    #[test]
    fn a_draw_out_of_range_is_harmless() {
        let wait = Duration::from_secs(10);
        for (draw, expected) in [(f64::NAN, 8), (-1.0, 8), (2.0, 12), (f64::INFINITY, 12)] {
            assert_eq!(scaled(wait, draw), Duration::from_secs(expected), "{draw}");
        }
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_a_fifth_of_the_schedule(
            linear: bool, delay_ms in 0_u64..1_000_000, retry: u32, draw in 0.0_f64..1.0,
        ) {
            let policy = if linear { BackoffPolicy::Linear } else { BackoffPolicy::Exponential };
            let delay = Duration::from_millis(delay_ms);
            let wait = Backoff { policy, delay }.wait(retry, draw, None, Duration::ZERO);
            prop_assert!(wait >= delay.mul_f64(0.799));
            prop_assert!(wait <= BACKOFF_CAP.max(delay).mul_f64(1.201));
        }

        #[test]
        fn waits_never_shrink(linear: bool, delay_ms in 0_u64..1_000_000, retry in 1_u32..2000) {
            let policy = if linear { BackoffPolicy::Linear } else { BackoffPolicy::Exponential };
            let backoff = Backoff { policy, delay: Duration::from_millis(delay_ms) };
            prop_assert!(backoff.unscaled(retry) <= backoff.unscaled(retry + 1));
        }
    }
}
