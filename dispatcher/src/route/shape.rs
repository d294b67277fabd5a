//! A shape: the parts of an event that some filters look at, and those filters by what they find.
//!
//! All filters that ask for the same attributes in the same way (`type` whole and the first 12
//! bytes of `source`, say) share a shape, and one look-up finds those that an event satisfies.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use channel::Attributes;
use foldhash::fast::RandomState;
use smallvec::{SmallVec, smallvec};

use crate::filter::{AttributeName, Check, Test};

/// Ends each part of a key. No UTF-8 text has this byte, so different parts make different keys.
const END: u8 = 0xff;

/// Which bytes of a text are looked at. Lengths are in bytes and may end within a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cut {
    /// All of them.
    Whole,
    /// The first so many; a shorter text has no such part.
    First(usize),
    /// The last so many; a shorter text has no such part.
    Last(usize),
}

impl Cut {
    /// What a test looks at, and what it must find there. A test for presence finds nothing.
    pub(super) fn of(check: &Check) -> (Self, &[u8]) {
        match check {
            Check::Exact(value) => (Self::Whole, value.as_bytes()),
            Check::Prefix(value) => (Self::First(value.len()), value.as_bytes()),
            Check::Suffix(value) => (Self::Last(value.len()), value.as_bytes()),
            Check::Present => (Self::First(0), &[]),
        }
    }

    /// The part of `text`, if it is long enough.
    pub(super) fn take(self, text: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Whole => Some(text),
            Self::First(len) => text.get(..len),
            Self::Last(len) => text.len().checked_sub(len).and_then(|start| text.get(start..)),
        }
    }
}

/// A part of an event. Sorts what fewest events have to the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Part<'f> {
    is_required: bool,
    pub(super) attribute: &'f AttributeName,
    pub(super) cut: Cut,
}

impl<'f> Part<'f> {
    pub(super) fn new(attribute: &'f AttributeName, cut: Cut) -> Self {
        Self { is_required: attribute.is_required(), attribute, cut }
    }

    /// The part that `test` looks at.
    pub(super) fn of(test: &'f Test) -> Self {
        Self::new(&test.attribute, Cut::of(&test.check).0)
    }
}

/// The filters that look at the same parts.
#[derive(Debug)]
pub(super) struct Shape {
    /// What to look at, and where in the scratch its hash is.
    parts: Box<[(usize, AttributeName, Cut)]>,
    buckets: HashMap<u64, Bucket, RandomState>,
}

impl Shape {
    /// A shape without filters. Each part comes with the place of its hash.
    pub(super) fn new<'f>(parts: impl Iterator<Item = (usize, Part<'f>)>) -> Self {
        let parts = parts.map(|(at, part)| (at, part.attribute.clone(), part.cut)).collect();
        Self { parts, buckets: HashMap::default() }
    }

    /// Adds an entry for the events whose parts are `values`, one for each part.
    ///
    /// Returns the entry when its key has the hash of another key: it needs another place.
    pub(super) fn insert(
        &mut self,
        hasher: &RandomState,
        values: impl Iterator<Item = impl AsRef<[u8]>> + Clone,
        entry: Entry,
    ) -> Result<(), Entry> {
        let hash = join(values.clone().map(|value| Some(hash(hasher, value.as_ref()))));
        let mut key = Vec::new();
        for value in values {
            key.extend_from_slice(value.as_ref());
            key.push(END);
        }
        let Some(hash) = hash else { return Err(entry) };
        match self.buckets.get_mut(&hash) {
            None => {
                let bucket = Bucket { key: key.into(), entries: smallvec![entry] };
                self.buckets.insert(hash, bucket);
            }
            Some(bucket) if *bucket.key == *key => bucket.entries.push(entry),
            Some(_other_key) => return Err(entry),
        }
        Ok(())
    }

    /// Gives back the memory that filling it has left over.
    pub(super) fn finish(&mut self) {
        self.buckets.shrink_to_fit();
        self.buckets.values_mut().for_each(|bucket| bucket.entries.shrink_to_fit());
    }

    /// The entries whose tests `event` passes, given the hashes of its parts.
    pub(super) fn find(
        &self,
        event: &(impl Attributes + ?Sized),
        hashes: &[Option<u64>],
    ) -> &[Entry] {
        let hash = join(self.parts.iter().map(|(at, ..)| hashes.get(*at).copied().flatten()));
        match hash.and_then(|hash| self.buckets.get(&hash)) {
            Some(bucket) if self.has_key(event, &bucket.key) => &bucket.entries,
            _ => &[],
        }
    }

    /// Whether the parts of `event` are those of `key`. Equal hashes do not prove it.
    fn has_key(&self, event: &(impl Attributes + ?Sized), key: &[u8]) -> bool {
        let rest = self.parts.iter().try_fold(key, |rest, (_, attribute, cut)| {
            let part = cut.take(attribute.read(event)?.as_bytes())?;
            rest.strip_prefix(part)?.strip_prefix(&[END])
        });
        rest.is_some_and(<[u8]>::is_empty)
    }
}

/// The filters of one shape that look for the same values.
#[derive(Debug)]
struct Bucket {
    /// The values, each with [`END`] after it.
    key: Box<[u8]>,
    entries: SmallVec<[Entry; 1]>,
}

/// A trigger where the index lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where the table keeps the trigger.
    pub(super) slot: u32,
    /// What the table's user calls it.
    pub(super) id: u32,
    /// Whether no other entry leads to this trigger.
    pub(super) is_sole: bool,
    /// Whether coming here proves that the filter accepts the event.
    pub(super) is_proven: bool,
}

/// The hash of one part.
pub(super) fn hash(hasher: &RandomState, part: &[u8]) -> u64 {
    hasher.hash_one(part)
}

/// The hash of a key from those of its parts, or `None` when the event lacks one.
fn join(mut hashes: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    // Half the digits of the golden ratio: odd, and its bits are well spread.
    hashes.try_fold(0_u64, |key, hash| {
        Some((key.rotate_left(23) ^ hash?).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    })
}
