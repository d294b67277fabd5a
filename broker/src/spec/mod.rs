//! A Broker as the user writes it, the channel it asks for, and what a cluster is told of them.

mod channel;
mod go_duration;
mod kafka;
mod messaging;
mod nats;
mod status;

use std::collections::BTreeMap;

use ::channel::{Invalid, Reference, schema::Rule};
use dispatcher::{DeliveryChoice, DeliverySpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::channel::{ChannelChoice, ChannelKind, DiskChannelSpec};
pub use go_duration::GoDuration;
pub use kafka::{KafkaChannelSpec, PARTITIONS_MAX};
pub use messaging::{
    ChannelSpec, ChannelTemplate, InMemoryChannelSpec, SUBSCRIBERS_MAX, SubscriberSpec,
};
pub use nats::{
    ConsumerType, DeliverPolicy, Discard, NatsChannelSpec, NatsConsumerSpec, NatsPlacement,
    NatsStreamConfig, NatsStreamSpec, ReplayPolicy, Retention, Storage,
};
pub use status::{BackingChannelStatus, BrokerStatus, ChannelStatus};

/// The class of brokers that this program runs.
pub const CLASS: &str = "Catchment";

/// The annotation that names a broker's class.
pub const CLASS_ANNOTATION: &str = "eventing.knative.dev/broker.class";

/// `spec` of an `eventing.knative.dev/v1` Broker.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [Self::IMMUTABLE]))]
pub struct BrokerSpec {
    /// The ConfigMap whose `channel-template-spec` names the channel. Default: the process's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Reference>,
    /// What holds for every trigger that does not say otherwise, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliverySpec>,
}

impl BrokerSpec {
    /// All but `delivery` stays as it was made.
    const IMMUTABLE: Rule = Rule::new(
        "has(self.config) == has(oldSelf.config) && (!has(self.config) || self.config == oldSelf.config)",
        "Immutable fields changed (-old +new): spec",
    );

    /// Adds everything in the spec that breaks a rule on its own to `problems`.
    ///
    /// Whether the named ConfigMap exists, and what it says, is not looked at here.
    pub fn check(&self, problems: &mut Vec<Invalid>) {
        if let Some(config) = &self.config {
            config.check("spec.config", problems);
            let only = [
                ("spec.config.apiVersion", &config.api_version, "v1"),
                ("spec.config.kind", &config.kind, "ConfigMap"),
            ];
            for (field, value, only) in only {
                if value.as_deref().is_some_and(|value| !value.is_empty() && value != only) {
                    problems.push(Invalid::new(field, format!("must be {only}")));
                }
            }
        }
        if let Some(delivery) = &self.delivery {
            DeliveryChoice::new(delivery, "spec.delivery", problems);
        }
    }
}

/// A broker's class if it is not ours: accepted, because a folder of manifests has only one
/// program to run them, but worth telling.
pub fn foreign_class(annotations: &BTreeMap<String, String>) -> Option<&str> {
    annotations.get(CLASS_ANNOTATION).map(String::as_str).filter(|class| *class != CLASS)
}
