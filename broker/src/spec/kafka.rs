//! `spec` of a `KafkaChannel`, with Knative's names.

use std::time::Duration;

use ::channel::Invalid;
use serde::{Deserialize, de::IgnoredAny};

use super::channel::{check_retention, retention};

/// Most partitions of a broker's topic: each costs every replica of the program a queue.
pub const PARTITIONS_MAX: i32 = 10_000;

/// `spec` of a `messaging.knative.dev` KafkaChannel. What is not given is the process's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KafkaChannelSpec {
    /// Partitions of the broker's topic. Default: `kafka.numPartitions`.
    pub num_partitions: Option<i32>,
    /// Copies of each of them. Default: `kafka.replicationFactor`.
    pub replication_factor: Option<i16>,
    /// How long events are kept, an ISO 8601 duration. Default 7 days, as in Knative.
    pub retention_duration: Option<String>,
    pub(crate) delivery: IgnoredAny,
    pub(crate) subscribers: IgnoredAny,
}

impl KafkaChannelSpec {
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
