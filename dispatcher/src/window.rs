//! A count over the last seconds.

use std::time::{Duration, Instant};

const SLOTS: usize = 10;

/// Counts what happened within a sliding span of time, in [`SLOTS`] steps.
///
/// The oldest step leaves as a whole, so the span in view is between nine and ten tenths of the
/// one asked for. Takes constant memory and constant time; time that goes back counts as now.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    step: Duration,
    start: Instant,
    /// Number of the newest step, counted from `start`.
    newest: u128,
    counts: [u32; SLOTS],
}

impl Window {
    /// An empty window of length `span`, from `now` on.
    pub(crate) fn new(span: Duration, now: Instant) -> Self {
        let slots = u32::try_from(SLOTS).unwrap_or(u32::MAX);
        let step = (span / slots).max(Duration::from_nanos(1));
        Self { step, start: now, newest: 0, counts: [0; SLOTS] }
    }

    /// Counts one.
    pub(crate) fn add(&mut self, now: Instant) {
        self.advance(now);
        if let Some(count) = self.counts.last_mut() {
            *count = count.saturating_add(1);
        }
    }

    /// How many were counted within the span before `now`.
    pub(crate) fn sum(&mut self, now: Instant) -> u32 {
        self.advance(now);
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.counts = [0; SLOTS];
    }

    /// Moves the steps on, so that the last one is that of `now`.
    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.start);
        let step = elapsed.as_nanos() / self.step.as_nanos().max(1);
        let passed = step.saturating_sub(self.newest);
        self.newest = self.newest.max(step);
        let passed = usize::try_from(passed).unwrap_or(SLOTS).min(SLOTS);
        self.counts.rotate_left(passed % SLOTS);
        for count in self.counts.iter_mut().rev().take(passed) {
            *count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: Duration = Duration::from_secs(10);

    #[test]
    fn a_count_leaves_when_the_span_is_over() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(SPAN, start);
        window.add(after(0));
        window.add(after(5));
        window.add(after(5));
        let sums = [5, 9, 10, 14, 15, 1000].map(|at| window.sum(after(at)));
        assert_eq!(sums, [3, 3, 2, 2, 0, 0]);
    }

    #[test]
    fn time_that_goes_back_counts_as_now() {
        let start = Instant::now();
        let mut window = Window::new(SPAN, start + SPAN);
        window.add(start + SPAN * 2);
        window.add(start);
        assert_eq!(window.sum(start + SPAN * 2), 2);
    }

    proptest! {
        #[test]
        fn the_count_is_of_the_last_nine_to_ten_tenths(
            steps in prop::collection::vec(0_u64..4000, 1..60),
        ) {
            let start = Instant::now();
            let mut window = Window::new(SPAN, start);
            let mut times = Vec::new();
            let mut now = start;
            for step in steps {
                now += Duration::from_millis(step);
                window.add(now);
                times.push(now);
                let within = |span| {
                    times.iter().filter(|time| now - **time < span).count()
                };
                let sum = usize::try_from(window.sum(now)).unwrap();
                prop_assert!(sum <= within(SPAN));
                prop_assert!(sum >= within(SPAN * 9 / 10));
            }
        }
    }
}
