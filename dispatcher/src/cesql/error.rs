//! Why a text is not an expression, where, and what may have been meant.

use std::borrow::Cow;

use super::{DEPTH_MAX, LENGTH_MAX_BYTES, Type};

/// The `ParseError` of the specification: what is wrong, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at position {position}{}", suffix(.hint))]
pub struct ParseError {
    /// What is wrong.
    pub problem: Problem,
    /// Where, in bytes from the start of the expression, counted from 0.
    pub position: usize,
    /// What to write instead, or why this cannot be, where that can be told.
    pub hint: Option<Cow<'static, str>>,
}

/// The hint as it follows a message.
fn suffix(hint: &Option<Cow<'static, str>>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!(": {hint}"))
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Refused before it is read.
    #[error("the expression has {0} bytes, {LENGTH_MAX_BYTES} are allowed")]
    TooLong(usize),
    /// Parentheses, operators or calls within each other.
    #[error("the expression is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
    /// A character that no expression has outside of a text.
    #[error("unexpected character {0:?}")]
    Character(char),
    /// A text that does not end.
    #[error("the text that begins here has no closing quote")]
    UnclosedText,
    /// An integer that 32 bits cannot hold.
    #[error("the number is out of range, it must be between -2147483648 and 2147483647")]
    NumberRange,
    /// Something else was expected.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What may stand here.
        expected: &'static str,
        /// What stands here, as a message may repeat it.
        found: Box<str>,
    },
    /// No function answers to this call. Only in a filter: elsewhere the evaluation says so.
    #[error("there is no function {name} with {arity} argument(s)")]
    NoFunction {
        /// The name, in upper case.
        name: Box<str>,
        /// How many arguments it is called with.
        arity: usize,
    },
    /// A text that can never be cast to what the operator needs. Only in a filter.
    #[error("{operator} needs a value of type {needed}, and the text is none")]
    NeverCast {
        /// The operator, as it is written.
        operator: &'static str,
        /// What it needs.
        needed: Type,
    },
    /// A text that looks like a name, and other texts. Only in a filter.
    #[error("a text is compared with a text, which comes out the same for every event")]
    TextsCompared,
    /// A filter that cannot be true. Only in a filter.
    #[error("a filter must come to true or false, this expression comes to a value of type {0}")]
    NotBoolean(Type),
}

impl ParseError {
    pub(super) fn new(problem: Problem, position: usize) -> Self {
        Self { problem, position, hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
