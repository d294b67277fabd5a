//! Why a filter accepts an event or does not: the whole tree, with what was wanted and what was found.
//!
//! Nothing here decides anything: the result is that of [`Filter::accepts`], and a test holds it to
//! that. All elements are looked at, those too that deciding would leave out; of an expression of
//! CloudEvents SQL the parts that `AND`, `OR` and `IN` leave out say so, because looking at them could
//! be an error.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | a value, or a part of an expression, that is repeated | [`SHOWN_CHARS_MAX`] characters | cut, and ends in `...` |
//! | parts of an expression within each other | [`PARTS_DEPTH_MAX`] | what lies deeper is left out |

mod expression;
mod name;
mod near;
#[cfg(test)]
mod tests;
mod text;

use channel::Event;
use serde::Serialize;

pub use expression::{Part, Shown};

use crate::filter::{Check, Filter, Node, Test};

/// Longest value that is repeated, in characters.
pub const SHOWN_CHARS_MAX: usize = 256;

/// How deep parts of an expression are told.
pub const PARTS_DEPTH_MAX: usize = 24;

/// Says why `filter` accepts `event`, or why it does not.
pub fn explain(filter: &Filter, event: &Event) -> Explanation {
    let tree = step(filter.root(), "spec".to_owned(), event);
    let first_miss = (!tree.result).then(|| text::first_miss(&tree));
    Explanation { matches: tree.result, first_miss, tree }
}

/// Why an event is accepted or not. `Display` gives lines for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Whether the filter accepts the event.
    pub matches: bool,
    /// The first thing that does not hold, in words; `None` when the event is accepted.
    pub first_miss: Option<String>,
    /// The filter, in the order and nesting of the manifest.
    pub tree: Step,
}

/// One element of a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Where it is written, such as `spec.filters[1].any`.
    pub path: String,
    /// What it is.
    pub dialect: Dialect,
    /// Whether it holds.
    pub result: bool,
    /// The elements within: of `all`, `any` and `not`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Self>,
    /// The attributes that are looked at: of `exact`, `prefix`, `suffix` and `filter.attributes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<Tested>,
    /// The expression and its parts: of `cesql` and `sql`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<Part>,
}

/// The dialects of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Dialect {
    /// All within must hold; those of `spec.filters` too.
    All,
    /// One within must hold.
    Any,
    /// What is within must not hold.
    Not,
    /// `spec.filter.attributes`.
    Attributes,
    /// Attributes that must be texts.
    Exact,
    /// Attributes that must begin with texts.
    Prefix,
    /// Attributes that must end with texts.
    Suffix,
    /// An expression of CloudEvents SQL.
    Cesql,
}

/// One attribute that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// Its name.
    pub attribute: String,
    /// How it is compared.
    pub check: CheckKind,
    /// What it must be, begin or end with; `None` when it must only be there.
    pub expected: Option<String>,
    /// What it is; `None` when the event does not have it.
    pub actual: Option<String>,
    /// Whether the test holds.
    pub result: bool,
    /// What is nearly right, or what may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How an attribute is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckKind {
    /// It must be there, and not empty.
    Present,
    /// It must be this text.
    Exact,
    /// It must begin with this text.
    Prefix,
    /// It must end with this text.
    Suffix,
}

/// As deep as the filter: at most [`DEPTH_MAX`](crate::filter::DEPTH_MAX).
fn step(node: &Node, path: String, event: &Event) -> Step {
    let listed = |dialect, name, nodes: &[Node]| {
        // `spec` holds the list itself under a name of its own.
        let path =
            if path == "spec" { "spec.filters".to_owned() } else { format!("{path}.{name}") };
        let nodes = nodes.iter().enumerate();
        let children: Vec<Step> =
            nodes.map(|(place, node)| step(node, format!("{path}[{place}]"), event)).collect();
        let holds = |child: &Step| child.result;
        let result = match dialect {
            Dialect::Any => children.iter().any(holds),
            _ => children.iter().all(holds),
        };
        Step { children, ..leaf(path, dialect, result) }
    };
    match node {
        Node::All(nodes) => listed(Dialect::All, "all", nodes),
        Node::Any(nodes) => listed(Dialect::Any, "any", nodes),
        Node::Not(node) => {
            let path = format!("{path}.not");
            let child = step(node, path.clone(), event);
            let result = !child.result;
            Step { children: vec![child], ..leaf(path, Dialect::Not, result) }
        }
        Node::Tests(tests) => {
            let dialect = match tests.first().map(|test| CheckKind::of(&test.check)) {
                _ if path == "spec" => Dialect::Attributes,
                Some(CheckKind::Prefix) => Dialect::Prefix,
                Some(CheckKind::Suffix) => Dialect::Suffix,
                _ => Dialect::Exact,
            };
            let path = format!("{path}.{}", dialect.key());
            let tests: Vec<Tested> = tests.iter().map(|test| tested(test, event)).collect();
            let result = tests.iter().all(|test| test.result);
            Step { tests, ..leaf(path, dialect, result) }
        }
        Node::Sql(sql) => {
            let path = format!("{path}.{}", sql.dialect());
            let part = expression::part(sql.expression(), event);
            let result = sql.accepts(event);
            Step { expression: Some(part), ..leaf(path, Dialect::Cesql, result) }
        }
    }
}

fn leaf(path: String, dialect: Dialect, result: bool) -> Step {
    Step { path, dialect, result, children: Vec::new(), tests: Vec::new(), expression: None }
}

fn tested(test: &Test, event: &Event) -> Tested {
    let actual = test.attribute.read(event);
    let result = test.holds(event);
    let hint = match actual {
        _ if result => None,
        Some(actual) => near::value(&test.attribute, &test.check, actual),
        None => name::meant(&test.attribute.to_string(), event),
    };
    Tested {
        attribute: shorten(&test.attribute.to_string()),
        check: CheckKind::of(&test.check),
        expected: text_of(&test.check).map(shorten),
        actual: actual.map(shorten),
        result,
        hint,
    }
}

impl CheckKind {
    fn of(check: &Check) -> Self {
        match check {
            Check::Present => Self::Present,
            Check::Exact(_) => Self::Exact,
            Check::Prefix(_) => Self::Prefix,
            Check::Suffix(_) => Self::Suffix,
        }
    }
}

impl Dialect {
    /// The field that it is written in.
    fn key(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
            Self::Not => "not",
            Self::Attributes => "filter.attributes",
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Suffix => "suffix",
            Self::Cesql => "cesql",
        }
    }
}

fn text_of(check: &Check) -> Option<&str> {
    match check {
        Check::Present => None,
        Check::Exact(text) | Check::Prefix(text) | Check::Suffix(text) => Some(text),
    }
}

/// A text as it may be repeated.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}
