//! A filter as the alternatives by which an event may satisfy it.
//!
//! The alternatives are a cover, not always an equivalent: every event that the filter accepts
//! satisfies one of them. What cannot be looked up (`not`, presence, a list too long to write
//! out, most of CloudEvents SQL) is left out of an alternative, which then says so with
//! [`Alternative::is_partial`].

use smallvec::SmallVec;

use super::shape::Part;
use crate::filter::{Check, Node, Test};

/// How many alternatives are written out; what would need more is covered more coarsely.
pub(super) const ALTERNATIVES_MAX: usize = 64;

/// How many tests an alternative is looked up by; the filter itself checks the others.
const TESTS_MAX: usize = 16;

/// Tests that hold together, sorted and free of each other, on texts that can be looked up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Alternative<'f> {
    /// `exact`, `prefix` and `suffix` only. None: any event may satisfy this alternative.
    pub(super) tests: SmallVec<[&'f Test; 4]>,
    /// Whether an event that passes the tests may still be refused by the filter.
    pub(super) is_partial: bool,
}

impl<'f> Alternative<'f> {
    /// Any event may satisfy it, none surely does.
    fn unknown() -> Self {
        Self { tests: SmallVec::new(), is_partial: true }
    }

    /// Adds `test`. `false` when no text can pass it together with those already here.
    fn add(&mut self, test: &'f Test) -> bool {
        if matches!(test.check, Check::Present) || !test.attribute.compares_by_bytes() {
            self.is_partial = true;
            return true;
        }
        for held in self.tests.iter().filter(|held| held.attribute == test.attribute) {
            if excludes(&held.check, &test.check) {
                return false;
            }
            if implies(&held.check, &test.check) {
                return true;
            }
        }
        self.tests
            .retain(|held| held.attribute != test.attribute || !implies(&test.check, &held.check));
        if self.tests.len() < TESTS_MAX {
            self.tests.push(test);
        } else {
            self.is_partial = true;
        }
        true
    }

    /// Both at once, or `None` when no event can satisfy both.
    fn and(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        both.is_partial |= other.is_partial;
        other.tests.iter().all(|test| both.add(test)).then_some(both)
    }
}

/// The alternatives of a whole filter: at most [`ALTERNATIVES_MAX`], none of them twice. None at
/// all: no event satisfies the filter.
pub(super) fn cover(root: &Node) -> Vec<Alternative<'_>> {
    let mut cover = of_node(root, false);
    for alternative in &mut cover {
        alternative.tests.sort_by_key(|test| Part::of(test));
    }
    let mut kept: Vec<Alternative<'_>> = Vec::with_capacity(cover.len());
    for alternative in cover {
        match kept.iter_mut().find(|held| held.tests == alternative.tests) {
            Some(held) => held.is_partial &= alternative.is_partial,
            None => kept.push(alternative),
        }
    }
    kept
}

/// The alternatives of `node`, or of its opposite.
fn of_node(node: &Node, negated: bool) -> Vec<Alternative<'_>> {
    match (node, negated) {
        (Node::Not(child), negated) => of_node(child, !negated),
        (Node::All(children), false) | (Node::Any(children), true) => {
            every(children.iter().map(|child| of_node(child, negated)))
        }
        (Node::Any(children), false) | (Node::All(children), true) => {
            either(children.iter().map(|child| of_node(child, negated)))
        }
        (Node::Tests(tests), false) => {
            let mut alternative = Alternative::default();
            if tests.iter().all(|test| alternative.add(test)) {
                vec![alternative]
            } else {
                Vec::new()
            }
        }
        (Node::Sql(sql), false) => {
            let mut cover = of_node(sql.needs(), false);
            cover.iter_mut().for_each(|alternative| alternative.is_partial = true);
            cover
        }
        (Node::Tests(_) | Node::Sql(_), true) => vec![Alternative::unknown()],
    }
}

/// One alternative of any of the covers.
fn either<'f>(covers: impl Iterator<Item = Vec<Alternative<'f>>>) -> Vec<Alternative<'f>> {
    let mut sum = Vec::new();
    for cover in covers {
        sum.extend(cover);
        if sum.len() > ALTERNATIVES_MAX {
            return vec![Alternative::unknown()];
        }
    }
    sum
}

/// One alternative of each of the covers at once.
fn every<'f>(covers: impl Iterator<Item = Vec<Alternative<'f>>>) -> Vec<Alternative<'f>> {
    covers.fold(vec![Alternative::default()], |product, cover| {
        if product.len().saturating_mul(cover.len()) <= ALTERNATIVES_MAX {
            let pairs = product.iter().flat_map(|left| cover.iter().map(|right| left.and(right)));
            pairs.flatten().collect()
        } else {
            // Either side alone still covers every event that satisfies both.
            let mut narrower = narrower(product, cover);
            narrower.iter_mut().for_each(|alternative| alternative.is_partial = true);
            narrower
        }
    })
}

/// The cover that can be looked up, or the shorter one when both or neither can.
fn narrower<'f>(left: Vec<Alternative<'f>>, right: Vec<Alternative<'f>>) -> Vec<Alternative<'f>> {
    let cost = |cover: &[Alternative<'_>]| {
        (cover.iter().any(|alternative| alternative.tests.is_empty()), cover.len())
    };
    if cost(&right) < cost(&left) { right } else { left }
}

/// Whether every text that passes `left` passes `right`.
fn implies(left: &Check, right: &Check) -> bool {
    match (left, right) {
        (Check::Exact(text), right) => right.holds(text),
        (Check::Prefix(long), Check::Prefix(short)) => long.starts_with(&**short),
        (Check::Suffix(long), Check::Suffix(short)) => long.ends_with(&**short),
        _ => false,
    }
}

/// Whether no text passes both.
fn excludes(left: &Check, right: &Check) -> bool {
    match (left, right) {
        (Check::Exact(text), other) | (other, Check::Exact(text)) => !other.holds(text),
        (Check::Prefix(_), Check::Prefix(_)) | (Check::Suffix(_), Check::Suffix(_)) => {
            !implies(left, right) && !implies(right, left)
        }
        _ => false,
    }
}
