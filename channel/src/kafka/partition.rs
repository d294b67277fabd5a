//! One partition while it is ours: what is lent of it, and how far it is settled.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::{
    settled::Settled,
    tracker::{Commit, Order, Tracker, Window},
};
use crate::{Beside, Event, Home, Lease, Position};

/// Takes the events of partitions, and keeps them until a reader lends them.
pub(super) trait Inlet: Send + Sync {
    /// Keeps an event. May be called from any thread, and does not block.
    fn keep(&self, kept: Kept);

    /// An event was settled.
    fn settled(&self, position: Position) {
        let _ = position;
    }

    /// A partition is no longer ours: what is kept of it is not to be lent.
    fn ended(&self);
}

/// An event that a reader may lend.
pub(super) struct Kept {
    pub(super) event: Event,
    pub(super) position: Position,
    pub(super) redelivered: bool,
    pub(super) beside: Option<Beside>,
    pub(super) partition: Arc<Partition>,
}

impl Kept {
    /// The event on loan, or `None` when its partition is no longer ours: another will lend it.
    pub(super) fn lend(self) -> Option<Lease> {
        if !self.partition.start_loan() {
            return None;
        }
        let home: Arc<dyn Home> = self.partition;
        let lease = Lease::new(self.event, self.position, self.redelivered, home);
        Some(lease.beside(self.beside))
    }
}

/// One assignment of one partition. A later assignment of the same partition is another one of these, so
/// what is settled late changes nothing.
pub(super) struct Partition {
    me: Weak<Self>,
    number: i32,
    /// Partitions of the topic.
    count: i32,
    window: Window,
    inlet: Arc<dyn Inlet>,
    state: Mutex<State>,
    /// Nothing is on loan.
    is_quiet: Condvar,
}

#[derive(Debug)]
struct State {
    tracker: Tracker,
    on_loan: usize,
    is_lending: bool,
    is_paused: bool,
    /// Where the log ends, as far as it is known.
    end: Option<i64>,
}

/// Where a partition stands with its group.
#[derive(Clone, Debug, Default)]
pub(super) struct Stand {
    /// The first record that may have to be delivered.
    pub(super) next: Option<i64>,
    /// Where the log ends.
    pub(super) end: Option<i64>,
    /// What need not be delivered from `next` on.
    pub(super) settled: Settled,
}

/// What should be done about reading a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Pause,
    Resume,
}

impl Partition {
    /// A partition that is ours from now on, at its stand as far as it is known.
    pub(super) fn new(
        number: i32,
        count: i32,
        Stand { next, end, settled }: Stand,
        window: Window,
        inlet: Arc<dyn Inlet>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            number,
            count: count.max(1),
            window,
            inlet,
            state: Mutex::new(State {
                tracker: Tracker::new(next, settled),
                on_loan: 0,
                is_lending: true,
                is_paused: false,
                end,
            }),
            is_quiet: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made whole before anything can panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn number(&self) -> i32 {
        self.number
    }

    /// How a record at `offset` follows on the last.
    pub(super) fn order(&self, offset: i64) -> Order {
        self.lock().tracker.order(offset)
    }

    /// Takes an event on and hands it to those who lend.
    pub(super) fn receive(&self, offset: i64, event: Event, beside: Option<Beside>) {
        let mut state = self.lock();
        let is_wanted = state.tracker.received(offset, event.cost());
        state.end = state.end.max(Some(offset + 1));
        drop(state);
        if is_wanted && let Some(partition) = self.me.upgrade() {
            let position = position(offset, self.number, self.count);
            self.inlet.keep(Kept { event, position, redelivered: false, beside, partition });
        }
    }

    /// Settles what has not been lent and never will be.
    pub(super) fn forget(&self, position: Position) {
        self.lock().tracker.settle(offset(position, self.count));
    }

    /// What lies below `offset` is of no more use.
    pub(super) fn skip_to(&self, offset: i64) {
        self.lock().tracker.skip_to(offset);
    }

    /// Whether it is still ours to lend.
    pub(super) fn is_ours(&self) -> bool {
        self.lock().is_lending
    }

    /// What to do about reading now. `has_held` says that something is held for want of memory, and
    /// `has_memory` whether there is enough for reading on to be worth what pausing costs.
    pub(super) fn reading(
        &self,
        has_held: bool,
        has_memory: impl FnOnce() -> bool,
    ) -> Option<Reading> {
        let mut state = self.lock();
        let is_full = has_held || state.tracker.is_full(&self.window);
        if !state.is_paused && is_full {
            state.is_paused = true;
            return Some(Reading::Pause);
        }
        if state.is_paused
            && !has_held
            && state.tracker.has_room(&self.window)
            && (state.tracker.unsettled() == 0 || has_memory())
        {
            state.is_paused = false;
            return Some(Reading::Resume);
        }
        None
    }

    /// Whether no more should be read.
    pub(super) fn is_full(&self) -> bool {
        self.lock().tracker.is_full(&self.window)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.lock().is_paused
    }

    /// What to commit, when it is more than when this was last asked.
    pub(super) fn take_commit(&self) -> Option<Commit> {
        self.lock().tracker.take_commit()
    }

    /// The offset before which everything is settled.
    pub(super) fn floor(&self) -> Option<i64> {
        self.lock().tracker.floor()
    }

    /// Everything in the log has been received.
    pub(super) fn reached_end(&self) {
        let mut state = self.lock();
        // What ends a log may be a marker that is never received.
        state.end = state.tracker.next();
    }

    /// The log is this long. Looked at only while it is not read: what is read tells better, because what
    /// ends a log may be a marker.
    pub(super) fn counted(&self, end: i64) {
        let mut state = self.lock();
        if state.is_paused {
            state.end = state.end.max(Some(end));
        }
    }

    /// Events stored and not settled, as far as it is known, and bytes of those received. `grown_to` is
    /// how long the log is at least.
    pub(super) fn depth(&self, grown_to: i64) -> (usize, usize) {
        let state = self.lock();
        let unread = match (state.tracker.next(), state.end.max(Some(grown_to))) {
            (Some(next), Some(end)) => usize::try_from(end - next).unwrap_or_default(),
            _ => 0,
        };
        (state.tracker.unsettled() + unread, state.tracker.bytes())
    }

    fn start_loan(&self) -> bool {
        let mut state = self.lock();
        state.on_loan += usize::from(state.is_lending);
        state.is_lending
    }

    fn end_loan(&self, state: &mut State) {
        state.on_loan = state.on_loan.saturating_sub(1);
        if state.on_loan == 0 {
            self.is_quiet.notify_all();
        }
    }

    /// Lends nothing more, and waits until nothing is on loan, or until `grace` is over.
    pub(super) fn wind_down(&self, grace: Duration) {
        let mut state = self.lock();
        state.is_lending = false;
        drop(self.is_quiet.wait_timeout_while(state, grace, |state| state.on_loan > 0));
    }

    /// The partition is no longer ours.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_lending = false;
        state.tracker.end();
        drop(state);
        self.inlet.ended();
    }
}

impl Home for Partition {
    fn settle(&self, position: Position, _event: &Event) {
        let mut state = self.lock();
        let is_new = state.tracker.settle(offset(position, self.count));
        self.end_loan(&mut state);
        drop(state);
        if is_new {
            self.inlet.settled(position);
        }
    }

    fn lend_again(&self, position: Position, event: Event, beside: Option<Beside>) {
        let mut state = self.lock();
        self.end_loan(&mut state);
        let is_ours = state.is_lending;
        drop(state);
        if is_ours && let Some(partition) = self.me.upgrade() {
            self.inlet.keep(Kept { event, position, redelivered: true, beside, partition });
        }
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Where a record lies: offsets of one partition grow, and no two records of a topic share a position.
pub(super) fn position(offset: i64, partition: i32, count: i32) -> Position {
    let [offset, partition, count] =
        [offset, i64::from(partition), i64::from(count)].map(i64::cast_unsigned);
    Position(offset.saturating_mul(count).saturating_add(partition))
}

/// The partition of what lies at `position`.
pub(super) fn partition_of(position: Position, count: i32) -> i32 {
    let count = i64::from(count.max(1)).cast_unsigned();
    i32::try_from(position.0 % count).unwrap_or_default()
}

/// The offset of what lies at `position`.
fn offset(position: Position, count: i32) -> i64 {
    (position.0 / i64::from(count).cast_unsigned()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_tells_its_offset() {
        for (at, partition, count) in [(0, 0, 1), (0, 9, 10), (7, 3, 10), (1 << 40, 99, 100)] {
            let position = position(at, partition, count);
            assert_eq!(offset(position, count), at);
            assert_eq!(partition_of(position, count), partition);
        }
        assert!(position(1, 0, 10) > position(0, 9, 10));
    }

    #[derive(Default)]
    struct Shelf(Mutex<Vec<Kept>>);

    impl Shelf {
        fn take(&self) -> Kept {
            self.0.lock().unwrap().pop().expect("something is kept")
        }

        fn is_empty(&self) -> bool {
            self.0.lock().unwrap().is_empty()
        }
    }

    impl Inlet for Shelf {
        fn keep(&self, kept: Kept) {
            self.0.lock().unwrap().push(kept);
        }

        fn ended(&self) {}
    }

    fn event() -> Event {
        let mut draft = crate::Draft::new(crate::SpecVersion::V10);
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")] {
            draft.push_wire(name, value.as_bytes()).unwrap();
        }
        draft.finish().unwrap()
    }

    fn with_events(count: i64) -> (Arc<Shelf>, Arc<Partition>) {
        let window = Window { unsettled_max: 10, bytes_max: 1 << 20, slots_max: 100 };
        let shelf = Arc::new(Shelf::default());
        let inlet: Arc<Shelf> = Arc::clone(&shelf);
        let stand = Stand { next: Some(0), end: Some(0), ..Stand::default() };
        let partition = Partition::new(3, 10, stand, window, inlet);
        for offset in 0..count {
            partition.receive(offset, event(), None);
        }
        (shelf, partition)
    }

    #[test]
    fn a_dropped_loan_is_kept_again_and_a_settled_one_committed() {
        let (shelf, partition) = with_events(1);
        let lease = shelf.take().lend().expect("it is ours");
        assert!(!lease.redelivered());
        drop(lease);
        let lease = shelf.take().lend().expect("it is ours");
        assert!(lease.redelivered());
        assert_eq!((partition.take_commit().map(|it| it.offset), partition.depth(0).0), (None, 1));
        lease.settle();
        assert_eq!(
            (partition.take_commit().map(|it| it.offset), partition.depth(0).0),
            (Some(1), 0)
        );
        assert_eq!(partition.depth(4).0, 3, "what is stored and was not read counts");
    }

    #[test]
    fn what_is_settled_after_the_end_is_not_committed() {
        let (shelf, partition) = with_events(3);
        let (first, second) = (shelf.take().lend().unwrap(), shelf.take().lend().unwrap());
        partition.end();
        assert!(shelf.take().lend().is_none(), "it is another's to lend");
        first.settle();
        drop(second);
        assert!(shelf.is_empty(), "it is another's to lend again");
        assert_eq!(partition.take_commit().map(|it| it.offset), None);
    }

    #[test]
    fn winding_down_waits_for_what_is_on_loan_and_no_longer() {
        let (shelf, partition) = with_events(2);
        let lease = shelf.take().lend().unwrap();
        let start = std::time::Instant::now();
        partition.wind_down(Duration::from_millis(50));
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert!(shelf.take().lend().is_none(), "nothing more is lent");
        std::thread::scope(|scope| {
            scope.spawn(|| lease.settle());
            partition.wind_down(Duration::from_secs(60));
        });
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
