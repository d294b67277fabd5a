//! Something found wrong in a document, before it is known to which file that belongs.

use super::problem::{Position, Severity};

/// One thing that is wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What it means for the resource.
    pub(crate) severity: Severity,
    /// Path of the field.
    pub(crate) field: String,
    /// Where it is.
    pub(crate) at: Position,
    /// The rule it breaks.
    pub(crate) message: String,
    /// What was probably meant.
    pub(crate) suggestion: Option<String>,
    /// Whether all that is wrong is that nobody knows the field.
    pub(crate) is_unknown_field: bool,
}

impl Finding {
    /// An error in a field.
    pub(crate) fn new(at: Position, field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        Self {
            severity: Severity::Error,
            field,
            at,
            message,
            suggestion: None,
            is_unknown_field: false,
        }
    }

    /// The same with what was probably meant.
    pub(crate) fn meant(self, suggestion: Option<&str>) -> Self {
        Self { suggestion: suggestion.map(ToOwned::to_owned), ..self }
    }
}

/// The path of `field` in the mapping at `path`.
pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}
