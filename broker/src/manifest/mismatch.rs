//! A value of another type than the spec wants: serde's errors in the words of a manifest's author.

use std::fmt;

use serde::de::{self, Unexpected};

use super::{
    finding::{Finding, join},
    problem::{Position, nearest},
};

/// A value that is not what the spec wants there.
#[derive(Debug)]
pub(super) struct Mismatch {
    message: String,
    suggestion: Option<String>,
    missing: Option<&'static str>,
    place: Option<(String, Position)>,
}

impl Mismatch {
    pub(super) fn say(message: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: None, missing: None, place: None }
    }

    /// The innermost value that saw the error is the place of it.
    pub(super) fn placed(mut self, path: &str, at: Position) -> Self {
        if self.place.is_none() {
            self.place = Some((path.to_owned(), at));
        }
        self
    }

    /// The path of the value that could not be read, and what is wrong in it.
    pub(super) fn into_finding(self) -> (String, Finding) {
        let (path, at) = self.place.unwrap_or((String::new(), Position::START));
        let field = match self.missing {
            Some(field) => join(&path, field),
            None => path.clone(),
        };
        (path, Finding::new(at, field, self.message).meant(self.suggestion.as_deref()))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::say(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = described(&expected.to_string());
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a number",
            Unexpected::Str(_) => "a string",
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a mapping",
            _ => "something else",
        };
        let hint = match (expected.as_str(), found) {
            ("a string", "a whole number" | "a number" | "true or false") => "; put it in quotes",
            ("a string", "nothing") => "; write \"\" for the empty one",
            _ => "",
        };
        Self::say(format!("must be {expected}, not {found}{hint}"))
    }

    fn invalid_value(_found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::say(format!("must be {}", described(&expected.to_string())))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let suggestion = nearest(variant, expected.iter().copied()).map(ToOwned::to_owned);
        Self { suggestion, ..Self::say(format!("must be one of {}", expected.join(", "))) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::say("is required") }
    }
}

/// Serde's words for what it expects, in the reader's.
fn described(expected: &str) -> String {
    let number = |least: i128, most: i128| format!("a whole number from {least} to {most}");
    match expected {
        "u8" => number(0, u8::MAX.into()),
        "u16" => number(0, u16::MAX.into()),
        "u32" => number(0, u32::MAX.into()),
        "i16" => number(i16::MIN.into(), i16::MAX.into()),
        "i32" => number(i32::MIN.into(), i32::MAX.into()),
        "i64" => number(i64::MIN.into(), i64::MAX.into()),
        "u64" | "usize" => number(0, u64::MAX.into()),
        "a map" => "a mapping".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        name if name.starts_with("struct ") => "a mapping".to_owned(),
        name if name.starts_with("enum ") => "a string".to_owned(),
        other => other.to_owned(),
    }
}
