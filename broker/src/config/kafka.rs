//! How Kafka is reached: `kafka` of the configuration file.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de};

use super::{
    file::{Span, put},
    secret::{self, Secret, SecretSource},
    tls::{Tls, TlsSettings},
};
use crate::spec::PARTITIONS_MAX;

/// Most further settings of the client.
const PROPERTIES_MAX: usize = 100;

/// What is set elsewhere: secrets would be shown with the file, the others have a setting of their own.
const OWN_PROPERTIES: [(&str, &str); 18] = [
    ("bootstrap.servers", "kafka.bootstrapServers"),
    ("metadata.broker.list", "kafka.bootstrapServers"),
    ("security.protocol", "kafka.tls and kafka.sasl"),
    ("sasl.mechanism", "kafka.sasl.mechanism"),
    ("sasl.mechanisms", "kafka.sasl.mechanism"),
    ("sasl.username", "kafka.sasl.user"),
    ("sasl.password", "kafka.sasl.passwordFile"),
    ("sasl.oauthbearer.config", "kafka.sasl.tokenFile"),
    ("sasl.oauthbearer.client.secret", "kafka.sasl.tokenFile"),
    ("ssl.ca.location", "kafka.tls.caFile"),
    ("ssl.ca.pem", "kafka.tls.caFile"),
    ("ssl.certificate.location", "kafka.tls.certFile"),
    ("ssl.certificate.pem", "kafka.tls.certFile"),
    ("ssl.key.location", "kafka.tls.keyFile"),
    ("ssl.key.pem", "kafka.tls.keyFile"),
    ("ssl.key.password", "a key file without a password"),
    ("ssl.keystore.location", "kafka.tls.keyFile"),
    ("ssl.keystore.password", "kafka.tls.keyFile"),
];

/// How Kafka is reached, and what its topics are like when a broker does not say.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaSettings {
    /// Addresses of some of its servers, `host:port`, separated by commas. Without it there is no
    /// Kafka.
    pub bootstrap_servers: Option<String>,
    /// The name of a broker's topic, with `{namespace}` and `{name}` in it. Default
    /// `catchment-broker-{namespace}.{name}`.
    pub topic_template: String,
    /// The same for the topic of a channel. Default `catchment-channel-{namespace}.{name}`.
    pub channel_topic_template: String,
    /// Copies of a topic that a broker's channel does not give. Default 1.
    pub replication_factor: i16,
    /// Partitions of a topic that a broker's channel does not give. Default 10.
    pub num_partitions: i32,
    /// Whether and how connections are encrypted.
    pub tls: TlsSettings,
    /// How the program says who it is. Default: it does not.
    pub sasl: Option<SaslSettings>,
    /// Further settings of librdkafka, by its names.
    pub properties: Properties,
    /// How long Kafka may take to store an event. Default 5 s.
    pub publish_timeout: Duration,
}

/// How the program says to Kafka who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslSettings {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// The user; not with [`SaslMechanism::OAuthBearer`].
    pub user: Option<String>,
    /// Where the password comes from.
    pub password_source: SecretSource,
    /// The password; there for all mechanisms that need one.
    pub password: Option<Secret>,
    /// The file of the token, to be read again when it expires; with [`SaslMechanism::OAuthBearer`].
    pub token_file: Option<PathBuf>,
}

/// The mechanisms of SASL that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof that the password is known.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A proof that the password is known.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// A token.
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

impl SaslMechanism {
    /// The name that the protocol has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

/// Settings of librdkafka by its names. `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(pub BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: None,
            topic_template: "catchment-broker-{namespace}.{name}".to_owned(),
            channel_topic_template: "catchment-channel-{namespace}.{name}".to_owned(),
            replication_factor: 1,
            num_partitions: 10,
            tls: TlsSettings::default(),
            sasl: None,
            properties: Properties::default(),
            publish_timeout: Duration::from_secs(5),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Kafka {
    bootstrap_servers: Option<String>,
    topic_template: Option<String>,
    channel_topic_template: Option<String>,
    replication_factor: Option<i16>,
    num_partitions: Option<i32>,
    tls: Tls,
    sasl: Option<Sasl>,
    properties: Option<BTreeMap<String, Scalar>>,
    publish_timeout: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sasl {
    mechanism: SaslMechanism,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    token_file: Option<PathBuf>,
}

/// A value of a property: `5` and `true` need no quotes. `Debug` does not show it.
struct Scalar(String);

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scalar")
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl de::Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number, or true or false")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.to_owned()))
    }
}

impl Kafka {
    pub(super) fn apply(self, settings: &mut KafkaSettings) {
        settings.bootstrap_servers = self.bootstrap_servers.or(settings.bootstrap_servers.take());
        put(&mut settings.topic_template, self.topic_template);
        put(&mut settings.channel_topic_template, self.channel_topic_template);
        put(&mut settings.replication_factor, self.replication_factor);
        put(&mut settings.num_partitions, self.num_partitions);
        self.tls.apply(&mut settings.tls);
        settings.sasl = self.sasl.map(Sasl::settings).or(settings.sasl.take());
        let properties = self.properties.map(|written| {
            Properties(written.into_iter().map(|(name, Scalar(value))| (name, value)).collect())
        });
        put(&mut settings.properties, properties);
        put(&mut settings.publish_timeout, self.publish_timeout.map(|span| span.0));
    }
}

impl Sasl {
    fn settings(self) -> SaslSettings {
        SaslSettings {
            mechanism: self.mechanism,
            user: self.user,
            password_source: SecretSource { file: self.password_file, env: self.password_env },
            password: None,
            token_file: self.token_file,
        }
    }
}

fn check_template(field: &str, template: &str, problems: &mut Vec<String>) {
    let topic = template.replace("{namespace}", "").replace("{name}", "");
    let is_of_topic = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    if !template.contains("{namespace}") || !template.contains("{name}") {
        problems.push(format!("{field}: must have {{namespace}} and {{name}} in it"));
    } else if !topic.chars().all(is_of_topic) {
        let rule = "must be letters, digits, dots, dashes and underscores beside the names";
        problems.push(format!("{field}: {rule}"));
    }
}

impl KafkaSettings {
    /// What cannot be used, each with its field.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if let Some(servers) = &self.bootstrap_servers {
            problems.extend(check_servers(servers).err());
        }
        let (of_brokers, of_channels) = (&self.topic_template, &self.channel_topic_template);
        check_template("kafka.topicTemplate", of_brokers, problems);
        check_template("kafka.channelTopicTemplate", of_channels, problems);
        if of_brokers == of_channels {
            let rule = "must differ from kafka.topicTemplate";
            problems.push(format!("kafka.channelTopicTemplate: {rule}"));
        }
        if self.replication_factor < 1 {
            problems.push(format!("kafka.replicationFactor: must be from 1 to {}", i16::MAX));
        }
        if !(1..=PARTITIONS_MAX).contains(&self.num_partitions) {
            problems.push(format!("kafka.numPartitions: must be from 1 to {PARTITIONS_MAX}"));
        }
        if self.publish_timeout.is_zero() {
            problems.push("kafka.publishTimeout: must be more than zero".to_owned());
        }
        self.tls.check("kafka.tls", problems);
        if let Some(sasl) = &self.sasl {
            sasl.check(problems);
        }
        let properties = &self.properties.0;
        if properties.len() > PROPERTIES_MAX {
            problems.push(format!("kafka.properties: must be {PROPERTIES_MAX} at most"));
        }
        for (name, instead) in OWN_PROPERTIES {
            if properties.contains_key(name) {
                problems.push(format!("kafka.properties.{name}: is set by {instead}"));
            }
        }
    }

    /// Reads the secrets; what cannot be read goes to `problems`.
    pub(super) fn read_secrets(&mut self, env: super::Env<'_>, problems: &mut Vec<String>) {
        self.tls.check_files("kafka.tls", problems);
        let Some(sasl) = &mut self.sasl else { return };
        if sasl.mechanism == SaslMechanism::OAuthBearer {
            let token = sasl.token_file.as_deref();
            problems.extend(
                token.and_then(|path| secret::check_file(path, "kafka.sasl.tokenFile").err()),
            );
            return;
        }
        match sasl.password_source.read("kafka.sasl.password", env) {
            Ok(password) => sasl.password = password,
            Err(problem) => problems.push(problem),
        }
    }
}

impl SaslSettings {
    fn check(&self, problems: &mut Vec<String>) {
        let mechanism = self.mechanism.as_str();
        let mut need = |field: &str, is_given: bool| {
            if !is_given {
                problems.push(format!("kafka.sasl.{field}: is required for {mechanism}"));
            }
        };
        if self.mechanism == SaslMechanism::OAuthBearer {
            need("tokenFile", self.token_file.is_some());
        } else {
            need("user", self.user.as_ref().is_some_and(|user| !user.is_empty()));
            need("passwordFile", self.password_source.is_given());
        }
    }
}

/// Whether `servers` is a list of addresses.
pub(super) fn check_servers(servers: &str) -> Result<(), String> {
    let is_address = |server: &str| {
        let (host, port) = server.trim().rsplit_once(':')?;
        let is_host = !host.is_empty() && !host.contains(|char: char| "/@ ".contains(char));
        (is_host && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(())
    };
    match servers.split(',').find(|server| is_address(server).is_none()) {
        None => Ok(()),
        Some(_) => {
            Err("kafka.bootstrapServers: must be host:port, or several of them separated by \
                        commas"
                .to_owned())
        }
    }
}
