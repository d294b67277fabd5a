//! What users write about triggers and subscriptions: whose events, which of them, where to, and how hard to try.
//!
//! Values that can be wrong stay as written, so that checking can name every problem at once.
//! Unknown fields are not refused here; the reader of manifests collects them.

use std::collections::BTreeMap;

use channel::{
    Destination, Reference,
    schema::{DURATION_LENGTH_MAX, NAME_LENGTH_MAX},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::filter::ELEMENTS_MAX;

mod rules;

/// The `spec` of a Trigger (`eventing.knative.dev/v1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "x-kubernetes-validations" = rules::TRIGGER))]
pub struct TriggerSpec {
    /// Name of the broker, in the trigger's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = NAME_LENGTH_MAX))]
    pub broker: Option<String>,
    /// The broker, in place of `broker` when it may be in another namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::BROKER_REF))]
    pub broker_ref: Option<BrokerRef>,
    /// Attributes that must be equal. Not looked at when `filters` has elements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<TriggerFilter>,
    /// Conditions that must all hold.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = ELEMENTS_MAX))]
    pub filters: Vec<FilterSpec>,
    /// Who gets the events. Required.
    #[serde(default, deserialize_with = "null_as_default")]
    pub subscriber: Destination,
    /// How to deliver, where it differs from the broker's way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliverySpec>,
}

/// A broker by name and, when it is not the trigger's, namespace.
pub type BrokerRef = Reference;

/// `spec.filter`, the older of the two filters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerFilter {
    /// Attribute names and the values they must have; an empty value asks only for presence.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    #[schemars(extend("maxProperties" = ELEMENTS_MAX, "x-kubernetes-validations" = [rules::ATTRIBUTE_NAMES]))]
    pub attributes: BTreeMap<String, String>,
}

/// One condition of `spec.filters`. Exactly one field may be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::FILTER))]
pub struct FilterSpec {
    /// Holds when every one of these holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Nested>>", extend("maxItems" = ELEMENTS_MAX, "x-kubernetes-validations" = rules::ELEMENTS))]
    pub all: Option<Vec<FilterSpec>>,
    /// Holds when at least one of these holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Nested>>", extend("maxItems" = ELEMENTS_MAX, "x-kubernetes-validations" = rules::ELEMENTS))]
    pub any: Option<Vec<FilterSpec>>,
    /// Holds when this does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Nested>")]
    pub not: Option<Box<FilterSpec>>,
    /// Holds when every named attribute is exactly this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = ELEMENTS_MAX, "x-kubernetes-validations" = rules::ATTRIBUTES))]
    pub exact: Option<BTreeMap<String, String>>,
    /// Holds when every named attribute begins with this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = ELEMENTS_MAX, "x-kubernetes-validations" = rules::ATTRIBUTES))]
    pub prefix: Option<BTreeMap<String, String>>,
    /// Holds when every named attribute ends with this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = ELEMENTS_MAX, "x-kubernetes-validations" = rules::ATTRIBUTES))]
    pub suffix: Option<BTreeMap<String, String>>,
    /// Holds when this expression of CloudEvents SQL is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cesql: Option<String>,
    /// The same under the name that the CloudEvents Subscriptions API gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}

/// `delivery` of a Broker or a Trigger, as in Knative's `duck/v1` `DeliverySpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DeliverySpec {
    /// Who gets the events that could not be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_sink: Option<Destination>,
    /// How often to try again after the first attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32", "x-kubernetes-validations" = rules::RETRY))]
    pub retry: Option<i64>,
    /// How long one attempt may take, as an ISO 8601 duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = rules::TIMEOUT))]
    pub timeout: Option<String>,
    /// `linear` or `exponential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = rules::WORD_LENGTH_MAX, "x-kubernetes-validations" = rules::BACKOFF_POLICY))]
    pub backoff_policy: Option<String>,
    /// The first wait between attempts, as an ISO 8601 duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = rules::DELAY))]
    pub backoff_delay: Option<String>,
    /// The longest `Retry-After` that is obeyed, as an ISO 8601 duration; zero ignores the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = rules::RETRY_AFTER_MAX))]
    pub retry_after_max: Option<String>,
    /// `json` or `binary`: the mode in which events are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = rules::WORD_LENGTH_MAX, "x-kubernetes-validations" = rules::FORMAT))]
    pub format: Option<String>,
}

/// `spec` of a `messaging.knative.dev/v1` Subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::SUBSCRIPTION))]
pub struct SubscriptionSpec {
    /// The channel, in the subscription's namespace. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "x-kubernetes-preserve-unknown-fields" = true,
        "x-kubernetes-validations" = rules::SUBSCRIBED_CHANNEL
    ))]
    pub channel: Option<Reference>,
    /// Who gets the events. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<Destination>,
    /// Who gets what the subscriber replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Destination>,
    /// How to deliver, where it differs from the channel's way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliverySpec>,
}

/// A filter inside another one. An API server's schemas end somewhere, so there it may be anything.
#[derive(JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
struct Nested {}

/// Reads `null` like an absent field, as Kubernetes does.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written_the_same() {
        let json = concat!(
            r#"{"broker":"default","brokerRef":{"name":"b"},"filter":{"attributes":{"type":"a"}},"#,
            r#""filters":[{"all":[{"exact":{"type":"a"}}]},{"any":[]},{"not":{"prefix":{"a":"b"}}},"#,
            r#"{"suffix":{"a":"b"}},{"cesql":"TRUE"},{"sql":"TRUE"}],"subscriber":{"uri":"http://a"},"#,
            r#""delivery":{"deadLetterSink":{"uri":"http://b"},"retry":3,"timeout":"PT1S","#,
            r#""backoffPolicy":"linear","backoffDelay":"PT1S","retryAfterMax":"PT0S","format":"json"}}"#
        );
        let spec: TriggerSpec = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&spec).unwrap(), json);
    }

    #[test]
    fn null_is_read_as_absent() {
        let json = r#"{"broker":null,"filter":{"attributes":null},"filters":null,"subscriber":null,"delivery":null}"#;
        let spec: TriggerSpec = serde_json::from_str(json).unwrap();
        let expected =
            TriggerSpec { filter: Some(TriggerFilter::default()), ..TriggerSpec::default() };
        assert_eq!(spec, expected);
    }

    #[test]
    fn a_wrong_value_is_kept_for_the_check_to_name() {
        let json = r#"{"retry":-1,"timeout":"soon","format":"xml"}"#;
        let spec: DeliverySpec = serde_json::from_str(json).unwrap();
        assert_eq!((spec.retry, spec.timeout.as_deref()), (Some(-1), Some("soon")));
    }
}
