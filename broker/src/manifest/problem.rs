//! What is wrong with a manifest, and where.

use std::{borrow::Cow, cmp::Ordering, fmt, path::PathBuf, sync::Arc};

use serde::{Serialize, Serializer};

/// A place in a file: both numbers count from 1, columns in characters; both are 0 for [`NONE`](Self::NONE).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The character on that line.
    pub column: u32,
}

impl Position {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };

    /// No place: what an API server gives has no lines.
    pub const NONE: Self = Self { line: 0, column: 0 };
}

/// What a problem means for the manifest it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The manifest cannot be used as written.
    Error,
    /// It is used, but will hardly do what its author wants.
    Warning,
    /// It is used; something in it means less here than elsewhere.
    Note,
}

impl Severity {
    /// The word for it in a message: `error`, `warning`, `note`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that is wrong, with everything a person needs to mend it.
///
/// `Display` gives `file:line:column: field: message (did you mean x?)` on one line;
/// control characters from the file are escaped, so it is safe on a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Problem {
    /// What it means for the manifest.
    pub severity: Severity,
    /// The file, as its path was given or found.
    #[serde(serialize_with = "as_text")]
    pub file: Arc<PathBuf>,
    /// Where in the file.
    #[serde(flatten)]
    pub position: Position,
    /// Path of the field, such as `spec.filters[1].exact`; empty when it is about the file.
    pub field: String,
    /// The rule that is broken: lowercase, no full stop.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl Problem {
    /// An error about a whole file.
    pub fn file(file: &Arc<PathBuf>, message: impl Into<String>) -> Self {
        Self::at(file, Position::START, message)
    }

    /// An error at a place of a file that belongs to no field.
    pub fn at(file: &Arc<PathBuf>, position: Position, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: Arc::clone(file),
            position,
            field: String::new(),
            message: message.into(),
            suggestion: None,
        }
    }

    /// Whether the manifest cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The order people read in: by file, then line, then column.
    pub fn reading_order(&self, other: &Self) -> Ordering {
        (&self.file, self.position, self.severity, &self.field, &self.message).cmp(&(
            &other.file,
            other.position,
            other.severity,
            &other.field,
            &other.message,
        ))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        f.write_str(&printable(&self.file.to_string_lossy()))?;
        if self.position == Position::NONE {
            f.write_str(": ")?;
        } else {
            write!(f, ":{line}:{column}: ")?;
        }
        if self.severity != Severity::Error {
            write!(f, "{}: ", self.severity.as_str())?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", printable(&self.field))?;
        }
        f.write_str(&printable(&self.message))?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " (did you mean {}?)", printable(suggestion)),
            None => Ok(()),
        }
    }
}

/// A path is shown to people: what of it is not UTF-8 need not lead back to the file.
fn as_text<S: Serializer>(file: &Arc<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&file.display())
}

/// Text of a stranger's file with its control characters escaped.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            safe.extend(char.escape_default());
        } else {
            safe.push(char);
        }
    }
    Cow::Owned(safe)
}

/// The known name that `name` was probably meant to be, if one is near enough.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_lowercase();
    // A third of the letters may be wrong: `subscribr` is near `subscriber`, `ref` is not near `uri`.
    let wrong_max = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()), candidate)
        })
        .filter(|(wrong, _)| *wrong <= wrong_max)
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_has_a_nearest_name() {
        let known = ["broker", "subscriber", "filter", "filters", "uri", "ref"];
        let cases = [
            ("subscribr", Some("subscriber")),
            ("Broker", Some("broker")),
            ("fitler", Some("filter")),
            ("url", Some("uri")),
            ("something", None),
            ("x", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }

    #[test]
    fn a_problem_is_one_line_whatever_the_file_holds() {
        let problem = Problem {
            field: "spec.\u{1b}[2J".to_owned(),
            suggestion: Some("spec".to_owned()),
            ..Problem::at(
                &Arc::new(PathBuf::from("a.yaml")),
                Position { line: 3, column: 5 },
                "bad\nnews",
            )
        };
        assert_eq!(
            problem.to_string(),
            r"a.yaml:3:5: spec.\u{1b}[2J: bad\nnews (did you mean spec?)"
        );
    }
}
