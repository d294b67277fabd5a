//! The functions there are: names, how many arguments, what comes back.

use std::fmt;

use super::Type;

/// A built-in function. Spec: CESQL 1.0, 3.5, and `INT`, `BOOL`, `STRING` of its TCK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `LENGTH(x)`: how many characters.
    Length,
    /// `CONCAT(x, ...)`: all of them in a row.
    Concat,
    /// `CONCAT_WS(delimiter, x, ...)`: the same with a delimiter between them.
    ConcatWs,
    /// `LOWER(x)`.
    Lower,
    /// `UPPER(x)`.
    Upper,
    /// `TRIM(x)`: without Unicode white space around it.
    Trim,
    /// `LEFT(x, n)`: the first characters.
    Left,
    /// `RIGHT(x, n)`: the last characters.
    Right,
    /// `SUBSTRING(x, pos)` and `SUBSTRING(x, pos, len)`.
    Substring,
    /// `ABS(x)`.
    Abs,
    /// `INT(x)`: a cast.
    Int,
    /// `BOOL(x)`: a cast.
    Bool,
    /// `STRING(x)`: a cast.
    String,
    /// `IS_INT(x)`: whether `INT` can cast it. Not in the specification; Knative has it.
    IsInt,
    /// `IS_BOOL(x)`: whether `BOOL` can cast it. Not in the specification; Knative has it.
    IsBool,
}

impl Function {
    /// All functions, by name.
    pub const ALL: [Self; 15] = [
        Self::Abs,
        Self::Bool,
        Self::Concat,
        Self::ConcatWs,
        Self::Int,
        Self::IsBool,
        Self::IsInt,
        Self::Left,
        Self::Length,
        Self::Lower,
        Self::Right,
        Self::String,
        Self::Substring,
        Self::Trim,
        Self::Upper,
    ];

    /// The function of this name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name().eq_ignore_ascii_case(name))
    }

    /// The function whose name is nearest to this one, if any is near.
    pub(super) fn near(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        Self::ALL
            .into_iter()
            .map(|function| (strsim::jaro_winkler(function.name(), &name), function))
            .filter(|(nearness, _)| *nearness >= 0.75)
            .max_by(|(left, _), (right, _)| left.total_cmp(right))
            .map(|(_, function)| function)
    }

    /// Its name, in upper case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Length => "LENGTH",
            Self::Concat => "CONCAT",
            Self::ConcatWs => "CONCAT_WS",
            Self::Lower => "LOWER",
            Self::Upper => "UPPER",
            Self::Trim => "TRIM",
            Self::Left => "LEFT",
            Self::Right => "RIGHT",
            Self::Substring => "SUBSTRING",
            Self::Abs => "ABS",
            Self::Int => "INT",
            Self::Bool => "BOOL",
            Self::String => "STRING",
            Self::IsInt => "IS_INT",
            Self::IsBool => "IS_BOOL",
        }
    }

    /// How many arguments it takes, at least and at most.
    pub fn arity(self) -> (usize, usize) {
        match self {
            Self::Concat => (0, usize::MAX),
            Self::ConcatWs => (1, usize::MAX),
            Self::Left | Self::Right => (2, 2),
            Self::Substring => (2, 3),
            _ => (1, 1),
        }
    }

    /// The type of what comes back.
    pub fn result_type(self) -> Type {
        match self {
            Self::Length | Self::Abs | Self::Int => Type::Integer,
            Self::Bool | Self::IsInt | Self::IsBool => Type::Boolean,
            Self::Concat
            | Self::ConcatWs
            | Self::Lower
            | Self::Upper
            | Self::Trim
            | Self::Left
            | Self::Right
            | Self::Substring
            | Self::String => Type::String,
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
