//! CloudEvents SQL 1.0: expressions over the attributes of an event.
//!
//! An expression is parsed once and evaluated for every event: it gives a [`Value`] and the set of
//! [`Fault`]s that were met. As a filter it accepts an event when it comes to `true` without a
//! fault. The data of an event cannot be asked for.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | length of an expression | [`LENGTH_MAX_BYTES`], 4 KiB | does not parse |
//! | nesting | [`DEPTH_MAX`], 64 levels; `a OR b OR ...` is one | does not parse |
//! | steps of an evaluation | [`STEPS_MAX`], 10,000 | [`Fault::Steps`], not accepted |
//! | text that functions make in an evaluation | [`BUILT_BYTES_MAX`], 256 KiB | [`Fault::Built`], not accepted |
//!
//! A step is a node of the tree, a place where `LIKE` tries to match, or some tens of bytes of
//! text that are looked at. Only `LIKE` on texts of many kilobytes comes near the limit.
//!
//! # Where the specification leaves a choice
//!
//! - `AND`, `OR` and `XOR` have one level. The text of the specification (3.6) reads them from left
//!   to right, its published grammar and the SDKs from right to left: `false AND true OR true` is
//!   false. Users of Knative see the grammar, so this engine does as the grammar.
//!   [`Expression::mixes_logic`] tells of such an expression, and parentheses settle it.
//! - A cast from Integer to Boolean is required (3.7), so `NOT 10` is false without a fault. One
//!   case of the TCK says otherwise; the SDKs have changed it in their copies.
//! - An operator with an operand that has a fault gives the zero value of its own type, which is
//!   what the TCK expects (`true AND (1 != 1 / 0)` is false). `AND` and `OR` do not look further
//!   after a faulty left operand.
//! - Overflow of `+`, `-` and `*` is not defined: it gives the wrapped number and
//!   [`Fault::Overflow`]. `-2147483648 % -1` is 0, which is right and no overflow.
//! - `4 -1`, `n-1` and `1+1` are arithmetic; by longest match their signs would belong to the
//!   numbers, and the grammar refuses them. `-1` is a number, `- 1` negates one.
//! - A doubled quote (`'it''s'`) is two texts, which does not parse. The grammar takes it for one
//!   and keeps both quotes, which nobody means.
//! - Names of attributes are lower-cased. Lengths and positions count characters.
//! - Numbers and truth values are such when the event came with them in JSON; in a header, and in
//!   every core attribute, they are text.
//! - As a filter, an expression that could never accept an event is refused: one that is not
//!   Boolean, one that calls a function that is not there, one that compares a text by `<`, or
//!   `"type"` in quotes with a text.

mod call;
mod error;
mod evaluate;
mod fault;
mod function;
mod lexer;
mod parser;
mod pattern;
mod print;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use std::fmt;

use channel::Attributes;

pub use error::{ParseError, Problem};
pub use fault::{Fault, Faults};
pub use function::Function;
pub use pattern::Pattern;
pub use tree::{Arithmetic, Comparison, Expr, Logic};
pub use value::{Type, Value};

/// Longest expression, in bytes. A longer one is refused before it is read.
pub const LENGTH_MAX_BYTES: usize = 4096;

/// How deep an expression may be nested: parentheses and argument lists, and the tree itself.
pub const DEPTH_MAX: usize = 64;

/// Most steps of one evaluation.
pub const STEPS_MAX: u32 = 10_000;

/// Most bytes of text that functions may make in one evaluation.
pub const BUILT_BYTES_MAX: usize = 256 * 1024;

/// A parsed expression. Prints as an expression that parses to the same tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    root: Expr,
}

impl Expression {
    /// Parses an expression of any type.
    ///
    /// A call of a function that is not there is no error here: evaluating it gives
    /// [`Fault::MissingFunction`]. Takes time in proportion to the length.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, and where.
    ///
    /// Spec: CESQL 1.0, 2.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parser::parse(text, false).map(|root| Self { root })
    }

    /// Parses an expression that is to be a filter.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse), and what could not come to `true`, or only by leaving out
    /// a part that is wrong: a value that is not Boolean, a function that is not there, a text
    /// where an operator needs another type.
    ///
    /// Spec: CESQL 1.0, 1.2 and 3.3 (checks SHOULD be done at compile time).
    pub fn parse_filter(text: &str) -> Result<Self, ParseError> {
        parser::parse(text, true).map(|root| Self { root })
    }

    /// The value for `event`, and everything that went wrong on the way to it: the *complete
    /// evaluation mode* of the specification.
    ///
    /// At most [`STEPS_MAX`] steps. Allocates only for text that functions make, and for numbers
    /// that are cast to text.
    ///
    /// Spec: CESQL 1.0, 3 and 4.1.
    pub fn evaluate<'x>(&'x self, event: &'x (impl Attributes + ?Sized)) -> Evaluation<'x> {
        evaluate::complete(&self.root, event)
    }

    /// Whether the value for `event` is `true`, and nothing went wrong: the *fail fast mode* of
    /// the specification.
    ///
    /// Bounds as for [`evaluate`](Self::evaluate), which it agrees with on every event.
    ///
    /// Spec: CESQL 1.0, 1.2 and 4.1.
    pub fn accepts(&self, event: &(impl Attributes + ?Sized)) -> bool {
        evaluate::accepts(&self.root, event)
    }

    /// The type of its value, or `None` when it is a lone attribute, whose type is the event's.
    pub fn result_type(&self) -> Option<Type> {
        self.root.result_type()
    }

    /// Whether `AND`, `OR` and `XOR` meet somewhere without parentheses between them: worth a
    /// warning, since readers differ over which comes first.
    pub fn mixes_logic(&self) -> bool {
        self.root.mixes_logic()
    }

    /// How the first place is read where they meet, with parentheses:
    /// `a AND b OR c` is `a AND (b OR c)`.
    pub fn mixed_reading(&self) -> Option<String> {
        self.root.mixed_reading()
    }

    /// The tree.
    pub fn root(&self) -> &Expr {
        &self.root
    }
}

/// The value of one part of an expression on its own; see [`Expression::evaluate`].
pub(crate) fn evaluate_part<'x>(
    part: &'x Expr,
    event: &'x (impl Attributes + ?Sized),
) -> Evaluation<'x> {
    evaluate::complete(part, event)
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

/// What an evaluation comes to. Spec: CESQL 1.0, 3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'x> {
    /// The value; where a fault leaves none, the zero value of the expression's type.
    pub value: Value<'x>,
    /// What went wrong.
    pub faults: Faults<'x>,
}
