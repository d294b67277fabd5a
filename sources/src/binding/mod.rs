//! Programs of a cluster that make events themselves: what tells them where those go.
//!
//! A SinkBinding and a ContainerSource make no event. Here is what a user writes, and what the
//! containers are told by their environment, as Knative's runtime contract for sources has it; whoever holds a client of the
//! cluster puts it there.
//!
//! # Reading order
//!
//! `spec` (SinkBinding), `container` (ContainerSource), `environment`.

mod container;
mod environment;
mod spec;

pub use self::{
    container::{ContainerPlan, ContainerSourceSpec},
    environment::{Environment, VARIABLES},
    spec::{BindingPlan, SinkBindingSpec, SubjectPlan, SubjectSpec, Which},
};

/// The kind that binds what is there, as manifests name it.
pub const KIND: &str = "SinkBinding";

/// The kind that brings its containers along, as manifests name it.
pub const CONTAINER_KIND: &str = "ContainerSource";

#[cfg(test)]
mod tests;
