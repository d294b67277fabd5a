//! How many retries a subscriber gets: a share of the first attempts, so that retries cannot drown
//! the events that arrive.
//!
//! # Why
//!
//! A subscriber that fails half of what it gets would otherwise be sent twice as much. A retry
//! over the budget is put off once, by a time that chance draws, and then made: putting it off
//! again and again would make the user's schedule mean nothing. Being put off is not an attempt.
//! An outage that lasts is the breaker's business.

use std::time::{Duration, Instant};

use crate::{retry::within_unit, window::Window};

/// Time over which attempts are counted.
pub const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// First attempts that pay for one retry: a fifth of them may be retried.
pub const FIRST_ATTEMPTS_PER_RETRY: u32 = 5;
/// Retries within the window that are always allowed: two a second.
pub const RETRIES_FREE: u32 = 20;
/// Shortest time by which a retry is put off; the longest is one second more.
pub const POSTPONED_MIN: Duration = Duration::from_millis(500);

/// Whether a retry may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    /// Now; it is counted.
    Now,
    /// After this time, and then without fail. It is not counted yet.
    Later(Duration),
}

/// Counts the attempts at one subscriber, by one worker.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    firsts: Window,
    retries: Window,
}

impl RetryBudget {
    /// A budget of which nothing is spent.
    pub fn new(now: Instant) -> Self {
        Self { firsts: Window::new(BUDGET_WINDOW, now), retries: Window::new(BUDGET_WINDOW, now) }
    }

    /// Notes the first attempt of an event.
    pub fn first_attempt(&mut self, now: Instant) {
        self.firsts.add(now);
    }

    /// Asks for a retry. `was_postponed` says that this retry was put off before: it is then made
    /// whatever the budget says. `draw` is uniform in `[0, 1)`.
    pub fn retry(&mut self, now: Instant, was_postponed: bool, draw: f64) -> Spend {
        let allowed = (self.firsts.sum(now) / FIRST_ATTEMPTS_PER_RETRY).max(RETRIES_FREE);
        if was_postponed || self.retries.sum(now) < allowed {
            self.retries.add(now);
            return Spend::Now;
        }
        Spend::Later(POSTPONED_MIN + Duration::from_secs(1).mul_f64(within_unit(draw)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &mut RetryBudget, now: Instant, asked: u32) -> usize {
        (0..asked).filter(|_| budget.retry(now, false, 0.0) == Spend::Now).count()
    }

    #[test]
    fn a_quiet_subscriber_gets_two_retries_a_second() {
        let now = Instant::now();
        assert_eq!(spent(&mut RetryBudget::new(now), now, 100), 20);
    }

    #[test]
    fn a_busy_subscriber_gets_a_fifth_of_its_first_attempts() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        (0..1000).for_each(|_| budget.first_attempt(now));
        assert_eq!(spent(&mut budget, now, 1000), 200);
    }

    #[test]
    fn the_budget_comes_back_after_its_window() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        spent(&mut budget, now, 100);
        assert_eq!(spent(&mut budget, now + BUDGET_WINDOW / 2, 1), 0);
        assert_eq!(spent(&mut budget, now + BUDGET_WINDOW, 100), 20);
    }

    #[test]
    fn a_retry_over_the_budget_is_put_off_by_half_a_second_to_one_and_a_half() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        spent(&mut budget, now, 20);
        for (draw, millis) in [(0.0, 500), (0.25, 750), (1.0, 1500), (f64::NAN, 500)] {
            let later = Spend::Later(Duration::from_millis(millis));
            assert_eq!(budget.retry(now, false, draw), later, "{draw}");
        }
    }

    #[test]
    fn a_retry_is_put_off_only_once_and_then_counts() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        spent(&mut budget, now, 19);
        assert_eq!(budget.retry(now, true, 0.0), Spend::Now);
        assert_ne!(budget.retry(now, false, 0.0), Spend::Now);
        assert_eq!(budget.retry(now, true, 0.0), Spend::Now);
    }
}
