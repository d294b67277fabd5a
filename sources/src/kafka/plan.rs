//! A KafkaSource that is complete and valid.

use std::collections::{BTreeMap, BTreeSet};

use channel::{Invalid, Name};

use super::{
    KafkaSaslSpec, KafkaSourceSpec, KafkaTlsSpec, event_source,
    key::KeyType,
    spec::{
        CA_CERT, CERT, CONSUMERS_MAX, GROUP_LENGTH_MAX, KEY, PASSWORD, SERVER_LENGTH_MAX,
        TOPIC_LENGTH_MAX, TOPICS_MAX, TYPE, USER,
    },
};
use crate::{
    Overrides, Patience, Resolve, Secret, SecretSpec, spec::secret, status::EventAttributes,
};

/// The label that says what record keys are.
pub const KEY_TYPE_LABEL: &str = "kafkasources.sources.knative.dev/key-type";

/// A KafkaSource that is complete and valid, but for where its sinks are.
#[derive(Clone, Debug)]
pub struct KafkaPlan {
    pub(super) bootstrap_servers: String,
    pub(super) topics: Vec<String>,
    pub(super) consumers: usize,
    pub(super) group: String,
    pub(super) begins_at_end: bool,
    pub(super) is_ordered: bool,
    pub(super) tls: Option<Tls>,
    pub(super) sasl: Option<Sasl>,
    pub(super) key_type: KeyType,
    pub(super) patience: Patience,
    pub(super) overrides: Overrides,
}

/// TLS to the cluster; all in PEM.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) ca_cert: Option<Secret>,
    pub(super) identity: Option<(Secret, Secret)>,
}

/// Who the source says it is.
#[derive(Clone, Debug)]
pub(super) struct Sasl {
    pub(super) mechanism: &'static str,
    pub(super) user: Secret,
    pub(super) password: Secret,
}

impl KafkaPlan {
    /// Reads the spec and the labels of the source `name`. Everything that is wrong is added to
    /// `problems`; the plan is there if nothing is and all secrets are known.
    pub fn new(
        name: &Name,
        spec: &KafkaSourceSpec,
        labels: &BTreeMap<String, String>,
        resolve: &Resolve<'_>,
        problems: &mut Vec<Invalid>,
    ) -> Option<Self> {
        let before = problems.len();
        let bootstrap_servers = servers(&spec.bootstrap_servers, problems);
        let topics = topics(&spec.topics, problems);
        let consumers = consumers(spec.consumers, problems);
        let group = group(name, spec.consumer_group.as_deref(), problems);
        let begins_at_end = match spec.initial_offset.as_deref() {
            None | Some("" | "latest") => true,
            Some("earliest") => false,
            Some(_) => {
                let rule = "must be earliest or latest";
                problems.push(Invalid::new("spec.initialOffset", rule));
                true
            }
        };
        let is_ordered = match spec.ordering.as_deref() {
            None | Some("" | "ordered") => true,
            Some("unordered") => false,
            Some(_) => {
                let rule = "must be ordered or unordered";
                problems.push(Invalid::new("spec.ordering", rule));
                true
            }
        };
        let key_type = KeyType::parse(labels.get(KEY_TYPE_LABEL).map(String::as_str));
        let key_type = key_type.map_err(|rule| {
            problems.push(Invalid::new(format!("metadata.labels.{KEY_TYPE_LABEL}"), rule));
        });
        let patience = spec.delivery.clone().unwrap_or_default().patience(problems);
        let overrides = Overrides::new(spec.ce_overrides.as_ref(), problems);
        spec.sink.clone().unwrap_or_default().check("spec.sink", problems);
        let net = spec.net.clone().unwrap_or_default();
        let tls = match net.tls.filter(|tls| tls.enable) {
            Some(written) => Some(tls(&written, resolve, problems)?),
            None => None,
        };
        let sasl = match net.sasl.filter(|sasl| sasl.enable) {
            Some(written) => Some(sasl(&written, resolve, problems)?),
            None => None,
        };
        let plan = Self {
            bootstrap_servers,
            topics,
            consumers,
            group,
            begins_at_end,
            is_ordered,
            tls,
            sasl,
            key_type: key_type.ok()?,
            patience,
            overrides,
        };
        (problems.len() == before).then_some(plan)
    }

    /// What its events say of themselves, those apart that are CloudEvents already.
    pub fn ce_attributes(&self, name: &Name) -> Vec<EventAttributes> {
        let of = |topic: &String| EventAttributes {
            kind: super::EVENT_TYPE.to_owned(),
            source: event_source(name, topic),
        };
        self.topics.iter().map(of).collect()
    }
}

fn servers(written: &[String], problems: &mut Vec<Invalid>) -> String {
    const FIELD: &str = "spec.bootstrapServers";
    if written.is_empty() {
        problems.push(Invalid::new(FIELD, "is required: host:port of one server at least"));
    }
    if written.len() > TOPICS_MAX {
        problems.push(Invalid::new(FIELD, format!("must not have more than {TOPICS_MAX}")));
    }
    for (index, server) in written.iter().enumerate() {
        let is_part = |part: &str| {
            let (host, port) = part.rsplit_once(':').unwrap_or((part, "9092"));
            let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
            !host.is_empty() && host.bytes().all(is_host) && port.parse::<u16>().is_ok()
        };
        // Several in one text are taken, as Kafka's own clients do.
        if server.len() > SERVER_LENGTH_MAX || !server.split(',').all(|part| is_part(part.trim())) {
            problems.push(Invalid::new(format!("{FIELD}[{index}]"), "must be host:port"));
        }
    }
    written.join(",")
}

fn topics(written: &[String], problems: &mut Vec<Invalid>) -> Vec<String> {
    if written.is_empty() {
        problems.push(Invalid::new("spec.topics", "is required: one topic at least"));
    }
    if written.len() > TOPICS_MAX {
        problems.push(Invalid::new("spec.topics", format!("must not have more than {TOPICS_MAX}")));
    }
    let mut topics = BTreeSet::new();
    for (index, topic) in written.iter().enumerate() {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = (1..=TOPIC_LENGTH_MAX).contains(&topic.len())
            && topic.bytes().all(is_part)
            && !matches!(topic.as_str(), "." | "..");
        let problem = if !is_name {
            Some("must be the name of a topic: a-z A-Z 0-9 . _ -, at most 249 characters")
        } else if !topics.insert(topic.clone()) {
            Some("is there twice")
        } else {
            None
        };
        problems.extend(problem.map(|rule| Invalid::new(format!("spec.topics[{index}]"), rule)));
    }
    topics.into_iter().collect()
}

fn consumers(written: Option<i32>, problems: &mut Vec<Invalid>) -> usize {
    let count = written.unwrap_or(1);
    if !(0..=CONSUMERS_MAX).contains(&count) {
        let rule = format!("must be from 0 to {CONSUMERS_MAX}");
        problems.push(Invalid::new("spec.consumers", rule));
    }
    usize::try_from(count).unwrap_or_default()
}

fn group(name: &Name, written: Option<&str>, problems: &mut Vec<Invalid>) -> String {
    match written.filter(|group| !group.is_empty()) {
        Some(group) if group.len() > GROUP_LENGTH_MAX || group.contains(char::is_control) => {
            let rule = format!("must be at most {GROUP_LENGTH_MAX} characters of text");
            problems.push(Invalid::new("spec.consumerGroup", rule));
            String::new()
        }
        Some(group) => group.to_owned(),
        None => format!("catchment-source.{}.{}", name.namespace, name.name),
    }
}

/// The secret at `field`, if it is written; the outer `None` says that it cannot be had now.
fn optional(
    written: Option<&SecretSpec>,
    field: &str,
    resolve: &Resolve<'_>,
    problems: &mut Vec<Invalid>,
) -> Option<Option<Secret>> {
    match written {
        Some(written) => secret(written, field, resolve, problems).map(Some),
        None => Some(None),
    }
}

fn tls(written: &KafkaTlsSpec, resolve: &Resolve<'_>, problems: &mut Vec<Invalid>) -> Option<Tls> {
    let ca_cert = optional(written.ca_cert.as_ref(), CA_CERT, resolve, problems);
    let cert = optional(written.cert.as_ref(), CERT, resolve, problems);
    let key = optional(written.key.as_ref(), KEY, resolve, problems);
    let identity = match (cert?, key?) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (cert, _) => {
            let missing = if cert.is_none() { CERT } else { KEY };
            problems.push(Invalid::new(missing, "is required: cert and key go together"));
            None
        }
    };
    Some(Tls { ca_cert: ca_cert?, identity })
}

fn sasl(
    written: &KafkaSaslSpec,
    resolve: &Resolve<'_>,
    problems: &mut Vec<Invalid>,
) -> Option<Sasl> {
    let mut needed = |written: &Option<SecretSpec>, field: &'static str| match written {
        Some(written) => secret(written, field, resolve, problems),
        None => {
            problems.push(Invalid::new(field, "is required when spec.net.sasl.enable is true"));
            None
        }
    };
    let (user, password) = (needed(&written.user, USER), needed(&written.password, PASSWORD));
    let kind = optional(written.kind.as_ref(), TYPE, resolve, problems)?;
    let kind = kind.as_ref().map_or(&b"PLAIN"[..], |kind| kind.expose().trim_ascii());
    let mechanism = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
        .into_iter()
        .find(|known| known.as_bytes().eq_ignore_ascii_case(kind));
    if mechanism.is_none() {
        let rule = "must hold PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";
        problems.push(Invalid::new(TYPE, rule));
    }
    Some(Sasl { mechanism: mechanism?, user: user?, password: password? })
}
