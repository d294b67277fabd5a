//! What of a list is told: everything that is new, nothing, or what changed since a time.

use jiff::Timestamp;
use sources::apiserver::{Object, Taken, Verb};

/// How far a source has told, as it notes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// The resource version that it has told up to.
    pub(super) version: String,
    /// When it noted that.
    pub(super) time: Timestamp,
}

impl Noted {
    /// As it is written down.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.version, self.time)
    }

    /// Reads what was written down.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let (version, time) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        Some(Self { version: version.to_owned(), time: time.parse().ok()? })
    }
}

/// What of a list is told.
#[derive(Clone, Debug)]
pub(super) enum Telling {
    /// Nothing: it is where to begin from.
    Nothing,
    /// What differs from what is known.
    Changes,
    /// The same; of objects that are not known, those that changed since.
    Since(Noted),
}

impl Telling {
    /// What is told of an object that is, to what is known, `taken`.
    pub(super) fn of(&self, taken: &Taken, object: &Object) -> Option<Verb> {
        match (self, taken) {
            (Self::Nothing, _) | (_, Taken::Same) => None,
            (_, Taken::Updated) => Some(Verb::Update),
            (_, Taken::Replaced(_)) | (Self::Changes, Taken::Added) => Some(Verb::Add),
            (Self::Since(noted), Taken::Added) => {
                let number = |text: &str| text.parse::<u128>().ok();
                let (then, now) = (number(&noted.version), number(&object.version));
                // Versions that cannot be compared may all be new.
                if then.zip(now).is_some_and(|(then, now)| now <= then) {
                    return None;
                }
                // An API server says it in whole seconds.
                let since = noted.time.as_second();
                let is_new = object.created().is_none_or(|created| created.as_second() >= since);
                Some(if is_new { Verb::Add } else { Verb::Update })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        let time = "2026-01-01T00:00:00.5Z".parse().unwrap();
        let noted = Noted { version: "17".to_owned(), time };
        assert_eq!(Noted::read(noted.text().as_bytes()), Some(noted));
        assert_eq!(Noted::read(b"17"), None);
    }

    #[test]
    fn of_what_is_not_known_only_that_is_told_which_changed_since() {
        let time = "2026-01-01T00:00:00.7Z".parse().unwrap();
        let since = Telling::Since(Noted { version: "9".to_owned(), time });
        let told = |version: &str, created: &str| {
            let json = json!({"metadata": {
                "name": "a", "resourceVersion": version, "creationTimestamp": created,
            }});
            since.of(&Taken::Added, &Object::new(json, "v1", "Pod").unwrap())
        };
        assert_eq!(told("9", "2025-01-01T00:00:00Z"), None);
        assert_eq!(told("10", "2025-01-01T00:00:00Z"), Some(Verb::Update));
        assert_eq!(told("10", "2026-01-01T00:00:00Z"), Some(Verb::Add));
    }
}
