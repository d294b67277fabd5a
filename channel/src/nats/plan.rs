//! What a user wrote of a `NatsJetStreamChannel` -> a plan that keeps the channel's promises.

use std::time::Duration;

use serde::Deserialize;

use crate::{Invalid, nats::amount};

/// The `spec` of a `NatsJetStreamChannel` as a user writes it (Knative's natss, v1alpha1).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NatsSpec {
    /// The stream of the events.
    pub stream: StreamSpec,
    /// The consumer of the events.
    pub consumer_config_template: ConsumerSpec,
}

/// `spec.stream`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StreamSpec {
    /// The stream's name, in place of one made of the broker's.
    pub override_name: Option<String>,
    /// Its configuration.
    pub config: StreamConfigSpec,
}

/// `spec.stream.config`. Durations are written as in Go: `90s`, `1h30m`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the names are those of JetStream")]
pub struct StreamConfigSpec {
    pub additional_subjects: Vec<String>,
    pub retention: Option<String>,
    pub max_consumers: Option<i64>,
    pub max_msgs: Option<i64>,
    pub max_bytes: Option<i64>,
    pub discard: Option<String>,
    pub max_age: Option<String>,
    pub max_msg_size: Option<i64>,
    pub storage: Option<String>,
    pub replicas: Option<i64>,
    pub no_ack: Option<bool>,
    pub duplicate_window: Option<String>,
    pub placement: Option<PlacementSpec>,
    pub mirror: Option<serde_json::Value>,
    pub sources: Option<serde_json::Value>,
}

/// `spec.stream.config.placement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PlacementSpec {
    /// The cluster that keeps the stream.
    pub cluster: Option<String>,
    /// Tags that its servers have.
    pub tags: Vec<String>,
}

/// `spec.consumerConfigTemplate`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the names are those of JetStream")]
pub struct ConsumerSpec {
    pub deliver_policy: Option<String>,
    pub opt_start_seq: Option<u64>,
    pub opt_start_time: Option<String>,
    pub ack_wait: Option<String>,
    pub max_deliver: Option<i64>,
    pub filter_subject: Option<String>,
    pub replay_policy: Option<String>,
    #[serde(rename = "rateLimitBPS")]
    pub rate_limit_bps: Option<u64>,
    pub sample_frequency: Option<String>,
    pub max_ack_pending: Option<i64>,
    pub consumer_type: Option<String>,
    pub fetch_batch_size: Option<i64>,
    pub fetch_max_wait: Option<String>,
}

/// Where a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// On the servers' disks.
    File,
    /// In the servers' memory: gone when they are.
    Memory,
}

/// A broker's streams and consumers: complete and valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsPlan {
    /// The stream's name, in place of one made of the broker's.
    pub stream_name: Option<String>,
    /// Further subjects that the stream keeps.
    pub additional_subjects: Vec<String>,
    /// Most messages of the stream.
    pub messages_max: Option<u64>,
    /// Most bytes of the stream.
    pub bytes_max: Option<u64>,
    /// Most bytes of a message.
    pub message_bytes_max: Option<u64>,
    /// Where it is kept.
    pub storage: Storage,
    /// Servers that keep it.
    pub replicas: usize,
    /// How long ids are remembered, so that what is sent twice is stored once.
    pub duplicate_window: Duration,
    /// Which servers may keep it.
    pub placement: Option<PlacementSpec>,
    /// How long settled events are kept.
    pub retention: Retention,
    /// How long a message is lent without a sign of life.
    pub ack_wait: Duration,
    /// Most messages that are lent.
    pub unacked_max: u64,
}

/// How long settled events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// No longer than this,
    pub age: Duration,
    /// and no more bytes than this.
    pub bytes: u64,
}

/// Most bytes of a stream when the plan says nothing: the server sets them aside.
const BYTES_MAX: u64 = 2 << 30;
const RETENTION: Retention = Retention { age: Duration::from_secs(24 * 3600), bytes: 1 << 30 };
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
const ACK_WAIT: Duration = Duration::from_secs(30);
const UNACKED_MAX: u64 = 10_000;
/// Less would not hold the attributes of an event.
const MESSAGE_BYTES_MIN: u64 = 4096;
/// Servers have no more copies than this.
const REPLICAS_MAX: i64 = 5;

impl Default for NatsPlan {
    /// A stream of 2 GiB in files, one replica, a window of 2 minutes for duplicates; settled events
    /// are kept for 24 hours and within 1 GiB; 30 s without a sign of life until a message is lent
    /// again, 10,000 of them out at once.
    fn default() -> Self {
        Self {
            stream_name: None,
            additional_subjects: Vec::new(),
            messages_max: None,
            bytes_max: Some(BYTES_MAX),
            message_bytes_max: None,
            storage: Storage::File,
            replicas: 1,
            duplicate_window: DUPLICATE_WINDOW,
            placement: None,
            retention: RETENTION,
            ack_wait: ACK_WAIT,
            unacked_max: UNACKED_MAX,
        }
    }
}

impl NatsPlan {
    /// The plan of what a user wrote, with defaults for the rest.
    ///
    /// # Errors
    ///
    /// Every problem, each with its field: what is malformed, and what would break a promise of
    /// the channel.
    pub fn new(spec: &NatsSpec) -> Result<Self, Vec<Invalid>> {
        let mut check = Check(Vec::new());
        let (stream, consumer) = (&spec.stream.config, &spec.consumer_config_template);
        check.promises_of_stream(stream);
        check.promises_of_consumer(consumer);
        let defaults = Self::default();
        let max_bytes = check.limit("stream.config.maxBytes", stream.max_bytes);
        let max_age = check.duration("stream.config.maxAge", stream.max_age.as_deref());
        let plan = Self {
            stream_name: check.stream_name(spec.stream.override_name.as_deref()),
            additional_subjects: check.subjects(&stream.additional_subjects),
            messages_max: check.limit("stream.config.maxMsgs", stream.max_msgs).flatten(),
            bytes_max: max_bytes.unwrap_or(defaults.bytes_max),
            message_bytes_max: check
                .limit("stream.config.maxMsgSize", stream.max_msg_size)
                .flatten(),
            storage: check.storage(stream.storage.as_deref()),
            replicas: check.replicas(stream.replicas),
            duplicate_window: check
                .duration("stream.config.duplicateWindow", stream.duplicate_window.as_deref())
                .unwrap_or(DUPLICATE_WINDOW),
            placement: stream.placement.clone(),
            retention: Retention { age: max_age.unwrap_or(RETENTION.age), ..RETENTION },
            ack_wait: check
                .duration("consumerConfigTemplate.ackWait", consumer.ack_wait.as_deref())
                .unwrap_or(ACK_WAIT),
            unacked_max: check
                .limit("consumerConfigTemplate.maxAckPending", consumer.max_ack_pending)
                .flatten()
                .unwrap_or(UNACKED_MAX),
        };
        if plan.ack_wait < Duration::from_secs(1) {
            check.refuse("consumerConfigTemplate.ackWait", "must be 1s at least");
        }
        if plan.message_bytes_max.is_some_and(|max| max < MESSAGE_BYTES_MIN) {
            check.refuse("stream.config.maxMsgSize", "must be 4096 at least");
        }
        if check.0.is_empty() { Ok(plan) } else { Err(check.0) }
    }
}

/// The problems found so far.
struct Check(Vec<Invalid>);

impl Check {
    fn refuse(&mut self, field: &str, rule: &'static str) {
        self.0.push(Invalid::new(format!("spec.{field}"), rule));
    }

    fn promises_of_stream(&mut self, stream: &StreamConfigSpec) {
        let (is_limits, is_new) = (is(&stream.retention, "Limits"), is(&stream.discard, "New"));
        for (is_kept, field, rule) in [
            (
                is_limits,
                "retention",
                "must be Limits: the others forget events when no consumer is there",
            ),
            (is_new, "discard", "must be New: a full channel refuses and never drops what it has"),
            (stream.no_ack != Some(true), "noAck", "must be false: accepted means stored"),
            (
                stream.mirror.is_none(),
                "mirror",
                "must not be there: a mirror cannot be published to",
            ),
            (
                stream.sources.is_none(),
                "sources",
                "must not be there: only what is published is stored",
            ),
            (
                stream.max_consumers.is_none_or(|max| max == -1),
                "maxConsumers",
                "must be -1: a broker without its consumer delivers nothing",
            ),
        ] {
            if !is_kept {
                self.refuse(&format!("stream.config.{field}"), rule);
            }
        }
    }

    fn promises_of_consumer(&mut self, consumer: &ConsumerSpec) {
        const WHOLE: &str = "must not be there: every event is delivered, from the first";
        const ROOM: &str = "must not be there: as much is fetched as subscribers have room for";
        for (is_kept, field, rule) in [
            (
                is(&consumer.deliver_policy, "All"),
                "deliverPolicy",
                "must be All: no event is left out",
            ),
            (consumer.opt_start_seq.is_none(), "optStartSeq", WHOLE),
            (consumer.opt_start_time.is_none(), "optStartTime", WHOLE),
            (
                consumer.filter_subject.is_none(),
                "filterSubject",
                "must not be there: triggers filter",
            ),
            (
                consumer.max_deliver.is_none_or(|max| max == -1),
                "maxDeliver",
                "must be -1: a trigger's delivery says when an event is given up, \
                 the server would drop it in silence",
            ),
            (is(&consumer.replay_policy, "Instant"), "replayPolicy", "must be Instant"),
            (
                consumer.rate_limit_bps.is_none(),
                "rateLimitBPS",
                "must not be there: pulling has no such limit",
            ),
            (
                consumer.sample_frequency.is_none(),
                "sampleFrequency",
                "must not be there: nothing reads samples",
            ),
            (
                is(&consumer.consumer_type, "pull"),
                "consumerType",
                "must be pull: pushed messages pile up",
            ),
            (consumer.fetch_batch_size.is_none(), "fetchBatchSize", ROOM),
            (consumer.fetch_max_wait.is_none(), "fetchMaxWait", ROOM),
        ] {
            if !is_kept {
                self.refuse(&format!("consumerConfigTemplate.{field}"), rule);
            }
        }
    }

    /// A limit in JetStream's way: -1 is none. `None` when nothing was written.
    #[allow(clippy::option_option, reason = "not written and without limit differ")]
    fn limit(&mut self, field: &str, written: Option<i64>) -> Option<Option<u64>> {
        match written? {
            -1 => Some(None),
            number if number > 0 => Some(u64::try_from(number).ok()),
            _ => {
                self.refuse(field, "must be more than 0, or -1 for no limit");
                None
            }
        }
    }

    fn duration(&mut self, field: &str, written: Option<&str>) -> Option<Duration> {
        let duration = amount::duration(written?).filter(|duration| !duration.is_zero());
        if duration.is_none() {
            self.refuse(field, "must be a duration of more than nothing, as in 90s or 1h30m");
        }
        duration
    }

    fn stream_name(&mut self, written: Option<&str>) -> Option<String> {
        let name = written?;
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 200 || !name.bytes().all(is_sound) {
            self.refuse(
                "stream.overrideName",
                "must be 1 to 200 characters of a-z, A-Z, 0-9, - and _",
            );
        }
        Some(name.to_owned())
    }

    fn subjects(&mut self, written: &[String]) -> Vec<String> {
        let is_sound = |subject: &String| {
            subject.split('.').all(|token| !token.is_empty())
                && subject.bytes().all(|byte| byte.is_ascii_graphic())
                && !subject.starts_with('$')
        };
        if !written.iter().all(is_sound) {
            self.refuse(
                "stream.config.additionalSubjects",
                "must be subjects like orders.new or orders.>",
            );
        }
        written.to_vec()
    }

    fn storage(&mut self, written: Option<&str>) -> Storage {
        match written {
            Some(text) if text.eq_ignore_ascii_case("memory") => Storage::Memory,
            None => Storage::File,
            Some(text) if text.eq_ignore_ascii_case("file") => Storage::File,
            Some(_) => {
                self.refuse("stream.config.storage", "must be File or Memory");
                Storage::File
            }
        }
    }

    fn replicas(&mut self, written: Option<i64>) -> usize {
        let replicas = written.unwrap_or(1);
        if !(1..=REPLICAS_MAX).contains(&replicas) {
            self.refuse("stream.config.replicas", "must be 1 to 5");
        }
        usize::try_from(replicas).unwrap_or(1)
    }
}

/// Whether nothing else was written than `value`, in any case.
fn is(written: &Option<String>, value: &str) -> bool {
    written.as_deref().is_none_or(|written| written.eq_ignore_ascii_case(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(spec: serde_json::Value) -> Result<NatsPlan, Vec<String>> {
        let spec: NatsSpec = serde_json::from_value(spec).map_err(|e| vec![e.to_string()])?;
        NatsPlan::new(&spec)
            .map_err(|all| all.into_iter().map(|one| one.field.into_owned()).collect())
    }

    #[test]
    fn an_empty_spec_is_the_default_plan() {
        assert_eq!(plan(serde_json::json!({})), Ok(NatsPlan::default()));
    }

    #[test]
    fn what_a_user_wrote_is_in_the_plan() {
        let made = plan(serde_json::json!({
            "stream": {"overrideName": "ORDERS", "config": {
                "additionalSubjects": ["orders.>"], "retention": "Limits", "discard": "New",
                "maxMsgs": 10, "maxBytes": -1, "maxAge": "1h30m", "maxMsgSize": 10_000,
                "storage": "Memory", "replicas": 3, "noAck": false, "duplicateWindow": "90s",
                "placement": {"cluster": "c", "tags": ["t"]}}},
            "consumerConfigTemplate": {"ackWait": "5s", "maxAckPending": 7, "maxDeliver": -1,
                "deliverPolicy": "All", "replayPolicy": "Instant", "consumerType": "pull"},
        }));
        let expected = NatsPlan {
            stream_name: Some("ORDERS".into()),
            additional_subjects: vec!["orders.>".into()],
            messages_max: Some(10),
            bytes_max: None,
            message_bytes_max: Some(10_000),
            storage: Storage::Memory,
            replicas: 3,
            duplicate_window: Duration::from_secs(90),
            placement: Some(PlacementSpec { cluster: Some("c".into()), tags: vec!["t".into()] }),
            retention: Retention { age: Duration::from_secs(5400), ..RETENTION },
            ack_wait: Duration::from_secs(5),
            unacked_max: 7,
        };
        assert_eq!(made, Ok(expected));
    }

    #[test]
    fn what_would_break_a_promise_is_refused_by_its_field() {
        for (part, field, value) in [
            ("stream.config", "retention", serde_json::json!("Interest")),
            ("stream.config", "discard", serde_json::json!("Old")),
            ("stream.config", "noAck", serde_json::json!(true)),
            ("stream.config", "mirror", serde_json::json!({"name": "x"})),
            ("stream.config", "sources", serde_json::json!([])),
            ("stream.config", "maxConsumers", serde_json::json!(0)),
            ("stream.config", "maxBytes", serde_json::json!(0)),
            ("stream.config", "maxAge", serde_json::json!("soon")),
            ("stream.config", "maxMsgSize", serde_json::json!(10)),
            ("stream.config", "storage", serde_json::json!("Tape")),
            ("stream.config", "replicas", serde_json::json!(6)),
            ("stream.config", "additionalSubjects", serde_json::json!(["$JS.API"])),
            ("consumerConfigTemplate", "maxDeliver", serde_json::json!(3)),
            ("consumerConfigTemplate", "deliverPolicy", serde_json::json!("New")),
            ("consumerConfigTemplate", "consumerType", serde_json::json!("push")),
            ("consumerConfigTemplate", "ackWait", serde_json::json!("10ms")),
        ] {
            let inner = serde_json::json!({field: value});
            let spec = match part {
                "stream.config" => serde_json::json!({"stream": {"config": inner}}),
                _ => serde_json::json!({part: inner}),
            };
            assert_eq!(plan(spec), Err(vec![format!("spec.{part}.{field}")]));
        }
        assert!(plan(serde_json::json!({"streem": {}})).is_err());
    }
}
