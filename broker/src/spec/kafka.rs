//! `spec` of a `KafkaChannel`, with Knative's names.

use std::time::Duration;

use ::channel::{
    Invalid,
    schema::{DURATION, DURATION_LENGTH_MAX, Rule},
};
use dispatcher::DeliverySpec;
use schemars::JsonSchema;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    SUBSCRIBERS_MAX, SubscriberSpec,
    channel::{check_retention, retention},
};

/// Most partitions of a broker's topic: each costs every replica of the program a queue.
pub const PARTITIONS_MAX: i32 = 10_000;

/// `spec` of a `messaging.knative.dev` KafkaChannel. What is not given is the process's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [Self::IMMUTABLE]))]
pub struct KafkaChannelSpec {
    /// Partitions of the broker's topic. Default: `kafka.numPartitions`.
    #[schemars(extend("x-kubernetes-validations" = [ABOVE_ZERO]))]
    pub num_partitions: Option<i32>,
    /// Copies of each of them. Default: `kafka.replicationFactor`.
    #[schemars(extend("x-kubernetes-validations" = [ABOVE_ZERO]))]
    pub replication_factor: Option<i16>,
    /// How long events are kept, an ISO 8601 duration. Default 7 days, as in Knative.
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = [DURATION, NOT_NEGATIVE]))]
    pub retention_duration: Option<String>,
    /// What holds for every subscription that has no delivery of its own.
    #[schemars(with = "Option<DeliverySpec>")]
    pub(crate) delivery: IgnoredAny,
    /// Who gets the channel's events, as Subscriptions put them there.
    #[schemars(with = "Vec<SubscriberSpec>", extend("maxItems" = SUBSCRIBERS_MAX))]
    pub(crate) subscribers: IgnoredAny,
}

/// For a number of partitions or copies.
const ABOVE_ZERO: Rule = Rule::new("self > 0", "invalid value: must be more than zero");

/// For a duration.
const NOT_NEGATIVE: Rule = Rule::of_text("!self.startsWith('-')", "must not be negative");

impl KafkaChannelSpec {
    /// The topic stays as it was made.
    const IMMUTABLE: Rule = Rule::new(
        "has(self.numPartitions) == has(oldSelf.numPartitions) && (!has(self.numPartitions) || self.numPartitions == oldSelf.numPartitions) && has(self.replicationFactor) == has(oldSelf.replicationFactor) && (!has(self.replicationFactor) || self.replicationFactor == oldSelf.replicationFactor) && (!has(oldSelf.retentionDuration) || oldSelf.retentionDuration == '' || has(self.retentionDuration) && self.retentionDuration == oldSelf.retentionDuration)",
        "Immutable fields changed (-old +new): spec",
    );

    /// Adds what breaks a rule to `problems`; the spec is at `path`.
    pub fn check(&self, path: &str, problems: &mut Vec<Invalid>) {
        if self.num_partitions.is_some_and(|count| !(1..=PARTITIONS_MAX).contains(&count)) {
            let rule = format!("must be from 1 to {PARTITIONS_MAX}");
            problems.push(Invalid::new(format!("{path}.numPartitions"), rule));
        }
        if self.replication_factor.is_some_and(|count| count < 1) {
            let rule = format!("must be from 1 to {}", i16::MAX);
            problems.push(Invalid::new(format!("{path}.replicationFactor"), rule));
        }
        check_retention(self.retention_duration.as_deref(), path, problems);
    }

    /// How long events are kept, as far as the broker says.
    pub fn retention(&self) -> Option<Duration> {
        retention(self.retention_duration.as_deref()).and_then(Result::ok)
    }
}
