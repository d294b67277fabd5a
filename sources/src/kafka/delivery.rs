//! `delivery` of a KafkaSource: how often its sink is asked, and who gets what it will not take.

use std::time::Duration;

use channel::{
    Destination, Invalid,
    schema::{DURATION, DURATION_LENGTH_MAX, Rule},
};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Backoff, Patience};

/// Longest wait between two attempts that a user may ask for.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Longest of the texts of which only a few are taken.
const WORD_LENGTH_MAX: usize = 64;

/// What happens to events that the sink does not take, as in Knative's `duck/v1` `DeliverySpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KafkaDeliverySpec {
    /// Who gets the records that cannot be delivered. Default: the dead letters of the Broker that
    /// is the sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_sink: Option<Destination>,
    /// How often to try again after the first attempt. Default: until the sink has stored it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32", "x-kubernetes-validations" = [Self::RETRY]))]
    pub retry: Option<i64>,
    /// How long one attempt may take, as an ISO 8601 duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = [DURATION]))]
    pub timeout: Option<String>,
    /// `linear` or `exponential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = WORD_LENGTH_MAX, "x-kubernetes-validations" = [Self::POLICY]))]
    pub backoff_policy: Option<String>,
    /// The first wait between attempts, as an ISO 8601 duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = [DURATION]))]
    pub backoff_delay: Option<String>,
    /// The longest `Retry-After` that Knative obeys; not used here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = [DURATION]))]
    pub retry_after_max: Option<String>,
}

impl KafkaDeliverySpec {
    const RETRY: Rule = Rule::new("self >= 0", "invalid value: must not be negative");
    const POLICY: Rule =
        Rule::of_text("self in ['linear', 'exponential']", "must be linear or exponential");

    /// How long the sink is asked; what breaks a rule is added to `problems`.
    pub(super) fn patience(&self, problems: &mut Vec<Invalid>) -> Patience {
        let mut patience = Patience::default();
        if let Some(retry) = self.retry {
            match u32::try_from(retry) {
                Ok(retry) => patience.retries = Some(retry),
                Err(_) => {
                    let rule = format!("must be from 0 to {}", u32::MAX);
                    problems.push(Invalid::new("spec.delivery.retry", rule));
                }
            }
        }
        match self.backoff_policy.as_deref() {
            None | Some("" | "exponential") => {}
            Some("linear") => patience.is_linear = true,
            Some(_) => {
                let rule = "must be linear or exponential";
                problems.push(Invalid::new("spec.delivery.backoffPolicy", rule));
            }
        }
        let delay = duration("spec.delivery.backoffDelay", self.backoff_delay.as_deref(), problems);
        if let Some(first) = delay {
            patience.backoff = Backoff { first: first.min(BACKOFF_MAX), max: BACKOFF_MAX };
        }
        patience.timeout = duration("spec.delivery.timeout", self.timeout.as_deref(), problems);
        let field = "spec.delivery.retryAfterMax";
        duration(field, self.retry_after_max.as_deref(), problems);
        if let Some(sink) = &self.dead_letter_sink {
            sink.check("spec.delivery.deadLetterSink", problems);
        }
        patience
    }
}

fn duration(
    field: &'static str,
    written: Option<&str>,
    problems: &mut Vec<Invalid>,
) -> Option<Duration> {
    let text = written.filter(|text| !text.is_empty())?;
    let length = text.parse::<Span>().ok().filter(|_| text.starts_with('P'));
    let length: Option<SignedDuration> =
        length.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let length = length.and_then(|length| Duration::try_from(length).ok());
    let length = length.filter(|length| !length.is_zero());
    if length.is_none() {
        let rule = "must be an ISO 8601 duration longer than zero, such as PT0.2S";
        problems.push(Invalid::new(field, rule));
    }
    length
}
