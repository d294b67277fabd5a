//! The resources of `/api/v1`, one file for each.

pub(super) mod brokers;
pub(super) mod channels;
pub(super) mod dead_letters;
pub(super) mod explain;
pub(super) mod pause;
pub(super) mod problems;
pub(super) mod sources;
pub(super) mod subscriptions;
pub(super) mod triggers;

use serde::Serialize;
use utoipa::ToSchema;

/// A list that is given whole.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Items<T> {
    /// In the order of their names.
    items: Vec<T>,
}

impl<T> FromIterator<T> for Items<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self { items: items.into_iter().collect() }
    }
}
