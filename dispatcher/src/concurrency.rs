//! How many attempts a subscriber gets at a time: as many as it takes, found out by trying.
//!
//! The limit grows by one for every [`SUCCESSES_PER_STEP`] successes and is halved when the
//! subscriber is overloaded, as TCP does with its window.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// Successes after which one more attempt may be out.
pub const SUCCESSES_PER_STEP: u32 = 32;
/// Time between two halvings: attempts that were out together speak of the same overload.
pub const HALVE_EVERY: Duration = Duration::from_secs(1);

/// A limit between one and a maximum. Starts at the maximum, so that a healthy subscriber never
/// waits for it.
#[derive(Clone, Debug)]
pub struct Concurrency {
    limit: NonZeroU32,
    limit_max: NonZeroU32,
    successes: u32,
    halved_at: Option<Instant>,
}

impl Concurrency {
    /// A limit that is `limit_max` at first and never more.
    pub fn new(limit_max: NonZeroU32) -> Self {
        Self { limit: limit_max, limit_max, successes: 0, halved_at: None }
    }

    /// How many attempts may be out at once now.
    pub fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// Notes a success.
    pub fn success(&mut self) {
        if self.limit == self.limit_max {
            return;
        }
        self.successes += 1;
        if self.successes == SUCCESSES_PER_STEP {
            self.successes = 0;
            self.limit = self.limit.saturating_add(1).min(self.limit_max);
        }
    }

    /// Notes an attempt that found the subscriber overloaded
    /// ([`Attempt::is_overload`](crate::Attempt::is_overload)). Halves the limit, unless it was
    /// halved within the last second.
    pub fn overload(&mut self, now: Instant) {
        let is_same = |at| now.saturating_duration_since(at) < HALVE_EVERY;
        if self.halved_at.is_some_and(is_same) {
            return;
        }
        self.limit = NonZeroU32::new(self.limit.get() / 2).unwrap_or(NonZeroU32::MIN);
        self.successes = 0;
        self.halved_at = Some(now);
    }

    /// Changes the maximum. A limit that stood at the old one, so was never in the way, goes along.
    pub fn set_limit_max(&mut self, limit_max: NonZeroU32) {
        let stood_at_max = self.limit == self.limit_max;
        self.limit_max = limit_max;
        self.limit = if stood_at_max { limit_max } else { self.limit.min(limit_max) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at_most(limit_max: u32) -> Concurrency {
        Concurrency::new(NonZeroU32::new(limit_max).unwrap())
    }

    #[test]
    fn it_starts_at_the_maximum_and_stays_there_while_all_is_well() {
        let mut concurrency = at_most(32);
        for _ in 0..1000 {
            concurrency.success();
            assert_eq!(concurrency.limit().get(), 32);
        }
    }

    #[test]
    fn overload_halves_at_most_once_a_second() {
        let start = Instant::now();
        let mut concurrency = at_most(32);
        let limits = [0, 1, 999, 1000, 1999, 2000, 3000, 4000, 5000, 6000].map(|millis| {
            concurrency.overload(start + Duration::from_millis(millis));
            concurrency.limit().get()
        });
        assert_eq!(limits, [16, 16, 16, 8, 8, 4, 2, 1, 1, 1]);
    }

    #[test]
    fn thirty_two_successes_add_one() {
        let mut concurrency = at_most(4);
        concurrency.overload(Instant::now());
        let mut limits = Vec::new();
        for _ in 0..3 {
            (0..31).for_each(|_| concurrency.success());
            limits.push(concurrency.limit().get());
            concurrency.success();
            limits.push(concurrency.limit().get());
        }
        assert_eq!(limits, [2, 3, 3, 4, 4, 4]);
    }

    #[test]
    fn successes_before_an_overload_do_not_count_after_it() {
        let start = Instant::now();
        let mut concurrency = at_most(8);
        concurrency.overload(start);
        (0..31).for_each(|_| concurrency.success());
        concurrency.overload(start + HALVE_EVERY);
        concurrency.success();
        assert_eq!(concurrency.limit().get(), 2);
    }

    #[test]
    fn a_new_maximum_holds_at_once() {
        let mut concurrency = at_most(8);
        concurrency.set_limit_max(NonZeroU32::new(16).unwrap());
        assert_eq!(concurrency.limit().get(), 16);
        concurrency.overload(Instant::now());
        concurrency.set_limit_max(NonZeroU32::new(32).unwrap());
        assert_eq!(concurrency.limit().get(), 8);
        concurrency.set_limit_max(NonZeroU32::new(4).unwrap());
        assert_eq!(concurrency.limit().get(), 4);
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds(
            limit_max in 1_u32..100, steps in prop::collection::vec((any::<bool>(), 0_u64..2000), 0..500),
        ) {
            let mut concurrency = at_most(limit_max);
            let mut now = Instant::now();
            for (is_success, millis) in steps {
                now += Duration::from_millis(millis);
                if is_success { concurrency.success() } else { concurrency.overload(now) }
                prop_assert!((1..=limit_max).contains(&concurrency.limit().get()));
            }
        }
    }
}
