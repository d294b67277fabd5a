//! `spec` of a `NatsJetStreamChannel`: every field of natss, and which of them can be honoured.
//!
//! # Why some are refused
//!
//! A stored event must not go before every trigger has brought it to an end. A stream that drops
//! the old to make room, or forgets what no consumer wants, and a consumer that stops after so many
//! deliveries or begins somewhere in the middle, lose events behind the program's back. Who asks
//! for one of these is told so, rather than given something else.

use std::time::Duration;

use ::channel::Invalid;
use dispatcher::DeliverySpec;
use schemars::JsonSchema;
use serde::{Deserialize, de::IgnoredAny};

use super::{GoDuration, SUBSCRIBERS_MAX, SubscriberSpec};

/// Most copies of a stream that JetStream keeps.
const REPLICAS_MAX: i32 = 5;
/// Less would not hold the attributes of an event.
const MESSAGE_BYTES_MIN: i32 = 4096;
/// Less leaves no time to say that an event is still under way.
const ACK_WAIT_MIN: Duration = Duration::from_secs(1);

/// `spec` of a `messaging.knative.dev` NatsJetStreamChannel. What is not given is the backend's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NatsChannelSpec {
    /// The broker's stream.
    pub stream: NatsStreamSpec,
    /// The consumer of that stream.
    pub consumer_config_template: NatsConsumerSpec,
    /// Taken, and not looked at: there is no Deployment.
    #[schemars(with = "Option<Opaque>")]
    pub(crate) deployment_spec_template: IgnoredAny,
    /// What holds for every subscription that has no delivery of its own.
    #[schemars(with = "Option<DeliverySpec>")]
    pub(crate) delivery: IgnoredAny,
    /// Who gets the channel's events, as Subscriptions put them there.
    #[schemars(with = "Vec<SubscriberSpec>", extend("maxItems" = SUBSCRIBERS_MAX))]
    pub(crate) subscribers: IgnoredAny,
}

/// `spec.stream`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NatsStreamSpec {
    /// The name of the stream. Default: made from the broker's.
    pub override_name: Option<String>,
    /// How it is made.
    pub config: NatsStreamConfig,
}

/// `spec.stream.config`. As in natss, zero is the same as not given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NatsStreamConfig {
    /// Most messages; -1 for any number.
    pub max_msgs: Option<i64>,
    /// Most bytes; -1 for any number.
    pub max_bytes: Option<i64>,
    /// How long messages are kept.
    pub max_age: Option<GoDuration>,
    /// Most bytes of a message.
    pub max_msg_size: Option<i32>,
    /// Where messages are kept.
    pub storage: Option<Storage>,
    /// Copies of the stream.
    pub replicas: Option<i32>,
    /// How long ids of messages are remembered, so that what is sent twice is stored once.
    pub duplicate_window: Option<GoDuration>,
    /// Which servers may keep the stream.
    pub placement: Option<NatsPlacement>,
    /// Only `Limits` is taken.
    pub retention: Option<Retention>,
    /// Only `New` is taken.
    pub discard: Option<Discard>,
    /// Only -1 is taken.
    pub max_consumers: Option<i32>,
    /// Only `false` is taken.
    pub no_ack: Option<bool>,
    /// Further subjects that the stream keeps: what other clients publish on them is delivered.
    pub additional_subjects: Vec<String>,
    /// Must be left out.
    #[schemars(with = "Option<Opaque>")]
    pub(crate) mirror: Option<IgnoredAny>,
    /// Must be left out.
    #[schemars(with = "Vec<Opaque>")]
    pub(crate) sources: Vec<IgnoredAny>,
}

/// `spec.stream.config.placement`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NatsPlacement {
    /// The name of a cluster.
    pub cluster: Option<String>,
    /// Tags that the servers must have.
    pub tags: Vec<String>,
}

/// `spec.consumerConfigTemplate`. As in natss, zero is the same as not given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NatsConsumerSpec {
    /// How long the server waits for an acknowledgement before it lends a message again.
    pub ack_wait: Option<GoDuration>,
    /// Most messages that are lent and not acknowledged.
    pub max_ack_pending: Option<i32>,
    /// Only `All` is taken.
    pub deliver_policy: Option<DeliverPolicy>,
    /// Only `Instant` is taken.
    pub replay_policy: Option<ReplayPolicy>,
    /// Only `pull` is taken.
    pub consumer_type: Option<ConsumerType>,
    /// Only -1 is taken.
    pub max_deliver: Option<i32>,
    /// Must be left out.
    pub(crate) opt_start_seq: Option<u64>,
    /// Must be left out.
    pub(crate) opt_start_time: Option<String>,
    /// Must be left out.
    pub(crate) filter_subject: Option<String>,
    /// Must be left out.
    #[serde(rename = "rateLimitBPS")]
    pub(crate) rate_limit_bps: Option<u64>,
    /// Must be left out.
    pub(crate) sample_frequency: Option<String>,
    /// Must be left out.
    pub(crate) fetch_batch_size: Option<i32>,
    /// Must be left out.
    pub(crate) fetch_max_wait: Option<GoDuration>,
}

/// Anything.
#[derive(JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
struct Opaque {}

/// Where JetStream keeps messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Storage {
    /// In files.
    File,
    /// In the server's memory: gone when it restarts.
    Memory,
}

/// How long JetStream keeps messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Retention {
    /// Within the stream's limits.
    Limits,
    /// While a consumer wants them.
    Interest,
    /// Until they are consumed once.
    Work,
}

/// What JetStream does at a stream's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Discard {
    /// Removes the oldest messages.
    Old,
    /// Refuses new ones.
    New,
}

/// Where in a stream a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum DeliverPolicy {
    /// At its first message.
    All,
    /// At its last one.
    Last,
    /// After it.
    New,
    /// At a sequence number.
    ByStartSequence,
    /// At a time.
    ByStartTime,
}

/// How fast a consumer is sent messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ReplayPolicy {
    /// As fast as it takes them.
    Instant,
    /// As fast as they were published.
    Original,
}

/// Who begins: the server or its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("enum" = ["push", "pull", "Push", "Pull"]))]
pub enum ConsumerType {
    /// The server sends.
    #[serde(alias = "Push")]
    Push,
    /// The client asks.
    #[serde(alias = "Pull")]
    Pull,
}

impl NatsChannelSpec {
    /// Adds what breaks a rule, or cannot be honoured, to `problems`; the spec is at `path`.
    pub fn check(&self, path: &str, problems: &mut Vec<Invalid>) {
        let mut rules = Rules { path: format!("{path}.stream"), problems };
        if let Some(name) = &self.stream.override_name {
            rules.refuse(
                "overrideName",
                name.is_empty() || name.contains(|char: char| !is_of_stream_name(char)),
                "must be letters, digits, dashes and underscores",
            );
        }
        rules.path.push_str(".config");
        self.stream.config.check(&mut rules);
        rules.path = format!("{path}.consumerConfigTemplate");
        self.consumer_config_template.check(&mut rules);
    }
}

/// What JetStream and every filesystem take in the name of a stream.
fn is_of_stream_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_')
}

/// What a stream can be given to keep: tokens between dots, none of them of the server's own.
fn is_subject(text: &str) -> bool {
    text.split('.').all(|token| !token.is_empty())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.starts_with('$')
}

/// The rules that a mapping at `path` has broken.
struct Rules<'a> {
    path: String,
    problems: &'a mut Vec<Invalid>,
}

impl Rules<'_> {
    fn refuse(&mut self, field: &str, is_broken: bool, rule: &'static str) {
        if is_broken {
            self.problems.push(Invalid::new(format!("{}.{field}", self.path), rule));
        }
    }
}

impl NatsStreamConfig {
    fn check(&self, rules: &mut Rules<'_>) {
        let refusals = [
            (
                "retention",
                self.retention.is_some_and(|it| it != Retention::Limits),
                "must be Limits: any other loses events while a consumer is missing for a moment",
            ),
            (
                "discard",
                self.discard.is_some_and(|it| it != Discard::New),
                "must be New: a full stream refuses events, it never drops those it has",
            ),
            (
                "noAck",
                self.no_ack == Some(true),
                "must be false: a 202 says that the server has stored the event",
            ),
            (
                "maxConsumers",
                self.max_consumers.is_some_and(|it| !matches!(it, -1 | 0)),
                "must be -1 or left out: consumers are made as they are needed",
            ),
            (
                "additionalSubjects",
                !self.additional_subjects.iter().all(|it| is_subject(it)),
                "must be subjects like orders.new or orders.>",
            ),
            (
                "mirror",
                self.mirror.is_some(),
                "must be left out: a mirror takes no events of its own",
            ),
            (
                "sources",
                !self.sources.is_empty(),
                "must be left out: a broker's events come in by its address",
            ),
            ("maxMsgs", self.max_msgs.is_some_and(|it| it < -1), "must be more than zero, or -1"),
            (
                "maxBytes",
                self.max_bytes.is_some_and(|it| it < -1),
                "must be more than zero, or -1 for any number",
            ),
            (
                "maxMsgSize",
                self.max_msg_size.is_some_and(|it| it != 0 && it < MESSAGE_BYTES_MIN),
                "must be 4096 at least, to hold the attributes of an event",
            ),
            (
                "replicas",
                self.replicas.is_some_and(|it| !(0..=REPLICAS_MAX).contains(&it)),
                "must be from 1 to 5",
            ),
            (
                "duplicateWindow",
                self.duplicate_window
                    .zip(self.max_age)
                    .is_some_and(|(window, age)| !age.0.is_zero() && window > age),
                "must not be longer than maxAge",
            ),
        ];
        for (field, is_broken, rule) in refusals {
            rules.refuse(field, is_broken, rule);
        }
    }
}

impl NatsConsumerSpec {
    fn check(&self, rules: &mut Rules<'_>) {
        let from_the_start = "must be left out: every event is delivered from the first one on";
        let by_room = "must be left out: as much is pulled as there is room for";
        let refusals = [
            (
                "deliverPolicy",
                self.deliver_policy.is_some_and(|it| it != DeliverPolicy::All),
                "must be All: any other passes over events that were accepted",
            ),
            ("optStartSeq", self.opt_start_seq.is_some_and(|it| it != 0), from_the_start),
            ("optStartTime", self.opt_start_time.is_some(), from_the_start),
            (
                "maxDeliver",
                self.max_deliver.is_some_and(|it| !matches!(it, -1 | 0)),
                "must be -1 or left out: the server would drop an event after so many deliveries; \
                 a trigger's delivery.retry says how often it is tried",
            ),
            (
                "filterSubject",
                self.filter_subject.as_ref().is_some_and(|it| !it.is_empty()),
                "must be left out: triggers have filters",
            ),
            (
                "replayPolicy",
                self.replay_policy.is_some_and(|it| it != ReplayPolicy::Instant),
                "must be Instant: events are delivered as soon as they can be",
            ),
            (
                "rateLimitBPS",
                self.rate_limit_bps.is_some_and(|it| it != 0),
                "must be left out: the server cannot slow a broker down for one of its triggers",
            ),
            (
                "sampleFrequency",
                self.sample_frequency.as_ref().is_some_and(|it| !it.is_empty()),
                "must be left out: see /metrics",
            ),
            (
                "consumerType",
                self.consumer_type.is_some_and(|it| it != ConsumerType::Pull),
                "must be pull: a server that pushes does not know how much room there is",
            ),
            ("fetchBatchSize", self.fetch_batch_size.is_some_and(|it| it != 0), by_room),
            ("fetchMaxWait", self.fetch_max_wait.is_some(), by_room),
            (
                "ackWait",
                self.ack_wait.is_some_and(|it| !it.0.is_zero() && it.0 < ACK_WAIT_MIN),
                "must be 1s at least",
            ),
            (
                "maxAckPending",
                self.max_ack_pending.is_some_and(|it| it < 0),
                "must be more than zero",
            ),
        ];
        for (field, is_broken, rule) in refusals {
            rules.refuse(field, is_broken, rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> Vec<String> {
        let spec: NatsChannelSpec = serde_json::from_str(json).unwrap();
        let mut problems = Vec::new();
        spec.check("spec", &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_can_be_honoured_is_read() {
        let json = r#"{
            "stream": {"overrideName": "ORDERS", "config": {
                "maxMsgs": -1, "maxBytes": 1048576, "maxAge": "24h", "maxMsgSize": 65536,
                "storage": "File", "replicas": 3, "duplicateWindow": "2m0s", "retention": "Limits",
                "discard": "New", "additionalSubjects": ["orders.>"], "placement": {"cluster": "c", "tags": ["ssd"]}}},
            "consumerConfigTemplate": {"ackWait": "30s", "maxAckPending": 500,
                "deliverPolicy": "All", "replayPolicy": "Instant", "consumerType": "pull",
                "maxDeliver": -1},
            "deploymentSpecTemplate": {"labels": {"a": "b"}}, "subscribers": [{}]}"#;
        assert_eq!(problems(json), Vec::<String>::new());
        let spec: NatsChannelSpec = serde_json::from_str(json).unwrap();
        assert_eq!(spec.stream.config.max_age, Some(GoDuration(Duration::from_secs(86_400))));
        assert_eq!(spec.consumer_config_template.max_ack_pending, Some(500));
    }

    #[test]
    fn what_would_lose_events_is_refused_by_its_field() {
        let stream = |config: &str| format!(r#"{{"stream": {{"config": {{{config}}}}}}}"#);
        let consumer = |config: &str| format!(r#"{{"consumerConfigTemplate": {{{config}}}}}"#);
        for (json, field) in [
            (stream(r#""retention": "Work""#), "spec.stream.config.retention: must be Limits"),
            (stream(r#""discard": "Old""#), "spec.stream.config.discard: must be New"),
            (stream(r#""noAck": true"#), "spec.stream.config.noAck: must be false"),
            (stream(r#""maxConsumers": 3"#), "spec.stream.config.maxConsumers: must be -1"),
            (stream(r#""maxBytes": -2"#), "spec.stream.config.maxBytes: must be more"),
            (stream(r#""maxMsgSize": 10"#), "spec.stream.config.maxMsgSize: must be 4096"),
            (consumer(r#""ackWait": "10ms""#), "spec.consumerConfigTemplate.ackWait: must be 1s"),
            (stream(r#""replicas": 6"#), "spec.stream.config.replicas: must be from 1 to 5"),
            (stream(r#""mirror": {"name": "x"}"#), "spec.stream.config.mirror: must be left out"),
            (stream(r#""sources": [{}]"#), "spec.stream.config.sources: must be left out"),
            (
                stream(r#""additionalSubjects": ["a", "$JS.API"]"#),
                "spec.stream.config.additionalSubjects: must be subjects",
            ),
            (stream(r#""additionalSubjects": ["a..b"]"#), "spec.stream.config.additionalSub"),
            (
                stream(r#""maxAge": "1m", "duplicateWindow": "2m""#),
                "spec.stream.config.duplicateWindow: must not be longer than maxAge",
            ),
            (
                r#"{"stream": {"overrideName": "a.b"}}"#.to_owned(),
                "spec.stream.overrideName: must be letters",
            ),
            (consumer(r#""deliverPolicy": "New""#), "spec.consumerConfigTemplate.deliverPolicy: "),
            (consumer(r#""maxDeliver": 3"#), "spec.consumerConfigTemplate.maxDeliver: must be -1"),
            (consumer(r#""consumerType": "push""#), "spec.consumerConfigTemplate.consumerType: "),
            (consumer(r#""replayPolicy": "Original""#), "spec.consumerConfigTemplate.replayPol"),
            (consumer(r#""optStartSeq": 7"#), "spec.consumerConfigTemplate.optStartSeq: "),
            (consumer(r#""optStartTime": "x""#), "spec.consumerConfigTemplate.optStartTime: "),
            (consumer(r#""filterSubject": "a""#), "spec.consumerConfigTemplate.filterSubject: "),
            (consumer(r#""rateLimitBPS": 8"#), "spec.consumerConfigTemplate.rateLimitBPS: "),
            (consumer(r#""sampleFrequency": "30%""#), "spec.consumerConfigTemplate.sampleFreq"),
            (consumer(r#""fetchBatchSize": 32"#), "spec.consumerConfigTemplate.fetchBatchSize: "),
            (consumer(r#""fetchMaxWait": "200ms""#), "spec.consumerConfigTemplate.fetchMaxWait: "),
        ] {
            let problems = problems(&json);
            assert!(problems.len() == 1 && problems[0].starts_with(field), "{json}: {problems:?}");
        }
    }
}
