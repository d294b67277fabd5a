//! Which events a trigger wants: its filters, compiled once and asked for every event.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | nesting of `all`, `any` and `not` | [`DEPTH_MAX`] | the trigger is refused |
//! | elements and attribute entries of a trigger | [`ELEMENTS_MAX`] | the trigger is refused |
//! | an expression of CloudEvents SQL | on the page of [`cesql`](crate::cesql) | the trigger is refused |
//!
//! # Where this differs from Knative
//!
//! - It lets an empty element, list, map or value through admission and then drops the broken
//!   filter, so that the trigger matches everything. Here they are refused, by field.
//! - `time: ""` in `filter.attributes` lets it pass events without a time. Here a missing attribute
//!   fails every test.
//! - It admits expressions of CloudEvents SQL that never accept an event, or that end a request
//!   with a panic: calls of functions that are not there, values that are not Boolean. Here they
//!   are refused, with the position of what is wrong.
//! - It compares the media type, which it has lower-cased, with the filter's value as written. Here
//!   the case of neither matters.

#[cfg(test)]
pub(crate) mod arbitrary;
mod attribute;
mod compile;
mod doubt;
mod needs;
mod node;
mod sql;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use channel::{Attributes, Invalid};

pub use attribute::AttributeName;
pub use compile::{DEPTH_MAX, ELEMENTS_MAX};
pub use doubt::{Concern, Doubt};
pub use node::{Check, Node, Test};
pub use sql::Sql;

use crate::spec::{FilterSpec, TriggerFilter};

/// The compiled filters of one trigger. Immutable; a clone shares the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    root: Arc<Node>,
}

impl Filter {
    /// Checks and compiles `spec.filter` and `spec.filters` of a trigger.
    ///
    /// A non-empty `filters` overrides `filter`; with neither, every event is accepted. Both are
    /// always checked.
    ///
    /// # Errors
    ///
    /// Every problem of both fields, each with its path from `spec`.
    ///
    /// Spec: Knative Trigger v1; CloudEvents Subscriptions API 0.1-wip, 3.2.4.
    pub fn compile(
        filter: Option<&TriggerFilter>,
        filters: &[FilterSpec],
    ) -> Result<Self, Vec<Invalid>> {
        compile::compile(filter, filters).map(|root| Self { root: Arc::new(root) })
    }

    /// The filter of a trigger without one: it accepts every event.
    pub fn everything() -> Self {
        Self { root: Arc::new(Node::All(Box::default())) }
    }

    /// Whether the trigger wants `event`. Does not allocate, unless a function of CloudEvents SQL
    /// makes a text.
    pub fn accepts(&self, event: &(impl Attributes + ?Sized)) -> bool {
        self.root.accepts(event)
    }

    /// What is valid, but will hardly do what its author wants. It changes nothing.
    pub fn doubts(&self) -> Vec<Doubt> {
        doubt::doubts(&self.root)
    }

    /// The tree, in the order and nesting of the manifest.
    ///
    /// The elements of `filters` are the children of an [`Node::All`]; a `filter` is one
    /// [`Node::Tests`].
    pub fn root(&self) -> &Node {
        &self.root
    }
}
