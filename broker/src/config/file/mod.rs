//! The configuration file: YAML, camelCase, every setting optional.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use dispatcher::Quota;
use serde::{Deserialize, Deserializer, de};

use super::{
    Settings, channels,
    channels::{Disk, Overflow},
    kafka::Kafka,
    kubernetes::{Kubernetes, is_base},
    nats::Nats,
    quantity::Bytes,
};
use crate::{manifest, spec::ChannelKind};

/// Why the settings cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("{}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not what a configuration file is.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        problem: String,
    },
    /// An environment variable is not what it should be.
    #[error("{problem}")]
    Environment {
        /// What is wrong, with the variable's name.
        problem: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct File {
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    data: Option<PathBuf>,
    workers: Option<NonZeroUsize>,
    public_url: Option<String>,
    ingress: Ingress,
    channel: Channel,
    kafka: Kafka,
    nats: Nats,
    kubernetes: Kubernetes,
    overflow: Overflow,
    delivery: Delivery,
    dead_letters: DeadLetters,
    drain: Drain,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Ingress {
    head_bytes_max: Option<Bytes>,
    headers_max: Option<usize>,
    uri_bytes_max: Option<Bytes>,
    body_bytes_max: Option<Bytes>,
    head_timeout: Option<Span>,
    idle_timeout: Option<Span>,
    body_timeout: Option<Span>,
    body_rate_min: Option<u32>,
    connections_max: Option<usize>,
    connections_per_address_max: Option<usize>,
    publish_timeout: Option<Span>,
    attribute_bytes_max: Option<Bytes>,
    extensions_max: Option<usize>,
    batch_events_max: Option<usize>,
    json_depth_max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Channel {
    default: Option<ChannelKind>,
    memory: Memory,
    disk: Disk,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Memory {
    events_max: Option<usize>,
    bytes_max: Option<Bytes>,
    total_bytes_max: Option<Bytes>,
    event_bytes_max: Option<Bytes>,
    trigger_share_percent: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Delivery {
    age_max: Option<Span>,
    connections_per_host_max: Option<usize>,
    connect_timeout: Option<Span>,
    tls_timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct DeadLetters {
    events_max: Option<usize>,
    bytes_max: Option<Bytes>,
    retention: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Drain {
    lag: Option<Span>,
    timeout: Option<Span>,
}

/// A time, written as an ISO 8601 duration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let length = dispatcher::duration::parse(&text)
            .map_err(|error| de::Error::custom(format!("{error}, not {text:?}")))?;
        let length = Duration::try_from(length)
            .map_err(|_| de::Error::custom(format!("{text:?} must not be negative")))?;
        Ok(Self(length))
    }
}

pub(super) fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    parse(&text).map_err(|problem| invalid(path, problem))
}

/// The settings that `text` gives, or all that is wrong with it in one line.
fn parse(text: &str) -> Result<File, String> {
    manifest::read_one(text).map(Option::unwrap_or_default).map_err(|wrong| wrong.join("; "))
}

pub(super) fn invalid(path: &Path, problem: String) -> ConfigError {
    ConfigError::Invalid { path: path.to_owned(), problem }
}

/// Puts what the file says in place of a default.
pub(super) fn put<T>(place: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *place = said;
    }
}

impl File {
    /// Puts what the file says over `settings`.
    pub(super) fn apply(
        self,
        settings: &mut Settings,
        path: Option<&Path>,
    ) -> Result<(), ConfigError> {
        put(&mut settings.listen, self.listen);
        put(&mut settings.admin, self.admin);
        put(&mut settings.data, self.data);
        put(&mut settings.workers, self.workers.map(NonZeroUsize::get));
        put(&mut settings.public_url, self.public_url.map(Some));
        self.ingress.apply(&mut settings.ingress);
        put(&mut settings.channel_default, self.channel.default);
        self.channel.memory.apply(settings);
        self.channel.disk.apply(&mut settings.disk, event_fits(settings.ingress.body_bytes_max));
        self.kafka.apply(&mut settings.kafka);
        self.nats.apply(&mut settings.nats);
        put(&mut settings.kubernetes.ingress_url, self.kubernetes.ingress_url.map(Some));
        put(&mut settings.kubernetes.lease, self.kubernetes.lease);
        put(&mut settings.kubernetes.messaging, self.kubernetes.messaging);
        let cleanup_timeout = self.kubernetes.cleanup_timeout.map(|span| span.0);
        put(&mut settings.kubernetes.cleanup_timeout, cleanup_timeout);
        put(&mut settings.kubernetes.sources, self.kubernetes.sources);
        put(&mut settings.delivery.age_max, self.delivery.age_max.map(|span| span.0));
        self.overflow.apply(&mut settings.overflow);
        let overflow = &settings.overflow;
        settings.delivery.after = overflow.after;
        settings.delivery.lane =
            Quota { events: overflow.lane_events_max, bytes: overflow.lane_bytes_max };
        let client = &mut settings.client;
        put(&mut client.connections_per_host, self.delivery.connections_per_host_max);
        put(&mut client.connect_timeout, self.delivery.connect_timeout.map(|span| span.0));
        put(&mut client.tls_timeout, self.delivery.tls_timeout.map(|span| span.0));
        let letters = &mut settings.dead_letters;
        put(&mut letters.events_max, self.dead_letters.events_max);
        put(&mut letters.bytes_max, self.dead_letters.bytes_max.map(|bytes| bytes.0));
        put(&mut letters.retention, self.dead_letters.retention.map(|span| span.0));
        put(&mut settings.drain.lag, self.drain.lag.map(|span| span.0));
        put(&mut settings.drain.timeout, self.drain.timeout.map(|span| span.0));
        match path.zip(unusable(settings)) {
            Some((path, problem)) => Err(invalid(path, problem)),
            None => Ok(()),
        }
    }
}

/// What no process can go by.
fn unusable(settings: &Settings) -> Option<String> {
    /// hyper's smallest buffer.
    const HEAD_BYTES_MIN: usize = 8 << 10;
    if settings.ingress.head_bytes_max < HEAD_BYTES_MIN {
        return Some("ingress.headBytesMax: must be at least 8Ki".to_owned());
    }
    if !(1..=100).contains(&settings.memory.trigger_share_percent) {
        return Some("channel.memory.triggerSharePercent: must be from 1 to 100".to_owned());
    }
    let ingress = &settings.ingress;
    let (event, client) = (&ingress.event, &settings.client);
    let is_zero = [
        ("ingress.headersMax", ingress.headers_max == 0),
        ("ingress.uriBytesMax", ingress.uri_bytes_max == 0),
        ("ingress.bodyBytesMax", ingress.body_bytes_max == 0),
        ("ingress.headTimeout", ingress.head_timeout.is_zero()),
        ("ingress.idleTimeout", ingress.idle_timeout.is_zero()),
        ("ingress.bodyTimeout", ingress.body_timeout.is_zero()),
        ("ingress.connectionsMax", ingress.connections_max == 0),
        ("ingress.connectionsPerAddressMax", ingress.connections_per_address_max == 0),
        ("ingress.publishTimeout", ingress.publish_timeout.is_zero()),
        ("ingress.attributeBytesMax", event.attribute_bytes_max == 0),
        ("ingress.batchEventsMax", event.batch_events_max == 0),
        ("ingress.jsonDepthMax", event.json_depth_max == 0),
        ("channel.memory.eventsMax", settings.memory.limits.events_max == 0),
        ("channel.memory.bytesMax", settings.memory.bytes_max == 0),
        ("channel.memory.totalBytesMax", settings.memory.total_bytes_max == 0),
        ("channel.memory.eventBytesMax", settings.memory.limits.event_bytes_max == 0),
        ("deadLetters.eventsMax", settings.dead_letters.events_max == 0),
        ("delivery.ageMax", settings.delivery.age_max.is_zero()),
        ("delivery.connectionsPerHostMax", client.connections_per_host == 0),
        ("delivery.connectTimeout", client.connect_timeout.is_zero()),
        ("delivery.tlsTimeout", client.tls_timeout.is_zero()),
    ];
    let durable = channels::zeros(&settings.disk, &settings.overflow);
    if let Some((field, _)) = is_zero.into_iter().chain(durable).find(|(_, is_zero)| *is_zero) {
        return Some(format!("{field}: must be more than zero"));
    }
    if let Some(problem) = channels::unusable_overflow(&settings.overflow) {
        return Some(problem);
    }
    if let Some(problem) = channels::unusable(&settings.disk) {
        return Some(problem);
    }
    let mut problems = Vec::new();
    settings.kafka.check(&mut problems);
    settings.nats.check(&mut problems);
    settings.kubernetes.check(&mut problems);
    if settings.public_url.as_deref().is_some_and(|url| !is_base(url)) {
        problems.push(
            "publicUrl: must be an http or https URL without slash, query or fragment at its end"
                .to_owned(),
        );
    }
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// Unless said otherwise a channel takes what the way in lets through.
fn event_fits(body_bytes_max: usize) -> usize {
    body_bytes_max + (64 << 10)
}

impl Ingress {
    fn apply(self, limits: &mut crate::ingress::Limits) {
        put(&mut limits.head_bytes_max, self.head_bytes_max.map(|bytes| bytes.0));
        put(&mut limits.headers_max, self.headers_max);
        put(&mut limits.uri_bytes_max, self.uri_bytes_max.map(|bytes| bytes.0));
        put(&mut limits.body_bytes_max, self.body_bytes_max.map(|bytes| bytes.0));
        put(&mut limits.head_timeout, self.head_timeout.map(|span| span.0));
        put(&mut limits.idle_timeout, self.idle_timeout.map(|span| span.0));
        put(&mut limits.body_timeout, self.body_timeout.map(|span| span.0));
        put(&mut limits.body_rate_min, self.body_rate_min);
        put(&mut limits.connections_max, self.connections_max);
        put(&mut limits.connections_per_address_max, self.connections_per_address_max);
        put(&mut limits.publish_timeout, self.publish_timeout.map(|span| span.0));
        let event = &mut limits.event;
        put(&mut event.attribute_bytes_max, self.attribute_bytes_max.map(|bytes| bytes.0));
        put(&mut event.extensions_max, self.extensions_max);
        put(&mut event.batch_events_max, self.batch_events_max);
        put(&mut event.json_depth_max, self.json_depth_max);
    }
}

impl Memory {
    fn apply(self, settings: &mut Settings) {
        let memory = &mut settings.memory;
        put(&mut memory.limits.events_max, self.events_max);
        put(&mut memory.bytes_max, self.bytes_max.map(|bytes| bytes.0));
        put(&mut memory.total_bytes_max, self.total_bytes_max.map(|bytes| bytes.0));
        put(&mut memory.trigger_share_percent, self.trigger_share_percent);
        let fits = event_fits(settings.ingress.body_bytes_max);
        let event_bytes_max = self.event_bytes_max.map(|bytes| bytes.0);
        memory.limits.event_bytes_max = event_bytes_max.unwrap_or(fits);
    }
}

#[cfg(test)]
mod tests;
