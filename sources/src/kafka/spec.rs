//! A KafkaSource as the user writes it.

use channel::{Destination, schema::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KafkaDeliverySpec;
use crate::{CloudEventOverrides, SecretSpec};

/// Most topics of one source, and most servers that it names.
pub const TOPICS_MAX: usize = 64;

/// Longest name of a topic, as in Kafka.
pub const TOPIC_LENGTH_MAX: usize = 249;

/// Longest `host:port`.
pub(super) const SERVER_LENGTH_MAX: usize = 512;

/// Longest name of a consumer group.
pub(super) const GROUP_LENGTH_MAX: usize = 255;

/// Most consumers of one source in one replica: each is a client with a thread.
pub const CONSUMERS_MAX: i32 = 32;

const WORD_LENGTH_MAX: usize = 64;

/// `spec` of a `sources.knative.dev` KafkaSource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = Self::RULES))]
pub struct KafkaSourceSpec {
    /// Where to find the cluster: `host:port` of one server at least. Required.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        extend("maxItems" = TOPICS_MAX, "items" = {"type": "string", "maxLength": SERVER_LENGTH_MAX})
    )]
    pub bootstrap_servers: Vec<String>,
    /// What is read. Required.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        extend("maxItems" = TOPICS_MAX, "items" = {"type": "string", "maxLength": TOPIC_LENGTH_MAX})
    )]
    pub topics: Vec<String>,
    /// Clients that read in each replica of the program, at most one for a partition; 0 pauses the
    /// source. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "maximum" = CONSUMERS_MAX))]
    pub consumers: Option<i32>,
    /// The group by which Kafka knows how far the source is. It stays as it was made. Default:
    /// `catchment-source.{namespace}.{name}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = GROUP_LENGTH_MAX))]
    pub consumer_group: Option<String>,
    /// Where a group begins that has read nothing of a topic: `latest` or `earliest`. Default: latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = WORD_LENGTH_MAX, "x-kubernetes-validations" = [Self::OFFSET]))]
    pub initial_offset: Option<String>,
    /// `ordered`, one record of a partition after the other, or `unordered`. Default: ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = WORD_LENGTH_MAX, "x-kubernetes-validations" = [Self::ORDERING]))]
    pub ordering: Option<String>,
    /// Who the source says it is, and whom it believes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<KafkaNetSpec>,
    /// What happens to records that cannot be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<KafkaDeliverySpec>,
    /// What is set on every event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_overrides: Option<CloudEventOverrides>,
    /// Where events go. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Destination>,
}

impl KafkaSourceSpec {
    const OFFSET: Rule =
        Rule::of_text("self in ['', 'earliest', 'latest']", "must be earliest or latest");
    const ORDERING: Rule =
        Rule::of_text("self in ['', 'ordered', 'unordered']", "must be ordered or unordered");

    const RULES: [Rule; 4] = [
        Rule::new(
            "has(self.topics) && self.topics.size() > 0 && self.topics.all(topic, topic != '')",
            "missing field(s): spec.topics",
        ),
        Rule::new(
            "has(self.bootstrapServers) && self.bootstrapServers.size() > 0 && self.bootstrapServers.all(server, server != '')",
            "missing field(s): spec.bootstrapServers",
        ),
        Rule::new(
            "has(self.sink)",
            "expected at least one, got none: spec.sink.ref, spec.sink.uri",
        ),
        Rule::new(
            "!has(oldSelf.consumerGroup) || oldSelf.consumerGroup == '' || has(self.consumerGroup) && self.consumerGroup == oldSelf.consumerGroup",
            "Immutable fields changed (-old +new): consumerGroup, spec",
        ),
    ];
}

/// `net`: how the source connects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KafkaNetSpec {
    /// A user and a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSaslSpec>,
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTlsSpec>,
}

/// `net.sasl`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KafkaSaslSpec {
    /// Whether it is used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable: bool,
    /// The name of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<SecretSpec>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSpec>,
    /// Holds `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`. Default: PLAIN.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<SecretSpec>,
}

/// `net.tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KafkaTlsSpec {
    /// Whether it is used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable: bool,
    /// Our certificate in PEM, where the cluster asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<SecretSpec>,
    /// Its key in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretSpec>,
    /// Certificates to believe, in PEM. Default: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<SecretSpec>,
}

impl KafkaSourceSpec {
    /// The secrets that are used, each with its field.
    pub fn secrets(&self) -> Vec<(&'static str, &SecretSpec)> {
        let net = self.net.as_ref();
        let sasl = net.and_then(|net| net.sasl.as_ref()).filter(|sasl| sasl.enable);
        let tls = net.and_then(|net| net.tls.as_ref()).filter(|tls| tls.enable);
        let of_sasl = sasl.map(|sasl| {
            [
                (USER, sasl.user.as_ref()),
                (PASSWORD, sasl.password.as_ref()),
                (TYPE, sasl.kind.as_ref()),
            ]
        });
        let of_tls = tls.map(|tls| {
            [(CERT, tls.cert.as_ref()), (KEY, tls.key.as_ref()), (CA_CERT, tls.ca_cert.as_ref())]
        });
        let all = of_sasl.into_iter().chain(of_tls).flatten();
        all.filter_map(|(field, secret)| Some((field, secret?))).collect()
    }
}

pub(super) const USER: &str = "spec.net.sasl.user";
pub(super) const PASSWORD: &str = "spec.net.sasl.password";
pub(super) const TYPE: &str = "spec.net.sasl.type";
pub(super) const CERT: &str = "spec.net.tls.cert";
pub(super) const KEY: &str = "spec.net.tls.key";
pub(super) const CA_CERT: &str = "spec.net.tls.caCert";
