//! `GitHubSource`: what happens on GitHub, as Knative's source of that name tells it.
//!
//! # Rules
//!
//! - A delivery must be signed with SHA-256 (`X-Hub-Signature-256`) by one of the secrets; SHA-1 is not
//!   enough, and nothing is read before.
//! - GitHub signs no time, so a delivery is known again by its GUID (`X-GitHub-Delivery`) for three
//!   days, the time in which GitHub lets people send it again. The GUID is the event's id.
//! - `ping` is answered with 200; it makes an event only when `eventTypes` lists it.
//! - Payloads may come as JSON or as a form; the data of the event is the JSON.

mod attributes;
mod hooks;
mod mapping;
mod spec;
#[cfg(test)]
mod tests;

use channel::Name;

pub use self::{
    hooks::Hook,
    mapping::Mapping,
    spec::{GitHubPlan, GitHubSourceSpec, Target},
};

/// The kind, as manifests name it.
pub const KIND: &str = "GitHubSource";

/// What the types of its events begin with.
pub const EVENT_TYPE_PREFIX: &str = "dev.knative.source.github.";

/// Longest payload: GitHub sends none that is longer.
pub const BODY_BYTES_MAX: usize = 25 * 1024 * 1024;

/// The path at which the source `name` is called.
pub fn path(name: &Name) -> String {
    format!("/sources/{}/{}", name.namespace, name.name)
}
