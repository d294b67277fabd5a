//! How a trigger delivers, as users are told.

use std::fmt;

use dispatcher::{DeliveryPlan, Format, duration};
use serde::Serialize;
use utoipa::ToSchema;

/// How events are delivered: what the trigger says over what its broker says over the defaults.
/// Durations are in ISO 8601.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub(crate) struct DeliveryView {
    /// Attempts after the first one.
    retry: u32,
    /// How waits between attempts grow.
    #[schema(examples("exponential", "linear"))]
    backoff_policy: &'static str,
    /// The first wait.
    #[schema(examples("PT0.2S"))]
    backoff_delay: String,
    /// Time for one attempt.
    #[schema(examples("PT10S"))]
    timeout: String,
    /// The longest `Retry-After` that is obeyed; `PT0S` ignores the header.
    #[schema(examples("PT1H"))]
    retry_after_max: String,
    /// The mode in which events are sent, when one is asked for.
    #[schema(examples("json", "binary"))]
    format: Option<&'static str>,
}

impl DeliveryView {
    /// As it is told of this plan.
    pub(crate) fn of(plan: &DeliveryPlan) -> Self {
        Self {
            retry: plan.attempts_max.get() - 1,
            backoff_policy: plan.backoff.policy.as_str(),
            backoff_delay: duration::print(plan.backoff.delay),
            timeout: duration::print(plan.timeout),
            retry_after_max: duration::print(plan.retry_after_max),
            format: plan.format.map(Format::as_str),
        }
    }
}

impl fmt::Display for DeliveryView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { retry, backoff_policy, backoff_delay, timeout, retry_after_max, format } = self;
        write!(f, "retry {retry}, backoffPolicy {backoff_policy}, backoffDelay {backoff_delay}, ")?;
        let format = format.unwrap_or("binary");
        write!(f, "timeout {timeout}, retryAfterMax {retry_after_max}, format {format}")
    }
}
