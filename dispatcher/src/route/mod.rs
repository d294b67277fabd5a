//! Which triggers of a broker want an event, found without asking each of them.
//!
//! Every filter is written out as alternatives (`normal`), and every alternative is listed under
//! the parts of an event that it looks at: whole attributes, or so many bytes at their beginning
//! or end. Alternatives that look at the same parts share a `shape`, a hash map from what is
//! found there. So an event costs one look-up for each shape, and one check for each trigger that
//! it all but matches; how many triggers there are does not matter.
//!
//! What cannot be looked up is asked every time: a filter with only `not` in it, or only the
//! presence of an attribute, an `any` longer than 64, or CloudEvents SQL that fixes no attribute by
//! `=`, `IN` or `LIKE`. [`Counts::unindexed`] says how many.
//!
//! A table never changes. When triggers do, a new one is built and swapped in.

mod build;
mod normal;
mod scratch;
mod shape;
#[cfg(test)]
mod tests;

use channel::Attributes;
use foldhash::fast::RandomState;

pub use scratch::Scratch;

use crate::filter::{AttributeName, Filter};
use build::{Index, build};
use shape::{Cut, Entry, Shape, hash};

/// Most shapes in a table. A broker whose filters have more is matched by coarser shapes.
pub const SHAPES_MAX: usize = 256;

/// Below so many triggers, asking each of them is as fast as an index: a filter with two attributes
/// costs about 40 ns, mostly to read them, and an index begins at 100 to 180 ns.
const INDEXED_MIN: usize = 5;

/// The triggers of a broker, by what they want.
#[derive(Debug)]
pub struct RouteTable {
    triggers: Box<[Trigger]>,
    /// Entries for every event.
    always: Box<[Entry]>,
    /// What to look at in an event, in the order of [`Scratch::hashes`].
    columns: Box<[Column]>,
    hasher: RandomState,
    counts: Counts,
}

#[derive(Debug)]
struct Trigger {
    id: u32,
    filter: Filter,
}

/// An attribute that filters look at.
#[derive(Debug)]
struct Column {
    attribute: AttributeName,
    /// Which parts of it, for all shapes of the table.
    cuts: Box<[Cut]>,
    /// The shapes that need it first: an event without it passes them over together.
    shapes: Box<[Shape]>,
}

/// What a table is made of, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Triggers in the table.
    pub triggers: usize,
    /// Look-ups an event needs at most: [`SHAPES_MAX`] or fewer; 0 in a small table, where each
    /// trigger is asked.
    pub shapes: usize,
    /// Triggers whose filter has nothing to look up, so that every event asks them. Those that
    /// want every event do not count: they cost nothing but the match.
    pub unindexed: usize,
}

impl RouteTable {
    /// Builds the table of these triggers. `id` is what [`matches`](Self::matches) reports, and
    /// must not occur twice.
    ///
    /// Takes about a microsecond for each trigger, more for one with many alternatives.
    pub fn new<'f>(triggers: impl IntoIterator<Item = (u32, &'f Filter)>) -> Self {
        let triggers: Box<[Trigger]> = triggers
            .into_iter()
            .map(|(id, filter)| Trigger { id, filter: filter.clone() })
            .collect();
        let hasher = RandomState::default();
        let Index { mut always, mut columns, mut shapes } = build(&triggers, &hasher);
        let mut asked: Vec<u32> =
            always.iter().filter(|entry| !entry.is_proven).map(|entry| entry.slot).collect();
        asked.sort_unstable();
        asked.dedup();
        let unindexed = asked.len();
        if triggers.len() < INDEXED_MIN {
            let entries = (0..=u32::MAX).zip(&triggers);
            always = entries
                .map(|(slot, trigger)| Entry {
                    slot,
                    id: trigger.id,
                    is_sole: true,
                    is_proven: false,
                })
                .collect();
            (columns, shapes) = (Vec::new(), 0);
        }
        let counts = Counts { triggers: triggers.len(), shapes, unindexed };
        Self { triggers, always: always.into(), columns: columns.into(), hasher, counts }
    }

    /// Calls `found` with the id of every trigger that wants `event`, once each, in no order that
    /// means anything.
    ///
    /// Allocates only while `scratch` grows: the first events of a worker, and of a larger table.
    pub fn matches(
        &self,
        event: &(impl Attributes + ?Sized),
        scratch: &mut Scratch,
        mut found: impl FnMut(u32),
    ) {
        scratch.begin(self.triggers.len());
        let Scratch { hashes, present, seen } = scratch;
        let mut visit = |entry: &Entry| {
            let is_new = entry.is_sole || seen.is_first(entry.slot);
            if is_new && (entry.is_proven || self.accepts(entry.slot, event)) {
                found(entry.id);
            }
        };
        self.always.iter().for_each(&mut visit);
        for column in &self.columns {
            let text = column.attribute.read(event).map(str::as_bytes);
            present.push(text.is_some());
            hashes.extend(column.cuts.iter().map(|cut| {
                text.and_then(|text| cut.take(text)).map(|part| hash(&self.hasher, part))
            }));
        }
        for (column, _) in self.columns.iter().zip(present).filter(|(_, present)| **present) {
            for shape in &column.shapes {
                shape.find(event, hashes).iter().for_each(&mut visit);
            }
        }
    }

    /// How many triggers there are and how well they are indexed.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn accepts(&self, slot: u32, event: &(impl Attributes + ?Sized)) -> bool {
        let trigger = usize::try_from(slot).ok().and_then(|slot| self.triggers.get(slot));
        trigger.is_some_and(|trigger| trigger.filter.accepts(event))
    }
}
