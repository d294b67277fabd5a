//! Changes of a cluster's objects as events.
//!
//! Here is what a user writes, and what an event says of a change. Who watches the objects holds a
//! client of the cluster, which this crate does not: it says what it saw, by [`Seen`], and hands over
//! the [`Change`]s that follow from that.
//!
//! # Promises
//!
//! - A source that is new tells of changes from then on: what is there already is no change.
//! - What changed while nobody watched is found by comparing with what was [`Seen`].
//! - An event that is told again has the id that it had the first time.
//!
//! # Reading order
//!
//! `spec`, `seen`, `event`.

mod event;
mod seen;
mod spec;

pub use self::{
    event::{Change, Object, Verb, ce_attributes},
    seen::{Known, Seen, Taken},
    spec::{
        ApiServerPlan, ApiServerSourceSpec, ApiServerSourceStatus, Mode, Namespaces, OwnerSpec,
        RESOURCES_MAX, ResourcePlan, ResourceSpec,
    },
};
use crate::notes::{fingerprint, key_of};

/// The kind, as manifests name it.
pub const KIND: &str = "ApiServerSource";

/// What the keys of the notes of the source `name` begin with.
pub fn notes_of(name: &channel::Name) -> String {
    format!("{}/", key_of("apiserver", name))
}

/// What the keys of the notes of a source about one of its resources begin with. One that is looked
/// for elsewhere than before is another.
pub fn notes_of_resource(
    name: &channel::Name,
    resource: &ResourcePlan,
    namespaces: &Namespaces,
) -> String {
    let place = match namespaces {
        Namespaces::Own => "own",
        Namespaces::All => "*",
        Namespaces::Labelled(selector) => selector,
    };
    let selector = resource.selector.as_deref().unwrap_or_default();
    let parts = [&*resource.api_version, &*resource.kind, selector, place];
    format!("{}{}/", notes_of(name), fingerprint(&parts, 8))
}

/// Under which of those keys it notes how far it is in `namespace`; without one, in all of them.
pub fn note_key(of_resource: &str, namespace: Option<&str>) -> String {
    format!("{of_resource}{}", fingerprint(&[namespace.unwrap_or_default()], 8))
}

#[cfg(test)]
mod tests;
