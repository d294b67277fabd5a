//! How long a source goes on handing over one event.

use std::time::Duration;

use channel::{PublishError, Refusal};

use crate::Backoff;

/// How often a sink is asked to take one event, and how long to wait in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts after the first one; no number means until the event is stored.
    pub retries: Option<u32>,
    /// The waits between them.
    pub backoff: Backoff,
    /// Whether waits grow by the first one each time, instead of doubling.
    pub is_linear: bool,
    /// How long one attempt may take; none means as long as the sink takes.
    pub timeout: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { retries: None, backoff: Backoff::PUT, is_linear: false, timeout: None }
    }
}

impl Patience {
    /// How long to wait after attempt `attempt` (the first is 1); `None` when there is no use in
    /// another one. `chance`, from 0 to 1, takes up to half of the wait away.
    pub fn wait_after(&self, refusal: &Refusal, attempt: u32, chance: f64) -> Option<Duration> {
        if self.retries.is_some_and(|retries| attempt > retries) {
            return None;
        }
        let wait = if self.is_linear {
            let full = self.backoff.first.saturating_mul(attempt).min(self.backoff.max);
            full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
        } else {
            self.backoff.wait(attempt, chance)
        };
        match refusal {
            Refusal::NotStored(PublishError::TooLarge { .. }) => None,
            Refusal::NotStored(PublishError::Full { retry_after, .. }) => {
                Some(wait.max(*retry_after).min(self.backoff.max))
            }
            Refusal::NotStored(_) => Some(wait),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use channel::Invalid;

    use super::*;

    fn down() -> Refusal {
        PublishError::Down { reason: "no route".to_owned() }.into()
    }

    #[test]
    fn what_can_never_be_stored_is_not_tried_again() {
        let wait = |refusal: Refusal| Patience::default().wait_after(&refusal, 1, 0.0);
        assert_eq!(wait(PublishError::TooLarge { size: 2, limit: 1 }.into()), None);
        assert_eq!(wait(Invalid::new("id", "must not be empty").into()), None);
        assert_eq!(wait(Refusal::Loop { max: 255 }), None);
        assert_eq!(wait(down()), Some(Backoff::PUT.first));
        let retry_after = Duration::from_secs(3);
        let full = PublishError::Full { bound: "channel.memory.events", retry_after };
        assert_eq!(wait(full.into()), Some(retry_after));
    }

    #[test]
    fn attempts_end_where_a_user_says() {
        let first = Duration::from_secs(1);
        let backoff = Backoff { first, max: Duration::from_secs(60) };
        let patience =
            Patience { retries: Some(3), backoff, is_linear: true, ..Patience::default() };
        let waits = [1, 2, 3, 4].map(|attempt| patience.wait_after(&down(), attempt, 0.0));
        assert_eq!(waits, [Some(first), Some(first * 2), Some(first * 3), None]);
        let none = Patience { retries: Some(0), ..patience };
        assert_eq!(none.wait_after(&down(), 1, 0.0), None);
    }
}
