//! A record's key -> the attribute `key`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use channel::{Draft, Kind, SpecVersion};

/// What the keys of a topic are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum KeyType {
    /// Text.
    #[default]
    Text,
    /// A big-endian integer of four bytes, or eight.
    Integer,
    /// A big-endian floating point number of four bytes, or eight.
    Float,
    /// Anything.
    Bytes,
}

impl KeyType {
    /// The type of that name, as Knative's label has it.
    pub(super) fn parse(name: Option<&str>) -> Result<Self, &'static str> {
        match name {
            None | Some("" | "string") => Ok(Self::Text),
            Some("int") => Ok(Self::Integer),
            Some("float") => Ok(Self::Float),
            Some("byte-array") => Ok(Self::Bytes),
            Some(_) => Err("must be string, int, float or byte-array"),
        }
    }

    /// The key as an attribute has it. What is not of the type, or no text that an attribute may
    /// hold, is in base64.
    pub(super) fn text(self, key: &[u8]) -> String {
        let text = match self {
            Self::Text => std::str::from_utf8(key).ok().map(str::to_owned).filter(is_attribute),
            Self::Integer => match key.len() {
                4 => key.try_into().ok().map(|bytes| i32::from_be_bytes(bytes).to_string()),
                _ => key.try_into().ok().map(|bytes| i64::from_be_bytes(bytes).to_string()),
            },
            Self::Float => match key.len() {
                4 => key.try_into().ok().map(|bytes| f32::from_be_bytes(bytes).to_string()),
                _ => key.try_into().ok().map(|bytes| f64::from_be_bytes(bytes).to_string()),
            },
            Self::Bytes => None,
        };
        text.unwrap_or_else(|| BASE64_STANDARD.encode(key))
    }
}

#[expect(clippy::ptr_arg, reason = "it filters an Option<String>")]
fn is_attribute(text: &String) -> bool {
    Draft::new(SpecVersion::V10).push_text("key", text, Kind::String).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_the_label_says() {
        let of = |name: &str, key: &[u8]| KeyType::parse(Some(name)).unwrap().text(key);
        assert_eq!(of("string", "é".as_bytes()), "é");
        assert_eq!(of("string", b"\xff"), "/w==");
        assert_eq!(of("string", b"a\x01"), "YQE=");
        assert_eq!(of("int", &[0, 0, 1, 0]), "256");
        assert_eq!(of("int", &(-1i64).to_be_bytes()), "-1");
        assert_eq!(of("int", b"abc"), "YWJj");
        assert_eq!(of("float", &1.5f32.to_be_bytes()), "1.5");
        assert_eq!(of("float", &0.25f64.to_be_bytes()), "0.25");
        assert_eq!(of("byte-array", b"abc"), "YWJj");
        assert!(KeyType::parse(Some("text")).is_err());
    }
}
