//! The books of a source over everything that may happen to its messages.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{Draft, SpecVersion};

fn ready(key: &str, due: u64) -> Ready {
    let mut draft = Draft::new(SpecVersion::V10);
    for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t"), ("partitionkey", key)] {
        draft.push_wire(name, value.as_bytes()).unwrap();
    }
    Ready {
        event: draft.finish().unwrap(),
        beside: None,
        redelivered: false,
        due_at: SystemTime::UNIX_EPOCH + Duration::from_secs(due),
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn put(desk: &mut Desk, sequence: u64, key: &str, due: u64) -> Wake {
    assert_eq!(desk.arrive(sequence, "a".into(), 0), Some(Arrival::New));
    desk.offer(sequence, ready(key, due))
}

fn next(desk: &mut Desk, worker: usize, now: u64) -> Option<u64> {
    match desk.next(worker, at(now)) {
        Next::Event(sequence, _) => Some(sequence),
        Next::Wait(_) | Next::End => None,
    }
}

#[test]
fn workers_that_read_get_events_in_turn() {
    let mut desk = Desk::new(3, Mode::Spread);
    desk.come(0);
    desk.come(2);
    let woken: Vec<_> = (1..5).map(|n| put(&mut desk, n, "k", 0)).collect();
    let expected = [0, 2, 0, 2].map(Wake::Worker);
    assert_eq!(woken, expected);
    desk.leave(2);
    assert_eq!([0, 0, 0, 0].map(|w| next(&mut desk, w, 0)), [1, 3, 2, 4].map(Some));
}

#[test]
fn what_comes_before_any_reader_is_for_the_first() {
    let mut desk = Desk::new(2, Mode::Spread);
    assert_eq!(put(&mut desk, 1, "k", 0), Wake::Everybody);
    desk.come(1);
    assert_eq!(next(&mut desk, 1, 0), Some(1));
}

#[test]
fn nothing_is_lent_before_it_is_due_and_the_first_due_goes_first() {
    let mut desk = Desk::new(2, Mode::Due);
    put(&mut desk, 1, "k", 30);
    put(&mut desk, 2, "k", 20);
    assert!(matches!(desk.next(0, at(15)), Next::Wait(Some(wait)) if wait.as_secs() == 5));
    assert_eq!(next(&mut desk, 1, 20), Some(2));
    assert_eq!(next(&mut desk, 0, 40), Some(1));
    assert!(matches!(desk.next(0, at(40)), Next::Wait(None)));
}

#[test]
fn a_message_that_comes_again_is_not_lent_again() {
    let mut desk = Desk::new(1, Mode::Spread);
    put(&mut desk, 7, "k", 0);
    assert_eq!(next(&mut desk, 0, 0), Some(7));
    assert_eq!(desk.arrive(7, "b".into(), 0), Some(Arrival::Known));
    assert!(desk.settle(7));
    assert!(!desk.settle(7), "it was settled twice");
    assert_eq!(desk.arrive(7, "c".into(), 0), Some(Arrival::Known));
    assert_eq!((desk.settled(), desk.unsettled().len()), (1, 0));
    assert_eq!(desk.remove(7), Some(("c".into(), 0)));
    assert_eq!((desk.len(), desk.settled()), (0, 0));
}

#[test]
fn a_closed_desk_gives_everything_back() {
    let mut desk = Desk::new(1, Mode::Spread);
    for n in 1..4 {
        put(&mut desk, n, "k", 0);
    }
    assert_eq!(next(&mut desk, 0, 0), Some(1));
    assert_eq!(next(&mut desk, 0, 0), Some(2));
    assert_eq!(desk.close(false), [3]);
    assert!(matches!(desk.next(0, at(0)), Next::End));
    assert_eq!(desk.arrive(9, "a".into(), 0), None);
    assert_eq!(desk.again(1, ready("k", 0)), None);
    assert!(desk.settle(2), "what is lent can still be settled");
    assert_eq!(desk.give_up(), [0; 0]);
    assert_eq!(desk.len(), 3, "it is here until the server is told");
    assert_eq!(desk.unsettled().len(), 0);
}

#[test]
fn what_is_cleared_is_forgotten_unless_it_is_lent() {
    let mut desk = Desk::new(1, Mode::Due);
    for n in 1..5 {
        put(&mut desk, n, "k", n);
    }
    assert_eq!(next(&mut desk, 0, 9), Some(1));
    desk.clear(3);
    assert_eq!(next(&mut desk, 0, 9), Some(4));
    assert_eq!(next(&mut desk, 0, 9), None);
    assert!(desk.settle(1));
}

proptest! {
    #[test]
    fn everything_that_comes_is_lent_once_until_it_is_dropped(
        steps in proptest::collection::vec((0_u8..8, 0_u64..20, 0_usize..3), 1..200),
        mode in prop_oneof![Just(Mode::Spread), Just(Mode::Keyed), Just(Mode::Due)],
    ) {
        let mut desk = Desk::new(3, mode);
        let (mut came, mut lent, mut settled) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (step, sequence, worker) in steps {
            match step {
                0 | 1 => {
                    let key = ["a", "b", "c"][usize::try_from(sequence).unwrap() % 3];
                    if !settled.contains(&sequence)
                        && desk.arrive(sequence, "a".into(), 0) == Some(Arrival::New)
                    {
                        prop_assert!(came.insert(sequence));
                        desk.offer(sequence, ready(key, 0));
                    }
                }
                2 | 3 => if let Some(sequence) = next(&mut desk, worker, 0) {
                    prop_assert!(came.contains(&sequence) && lent.insert(sequence));
                }
                4 => if lent.remove(&sequence) {
                    prop_assert!(desk.settle(sequence));
                    settled.insert(sequence);
                    prop_assert!(desk.remove(sequence).is_some());
                }
                5 => if lent.remove(&sequence) {
                    prop_assert!(desk.again(sequence, ready("a", 0)).is_some());
                }
                6 => desk.come(worker),
                _ => desk.leave(worker),
            }
        }
        for worker in 0..3 {
            while let Some(sequence) = next(&mut desk, worker, 0) {
                prop_assert!(lent.insert(sequence));
            }
        }
        let all: BTreeSet<_> = lent.union(&settled).copied().collect();
        prop_assert_eq!(all, came);
    }
}
