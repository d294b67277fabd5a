//! What a cluster is told of a Broker or a channel.

use ::channel::{
    Reference,
    status::{Addressed, Observed, SubscriberStatus},
};
use dispatcher::DeadLetterSinkStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `status` of an `eventing.knative.dev/v1` Broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub struct BrokerStatus {
    /// How far it was understood, and what holds of it.
    #[serde(flatten)]
    pub observed: Observed,
    /// Where it takes events.
    #[serde(flatten)]
    pub addressed: Addressed,
    /// Where its dead letters go.
    #[serde(flatten)]
    pub dead_letter_sink: DeadLetterSinkStatus,
}

/// `status` of a channel that keeps events: InMemoryChannel, DiskChannel, KafkaChannel and NatsJetStreamChannel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackingChannelStatus {
    /// How far it was understood, and what holds of it.
    #[serde(flatten)]
    pub observed: Observed,
    /// Where it takes events.
    #[serde(flatten)]
    pub addressed: Addressed,
    /// Where its dead letters go.
    #[serde(flatten)]
    pub dead_letter_sink: DeadLetterSinkStatus,
    /// The channel of its dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = []))]
    pub dead_letter_channel: Option<Reference>,
    /// How far each subscriber was taken up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscribers: Vec<SubscriberStatus>,
}

/// `status` of a `messaging.knative.dev/v1` Channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChannelStatus {
    /// What holds of the channel behind it holds of it.
    #[serde(flatten)]
    pub backing: BackingChannelStatus,
    /// The channel behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = []))]
    pub channel: Option<Reference>,
}
