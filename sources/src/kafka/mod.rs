//! `KafkaSource`: the records of Kafka's topics as events, as Knative's source of that name makes them.
//!
//! # Rules
//!
//! - A record that is a CloudEvent, in binary or structured mode, passes as it is. Every other one becomes
//!   an event of the type [`EVENT_TYPE`]; its headers become extensions, those apart that can be none.
//! - How far the group is, is committed only over what the sink has stored: a crash repeats records,
//!   with the ids that they had, and loses none.
//! - Partitions are shared out among the consumers of all replicas by Kafka. In each, records go one
//!   after the other, or side by side when `ordering` is `unordered`.
//! - A record that claims to be a CloudEvent and is none, or that the sink refuses for good, goes to the
//!   dead letters ([`DeadLetters`]), beside the records after it. Until it is kept there, no offset
//!   beyond it is committed.
//! - A group that has read nothing of a topic begins where `initialOffset` says. What is `latest` is
//!   committed before anything is read. Topics and partitions that come later are read from their
//!   beginning.
//! - A cluster or a topic that is not there is waited for.

mod client;
mod config;
mod consume;
mod dead_letters;
mod delivery;
mod key;
mod lane;
mod look;
mod offsets;
mod plan;
mod record;
mod spec;
#[cfg(test)]
mod tests;
mod work;

use channel::Name;

pub use self::{
    dead_letters::{DeadLetters, DeadRecord, DeadRecords, Why},
    delivery::KafkaDeliverySpec,
    lane::{ASIDE_MAX, SOURCE_PUTS_MAX, UNORDERED_MAX, WINDOW_BYTES_MAX, WINDOW_MAX},
    plan::{KEY_TYPE_LABEL, KafkaPlan},
    spec::{
        CONSUMERS_MAX, KafkaNetSpec, KafkaSaslSpec, KafkaSourceSpec, KafkaTlsSpec,
        TOPIC_LENGTH_MAX, TOPICS_MAX,
    },
    work::{CONNECTION, KafkaSource, OFFSETS, TOPICS},
};

/// The kind, as manifests name it.
pub const KIND: &str = "KafkaSource";

/// The type of events that are made of records which are none.
pub const EVENT_TYPE: &str = "dev.knative.kafka.event";

/// Longest value of a label.
const LABEL_LENGTH_MAX: usize = 63;

/// The `source` of the events that the KafkaSource `name` makes of a topic, as Knative writes it.
pub fn event_source(name: &Name, topic: &str) -> String {
    format!("/apis/v1/namespaces/{}/kafkasources/{}#{topic}", name.namespace, name.name)
}

/// The labels of those that read for the KafkaSource `name`, as Knative writes them: autoscalers ask for some.
///
/// `None` for a name that is too long for a label.
pub fn selector(name: &Name) -> Option<String> {
    let source = "eventing.knative.dev/source=kafka-source-controller";
    let name = &name.name;
    (name.len() <= LABEL_LENGTH_MAX)
        .then(|| format!("{source},eventing.knative.dev/sourceName={name}"))
}
