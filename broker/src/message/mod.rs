//! An event as the tools `send` and `display` hold it: attributes as text, data as bytes.
//!
//! The broker's own path never builds one of these; people's terminals and files do.

mod http;
mod json;
pub(crate) mod percent;

use bytes::Bytes;
use channel::rules::is_json;

/// One event, read from or about to be written to the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// In the order they were written; names are lower case and occur once.
    pub(crate) attributes: Vec<Attribute>,
    /// The payload; `None` when the event has none.
    pub(crate) data: Option<Data>,
}

/// One context attribute, `specversion` and `datacontenttype` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// Lower-case letters and digits.
    pub(crate) name: String,
    /// Canonical text, percent-coding undone.
    pub(crate) text: String,
    /// The type that the JSON form shows.
    pub(crate) kind: Kind,
}

/// The types that the JSON format can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything that travels as a JSON string.
    String,
    /// A signed 32-bit number.
    Integer,
    /// `true` or `false`.
    Boolean,
}

/// The payload as binary mode carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    /// The bytes of a binary mode body.
    pub(crate) bytes: Bytes,
    /// How the JSON format carries them.
    pub(crate) form: Form,
}

/// How a payload appears in the JSON format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `data` with a JSON value: the bytes are its text.
    Json,
    /// `data` with a string: the bytes are UTF-8.
    Text,
    /// `data_base64`.
    Opaque,
}

impl Message {
    /// The text of attribute `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|one| one.name == name).map(|one| one.text.as_str())
    }

    /// Adds a text attribute at the end.
    pub(crate) fn push(&mut self, name: &str, text: impl Into<String>) {
        let (name, text) = (name.to_owned(), text.into());
        self.attributes.push(Attribute { name, text, kind: Kind::String });
    }
}

/// Whether `name` may name an attribute: `[a-z0-9]+` and not `data` (specification, section
/// "Naming Conventions").
pub(crate) fn is_attribute_name(name: &str) -> bool {
    !name.is_empty()
        && name != "data"
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The form that `bytes` take in JSON when only the media type is known.
pub(crate) fn form_of(bytes: &[u8], content_type: Option<&str>) -> Form {
    match content_type {
        Some(media) if is_json(media) => {
            let is_value = serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok();
            if is_value { Form::Json } else { Form::Opaque }
        }
        Some(_) if std::str::from_utf8(bytes).is_ok() => Form::Text,
        _ => Form::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_travels_as_base64() {
        assert_eq!(form_of(b"{\"a\":", Some("application/json")), Form::Opaque);
        assert_eq!(form_of(b"{}", Some("application/json")), Form::Json);
        assert_eq!(form_of(b"hello", Some("text/plain")), Form::Text);
        assert_eq!(form_of(b"\xff", Some("text/plain")), Form::Opaque);
        assert_eq!(form_of(b"{}", None), Form::Opaque);
    }
}
