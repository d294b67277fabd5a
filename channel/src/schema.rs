//! What an API server is told of a type beyond the shape of its fields: rules in CEL, and bounds.
//!
//! # Why bounds
//!
//! An API server refuses a rule whose cost it cannot bound, so text and lists that a rule looks at
//! have a longest length. Each is far above what is used, and none below what Kubernetes allows.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// Longest name of an object, or group of a kind: a DNS subdomain (RFC 1123).
pub const NAME_LENGTH_MAX: usize = 253;
/// Longest kind, or namespace: a DNS label.
pub const LABEL_LENGTH_MAX: usize = 63;
/// Longest group and version.
pub const API_VERSION_LENGTH_MAX: usize = NAME_LENGTH_MAX + 1 + LABEL_LENGTH_MAX;
/// Longest URI.
pub const URI_LENGTH_MAX: usize = 8192;
/// Longest bundle of certificates: those that systems trust take half of it.
pub const CERTIFICATES_LENGTH_MAX: usize = 512 * 1024;
/// Longest duration that is written down.
pub const DURATION_LENGTH_MAX: usize = 256;

/// A rule that an API server holds of a value: an element of `x-kubernetes-validations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    rule: &'static str,
    message: &'static str,
    quotes: bool,
}

impl Rule {
    /// The expression `rule` must be true, else `message` is said after the name of the field.
    pub const fn new(rule: &'static str, message: &'static str) -> Self {
        Self { rule, message, quotes: false }
    }

    /// The same of a text, which is repeated in front of `message`.
    pub const fn of_text(rule: &'static str, message: &'static str) -> Self {
        Self { rule, message, quotes: true }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("rule", self.rule)?;
        if self.quotes {
            // The expression fails on a text of several lines; then only the message is said.
            let said = format!("'invalid value: ' + self + ': {}'", self.message);
            map.serialize_entry("messageExpression", &said)?;
        }
        map.serialize_entry("message", self.message)?;
        map.end()
    }
}

/// For a text: it has the form of an ISO 8601 duration.
pub const DURATION: Rule = Rule::of_text(
    "self.matches('^[+-]?P([0-9]+([.,][0-9]+)?[YMWD])*(T([0-9]+([.,][0-9]+)?[HMS])+)?$') && self.matches('[0-9]')",
    "must be an ISO 8601 duration such as PT0.2S or P1DT12H",
);
