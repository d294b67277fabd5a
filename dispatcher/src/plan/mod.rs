//! How a trigger's events are delivered: what broker and trigger ask for, checked and complete.
//!
//! # Why
//!
//! A Trigger's `delivery` is laid over its Broker's field by field. Knative takes the Trigger's
//! whole object in place of the Broker's, so that a Trigger which only names a dead letter sink
//! loses all retries; nobody who writes that means it. What neither says has the values that
//! Knative ships for its Broker.

use std::{num::NonZeroU32, time::Duration};

use channel::{Destination, Invalid};

use crate::{
    duration,
    retry::{Backoff, BackoffPolicy},
    spec::DeliverySpec,
};

/// Retries when neither Broker nor Trigger says how many.
pub const RETRY_DEFAULT: u32 = 10;
/// Most retries that may be asked for.
pub const RETRY_MAX: u32 = 1000;
/// How waits grow when nobody says.
pub const BACKOFF_POLICY_DEFAULT: BackoffPolicy = BackoffPolicy::Exponential;
/// The first wait when nobody says.
pub const BACKOFF_DELAY_DEFAULT: Duration = Duration::from_millis(200);
/// Longest `backoffDelay` and `retryAfterMax`: no event is waited for longer than a day.
pub const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Time for one attempt when nobody says.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Longest time for one attempt that may be asked for.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest `Retry-After` that is obeyed when nobody says.
pub const RETRY_AFTER_MAX_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// In which mode of the HTTP binding events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Structured mode: the whole event as JSON.
    Json,
    /// Binary mode: attributes as headers.
    Binary,
}

impl Format {
    /// The name that users write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Binary => "binary",
        }
    }
}

/// What one resource asks for in its `delivery`: every value checked, none filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryChoice {
    retry: Option<u32>,
    timeout: Option<Duration>,
    backoff_policy: Option<BackoffPolicy>,
    backoff_delay: Option<Duration>,
    retry_after_max: Option<Duration>,
    format: Option<Format>,
}

/// How the events of one trigger are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryPlan {
    /// Attempts in all, the first one included: `retry` + 1.
    pub attempts_max: NonZeroU32,
    /// Waits between them.
    pub backoff: Backoff,
    /// Time for one attempt, from the first byte sent to the last byte of the answer.
    pub timeout: Duration,
    /// Longest `Retry-After` that is obeyed; zero ignores the header.
    pub retry_after_max: Duration,
    /// In which mode events are sent; `None` leaves it to the sender, which takes binary.
    pub format: Option<Format>,
}

impl DeliveryChoice {
    /// Checks the `delivery` written at `path` (`spec.delivery`) and adds everything that is wrong
    /// with it to `problems`, the dead letter sink included. A wrong value counts as not given.
    pub fn new(spec: &DeliverySpec, path: &str, problems: &mut Vec<Invalid>) -> Self {
        if let Some(sink) = &spec.dead_letter_sink {
            Destination::check(sink, &format!("{path}.deadLetterSink"), problems);
        }
        let mut check = Check { path, problems };
        Self {
            retry: check.retry(spec.retry),
            timeout: check.time("timeout", spec.timeout.as_deref(), Zero::Refused, TIMEOUT_MAX),
            backoff_policy: check.name(
                "backoffPolicy",
                spec.backoff_policy.as_deref(),
                [BackoffPolicy::Linear, BackoffPolicy::Exponential],
                BackoffPolicy::as_str,
            ),
            backoff_delay: check.time(
                "backoffDelay",
                spec.backoff_delay.as_deref(),
                Zero::Allowed,
                WAIT_MAX,
            ),
            retry_after_max: check.time(
                "retryAfterMax",
                spec.retry_after_max.as_deref(),
                Zero::Allowed,
                WAIT_MAX,
            ),
            format: check.name(
                "format",
                spec.format.as_deref(),
                [Format::Json, Format::Binary],
                Format::as_str,
            ),
        }
    }
}

impl DeliveryPlan {
    /// Lays what the trigger chose over what its broker chose, and the defaults under both.
    pub fn new(broker: &DeliveryChoice, trigger: &DeliveryChoice) -> Self {
        let retry = trigger.retry.or(broker.retry).unwrap_or(RETRY_DEFAULT);
        let policy = trigger.backoff_policy.or(broker.backoff_policy);
        let delay = trigger.backoff_delay.or(broker.backoff_delay);
        let retry_after_max = trigger.retry_after_max.or(broker.retry_after_max);
        Self {
            attempts_max: NonZeroU32::MIN.saturating_add(retry),
            backoff: Backoff {
                policy: policy.unwrap_or(BACKOFF_POLICY_DEFAULT),
                delay: delay.unwrap_or(BACKOFF_DELAY_DEFAULT),
            },
            timeout: trigger.timeout.or(broker.timeout).unwrap_or(TIMEOUT_DEFAULT),
            retry_after_max: retry_after_max.unwrap_or(RETRY_AFTER_MAX_DEFAULT),
            format: trigger.format.or(broker.format),
        }
    }

    /// Returns the wait before another attempt, or `None` when the event has used up its attempts.
    ///
    /// `attempts` is how many were made, at least one. `retry_after` is what the last answer asked
    /// for; `draw` is uniform in `[0, 1)`. See [`Backoff::wait`].
    pub fn wait_after(
        &self,
        attempts: u32,
        retry_after: Option<Duration>,
        draw: f64,
    ) -> Option<Duration> {
        (attempts < self.attempts_max.get())
            .then(|| self.backoff.wait(attempts, draw, retry_after, self.retry_after_max))
    }
}

impl Default for DeliveryPlan {
    /// The plan when neither broker nor trigger says anything.
    fn default() -> Self {
        Self::new(&DeliveryChoice::default(), &DeliveryChoice::default())
    }
}

/// Whether a time may be zero.
#[derive(Clone, Copy, PartialEq)]
enum Zero {
    Allowed,
    Refused,
}

/// Reads values of one `delivery` and collects what is wrong with them.
struct Check<'a> {
    path: &'a str,
    problems: &'a mut Vec<Invalid>,
}

impl Check<'_> {
    /// Refuses the value of a field in Knative's words, and adds the rule it breaks.
    fn refuse<T>(&mut self, field: &str, value: impl std::fmt::Display, rule: &str) -> Option<T> {
        let path = format!("{}.{field}", self.path);
        self.problems.push(Invalid::new(path, format!("invalid value: {value}: {rule}")));
        None
    }

    fn retry(&mut self, value: Option<i64>) -> Option<u32> {
        let value = value?;
        match u32::try_from(value) {
            Ok(retry) if retry <= RETRY_MAX => Some(retry),
            Ok(_) => self.refuse("retry", value, &format!("must be at most {RETRY_MAX}")),
            Err(_) if value < 0 => self.refuse("retry", value, "must not be negative"),
            Err(_) => self.refuse("retry", value, &format!("must be at most {RETRY_MAX}")),
        }
    }

    fn time(
        &mut self,
        field: &str,
        text: Option<&str>,
        zero: Zero,
        max: Duration,
    ) -> Option<Duration> {
        let text = text?;
        let length = match duration::parse(text) {
            Ok(length) => length,
            Err(error) => return self.refuse(field, text, &error.to_string()),
        };
        let Ok(length) = Duration::try_from(length) else {
            return self.refuse(field, text, "must not be negative");
        };
        if length.is_zero() && zero == Zero::Refused {
            return self.refuse(field, text, "must be longer than zero");
        }
        if length > max {
            let rule = format!("must be at most {}", duration::print(max));
            return self.refuse(field, text, &rule);
        }
        Some(length)
    }

    fn name<T: Copy>(
        &mut self,
        field: &str,
        text: Option<&str>,
        choices: [T; 2],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = text?;
        match choices.into_iter().find(|choice| name(*choice) == text) {
            Some(choice) => Some(choice),
            None => {
                let [first, second] = choices.map(name);
                self.refuse(field, text, &format!("must be {first} or {second}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
