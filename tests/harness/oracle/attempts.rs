//! The verdicts on repetition, order and the policy of attempts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::oracle::{Evidence, Policy, Sent, Verdict, Watched};
use crate::subscriber::{Ended, Received};

/// What a clock on either side of a socket may be off.
const SLACK: Duration = Duration::from_millis(10);

/// An answer that took this much less than the timeout must have been seen.
const MARGIN: f64 = 0.5;

/// The longest delay before jitter.
const CAP: Duration = Duration::from_secs(300);

/// The lower end of the jitter around a delay.
const JITTER_MIN: f64 = 0.8;

impl Evidence {
    /// Whether the broker must know that this delivery succeeded.
    #[must_use]
    pub fn is_certain(&self, one: &Received, watched: &Watched) -> bool {
        let limit = watched.policy.timeout.mul_f64(MARGIN);
        matches!(one.ended, Ended::Answered { status: 200..=299, at } if at.duration_since(one.at) < limit)
    }

    /// I4: no delivery after a success, nor while another one still has time.
    #[must_use]
    pub fn once(&self) -> Verdict {
        let mut verdict = Verdict::new("I4 once");
        for watched in &self.watched {
            let name = &watched.trigger.name;
            for (key, positions) in &watched.by_key {
                verdict.checked += 1;
                let mut is_settled = false;
                let times = self.sent_as(key).and_then(|sent| sent.replied).unwrap_or(1);
                let mut successes = 0;
                for one in positions.iter().map(|at| &watched.deliveries[*at]) {
                    if is_settled {
                        verdict.violation(format!(
                            "{name}: {key:?} came again after its success (request {})",
                            one.order
                        ));
                    }
                    successes += usize::from(self.is_certain(one, watched));
                    is_settled = successes >= times;
                }
                for pair in positions.windows(2) {
                    let (one, next) = (&watched.deliveries[pair[0]], &watched.deliveries[pair[1]]);
                    let is_over = end(one).is_some_and(|at| at <= next.at + SLACK);
                    let is_late =
                        next.at.duration_since(one.at) >= watched.policy.timeout.mul_f64(MARGIN);
                    if !is_over && !is_late && times == 1 {
                        verdict.violation(format!("{name}: {key:?} came twice at a time"));
                    }
                }
            }
        }
        if verdict.violations.len() <= self.excused {
            verdict.violations.clear();
        }
        verdict
    }

    /// I5: at an ordered trigger, an event starts after the earlier one of its `partitionkey` ended. Events of
    /// which the second left before the first was answered have no order.
    #[must_use]
    pub fn in_order(&self) -> Verdict {
        let mut verdict = Verdict::new("I5 order");
        for watched in self.watched.iter().filter(|watched| watched.is_ordered) {
            let mut lines: BTreeMap<&str, Vec<&Sent>> = BTreeMap::new();
            for sent in self.owed(&watched.trigger) {
                if let Some(key) = sent.sample.attribute("partitionkey") {
                    lines.entry(key).or_default().push(sent);
                }
            }
            for pair in lines.values().flat_map(|line| line.windows(2)) {
                let (earlier, later) = (pair[0], pair[1]);
                if earlier.answered_at.is_none_or(|at| at > later.sent_at) {
                    continue;
                }
                verdict.checked += 1;
                let ended = watched.of(&earlier.sample.key()).filter_map(end).max();
                let started = watched.of(&later.sample.key()).map(|one| one.at).next();
                if let (Some(ended), Some(started)) = (ended, started)
                    && started + SLACK < ended
                {
                    verdict.violation(format!(
                        "{}: {:?} started {:?} before {:?} ended",
                        watched.trigger.name,
                        later.sample.key(),
                        ended - started,
                        earlier.sample.key()
                    ));
                }
            }
        }
        verdict
    }

    /// I6: no more attempts than the policy allows, none before it is due.
    #[must_use]
    pub fn attempts_kept(&self) -> Verdict {
        let mut verdict = Verdict::new("I6 attempts");
        for watched in &self.watched {
            for (key, positions) in &watched.by_key {
                verdict.checked += 1;
                let deliveries: Vec<_> =
                    positions.iter().map(|at| &watched.deliveries[*at]).collect();
                // A connection that ends before an answer may be a stale one, and that attempt is not counted.
                let stale = deliveries
                    .iter()
                    .filter(|one| matches!(one.ended, Ended::Broken { .. }))
                    .count();
                let rounds = 1 + self.redrives as usize;
                let times = self.sent_as(key).and_then(|sent| sent.replied).unwrap_or(1);
                let most = watched.policy.attempts_max as usize * rounds * times + stale;
                if deliveries.len() > most {
                    let count = deliveries.len();
                    verdict.violation(format!(
                        "{}: {key:?}: {count} attempts, {most} allowed",
                        watched.trigger.name
                    ));
                }
                // What was in hand when the program was killed comes again at once: that is no retry.
                if rounds == 1 && times == 1 && !self.was_restarted {
                    early(&deliveries, watched.policy, |what| {
                        verdict.violation(format!("{}: {key:?}: {what}", watched.trigger.name));
                    });
                }
            }
        }
        verdict
    }
}

fn early(deliveries: &[&Received], policy: Policy, mut complain: impl FnMut(String)) {
    for (number, pair) in deliveries.windows(2).enumerate() {
        let Ended::Answered { status, at } = pair[0].ended else { continue };
        if status < 300 {
            continue;
        }
        // The waits are d, 2d, 3d or d, 2d, 4d.
        let steps = u32::try_from(number).unwrap_or(u32::MAX);
        let factor = if policy.is_exponential {
            2_f64.powi(steps.min(10).cast_signed())
        } else {
            f64::from(steps) + 1.0
        };
        let due = policy.delay.mul_f64(factor).min(CAP).mul_f64(JITTER_MIN);
        let waited = pair[1].at.saturating_duration_since(at);
        if waited + SLACK < due {
            complain(format!("retry {} came after {waited:?}, due after {due:?}", number + 1));
        }
    }
}

fn end(one: &Received) -> Option<Instant> {
    match one.ended {
        Ended::Open => None,
        Ended::Answered { at, .. } | Ended::Broken { at } => Some(at),
    }
}
