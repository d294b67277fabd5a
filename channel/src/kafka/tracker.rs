//! Offsets received and settled in any order -> how far may be committed. Pure.

use std::collections::VecDeque;

use super::settled::Settled;

/// What of one partition is under way. It lives as long as one assignment: offsets of an earlier one
/// belong to another tracker, so that what is settled late is never committed.
#[derive(Debug)]
pub(super) struct Tracker {
    /// In the order of offsets. Offsets may be missing (compaction, markers of transactions).
    slots: VecDeque<Slot>,
    /// What comes next, as far as it is known.
    next: Option<i64>,
    /// Nothing below needs to be received.
    skipped_to: Option<i64>,
    /// What was last said to be committed.
    committed: Option<i64>,
    /// Whether more was settled beyond it since.
    has_more_settled: bool,
    /// What an owner before settled beyond where it left off.
    before: Settled,
    unsettled: usize,
    bytes: usize,
    has_ended: bool,
}

#[derive(Debug)]
struct Slot {
    offset: i64,
    bytes: usize,
    is_settled: bool,
}

/// How much of one partition may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Events lent or waiting to be.
    pub(super) unsettled_max: usize,
    /// Their bytes.
    pub(super) bytes_max: usize,
    /// Events from the first that is not settled on, settled ones included.
    pub(super) slots_max: usize,
}

/// What a new owner must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// Where it begins.
    pub(super) offset: i64,
    /// What it may leave out from there on.
    pub(super) beyond: Settled,
    /// Whether it begins further than when this was last asked.
    pub(super) has_grown: bool,
}

/// How a record follows on the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As it should.
    Next,
    /// It was received already: the log is not the one that it was.
    Behind,
    /// So many offsets before it hold nothing any more.
    Ahead(i64),
}

impl Tracker {
    /// Begins at `next`, where that is known, after an owner that had settled `before`.
    pub(super) fn new(next: Option<i64>, before: Settled) -> Self {
        Self {
            slots: VecDeque::new(),
            next,
            skipped_to: None,
            committed: next,
            has_more_settled: false,
            before,
            unsettled: 0,
            bytes: 0,
            has_ended: false,
        }
    }

    /// How a record at `offset` follows on what was received and skipped.
    pub(super) fn order(&self, offset: i64) -> Order {
        match (self.next, self.next()) {
            (Some(next), _) if offset < next => Order::Behind,
            // Markers of transactions take an offset each.
            (_, Some(next)) if offset > next + 1 => Order::Ahead(offset - next),
            _ => Order::Next,
        }
    }

    /// Takes a record on. It must not be [behind](Order::Behind). Returns whether it is to be delivered:
    /// an owner before may have settled it.
    pub(super) fn received(&mut self, offset: i64, bytes: usize) -> bool {
        self.next = Some(offset + 1);
        if self.before.has(offset) {
            if !self.slots.is_empty() {
                self.slots.push_back(Slot { offset, bytes: 0, is_settled: true });
            }
            return false;
        }
        self.slots.push_back(Slot { offset, bytes, is_settled: false });
        self.unsettled += 1;
        self.bytes += bytes;
        true
    }

    /// Says that the record at `offset` has reached its ends. Returns whether it was under way.
    pub(super) fn settle(&mut self, offset: i64) -> bool {
        if self.has_ended {
            return false;
        }
        let Ok(index) = self.slots.binary_search_by_key(&offset, |slot| slot.offset) else {
            return false;
        };
        let Some(slot) = self.slots.get_mut(index).filter(|slot| !slot.is_settled) else {
            return false;
        };
        slot.is_settled = true;
        self.unsettled -= 1;
        self.bytes -= slot.bytes;
        self.has_more_settled |= index > 0;
        while self.slots.front().is_some_and(|slot| slot.is_settled) {
            self.slots.pop_front();
        }
        true
    }

    /// What a new owner must know, when that is more than when this was last asked.
    pub(super) fn take_commit(&mut self) -> Option<Commit> {
        let offset = self.floor()?;
        let has_grown = self.committed.is_none_or(|last| last < offset);
        if !has_grown && !std::mem::take(&mut self.has_more_settled) {
            return None;
        }
        self.committed = Some(offset);
        self.has_more_settled = false;
        let beyond = Settled::new(self.slots.iter().map(|slot| (slot.offset, slot.is_settled)));
        Some(Commit { offset, beyond, has_grown })
    }

    /// The offset before which everything is settled.
    pub(super) fn floor(&self) -> Option<i64> {
        if self.has_ended {
            return None;
        }
        self.slots.front().map(|slot| slot.offset).or(self.next())
    }

    /// The assignment is over: nothing is committed from here on.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// What comes next, as far as it is known.
    pub(super) fn next(&self) -> Option<i64> {
        self.next.max(self.skipped_to)
    }

    /// What is below `offset` and was not received yet need not be; it still may be.
    pub(super) fn skip_to(&mut self, offset: i64) {
        self.skipped_to = self.skipped_to.max(Some(offset));
    }

    /// Events not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Bytes of the events not settled.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no more should be read.
    pub(super) fn is_full(&self, window: &Window) -> bool {
        self.unsettled >= window.unsettled_max
            || self.bytes >= window.bytes_max
            || self.slots.len() >= window.slots_max
    }

    /// Whether enough is settled to read on: pausing costs what was fetched ahead, so not at once.
    pub(super) fn has_room(&self, window: &Window) -> bool {
        self.unsettled <= window.unsettled_max / 2
            && self.bytes <= window.bytes_max / 2
            && self.slots.len() <= window.slots_max / 2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The offset to begin with, when it has grown.
    fn grown(tracker: &mut Tracker) -> Option<i64> {
        tracker.take_commit().filter(|commit| commit.has_grown).map(|commit| commit.offset)
    }

    const WINDOW: Window = Window { unsettled_max: 4, bytes_max: 100, slots_max: 8 };

    #[test]
    fn the_commit_point_is_the_first_that_is_not_settled() {
        let mut tracker = Tracker::new(None, Settled::default());
        assert_eq!(grown(&mut tracker), None);
        for offset in [5, 6, 9] {
            tracker.received(offset, 10);
        }
        assert_eq!(grown(&mut tracker), Some(5));
        assert!(tracker.settle(6));
        assert_eq!(grown(&mut tracker), None);
        assert!(tracker.settle(5));
        assert_eq!(grown(&mut tracker), Some(9));
        assert!(tracker.settle(9) && !tracker.settle(9) && !tracker.settle(7));
        assert_eq!(grown(&mut tracker), Some(10));
        assert_eq!((tracker.unsettled(), tracker.bytes()), (0, 0));
    }

    #[test]
    fn a_committed_start_is_not_committed_again() {
        let mut tracker = Tracker::new(Some(5), Settled::default());
        assert_eq!(grown(&mut tracker), None);
        for (offset, order) in
            [(4, Order::Behind), (5, Order::Next), (6, Order::Next), (7, Order::Ahead(2))]
        {
            assert_eq!(tracker.order(offset), order, "{offset}");
        }
        assert_eq!(Tracker::new(None, Settled::default()).order(9), Order::Next);
    }

    #[test]
    fn what_is_skipped_need_not_come_but_may() {
        let mut tracker = Tracker::new(Some(3), Settled::default());
        tracker.received(3, 1);
        tracker.skip_to(10);
        assert_eq!((tracker.next(), grown(&mut tracker)), (Some(10), None));
        tracker.settle(3);
        assert_eq!(grown(&mut tracker), Some(10));
        assert_eq!((tracker.order(4), tracker.order(11)), (Order::Next, Order::Next));
        tracker.received(4, 1);
        assert_eq!((tracker.next(), grown(&mut tracker)), (Some(10), None));
        tracker.settle(4);
        tracker.received(12, 1);
        assert_eq!(grown(&mut tracker), Some(12));
    }

    #[test]
    fn what_is_settled_beyond_the_first_is_not_delivered_by_the_next_owner() {
        let mut tracker = Tracker::new(Some(5), Settled::default());
        for offset in [5, 6, 8, 9, 10] {
            assert!(tracker.received(offset, 1));
        }
        assert_eq!(tracker.take_commit(), None);
        tracker.settle(6);
        tracker.settle(9);
        let commit = tracker.take_commit().expect("more is settled");
        assert_eq!((commit.offset, commit.has_grown), (5, false));
        assert_eq!(tracker.take_commit(), None);
        let mut next = Tracker::new(Some(5), commit.beyond);
        let delivered: Vec<_> =
            [5, 6, 8, 9, 10, 11].into_iter().filter(|&at| next.received(at, 1)).collect();
        assert_eq!((delivered, next.unsettled(), next.bytes()), (vec![5, 8, 10, 11], 4, 4));
        next.settle(5);
        let commit = next.take_commit().expect("the first is settled");
        assert_eq!((commit.offset, commit.has_grown, commit.beyond.has(9)), (8, true, true));
        for offset in [8, 10, 11] {
            next.settle(offset);
        }
        assert_eq!(grown(&mut next), Some(12));
    }

    #[test]
    fn the_window_fills_and_drains() {
        let mut tracker = Tracker::new(Some(0), Settled::default());
        for offset in 0..4 {
            assert!(!tracker.is_full(&WINDOW));
            tracker.received(offset, 10);
        }
        assert!(tracker.is_full(&WINDOW));
        tracker.settle(3);
        assert!(!tracker.has_room(&WINDOW));
        tracker.settle(2);
        assert!(tracker.has_room(&WINDOW));
        tracker.received(4, 100);
        assert!(tracker.is_full(&WINDOW));
    }

    #[test]
    fn one_that_is_never_settled_stops_the_rest() {
        let mut tracker = Tracker::new(Some(0), Settled::default());
        for offset in 0..8 {
            assert!(!tracker.is_full(&WINDOW));
            tracker.received(offset, 1);
            assert!(offset == 0 || tracker.settle(offset));
        }
        assert!(tracker.is_full(&WINDOW) && !tracker.has_room(&WINDOW));
        tracker.settle(0);
        assert!(tracker.has_room(&WINDOW));
    }

    proptest! {
        #[test]
        fn nothing_is_committed_before_it_and_all_before_it_are_settled(
            start in 0_i64..100,
            gaps in proptest::collection::vec(1_i64..4, 1..60),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..120),
            end_after in 0_usize..150,
        ) {
            let mut tracker = Tracker::new(None, Settled::default());
            let mut offsets = Vec::new();
            let mut unsettled = BTreeSet::new();
            let mut last = None;
            let mut at = start;
            for (turn, index) in order.iter().enumerate() {
                if turn == end_after {
                    tracker.end();
                }
                if let Some(gap) = gaps.get(offsets.len()) {
                    tracker.received(at, 1);
                    offsets.push(at);
                    unsettled.insert(at);
                    at += gap;
                }
                let offset = *index.get(&offsets);
                let was_settled = tracker.settle(offset);
                prop_assert!(turn < end_after || !was_settled, "settled after the end");
                if turn < end_after {
                    prop_assert_eq!(was_settled, unsettled.remove(&offset));
                    prop_assert_eq!(tracker.unsettled(), unsettled.len());
                }
                let point = grown(&mut tracker);
                prop_assert!(turn < end_after || point.is_none(), "committed after the end");
                if let Some(point) = point {
                    prop_assert!(last.is_none_or(|last| last < point), "a commit went back");
                    last = Some(point);
                    prop_assert!(unsettled.iter().all(|&offset| offset >= point), "not settled");
                    let first = unsettled.first().copied();
                    let end = offsets.last().map(|last| last + 1);
                    prop_assert_eq!(Some(point), first.or(end));
                }
            }
        }
    }
}
