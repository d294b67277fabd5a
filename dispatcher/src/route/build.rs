//! Builds the index: which shapes there are, and which trigger is listed where.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::normal::{Alternative, cover};
use super::shape::{Cut, Entry, Part, Shape};
use super::{Column, SHAPES_MAX, Trigger};

/// How many shapes stay as they are when there are more than [`SHAPES_MAX`]; the rest of the room
/// is for the coarser shapes that stand in for the others.
const SHAPES_KEPT: usize = SHAPES_MAX / 4 * 3;

/// What an index is made of.
#[derive(Debug)]
pub(super) struct Index {
    /// Entries for every event.
    pub(super) always: Vec<Entry>,
    pub(super) columns: Vec<Column>,
    pub(super) shapes: usize,
}

/// Lists every trigger under each alternative of its filter.
pub(super) fn build(triggers: &[Trigger], hasher: &RandomState) -> Index {
    let mut always = Vec::new();
    let mut candidates = Vec::with_capacity(triggers.len());
    for (slot, trigger) in (0..=u32::MAX).zip(triggers) {
        let cover = cover(trigger.filter.root());
        let entry = Entry { slot, id: trigger.id, is_sole: cover.len() <= 1, is_proven: false };
        let open = |alternative: &Alternative<'_>| alternative.tests.is_empty();
        if cover.iter().any(open) {
            // An event that none of the other alternatives finds may still satisfy this one.
            let is_proven = cover.iter().any(|way| open(way) && !way.is_partial);
            always.push(Entry { is_sole: true, is_proven, ..entry });
        } else {
            candidates.extend(cover.iter().map(|alternative| Candidate::new(entry, alternative)));
        }
    }
    limit_shapes(&mut candidates, &mut always);
    let (columns, shapes) = fill(&candidates, hasher, &mut always);
    Index { always, columns, shapes }
}

/// What a shape looks at, sorted.
type Parts<'f> = SmallVec<[Part<'f>; 4]>;

/// An entry and what an event must have to come there.
struct Candidate<'f> {
    entry: Entry,
    parts: Parts<'f>,
    /// What each part must be.
    values: SmallVec<[&'f [u8]; 4]>,
}

impl<'f> Candidate<'f> {
    fn new(entry: Entry, alternative: &Alternative<'f>) -> Self {
        Self {
            entry: Entry { is_proven: !alternative.is_partial, ..entry },
            parts: alternative.tests.iter().map(|test| Part::of(test)).collect(),
            values: alternative.tests.iter().map(|test| Cut::of(&test.check).1).collect(),
        }
    }

    /// Each part alone and coarser, so that few shapes serve many: whole values as they are, the
    /// lengths of beginnings and ends rounded down to a power of two.
    fn coarse_parts(&self) -> impl Iterator<Item = (Part<'f>, &'f [u8])> {
        let round = |len: usize| len.checked_ilog2().map_or(0, |log| 1 << log);
        self.parts.iter().zip(&self.values).filter_map(move |(part, value)| {
            let cut = match part.cut {
                Cut::Whole => Cut::Whole,
                Cut::First(len) => Cut::First(round(len)),
                Cut::Last(len) => Cut::Last(round(len)),
            };
            Some((Part::new(part.attribute, cut), cut.take(value)?))
        })
    }
}

/// Makes room when there are too many shapes: the rarest are given up, and what they held is
/// listed by its most selective part, or under `always` when there is no room for that either.
fn limit_shapes(candidates: &mut Vec<Candidate<'_>>, always: &mut Vec<Entry>) {
    let mut uses: HashMap<&Parts<'_>, usize, RandomState> = HashMap::default();
    for candidate in candidates.iter() {
        *uses.entry(&candidate.parts).or_default() += 1;
    }
    if uses.len() <= SHAPES_MAX {
        return;
    }
    let mut by_use: Vec<_> = uses.into_iter().map(|(parts, uses)| (Reverse(uses), parts)).collect();
    by_use.sort_unstable();
    let kept: HashSet<Parts<'_>, RandomState> =
        by_use.into_iter().take(SHAPES_KEPT).map(|(_, parts)| parts.clone()).collect();

    let mut values: HashMap<(Part<'_>, &[u8]), usize, RandomState> = HashMap::default();
    for candidate in candidates.iter().filter(|candidate| !kept.contains(&candidate.parts)) {
        for part in candidate.coarse_parts() {
            *values.entry(part).or_default() += 1;
        }
    }
    let mut shapes = kept.clone();
    candidates.retain_mut(|candidate| {
        if kept.contains(&candidate.parts) {
            return true;
        }
        candidate.entry.is_proven = false;
        let mut parts: SmallVec<[_; 4]> = candidate.coarse_parts().collect();
        parts.sort_by_key(|part| (values.get(part).copied(), *part));
        let place = parts.into_iter().find(|(part, _)| {
            let alone = Parts::from_iter([*part]);
            shapes.contains(&alone) || (shapes.len() < SHAPES_MAX && shapes.insert(alone))
        });
        match place {
            Some((part, value)) => {
                candidate.parts = Parts::from_iter([part]);
                candidate.values = SmallVec::from_iter([value]);
                true
            }
            None => {
                always.push(candidate.entry);
                false
            }
        }
    });
}

/// Makes the shapes and puts every candidate in its own. Returns the columns and how many shapes
/// there are.
fn fill(
    candidates: &[Candidate<'_>],
    hasher: &RandomState,
    always: &mut Vec<Entry>,
) -> (Vec<Column>, usize) {
    let parts: BTreeSet<Part<'_>> =
        candidates.iter().flat_map(|candidate| candidate.parts.iter().copied()).collect();
    let places: HashMap<Part<'_>, usize, RandomState> =
        parts.iter().enumerate().map(|(place, part)| (*part, place)).collect();

    let mut shapes: HashMap<&Parts<'_>, Shape, RandomState> = HashMap::default();
    for candidate in candidates {
        let shape = shapes.entry(&candidate.parts).or_insert_with(|| {
            let placed = candidate.parts.iter().map(|part| (places.get(part).copied(), *part));
            Shape::new(placed.filter_map(|(place, part)| Some((place?, part))))
        });
        if let Err(entry) = shape.insert(hasher, candidate.values.iter(), candidate.entry) {
            always.push(Entry { is_proven: false, ..entry });
        }
    }
    let count = shapes.len();
    let mut sorted: Vec<_> = shapes.into_iter().collect();
    sorted.sort_unstable_by_key(|(parts, _)| *parts);
    let mut sorted = sorted.into_iter().peekable();

    let mut parts = parts.into_iter().peekable();
    let mut columns = Vec::new();
    while let Some(first) = parts.next() {
        let mut cuts = vec![first.cut];
        while let Some(next) = parts.next_if(|next| next.attribute == first.attribute) {
            cuts.push(next.cut);
        }
        let mut led = Vec::new();
        while let Some((_, mut shape)) = sorted.next_if(|(parts, _)| {
            parts.first().is_some_and(|part| part.attribute == first.attribute)
        }) {
            shape.finish();
            led.push(shape);
        }
        columns.push(Column {
            attribute: first.attribute.clone(),
            cuts: cuts.into(),
            shapes: led.into(),
        });
    }
    (columns, count)
}
