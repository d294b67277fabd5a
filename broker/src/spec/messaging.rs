//! A Channel as the user writes it, and what every kind of channel has.

use ::channel::{
    schema::{API_VERSION_LENGTH_MAX, LABEL_LENGTH_MAX, Rule},
    status::Identity,
};
use dispatcher::DeliverySpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Map, Value};

/// Subscribers that a channel's object may list: more would not fit into it.
pub const SUBSCRIBERS_MAX: usize = 4096;

/// `spec` of a `messaging.knative.dev/v1` Channel.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = Self::RULES))]
pub struct ChannelSpec {
    /// The channel that stands behind it. Default: the process's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_template: Option<ChannelTemplate>,
    /// What holds for every subscription that has no delivery of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliverySpec>,
    /// Not to be set: those of the channel behind it are used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = SUBSCRIBERS_MAX))]
    pub subscribers: Vec<SubscriberSpec>,
}

impl ChannelSpec {
    const RULES: [Rule; 2] = [
        Rule::new(
            "!has(self.subscribers) || self.subscribers.size() == 0",
            "must not set the field(s): spec.subscribers",
        ),
        Rule::new(
            "has(self.channelTemplate) == has(oldSelf.channelTemplate) && (!has(self.channelTemplate) || self.channelTemplate == oldSelf.channelTemplate) && has(self.delivery) == has(oldSelf.delivery) && (!has(self.delivery) || self.delivery == oldSelf.delivery)",
            "Immutable fields changed (-old +new): spec",
        ),
    ];
}

/// The kind of a channel, and its `spec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = Self::RULES))]
pub struct ChannelTemplate {
    /// Group and version of the kind: `messaging.knative.dev/v1`.
    #[schemars(extend("maxLength" = API_VERSION_LENGTH_MAX))]
    pub api_version: String,
    /// The kind, such as `KafkaChannel`.
    #[schemars(extend("maxLength" = LABEL_LENGTH_MAX))]
    pub kind: String,
    /// The `spec` of an object of that kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<Map<String, Value>>,
}

impl ChannelTemplate {
    const RULES: [Rule; 2] = [
        Rule::new("has(self.kind) && self.kind != ''", "missing field(s): kind"),
        Rule::new("has(self.apiVersion) && self.apiVersion != ''", "missing field(s): apiVersion"),
    ];
}

/// One subscriber of a channel, as a Subscription put it there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [Self::REACHABLE]))]
pub struct SubscriberSpec {
    /// The subscription's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The subscription's generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The subscription's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The subscription's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
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
    /// How to deliver.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Opaque>")]
    pub delivery: Option<DeliverySpec>,
    /// As whom to send events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Identity>,
}

impl SubscriberSpec {
    const REACHABLE: Rule = Rule::new(
        "has(self.subscriberUri) || has(self.replyUri)",
        "missing field(s): replyURI, subscriberURI: expected at least one of, got none",
    );
}

/// What was checked in the object that it was copied from.
#[derive(JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
struct Opaque {}

/// `spec` of a `messaging.knative.dev/v1` InMemoryChannel.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InMemoryChannelSpec {
    /// What holds for every subscription that has no delivery of its own.
    #[schemars(with = "Option<DeliverySpec>")]
    pub(crate) delivery: IgnoredAny,
    /// Who gets the channel's events, as Subscriptions put them there.
    #[schemars(with = "Vec<SubscriberSpec>", extend("maxItems" = SUBSCRIBERS_MAX))]
    pub(crate) subscribers: IgnoredAny,
}
