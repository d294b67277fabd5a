//! Every metric: name, unit, type, labels, meaning, and where its numbers come from.
//!
//! `broker` and `trigger` are `namespace/name`; of a channel and its subscriptions the same metrics have
//! the labels `channel` and `subscription` in their place. The first 1,000 brokers and the first 1,000 triggers
//! in the order of their names have series of their own; all further ones are summed under `other`.
//! So it is with `source`, for each `kind`.
//!
//! # Why these names
//!
//! The two `messaging_` metrics are those of OpenTelemetry's messaging conventions that speak of
//! what a broker does here: it gives events to applications by push. The conventions have none for
//! the rest, which begins with `catchment_`; `process_` is what Prometheus clients call it.

mod brokers;
mod process;
mod sources;
mod triggers;

use super::rows::Family;

const BROKER: &[&str] = &["broker"];
const TRIGGER: &[&str] = &["broker", "trigger"];

/// All metrics, in the order in which they are shown.
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    let of_hubs = triggers::FAMILIES.iter().chain(&brokers::FAMILIES);
    of_hubs.chain(&sources::FAMILIES).chain(&process::FAMILIES)
}
