//! Streams and consumers as the plan wants them: made, or changed, and read back field by field.

use std::{fmt::Debug, time::Duration};

use async_nats::jetstream::{
    self, ErrorCode,
    consumer::{self, AckPolicy, DeliverPolicy, ReplayPolicy, pull},
    context::{CreateStreamErrorKind, GetStreamErrorKind},
    stream::{self, DiscardPolicy, Placement, RetentionPolicy, StorageType},
};

use crate::nats::{
    NatsPlan, OpenError,
    amount::signed,
    names::{LOG_CONSUMER, Names},
    plan::Storage,
};

/// Most messages of the overflow of one trigger.
const OVERFLOW_MESSAGES_MAX: i64 = 1_000_000;

/// What every stream of ours is like.
fn common(name: String, plan: &NatsPlan) -> stream::Config {
    stream::Config {
        name,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        // What is not settled must never go by age; what is settled is purged by us.
        max_age: Duration::ZERO,
        storage: match plan.storage {
            Storage::File => StorageType::File,
            Storage::Memory => StorageType::Memory,
        },
        num_replicas: plan.replicas,
        duplicate_window: plan.duplicate_window,
        placement: plan.placement.as_ref().map(|placement| Placement {
            cluster: placement.cluster.clone(),
            tags: placement.tags.clone(),
        }),
        ..stream::Config::default()
    }
}

/// The stream of a broker's log.
pub(super) fn log_stream(names: &Names, plan: &NatsPlan) -> stream::Config {
    let mut subjects = vec![names.log_subject()];
    subjects.extend(plan.additional_subjects.iter().cloned());
    let message_bytes = signed(plan.message_bytes_max);
    stream::Config {
        subjects,
        max_messages: signed(plan.messages_max),
        max_bytes: signed(plan.bytes_max),
        max_message_size: i32::try_from(message_bytes).unwrap_or(i32::MAX),
        description: Some("events of a broker".into()),
        ..common(plan.stream_name.clone().unwrap_or_else(|| names.log_stream()), plan)
    }
}

/// The stream of what waits for a trigger.
pub(super) fn overflow_stream(
    name: String,
    subject: &str,
    description: String,
    plan: &NatsPlan,
) -> stream::Config {
    stream::Config {
        subjects: vec![format!("{subject}.>")],
        max_messages: OVERFLOW_MESSAGES_MAX,
        description: Some(description),
        ..common(name, plan)
    }
}

/// The consumer of the log, or of one subject.
pub(super) fn consumer(name: &str, subject: Option<String>, plan: &NatsPlan) -> pull::Config {
    pull::Config {
        durable_name: Some(name.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: plan.ack_wait,
        // Whoever delivers gives events up; the server would drop them in silence.
        max_deliver: -1,
        filter_subject: subject.unwrap_or_default(),
        replay_policy: ReplayPolicy::Instant,
        max_ack_pending: signed(Some(plan.unacked_max)),
        ..pull::Config::default()
    }
}

/// The consumer of a broker's log.
pub(super) fn log_consumer(plan: &NatsPlan) -> pull::Config {
    consumer(LOG_CONSUMER, None, plan)
}

/// A field that differs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) field: &'static str,
    pub(super) wanted: String,
    pub(super) found: String,
    /// Whether a server can change it.
    can_change: bool,
}

impl Difference {
    pub(super) fn of(self, what: String) -> OpenError {
        let Self { field, wanted, found, .. } = self;
        OpenError::Mismatch { what, field, wanted, found }
    }
}

fn differ<T: PartialEq + Debug>(
    field: &'static str,
    wanted: &T,
    found: &T,
    can_change: bool,
) -> Option<Difference> {
    (wanted != found).then(|| Difference {
        field,
        wanted: format!("{wanted:?}"),
        found: format!("{found:?}"),
        can_change,
    })
}

/// The fields of a stream that the promises rest on, and that differ.
pub(super) fn stream_differences(
    wanted: &stream::Config,
    found: &stream::Config,
) -> Vec<Difference> {
    [
        differ("retention", &wanted.retention, &found.retention, false),
        differ("storage", &wanted.storage, &found.storage, false),
        differ("mirror", &false, &found.mirror.is_some(), false),
        differ("sealed", &wanted.sealed, &found.sealed, false),
        differ("deny_purge", &wanted.deny_purge, &found.deny_purge, false),
        differ("deny_delete", &wanted.deny_delete, &found.deny_delete, false),
        differ("subjects", &sorted(&wanted.subjects), &sorted(&found.subjects), true),
        differ("discard", &wanted.discard, &found.discard, true),
        differ("max_msgs", &wanted.max_messages, &found.max_messages, true),
        differ("max_bytes", &wanted.max_bytes, &found.max_bytes, true),
        differ(
            "max_msgs_per_subject",
            &wanted.max_messages_per_subject,
            &found.max_messages_per_subject,
            true,
        ),
        differ("max_age", &wanted.max_age, &found.max_age, true),
        differ("max_msg_size", &wanted.max_message_size, &found.max_message_size, true),
        differ("num_replicas", &wanted.num_replicas, &found.num_replicas, true),
        differ("no_ack", &wanted.no_ack, &found.no_ack, true),
        differ("duplicate_window", &wanted.duplicate_window, &found.duplicate_window, true),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn sorted(subjects: &[String]) -> Vec<&String> {
    let mut sorted: Vec<_> = subjects.iter().collect();
    sorted.sort();
    sorted
}

/// The same for a consumer. Where it started is not looked at: that is in the past.
pub(super) fn consumer_differences(
    wanted: &pull::Config,
    found: &consumer::Config,
) -> Vec<Difference> {
    [
        differ("deliver_subject", &None, &found.deliver_subject, false),
        differ("ack_policy", &wanted.ack_policy, &found.ack_policy, false),
        differ("replay_policy", &wanted.replay_policy, &found.replay_policy, false),
        differ("filter_subject", &wanted.filter_subject, &found.filter_subject, true),
        differ("filter_subjects", &wanted.filter_subjects, &found.filter_subjects, true),
        differ("ack_wait", &wanted.ack_wait, &found.ack_wait, true),
        differ("max_deliver", &wanted.max_deliver, &found.max_deliver, true),
        differ("max_ack_pending", &wanted.max_ack_pending, &found.max_ack_pending, true),
        differ("headers_only", &wanted.headers_only, &found.headers_only, true),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Makes a stream, or changes the one that is there, and reads it back.
pub(super) async fn ensure_stream(
    jet: &jetstream::Context,
    wanted: &stream::Config,
) -> Result<stream::Info, OpenError> {
    let what = format!("stream {}", wanted.name);
    let refused = |reason: String| OpenError::Refused { what: what.clone(), reason };
    match jet.get_stream(&wanted.name).await {
        Ok(stream) => {
            let found = &stream.cached_info().config;
            let mut differences = stream_differences(wanted, found);
            if let Some(at) = differences.iter().position(|one| !one.can_change) {
                return Err(differences.swap_remove(at).of(what));
            }
            if !differences.is_empty() {
                let changed = changed_stream(wanted, found);
                jet.update_stream(changed).await.map_err(|error| refused(error.to_string()))?;
            }
        }
        Err(error) if is_not_found(&error.kind()) => {
            match jet.create_stream(wanted).await {
                Ok(_made) => {}
                // Another replica has made it at the same time: it is looked at below.
                Err(error) if is_there(&error.kind()) => {}
                Err(error) => return Err(refused(error.to_string())),
            }
        }
        Err(error) => return Err(refused(error.to_string())),
    }
    let stream = jet.get_stream(&wanted.name).await.map_err(|error| refused(error.to_string()))?;
    let info = stream.cached_info().clone();
    match stream_differences(wanted, &info.config).into_iter().next() {
        Some(difference) => Err(difference.of(what)),
        None => Ok(info),
    }
}

/// Whether there is no such stream.
pub(super) fn is_not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn is_there(kind: &CreateStreamErrorKind) -> bool {
    matches!(kind, CreateStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

/// What is there, with the fields that the plan speaks of as the plan has them.
fn changed_stream(wanted: &stream::Config, found: &stream::Config) -> stream::Config {
    stream::Config {
        subjects: wanted.subjects.clone(),
        discard: wanted.discard,
        max_messages: wanted.max_messages,
        max_bytes: wanted.max_bytes,
        max_messages_per_subject: wanted.max_messages_per_subject,
        max_age: wanted.max_age,
        max_message_size: wanted.max_message_size,
        num_replicas: wanted.num_replicas,
        no_ack: wanted.no_ack,
        duplicate_window: wanted.duplicate_window,
        ..found.clone()
    }
}

/// Makes a consumer, or changes the one that is there, and reads it back. A new one begins after
/// `settled`, the last sequence number of which it is known that all up to it is settled.
pub(super) async fn ensure_consumer(
    jet: &jetstream::Context,
    stream: &str,
    wanted: &pull::Config,
    settled: Option<u64>,
) -> Result<consumer::Info, OpenError> {
    let name = wanted.durable_name.as_deref().unwrap_or_default();
    let what = format!("consumer {name} of stream {stream}");
    let refused = |reason: String| OpenError::Refused { what: what.clone(), reason };
    let at = jet.get_stream_no_info(stream).await.map_err(|error| refused(error.to_string()))?;
    let mut config = wanted.clone();
    let found = match at.consumer_info(name).await {
        Ok(info) => Some(info),
        Err(error) if error.kind() == jetstream::context::ConsumerInfoErrorKind::NotFound => None,
        Err(error) => return Err(refused(error.to_string())),
    };
    match found {
        Some(found) => {
            let mut differences = consumer_differences(wanted, &found.config);
            if let Some(at) = differences.iter().position(|one| !one.can_change) {
                return Err(differences.swap_remove(at).of(what));
            }
            if differences.is_empty() {
                return Ok(found);
            }
            config.deliver_policy = found.config.deliver_policy;
        }
        None => {
            // A stream that was made anew counts from the start again.
            let last = match settled {
                Some(_) => at.get_info().await.map_or(0, |info| info.state.last_sequence),
                None => 0,
            };
            if let Some(settled) = settled.filter(|&settled| settled > 0 && settled <= last) {
                let start_sequence = settled + 1;
                config.deliver_policy = DeliverPolicy::ByStartSequence { start_sequence };
            }
        }
    }
    at.create_consumer(config).await.map_err(|error| refused(error.to_string()))?;
    let info = at.consumer_info(name).await.map_err(|error| refused(error.to_string()))?;
    match consumer_differences(wanted, &info.config).into_iter().next() {
        Some(difference) => Err(difference.of(what)),
        None => Ok(info),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hub, Name};

    #[test]
    fn what_is_asked_for_keeps_the_promises() {
        let names = Names::new("CATCHMENT", &Hub::broker(Name::new("n", "b")));
        let stream = log_stream(&names, &NatsPlan::default());
        assert_eq!(stream.retention, RetentionPolicy::Limits);
        assert_eq!(stream.discard, DiscardPolicy::New);
        assert_eq!(stream.max_age, Duration::ZERO);
        assert!(stream.max_bytes > 0 && !stream.no_ack);
        let consumer = log_consumer(&NatsPlan::default());
        assert_eq!(consumer.max_deliver, -1);
        assert_eq!(consumer.ack_policy, AckPolicy::Explicit);
        assert_eq!(consumer.deliver_policy, DeliverPolicy::All);
    }

    #[test]
    fn a_difference_is_told_by_its_field() {
        let names = Names::new("CATCHMENT", &Hub::broker(Name::new("n", "b")));
        let wanted = log_stream(&names, &NatsPlan::default());
        assert_eq!(stream_differences(&wanted, &wanted), []);
        let old = stream::Config { discard: DiscardPolicy::Old, ..wanted.clone() };
        let difference = stream_differences(&wanted, &old).pop().unwrap();
        assert!(difference.can_change);
        let told = difference.of("stream X".into()).to_string();
        assert_eq!(told, "stream X: discard is Old, and must be New");
        assert_eq!(stream_differences(&wanted, &changed_stream(&wanted, &old)), []);
        let queue = stream::Config { retention: RetentionPolicy::WorkQueue, ..wanted.clone() };
        assert!(!stream_differences(&wanted, &queue).pop().unwrap().can_change);
    }
}
