//! Event -> the partition it goes to. Pure.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Attributes, Event, order_key};

/// Where events go: by key as other clients of Kafka spread keys, without one to the partitions that
/// the worker itself reads.
#[derive(Debug)]
pub(super) struct Spread {
    partitions: i32,
    /// For each worker: its partitions, and how many events without a key it has published.
    own: Box<[(Vec<i32>, AtomicUsize)]>,
}

/// Events without a key that go to one partition before the next has its turn: they share requests.
const TURN: usize = 64;

impl Spread {
    pub(super) fn new(partitions: i32, workers: usize) -> Self {
        let workers = workers.max(1);
        let own = (0..workers).map(|worker| {
            let own: Vec<_> =
                (0..partitions).filter(|&number| reader_of(number, workers) == worker).collect();
            // With fewer partitions than workers, some of them read nothing.
            let own = if own.is_empty() { (0..partitions).collect() } else { own };
            (own, AtomicUsize::new(0))
        });
        Self { partitions, own: own.collect() }
    }

    /// The partition of `event`; `is_keyed` when events without a key are to stay together as well.
    pub(super) fn partition(&self, worker: usize, event: &Event, is_keyed: bool) -> i32 {
        if is_keyed || event.attribute("partitionkey").is_some() {
            return of_key(order_key(event).as_bytes(), self.partitions);
        }
        let Some((own, count)) = self.own.get(worker % self.own.len()) else { return 0 };
        let turn = count.fetch_add(1, Ordering::Relaxed) / TURN;
        own.get(turn % own.len().max(1)).copied().unwrap_or_default()
    }
}

/// The worker that lends the events of a partition.
pub(super) fn reader_of(partition: i32, workers: usize) -> usize {
    usize::try_from(partition).unwrap_or_default() % workers.max(1)
}

/// The partition of a key, the same as that of Kafka's own clients.
fn of_key(key: &[u8], partitions: i32) -> i32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    let partitions = u32::try_from(partitions.max(1)).unwrap_or(1);
    i32::try_from(hash % partitions).unwrap_or_default()
}

/// MurmurHash 2 with the seed of Kafka's clients.
fn murmur2(bytes: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        word = (word ^ (word >> 24)).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ word;
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, &byte| tail << 8 | u32::from(byte));
        hash = (hash ^ tail).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Draft, SpecVersion};

    #[test]
    fn keys_are_hashed_as_other_clients_do() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    fn event(key: Option<&str>) -> Event {
        let mut draft = Draft::new(SpecVersion::V10);
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")] {
            draft.push_wire(name, value.as_bytes()).unwrap();
        }
        if let Some(key) = key {
            draft.set("partitionkey", key);
        }
        draft.finish().unwrap()
    }

    #[test]
    fn events_without_a_key_stay_with_their_worker_unless_they_must_keep_together() {
        for (partitions, workers) in [(10, 2), (10, 3), (1, 4), (3, 3)] {
            let spread = Spread::new(partitions, workers);
            for worker in 0..workers {
                let seen: BTreeSet<_> =
                    (0..TURN * 12).map(|_| spread.partition(worker, &event(None), false)).collect();
                let is_own = |number: &i32| reader_of(*number, workers) == worker;
                let has_own = (0..partitions).any(|number| is_own(&number));
                assert!(seen.iter().all(is_own) || !has_own, "{worker}: {seen:?}");
                assert!(seen.iter().all(|number| (0..partitions).contains(number)));
            }
            let together: BTreeSet<_> =
                (0..100).map(|worker| spread.partition(worker, &event(None), true)).collect();
            assert_eq!(together.len(), 1);
        }
        let spread = Spread::new(10, 2);
        let keyed = |worker, is_keyed| spread.partition(worker, &event(Some("k")), is_keyed);
        assert_eq!(keyed(0, false), keyed(1, true));
    }
}
