//! What must be so of one attribute, and which of that excludes each other.

use std::fmt;
use std::rc::Rc;

use super::{Impossible, domain};
use crate::filter::{AttributeName, Check};

/// Facts that are held against each other; further ones are not looked at.
const FACTS_MAX: usize = 256;

/// Longest text that is repeated, in characters.
const QUOTED_MAX_CHARS: usize = 64;

/// Something that must be so of one attribute.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    /// Which.
    pub(super) attribute: AttributeName,
    /// What.
    pub(super) what: What,
    /// Where that is written.
    pub(super) path: Rc<str>,
}

/// What can be so of an attribute.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// It is there.
    There,
    /// It is not there.
    Absent,
    /// It is there, and reads as a number or a truth value.
    NoText,
    /// It is there, and passes.
    Is(Check),
    /// It is not there, or does not pass.
    IsNot(Check),
}

/// Facts that must all be so.
#[derive(Debug, Default)]
pub(super) struct Facts(Vec<Fact>);

impl Facts {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Adds a fact. Says why it cannot be so, if it cannot.
    pub(super) fn add(&mut self, new: &Fact) -> Option<Impossible> {
        let impossible = |reason| Some(Impossible { path: Rc::clone(&new.path), reason });
        if let Some(reason) = domain::never(new) {
            return impossible(reason);
        }
        let of_same = self.0.iter().filter(|old| old.attribute == new.attribute);
        for old in of_same {
            if excludes(&old.what, &new.what) || excludes(&new.what, &old.what) {
                let (name, before, now) = (&new.attribute, &old.what, &new.what);
                return impossible(if old.path == new.path {
                    format!("`{name}` would have to {before} and {now}")
                } else {
                    format!("`{name}` would have to {now}, and {before} ({})", old.path)
                });
            }
        }
        if self.0.len() < FACTS_MAX {
            self.0.push(new.clone());
        }
        None
    }
}

/// Whether `left` cannot be so when `right` is. Asked both ways.
fn excludes(left: &What, right: &What) -> bool {
    match (left, right) {
        (What::Absent, What::There | What::NoText | What::Is(_)) => true,
        (What::Is(Check::Exact(text)), What::Is(check)) => !check.holds(text),
        (What::Is(Check::Exact(text)), What::IsNot(check)) => check.holds(text),
        (What::Is(Check::Prefix(left)), What::Is(Check::Prefix(right))) => {
            !left.starts_with(&**right) && !right.starts_with(&**left)
        }
        (What::Is(Check::Suffix(left)), What::Is(Check::Suffix(right))) => {
            !left.ends_with(&**right) && !right.ends_with(&**left)
        }
        (What::Is(Check::Prefix(left)), What::IsNot(Check::Prefix(right))) => {
            left.starts_with(&**right)
        }
        (What::Is(Check::Suffix(left)), What::IsNot(Check::Suffix(right))) => {
            left.ends_with(&**right)
        }
        _ => false,
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (not, check) = match self {
            Self::There => return f.write_str("be there"),
            Self::Absent => return f.write_str("be absent"),
            Self::NoText => return f.write_str("be a number or a truth value"),
            Self::Is(check) => ("", check),
            Self::IsNot(check) => ("not ", check),
        };
        match check {
            Check::Present => write!(f, "{not}be there and not empty"),
            Check::Exact(text) => write!(f, "{not}be {}", quoted(text)),
            Check::Prefix(text) => write!(f, "{not}begin with {}", quoted(text)),
            Check::Suffix(text) => write!(f, "{not}end with {}", quoted(text)),
        }
    }
}

/// A text as a message may repeat it.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED_MAX_CHARS).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{more}")
}
