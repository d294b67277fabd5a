//! Turns what happens outside into CloudEvents.
//!
//! A source is a spec that a user wrote ([`PingSourceSpec`] and its siblings), a plan that is complete
//! and valid, and something that runs until it is told to stop. Sources that are called from outside
//! also have an endpoint.
//!
//! # Promises
//!
//! - A source is handed a [`channel::Sink`] and knows nothing of brokers, channels' backends or delivery.
//! - It makes an event of its own: id, source, type and time are there before the sink sees it.
//! - It goes on after what it has handed over only once the sink has stored it, so a restart repeats
//!   events rather than lose them. A repeated event has the id that it had the first time.
//! - A source that fails is started again with growing waits, and the others go on.
//! - Stopping is an argument, and nothing runs on after [`Supervisor::end`].
//!
//! # Limits
//!
//! | what | default | at the limit |
//! | --- | --- | --- |
//! | events on their way into sinks, over all sources of a supervisor | [`PUTS_MAX`] | the next one waits |
//! | ticks of one schedule that wait | 1 | the newest counts, the others are counted as skipped |
//! | a schedule's length | [`ping::SCHEDULE_LENGTH_MAX`] | [`channel::Invalid`] |
//! | a ping's data | [`ping::DATA_BYTES_MAX`] | [`channel::Invalid`] |
//! | bodies, JSON and remembered ids of webhooks | [`webhook`] | [`webhook::Refused`], or the oldest is forgotten |
//! | kinds of objects that one source follows | [`apiserver::RESOURCES_MAX`] | [`channel::Invalid`] |
//! | records of one partition that wait or are on their way, and their bytes | [`kafka::WINDOW_MAX`], [`kafka::WINDOW_BYTES_MAX`] | the partition is paused |
//! | records of one KafkaSource on their way into its sink | [`kafka::SOURCE_PUTS_MAX`] | the next one waits |
//! | poison records of one partition on their way to dead letters | [`kafka::ASIDE_MAX`] | the partition waits |
//! | wait between attempts, and between restarts | [`Backoff`] | – |
//!
//! # Reading order
//!
//! `source` (the contract), `supervisor`, `notes` (what outlives a restart), `spec` (what all specs
//! share), `objects` and `selector` (a cluster's objects, as specs name them), [`status`], then [`ping`], [`webhook`], [`github`], [`kafka`] and [`apiserver`];
//! [`binding`] is of programs that make events elsewhere.

pub mod apiserver;
mod backoff;
pub mod binding;
pub mod github;
pub mod kafka;
mod notes;
mod objects;
mod patience;
pub mod ping;
mod report;
mod selector;
mod source;
mod spec;
pub mod status;
mod supervisor;
#[cfg(test)]
mod testing;
pub mod webhook;

pub use apiserver::{ApiServerPlan, ApiServerSourceSpec};
pub use backoff::Backoff;
pub use binding::{BindingPlan, ContainerPlan, ContainerSourceSpec, SinkBindingSpec};
pub use github::{GitHubPlan, GitHubSourceSpec};
pub use kafka::{KafkaPlan, KafkaSource, KafkaSourceSpec};
pub use notes::{Notes, NotesError};
pub use patience::Patience;
pub use ping::{PingSource, PingSourceSpec};
pub use report::{Counts, Phase, Report};
pub use selector::{LabelSelector, Requirement};
pub use source::{Context, Failure, PUTS_MAX, Put, Source, SourceId};
pub use spec::{CloudEventOverrides, Overrides, Resolve, SecretKeyRef, SecretSpec};
pub use supervisor::{House, Supervisor};
pub use webhook::{Endpoint, WebhookPlan, WebhookSourceSpec, verify::Secret};
