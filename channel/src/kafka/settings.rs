//! What an operator sets: the cluster for the whole process, the topic for one broker.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use crate::{Hub, HubKind};

/// The Kafka cluster of this process, and how to speak to it.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Where to find the cluster: `host:port`, more of them separated by commas. No default.
    pub bootstrap_servers: String,
    /// TLS, or plain connections. Default: plain.
    pub tls: Option<KafkaTls>,
    /// Who this process is, or nobody. Default: nobody.
    pub sasl: Option<KafkaSasl>,
    /// Name of a broker's topic; `{namespace}` and `{name}` are put in, and both must be there. Names of
    /// its other topics begin with it. Default `catchment-broker-{namespace}.{name}`.
    ///
    /// With a dash between them `a-b/c` and `a/b-c` have one topic, as with Knative's template: where both
    /// may exist, part them by a dot, which no namespace has.
    pub topic_template: String,
    /// The same for a channel's topic; it must differ. Default `catchment-channel-{namespace}.{name}`.
    pub channel_topic_template: String,
    /// What this process is called among the readers of a broker's topics, so that it has its partitions
    /// back at once when it starts again (`group.instance.id`). No two may have one name at a time.
    /// Default: none, and others wait for the end of its session.
    pub instance: Option<String>,
    /// Most bytes of a record of the log, set as `max.message.bytes` of its topic. An event may take
    /// 16 KiB less. Default 1 MiB + 80 KiB.
    pub record_bytes_max: usize,
    /// How long opening a channel may take before it gives up. Default 15 s.
    pub open_timeout: Duration,
    /// How long a publish waits for Kafka until its outcome is unknown. Default 5 s.
    pub publish_timeout: Duration,
    /// How long the overflow of a trigger must have been empty until its topic is removed. Default 1 h.
    pub overflow_removed_after: Duration,
    /// Properties of librdkafka for all its clients, put over the defaults. Those that promises rest on
    /// are refused. Default: none.
    pub properties: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// The defaults, for the cluster at `bootstrap_servers`.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            tls: None,
            sasl: None,
            topic_template: "catchment-broker-{namespace}.{name}".into(),
            channel_topic_template: "catchment-channel-{namespace}.{name}".into(),
            instance: None,
            record_bytes_max: (1 << 20) + (80 << 10),
            open_timeout: Duration::from_secs(15),
            publish_timeout: Duration::from_secs(5),
            overflow_removed_after: Duration::from_secs(3600),
            properties: BTreeMap::new(),
        }
    }

    /// Most bytes of an event: what a record takes, less room for what Kafka and the binding add.
    pub fn event_bytes_max(&self) -> usize {
        self.record_bytes_max.saturating_sub(RECORD_OVERHEAD_BYTES)
    }

    /// The names of a hub's topics and group, or what is wrong with them.
    pub(super) fn names(&self, hub: &Hub) -> Result<Names, String> {
        let Hub { kind, name } = hub;
        if self.topic_template == self.channel_topic_template {
            let template = &self.topic_template;
            return Err(format!(
                "channelTopicTemplate: {template:?} must differ from topicTemplate"
            ));
        }
        let (field, template, group) = match kind {
            HubKind::Broker => ("topicTemplate", &self.topic_template, "catchment"),
            HubKind::Channel => {
                ("channelTopicTemplate", &self.channel_topic_template, "catchment-channel")
            }
        };
        for part in ["{namespace}", "{name}"] {
            if !template.contains(part) {
                return Err(format!("{field}: {template:?} must have {part}"));
            }
        }
        let topic = template.replace("{namespace}", &name.namespace).replace("{name}", &name.name);
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !topic.bytes().all(is_valid) {
            return Err(format!("{field}: {topic:?} must be of a-z A-Z 0-9 . _ -"));
        }
        if topic.len() > TOPIC_LEN_MAX {
            let rule = format!("must not be longer than {TOPIC_LEN_MAX} characters");
            return Err(format!("{field}: {topic:?} {rule}"));
        }
        let group = format!("{group}.{}.{}", name.namespace, name.name);
        Ok(Names { topic, group })
    }
}

/// Kafka takes 249 characters; a broker's other topics need some of them.
const TOPIC_LEN_MAX: usize = 180;

/// What record headers take beyond what the event's own head counts.
const RECORD_OVERHEAD_BYTES: usize = 16 << 10;

/// What a broker's things are called in Kafka.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) topic: String,
    pub(super) group: String,
}

impl Names {
    pub(super) fn ledger(&self) -> String {
        format!("{}.ledger", self.topic)
    }

    /// Begins the name of every overflow topic of the broker.
    pub(super) fn overflow_prefix(&self) -> String {
        format!("{}.overflow.", self.topic)
    }
}

/// TLS to the cluster; files in PEM.
#[derive(Clone, Debug, Default)]
pub struct KafkaTls {
    /// Whom to believe. Default: the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, when the cluster asks for one.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}

/// Who this process says it is.
#[derive(Clone, Debug)]
pub enum KafkaSasl {
    /// A user with a password that goes over the wire: only with TLS.
    Plain(KafkaUser),
    /// A user that proves to know a password, by SHA-256.
    ScramSha256(KafkaUser),
    /// A user that proves to know a password, by SHA-512.
    ScramSha512(KafkaUser),
    /// The bearer of a token (RFC 7628). The client library can then neither make topics nor trim them:
    /// those of the log and the ledger must be there, and that of an overflow before something waits
    /// in it; see [`KafkaSettings::topic_template`].
    OauthBearer {
        /// Holds a JSON Web Token; read again before the token ends.
        token_file: PathBuf,
    },
}

/// A user of the cluster.
#[derive(Clone, Debug)]
pub struct KafkaUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// Something that nobody may see.
#[derive(Clone)]
pub enum Secret {
    /// The thing itself, from wherever the process has it.
    Text(String),
    /// A file that holds it, read when a channel is opened. White space at its ends does not count.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("…"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A broker's topic, when it has to be made; one that is there must be as this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KafkaPlan {
    /// Partitions of the log: most replicas and workers that can share it. Default 10.
    pub partitions: i32,
    /// Machines that keep each event. Default 1, because a cluster of one node can have no more: set 3
    /// where there are three, then an acknowledged event survives the loss of one of them.
    pub replication_factor: i32,
    /// How long Kafka keeps an event, delivered or not. Default 7 days, as Knative's `retentionDuration`.
    pub retention: Duration,
}

impl Default for KafkaPlan {
    fn default() -> Self {
        Self {
            partitions: 10,
            replication_factor: 1,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

impl KafkaPlan {
    /// Replicas that must have an event before it counts as stored: all but one of three or more.
    pub fn min_insync_replicas(&self) -> i32 {
        if self.replication_factor >= 3 { self.replication_factor - 1 } else { 1 }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.partitions < 1 {
            return Err("numPartitions: must be at least 1".into());
        }
        if self.replication_factor < 1 {
            return Err("replicationFactor: must be at least 1".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn names_follow_the_template() {
        let settings = KafkaSettings::new("k:9092");
        let name = Name::new("shop", "orders");
        let names = settings.names(&Hub::broker(name.clone())).unwrap();
        assert_eq!(names.topic, "catchment-broker-shop.orders");
        assert_eq!(names.group, "catchment.shop.orders");
        assert_eq!(names.ledger(), "catchment-broker-shop.orders.ledger");
        let names = settings.names(&Hub::channel(name.clone())).unwrap();
        assert_eq!(names.topic, "catchment-channel-shop.orders");
        assert_eq!(names.group, "catchment-channel.shop.orders");
        let template = settings.topic_template.clone();
        let settings = KafkaSettings { channel_topic_template: template, ..settings };
        assert!(settings.names(&Hub::channel(name)).is_err(), "one topic for two");
    }

    #[test]
    fn a_template_that_cannot_be_is_refused() {
        for (template, reason) in [
            ("all", "must have {namespace}"),
            ("{namespace}", "must have {name}"),
            ("{namespace}/{name}", "must be of"),
            (&format!("{}{{namespace}}{{name}}", "x".repeat(180)), "must not be longer"),
        ] {
            let mut settings = KafkaSettings::new("k:9092");
            settings.topic_template = template.into();
            let error = settings.names(&Hub::broker(Name::new("n", "b"))).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let mut settings = KafkaSettings::new("k:9092");
        let password = Secret::Text("hunter2".into());
        settings.sasl = Some(KafkaSasl::Plain(KafkaUser { name: "me".into(), password }));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn all_replicas_but_one_must_have_an_event() {
        let wanted = |replication_factor| {
            KafkaPlan { replication_factor, ..KafkaPlan::default() }.min_insync_replicas()
        };
        assert_eq!([1, 2, 3, 5].map(wanted), [1, 1, 2, 4]);
    }
}
