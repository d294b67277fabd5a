//! What a cluster is told of a Trigger or a Subscription.

use channel::status::{Identity, Observed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `status` of an `eventing.knative.dev/v1` Trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TriggerStatus {
    /// How far it was understood, and what holds of it.
    #[serde(flatten)]
    pub observed: Observed,
    /// Where its events go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber_uri: Option<String>,
    /// Certificates (PEM) to trust there.
    #[serde(rename = "subscriberCACerts", skip_serializing_if = "Option::is_none")]
    pub subscriber_ca_certs: Option<String>,
    /// The OIDC audience of the subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber_audience: Option<String>,
    /// Where its dead letters go.
    #[serde(flatten)]
    pub dead_letter_sink: DeadLetterSinkStatus,
    /// As whom it sends events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Identity>,
}

/// Where dead letters go, resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeadLetterSinkStatus {
    /// The URL they are posted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_sink_uri: Option<String>,
    /// Certificates (PEM) to trust there.
    #[serde(rename = "deadLetterSinkCACerts", skip_serializing_if = "Option::is_none")]
    pub dead_letter_sink_ca_certs: Option<String>,
    /// The OIDC audience of the sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_sink_audience: Option<String>,
}

/// `status` of a `messaging.knative.dev/v1` Subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionStatus {
    /// How far it was understood, and what holds of it.
    #[serde(flatten)]
    pub observed: Observed,
    /// What its destinations come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub physical_subscription: Option<PhysicalSubscription>,
    /// As whom it sends events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Identity>,
}

/// The destinations of a subscription, resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PhysicalSubscription {
    /// Where events go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber_uri: Option<String>,
    /// Certificates (PEM) to trust there.
    #[serde(rename = "subscriberCACerts", skip_serializing_if = "Option::is_none")]
    pub subscriber_ca_certs: Option<String>,
    /// The OIDC audience of the subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber_audience: Option<String>,
    /// Where replies go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_uri: Option<String>,
    /// Certificates (PEM) to trust there.
    #[serde(rename = "replyCACerts", skip_serializing_if = "Option::is_none")]
    pub reply_ca_certs: Option<String>,
    /// The OIDC audience of the receiver of replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_audience: Option<String>,
    /// Where dead letters go.
    #[serde(flatten)]
    pub dead_letter_sink: DeadLetterSinkStatus,
}
