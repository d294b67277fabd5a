//! Offsets received and settled in any order -> how far may be committed. Pure.

use std::collections::VecDeque;

/// What of one partition is under way, for as long as the partition is ours.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// In the order of offsets, which may have gaps (compaction, markers of transactions).
    slots: VecDeque<Slot>,
    /// Where the next owner begins; said once.
    next: Option<i64>,
}

#[derive(Debug)]
struct Slot {
    offset: i64,
    is_settled: bool,
}

impl Offsets {
    /// A record is under way. Returns whether it is a new one, and not one that is under way already.
    pub(super) fn receive(&mut self, offset: i64) -> bool {
        let is_new = self.slots.back().is_none_or(|last| last.offset < offset);
        if is_new {
            self.slots.push_back(Slot { offset, is_settled: false });
        }
        is_new
    }

    /// A record has reached its end.
    pub(super) fn settle(&mut self, offset: i64) {
        if let Ok(index) = self.slots.binary_search_by_key(&offset, |slot| slot.offset)
            && let Some(slot) = self.slots.get_mut(index)
        {
            slot.is_settled = true;
        }
        while let Some(first) = self.slots.front().filter(|first| first.is_settled) {
            self.next = Some(first.offset + 1);
            self.slots.pop_front();
        }
    }

    /// The offset to commit, when it has grown since this was last asked.
    pub(super) fn take_commit(&mut self) -> Option<i64> {
        self.next.take()
    }

    /// Records from the first that is not settled on.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_committed_over_what_is_under_way() {
        let mut offsets = Offsets::default();
        for offset in [3, 4, 9] {
            assert!(offsets.receive(offset));
        }
        assert!(!offsets.receive(4), "it came again");
        offsets.settle(9);
        offsets.settle(4);
        assert_eq!((offsets.take_commit(), offsets.len()), (None, 3));
        offsets.settle(3);
        assert_eq!((offsets.take_commit(), offsets.len()), (Some(10), 0));
        assert_eq!(offsets.take_commit(), None);
    }

    proptest! {
        #[test]
        fn what_is_committed_is_the_settled_prefix(order in Just((0..40).collect::<Vec<i64>>()).prop_shuffle()) {
            let mut offsets = Offsets::default();
            (0..40).for_each(|offset| assert!(offsets.receive(offset)));
            let mut settled = [false; 40];
            for offset in order {
                settled[usize::try_from(offset).unwrap()] = true;
                offsets.settle(offset);
                let prefix = settled.iter().take_while(|settled| **settled).count();
                if let Some(commit) = offsets.take_commit() {
                    prop_assert_eq!(usize::try_from(commit).unwrap(), prefix);
                }
            }
            prop_assert_eq!(offsets.len(), 0);
        }
    }
}
