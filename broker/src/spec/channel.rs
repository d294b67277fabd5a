//! The channel that a broker asks for, and what of it the user chose.

use std::time::Duration;

use ::channel::{
    Invalid,
    schema::{DURATION_LENGTH_MAX, Rule},
};
use dispatcher::DeliverySpec;
use schemars::JsonSchema;
use serde::{Deserialize, de::IgnoredAny};

use super::{KafkaChannelSpec, NatsChannelSpec, SUBSCRIBERS_MAX, SubscriberSpec};
use crate::config::{Bytes, disk_too_small};

/// The kinds of channels that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChannelKind {
    /// `InMemoryChannel`.
    Memory,
    /// `DiskChannel`.
    Disk,
    /// `KafkaChannel`.
    Kafka,
    /// `NatsJetStreamChannel`.
    Nats,
}

impl ChannelKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Disk, Self::Kafka, Self::Nats];

    /// The kind of `messaging.knative.dev`, as templates and the API name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "InMemoryChannel",
            Self::Disk => "DiskChannel",
            Self::Kafka => "KafkaChannel",
            Self::Nats => "NatsJetStreamChannel",
        }
    }
}

/// The channel that a broker keeps its events in. Equal choices share a channel: a change of the
/// manifest that leaves the choice as it was reopens nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ChannelChoice {
    /// What the process is configured to use.
    #[default]
    Default,
    /// `InMemoryChannel`.
    InMemory,
    /// `DiskChannel`.
    Disk(DiskChannelSpec),
    /// `KafkaChannel`.
    Kafka(KafkaChannelSpec),
    /// `NatsJetStreamChannel`.
    Nats(Box<NatsChannelSpec>),
}

impl ChannelChoice {
    /// The kind that is asked for; `default` when none is.
    pub fn kind(&self, default: ChannelKind) -> ChannelKind {
        match self {
            Self::Default => default,
            Self::InMemory => ChannelKind::Memory,
            Self::Disk(_) => ChannelKind::Disk,
            Self::Kafka(_) => ChannelKind::Kafka,
            Self::Nats(_) => ChannelKind::Nats,
        }
    }

    /// The same with a kind of its own: a broker that asks for nothing and one that asks for just
    /// what the process uses by default have equal channels.
    #[must_use]
    pub fn or(self, default: ChannelKind) -> Self {
        match (self, default) {
            (Self::Default, ChannelKind::Memory) => Self::InMemory,
            (Self::Default, ChannelKind::Disk) => Self::Disk(DiskChannelSpec::default()),
            (Self::Default, ChannelKind::Kafka) => Self::Kafka(KafkaChannelSpec::default()),
            (Self::Default, ChannelKind::Nats) => Self::Nats(Box::default()),
            (choice, _) => choice,
        }
    }
}

/// `spec` of a `DiskChannel`: what a broker may set of the process's `channel.disk`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskChannelSpec {
    /// Bytes that the channel may take, what waits included. Default: `channel.disk.bytesMax`.
    pub bytes_max: Option<Bytes>,
    /// How long settled events are kept, an ISO 8601 duration. Default: `channel.disk.retention`.
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = RETENTION))]
    pub retention_duration: Option<String>,
    /// Bytes of settled events that are kept. Default: `channel.disk.retentionBytes`.
    pub retention_bytes: Option<Bytes>,
    /// What holds for every subscription that has no delivery of its own.
    #[schemars(with = "Option<DeliverySpec>")]
    pub(crate) delivery: IgnoredAny,
    /// Who gets the channel's events, as Subscriptions put them there.
    #[schemars(with = "Vec<SubscriberSpec>", extend("maxItems" = SUBSCRIBERS_MAX))]
    pub(crate) subscribers: IgnoredAny,
}

impl DiskChannelSpec {
    /// Adds what breaks a rule to `problems`; the spec is at `path`.
    pub fn check(&self, path: &str, problems: &mut Vec<Invalid>) {
        if let Some(rule) = self.bytes_max.and_then(|bytes| disk_too_small(bytes.0)) {
            problems.push(Invalid::new(format!("{path}.bytesMax"), rule));
        }
        check_retention(self.retention_duration.as_deref(), path, problems);
    }

    /// How long settled events are kept, as far as the broker says.
    pub fn retention(&self) -> Option<Duration> {
        retention(self.retention_duration.as_deref()).and_then(Result::ok)
    }
}

/// What of [`retention`] an API server can hold.
pub(super) const RETENTION: [Rule; 2] = [
    ::channel::schema::DURATION,
    Rule::of_text(
        "(self.matches('[1-9]') || !self.matches('[0-9]')) && !self.startsWith('-')",
        "must be longer than zero",
    ),
];

/// A `retentionDuration` as written, read.
pub(super) fn retention(written: Option<&str>) -> Option<Result<Duration, String>> {
    let length = match dispatcher::duration::parse(written?) {
        Ok(length) => length,
        Err(error) => return Some(Err(error.to_string())),
    };
    let length = Duration::try_from(length).ok().filter(|length| !length.is_zero());
    Some(length.ok_or_else(|| "must be longer than zero".to_owned()))
}

pub(super) fn check_retention(written: Option<&str>, path: &str, problems: &mut Vec<Invalid>) {
    if let Some(Err(rule)) = retention(written) {
        problems.push(Invalid::new(format!("{path}.retentionDuration"), rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_equal_to_the_same_kind_asked_for() {
        for kind in ChannelKind::ALL {
            let choice = ChannelChoice::Default.or(kind);
            assert_ne!(choice, ChannelChoice::Default);
            assert_eq!(choice.kind(ChannelKind::Memory), kind);
            assert_eq!(choice.clone().or(ChannelKind::Memory), choice);
        }
    }

    #[test]
    fn what_is_taken_and_not_looked_at_makes_no_difference() {
        let read = |json: &str| serde_json::from_str::<DiskChannelSpec>(json).unwrap();
        let plain = read(r#"{"bytesMax": "1Gi"}"#);
        assert_eq!(plain, read(r#"{"bytesMax": 1073741824, "delivery": {"retry": 3}}"#));
        assert_ne!(plain, read("{}"));
    }
}
