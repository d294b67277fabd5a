//! The books of a lane: plain numbers that its worker alone writes.

use std::time::Duration;

use crate::{http::SendError, outcome::Sent};

/// Upper bounds of the buckets that durations of attempts are counted in, in seconds.
pub const DURATION_BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// How an attempt ended, as far as counting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// An answer of that class: 1 to 5.
    Status(u16),
    /// No answer in time.
    Timeout,
    /// No connection: name, address or TLS.
    Unreachable,
    /// A connection that broke or an answer that was no HTTP.
    Broken,
}

impl AttemptEnd {
    /// The label that metrics show for each place of [`Tally::attempts`].
    pub const LABELS: [&'static str; 8] =
        ["1xx", "2xx", "3xx", "4xx", "5xx", "timeout", "unreachable", "broken"];

    pub(crate) fn of(sent: &Sent) -> Self {
        match sent {
            Ok(answer) => Self::Status(answer.status),
            Err(SendError::Timeout { .. }) => Self::Timeout,
            Err(SendError::Dns { .. } | SendError::Connect { .. } | SendError::Tls { .. }) => {
                Self::Unreachable
            }
            Err(_) => Self::Broken,
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Status(status) => usize::from(status / 100).clamp(1, 5) - 1,
            Self::Timeout => 5,
            Self::Unreachable => 6,
            Self::Broken => 7,
        }
    }
}

/// What became of the events of one trigger in one worker.
///
/// At every moment between two steps of the worker
/// `matched = delivered + dead + purged + waiting + in_flight`. `dead` may be below zero, when a
/// worker sends again what another had given up; summed over all workers and
/// [`HeldTally`](crate::HeldTally) every number is what it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Events that the filter took.
    pub matched: i64,
    /// Events that the subscriber took.
    pub delivered: i64,
    /// Events put into the dead letters, less those taken out to be sent again.
    pub dead: i64,
    /// Events that waited when the trigger was deleted.
    pub purged: i64,
    /// Events that wait.
    pub waiting: i64,
    /// Events that are being delivered.
    pub in_flight: i64,
    /// Attempts by how they ended; see [`AttemptEnd::LABELS`].
    pub attempts: [u64; AttemptEnd::LABELS.len()],
    /// Attempts that were not the first of their event.
    pub retries: u64,
    /// Retries that the budget put off.
    pub postponed: u64,
    /// Replies that were taken as events.
    pub replies: u64,
    /// Dead letters by reason; see [`Reason::ALL`](crate::Reason::ALL).
    pub dead_by_reason: [u64; crate::Reason::ALL.len()],
    /// Dead letters that were sent again.
    pub redriven: u64,
    /// Attempts by duration; the last place is for those above every bound.
    pub durations: [u64; DURATION_BOUNDS.len() + 1],
    /// The sum of all durations, in seconds.
    pub duration_sum: f64,
}

impl Tally {
    /// Counts an attempt.
    pub(crate) fn count_attempt(&mut self, end: AttemptEnd, took: Duration, is_retry: bool) {
        let seconds = took.as_secs_f64();
        let bucket = DURATION_BOUNDS.partition_point(|&bound| bound < seconds);
        let places = [self.attempts.get_mut(end.place()), self.durations.get_mut(bucket)];
        for place in places.into_iter().flatten() {
            *place += 1;
        }
        self.duration_sum += seconds;
        self.retries += u64::from(is_retry);
    }

    /// Adds the books of another worker.
    pub fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.delivered += other.delivered;
        self.dead += other.dead;
        self.purged += other.purged;
        self.waiting += other.waiting;
        self.in_flight += other.in_flight;
        self.retries += other.retries;
        self.postponed += other.postponed;
        self.replies += other.replies;
        self.redriven += other.redriven;
        self.duration_sum += other.duration_sum;
        add_all(&mut self.attempts, &other.attempts);
        add_all(&mut self.dead_by_reason, &other.dead_by_reason);
        add_all(&mut self.durations, &other.durations);
    }

    /// Whether the books add up.
    pub fn is_balanced(&self) -> bool {
        self.matched == self.delivered + self.dead + self.purged + self.waiting + self.in_flight
    }
}

fn add_all(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_by_end_and_duration() {
        let mut tally = Tally::default();
        tally.count_attempt(AttemptEnd::Status(204), Duration::from_millis(1), false);
        tally.count_attempt(AttemptEnd::Status(503), Duration::from_secs(61), true);
        tally.count_attempt(AttemptEnd::Status(999), Duration::ZERO, false);
        tally.count_attempt(AttemptEnd::Broken, Duration::from_millis(2), true);
        assert_eq!(tally.attempts, [0, 1, 0, 0, 2, 0, 0, 1]);
        assert_eq!(tally.durations[..2], [2, 1]);
        assert_eq!(tally.durations[14], 1);
        assert_eq!(tally.retries, 2);
    }
}
