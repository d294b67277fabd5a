//! The segments that can be read, for readers on other threads than the writer's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::disk::storage::File;

/// Segments by the number in their names.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<BTreeMap<u64, OnShelf>>);

/// A segment that can be read.
#[derive(Clone, Debug)]
pub(super) struct OnShelf {
    pub(super) sequence: u64,
    /// The position of its first event.
    pub(super) first: u64,
    pub(super) file: Arc<dyn File>,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, OnShelf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, sequence: u64, first: u64, file: Arc<dyn File>) {
        self.lock().insert(sequence, OnShelf { sequence, first, file });
    }

    pub(super) fn remove(&self, sequence: u64) {
        self.lock().remove(&sequence);
    }

    pub(super) fn get(&self, sequence: u64) -> Option<OnShelf> {
        self.lock().get(&sequence).cloned()
    }

    /// The segment that follows one, or the first that follows where it was.
    pub(super) fn after(&self, sequence: u64) -> Option<OnShelf> {
        self.lock().range(sequence + 1..).next().map(|(_, found)| found.clone())
    }
}
