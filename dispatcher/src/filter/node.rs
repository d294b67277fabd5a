//! The compiled tree: tests on attributes and expressions, joined by all, any and not.

use channel::Attributes;

use super::{AttributeName, Sql};

/// One element of a trigger's filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Every child accepts. Without children: everything, which only an absent filter means.
    All(Box<[Self]>),
    /// At least one child accepts.
    Any(Box<[Self]>),
    /// The child does not accept.
    Not(Box<Self>),
    /// Every test holds: one `exact`, `prefix` or `suffix` map, or the old `filter.attributes`.
    Tests(Box<[Test]>),
    /// An expression of CloudEvents SQL accepts.
    Sql(Box<Sql>),
}

impl Node {
    /// Whether this element accepts `event`. As deep as the tree: at most
    /// [`DEPTH_MAX`](super::DEPTH_MAX).
    pub fn accepts(&self, event: &(impl Attributes + ?Sized)) -> bool {
        match self {
            Self::All(children) => children.iter().all(|child| child.accepts(event)),
            Self::Any(children) => children.iter().any(|child| child.accepts(event)),
            Self::Not(child) => !child.accepts(event),
            Self::Tests(tests) => tests.iter().all(|test| test.holds(event)),
            Self::Sql(sql) => sql.accepts(event),
        }
    }
}

/// One attribute and what its text must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The attribute to look at.
    pub attribute: AttributeName,
    /// What its text must be.
    pub check: Check,
}

impl Test {
    /// Whether the test holds for `event`. An attribute that is missing fails every test.
    pub fn holds(&self, event: &(impl Attributes + ?Sized)) -> bool {
        let Some(text) = self.attribute.read(event) else {
            return false;
        };
        if self.attribute.compares_by_bytes() {
            self.check.holds(text)
        } else {
            self.check.holds_in_any_case(text)
        }
    }
}

/// What a text must be. The values are never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Not empty: an empty value in the old `filter.attributes`.
    Present,
    /// The same text.
    Exact(Box<str>),
    /// A text that begins with this one.
    Prefix(Box<str>),
    /// A text that ends with this one.
    Suffix(Box<str>),
}

impl Check {
    /// Whether `text` is as it must be, byte by byte.
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Present => !text.is_empty(),
            Self::Exact(value) => text == &**value,
            Self::Prefix(value) => text.starts_with(&**value),
            Self::Suffix(value) => text.ends_with(&**value),
        }
    }

    /// Whether `text` is as it must be, ASCII letters of either case being the same.
    fn holds_in_any_case(&self, text: &str) -> bool {
        let (text, same) = (text.as_bytes(), <[u8]>::eq_ignore_ascii_case);
        match self {
            Self::Present => !text.is_empty(),
            Self::Exact(value) => same(text, value.as_bytes()),
            Self::Prefix(value) => {
                text.get(..value.len()).is_some_and(|start| same(start, value.as_bytes()))
            }
            Self::Suffix(value) => text
                .len()
                .checked_sub(value.len())
                .and_then(|at| text.get(at..))
                .is_some_and(|end| same(end, value.as_bytes())),
        }
    }
}
