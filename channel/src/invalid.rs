//! A field that cannot be used: of an event, or of a resource that a user wrote.

use std::borrow::Cow;

/// One field and the rule that it breaks.
///
/// `field` is the name as the sender or author wrote it: `ce-id`, `data_base64`,
/// `spec.filters[1].exact`. `rule` is a phrase that follows it after a colon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// The field, by its path or header name.
    pub field: Cow<'static, str>,
    /// What is wrong with it, and where the rule comes from when that helps.
    pub rule: Cow<'static, str>,
}

impl Invalid {
    /// Names a field and the rule it breaks.
    pub fn new(field: impl Into<Cow<'static, str>>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}
