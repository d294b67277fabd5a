//! The three types of CESQL, their values and the casts between them.

use std::borrow::Cow;
use std::fmt;

/// A type of the language. Spec: CESQL 1.0, 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A text. URIs, timestamps and binary attributes are texts too.
    String,
    /// A number of 32 bits, signed.
    Integer,
    /// `true` or `false`.
    Boolean,
}

impl Type {
    /// What stands in for a value where an error leaves none: `""`, `0`, `false`.
    pub fn zero(self) -> Value<'static> {
        match self {
            Self::String => Value::String(Cow::Borrowed("")),
            Self::Integer => Value::Integer(0),
            Self::Boolean => Value::Boolean(false),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "String",
            Self::Integer => "Integer",
            Self::Boolean => "Boolean",
        })
    }
}

/// What an expression or a part of it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'v> {
    /// Borrowed from the event or the expression where that is possible.
    String(Cow<'v, str>),
    /// A number.
    Integer(i32),
    /// A truth value.
    Boolean(bool),
}

impl<'v> Value<'v> {
    /// The type it has.
    pub fn kind(&self) -> Type {
        match self {
            Self::String(_) => Type::String,
            Self::Integer(_) => Type::Integer,
            Self::Boolean(_) => Type::Boolean,
        }
    }

    /// The same value, without a copy of its text.
    pub(super) fn borrowed(&self) -> Value<'_> {
        match self {
            Self::String(text) => Value::String(Cow::Borrowed(text)),
            Self::Integer(number) => Value::Integer(*number),
            Self::Boolean(truth) => Value::Boolean(*truth),
        }
    }

    /// As text, which every value has. Spec: 3.7.
    pub fn into_text(self) -> Cow<'v, str> {
        match self {
            Self::String(text) => text,
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
        }
    }

    /// As a number, or `None` for a text that is not a decimal number of 32 bits with an optional
    /// sign. Spec: 3.7.
    pub fn to_integer(&self) -> Option<i32> {
        match self {
            Self::String(text) => text.parse().ok(),
            Self::Integer(number) => Some(*number),
            Self::Boolean(truth) => Some(i32::from(*truth)),
        }
    }

    /// As a truth value, or `None` for a text other than `true` and `false` in any case.
    /// Spec: 3.7.
    pub fn to_boolean(&self) -> Option<bool> {
        match self {
            Self::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Self::String(_) => None,
            Self::Integer(number) => Some(*number != 0),
            Self::Boolean(truth) => Some(*truth),
        }
    }

    /// Whether casting this value to the type of `other` gives `other`, or `None` when it cannot
    /// be cast. Does not allocate.
    pub(crate) fn equals_when_cast(&self, other: &Value<'_>) -> Option<bool> {
        match other {
            Value::Integer(other) => Some(self.to_integer()? == *other),
            Value::Boolean(other) => Some(self.to_boolean()? == *other),
            Value::String(other) => Some(match self {
                Self::String(text) => text == other,
                Self::Integer(number) => is_decimal(other, *number),
                Self::Boolean(truth) => **other == *if *truth { "true" } else { "false" },
            }),
        }
    }
}

/// Whether `text` is how `number` is written: no `+`, no leading zeros.
fn is_decimal(text: &str, number: i32) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = if digits.starts_with('0') { text == "0" } else { !text.starts_with('+') };
    is_canonical && text.parse() == Ok(number)
}
