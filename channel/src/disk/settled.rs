//! Which positions of a log are settled: all below a floor, and a sparse set above it.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};

/// Positions of one chunk.
const CHUNK: u64 = 1 << 14;
const WORDS: usize = (CHUNK / 64) as usize;

/// A set of positions that costs a bit for each, and next to nothing where it is dense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Everything below is in the set.
    floor: u64,
    /// By number; none below the floor's.
    chunks: BTreeMap<u64, Chunk>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Chunk {
    Full,
    Some { count: u64, words: Box<[u64; WORDS]> },
}

impl Chunk {
    fn empty() -> Self {
        Self::Some { count: 0, words: Box::new([0; WORDS]) }
    }
}

/// Tags of the written form.
const RANGE: u8 = 0;
const BITS: u8 = 1;
/// Longer ranges above a floor are not written by any run of this program.
const RANGE_MAX: u64 = 1 << 36;
/// A chunk with more runs than this is written as bits.
const RUNS_MAX: usize = WORDS * 8 / 16;

impl Settled {
    #[cfg(test)]
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn is_empty(&self) -> bool {
        self.floor == 0 && self.chunks.is_empty()
    }

    pub(super) fn contains(&self, position: u64) -> bool {
        position < self.floor
            || match self.chunks.get(&(position / CHUNK)) {
                None => false,
                Some(Chunk::Full) => true,
                Some(Chunk::Some { words, .. }) => {
                    let bit = position % CHUNK;
                    word(&words[..], bit) & (1 << (bit % 64)) != 0
                }
            }
    }

    /// Whether every position from `start` up to `end` is in the set.
    pub(super) fn contains_all(&self, start: u64, end: u64) -> bool {
        self.next_missing(start) >= end
    }

    /// The first position from `start` on that is not in the set.
    pub(super) fn next_missing(&self, start: u64) -> u64 {
        let mut position = start.max(self.floor);
        loop {
            match self.chunks.get(&(position / CHUNK)) {
                None => return position,
                Some(Chunk::Full) => position = (position / CHUNK + 1) * CHUNK,
                Some(Chunk::Some { words, .. }) => {
                    let bit = position % CHUNK;
                    let ones = (word(&words[..], bit) >> (bit % 64)).trailing_ones();
                    position += u64::from(ones);
                    if u64::from(ones) < 64 - bit % 64 {
                        return position;
                    }
                }
            }
        }
    }

    /// Adds a position; returns whether it was new.
    pub(super) fn insert(&mut self, position: u64) -> bool {
        if position < self.floor {
            return false;
        }
        let number = position / CHUNK;
        let chunk = self.chunks.entry(number).or_insert_with(Chunk::empty);
        let Chunk::Some { count, words } = chunk else { return false };
        let bit = position % CHUNK;
        let Some(word) = usize::try_from(bit / 64).ok().and_then(|at| words.get_mut(at)) else {
            return false;
        };
        if *word & (1 << (bit % 64)) != 0 {
            return false;
        }
        *word |= 1 << (bit % 64);
        *count += 1;
        if *count == CHUNK {
            *chunk = Chunk::Full;
        }
        if position == self.floor {
            self.raise(self.next_missing(position));
        }
        true
    }

    /// Adds every position from `start` up to `end`.
    pub(super) fn insert_range(&mut self, start: u64, end: u64) {
        if start <= self.floor {
            if end > self.floor {
                self.raise(end);
                self.raise(self.next_missing(end));
            }
            return;
        }
        let mut position = start;
        while position < end {
            if position.is_multiple_of(CHUNK) && end - position >= CHUNK {
                self.chunks.insert(position / CHUNK, Chunk::Full);
                position += CHUNK;
            } else {
                self.insert(position);
                position += 1;
            }
        }
        self.raise(self.next_missing(self.floor));
    }

    fn raise(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        let number = self.floor / CHUNK;
        while let Some(first) = self.chunks.first_entry() {
            if *first.key() >= number {
                break;
            }
            first.remove();
        }
    }

    /// Appends the set's written form.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        if self.floor > 0 {
            put_range(bytes, 0, self.floor);
        }
        let mut open: Option<(u64, u64)> = None;
        for (&number, chunk) in &self.chunks {
            let start = number * CHUNK;
            let found = match chunk {
                Chunk::Full => vec![(start, start + CHUNK)],
                Chunk::Some { words, .. } => {
                    let found = runs(start, &words[..]);
                    if found.len() > RUNS_MAX {
                        bytes.put_u8(BITS);
                        bytes.put_u64_le(number);
                        words.iter().for_each(|&word| bytes.put_u64_le(word));
                        continue;
                    }
                    found
                }
            };
            for (start, end) in found {
                match &mut open {
                    Some((_, last)) if *last == start => *last = end,
                    _ => {
                        if let Some((start, end)) = open.replace((start, end)) {
                            put_range(bytes, start, end);
                        }
                    }
                }
            }
        }
        if let Some((start, end)) = open {
            put_range(bytes, start, end);
        }
    }

    /// Adds what [`Settled::encode`] wrote; `None` when it did not write this.
    pub(super) fn add_encoded(&mut self, mut bytes: &[u8]) -> Option<()> {
        while bytes.has_remaining() {
            match bytes.try_get_u8().ok()? {
                RANGE => {
                    let (start, end) = (bytes.try_get_u64_le().ok()?, bytes.try_get_u64_le().ok()?);
                    let len = end.checked_sub(start)?;
                    if start > self.floor && len > RANGE_MAX {
                        return None;
                    }
                    self.insert_range(start, end);
                }
                BITS => {
                    let number = bytes.try_get_u64_le().ok()?;
                    let start = number.checked_mul(CHUNK)?;
                    let mut words = [0; WORDS];
                    for word in &mut words {
                        *word = bytes.try_get_u64_le().ok()?;
                    }
                    for (start, end) in runs(start, &words) {
                        self.insert_range(start, end);
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }
}

fn word(words: &[u64], bit: u64) -> u64 {
    usize::try_from(bit / 64).ok().and_then(|at| words.get(at)).copied().unwrap_or_default()
}

fn runs(start: u64, words: &[u64]) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    for (number, &word) in words.iter().enumerate() {
        let base = start + number as u64 * 64;
        let mut bit = 0;
        while bit < 64 {
            let rest = word >> bit;
            if rest == 0 {
                break;
            }
            bit += u64::from(rest.trailing_zeros());
            let ones = u64::from((word >> bit).trailing_ones());
            match found.last_mut() {
                Some((_, end)) if *end == base + bit => *end += ones,
                _ => found.push((base + bit, base + bit + ones)),
            }
            bit += ones;
        }
    }
    found
}

fn put_range(bytes: &mut Vec<u8>, start: u64, end: u64) {
    bytes.put_u8(RANGE);
    bytes.put_u64_le(start);
    bytes.put_u64_le(end);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = u64> {
        prop_oneof![0..200_u64, CHUNK - 70..CHUNK + 70, 0..4 * CHUNK]
    }

    fn len() -> impl Strategy<Value = u64> {
        prop_oneof![0..200_u64, CHUNK - 70..CHUNK + 70, Just(2 * CHUNK)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_is_a_set(
            ranges in proptest::collection::vec((position(), len()), 0..4),
            single in proptest::collection::vec(position(), 0..300),
        ) {
            let (mut set, mut model) = (Settled::default(), BTreeSet::new());
            for (start, len) in ranges {
                set.insert_range(start, start + len);
                model.extend(start..start + len);
            }
            for position in single {
                prop_assert_eq!(set.insert(position), model.insert(position));
            }
            let floor = (0..).find(|position| !model.contains(position)).unwrap();
            prop_assert_eq!(set.floor(), floor);
            let probes = || (0..7 * CHUNK).step_by(61).chain(CHUNK - 70..CHUNK + 70);
            for position in probes() {
                prop_assert_eq!(set.contains(position), model.contains(&position), "{}", position);
            }
            for start in [0, 1, 63, 64, CHUNK, CHUNK + 1] {
                let missing = (start..).find(|position| !model.contains(position)).unwrap();
                prop_assert_eq!(set.next_missing(start), missing);
            }
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            let mut back = Settled::default();
            prop_assert_eq!(back.add_encoded(&bytes), Some(()));
            for position in probes() {
                prop_assert_eq!(back.contains(position), model.contains(&position));
            }
        }

        #[test]
        fn any_bytes_are_a_set_or_refused(bytes in proptest::collection::vec(0..3_u8, 0..60)) {
            let _ = Settled::default().add_encoded(&bytes);
        }
    }

    #[test]
    fn every_other_of_15_million_positions_costs_little() {
        let mut set = Settled::default();
        for position in (1..15_000_000).step_by(2) {
            set.insert(position);
        }
        let chunks = set.chunks.len() * (WORDS * 8 + 64);
        assert!(chunks < 3 << 20, "{chunks} bytes");
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        assert!(bytes.len() < 3 << 20, "{} bytes", bytes.len());
        for position in (0..15_000_000).step_by(2) {
            set.insert(position);
        }
        assert_eq!((set.floor(), set.chunks.len()), (15_000_000, 1));
    }
}
