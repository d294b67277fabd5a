//! Where the log ends, and whether its readers are behind.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::journal::Place;

/// What writer and feeder agree on.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<TailState>);

#[derive(Debug, Default)]
struct TailState {
    /// The position after the last stored event.
    end: u64,
    is_behind: bool,
    /// Where the feeder is to begin.
    from: Option<Place>,
}

impl Tail {
    /// A tail at `end`, with stored events from `from` on that are not in memory.
    pub(super) fn new(end: u64, from: Option<Place>) -> Self {
        Self(Mutex::new(TailState { end, is_behind: from.is_some(), from }))
    }

    fn lock(&self) -> MutexGuard<'_, TailState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that events were stored up to `end`. Returns whether they may be lent from memory;
    /// otherwise the feeder will read them, beginning at `place` if it was not at work.
    pub(super) fn extend(&self, end: u64, place: Place, has_room: bool) -> bool {
        let mut tail = self.lock();
        tail.end = end;
        if !tail.is_behind && !has_room {
            tail.is_behind = true;
            tail.from = Some(place);
        }
        !tail.is_behind
    }

    /// Where the feeder is to begin, if it is to.
    pub(super) fn take_from(&self) -> Option<Place> {
        self.lock().from.take()
    }

    /// The position after the last stored event.
    pub(super) fn end(&self) -> u64 {
        self.lock().end
    }

    /// Whether the feeder, at `position`, has read all there is; then it is not behind any more.
    pub(super) fn is_reached(&self, position: u64) -> bool {
        let mut tail = self.lock();
        if position >= tail.end {
            tail.is_behind = false;
        }
        !tail.is_behind
    }
}
