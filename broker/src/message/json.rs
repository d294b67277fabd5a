//! The JSON format: one event as an object, a batch as an array (CloudEvents JSON format).

use std::{borrow::Cow, collections::HashSet, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use channel::{Invalid, rules::is_json};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Attribute, Data, Form, Kind, Message, is_attribute_name};

const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

impl Message {
    /// Reads one event. A JSON payload keeps its own text, byte for byte.
    ///
    /// # Errors
    ///
    /// [`Invalid`] for text that is not a JSON object, a required attribute that is missing or
    /// empty, a value that no attribute can have, and data given twice. Formats of single
    /// attributes (time, URIs) are the receiver's to judge.
    pub(crate) fn from_json(text: &[u8]) -> Result<Self, Invalid> {
        let Members(members) = serde_json::from_slice(text)
            .map_err(|error| Invalid::new("event", format!("is not a JSON object: {error}")))?;
        let mut message = Self::default();
        let mut names = HashSet::with_capacity(members.len());
        let mut payload = None;
        for (name, value) in members {
            if name == "data" || name == "data_base64" {
                if payload.replace((name, value)).is_some() {
                    return Err(Invalid::new("data", "is given twice"));
                }
            } else {
                message.attributes.extend(attribute(&name, value)?);
                if !names.insert(name.clone()) {
                    return Err(Invalid::new(name, "is given twice"));
                }
            }
        }
        message.require()?;
        let content_type = message.get("datacontenttype").map(str::to_owned);
        message.data = match payload {
            Some((name, value)) if name == "data" => Some(data(value, content_type.as_deref())),
            Some((_, value)) => decode_base64(value)?,
            None => None,
        };
        Ok(message)
    }

    /// Reads a batch.
    ///
    /// # Errors
    ///
    /// As [`Message::from_json`]; the field names the place in the array.
    pub(crate) fn from_json_batch(text: &[u8]) -> Result<Vec<Self>, Invalid> {
        let events: Vec<&RawValue> = serde_json::from_slice(text)
            .map_err(|error| Invalid::new("batch", format!("is not a JSON array: {error}")))?;
        let read = |(index, event): (usize, &&RawValue)| {
            Self::from_json(event.get().as_bytes())
                .map_err(|error| Invalid::new(format!("[{index}].{}", error.field), error.rule))
        };
        events.iter().enumerate().map(read).collect()
    }

    /// Writes the event as one JSON object. Whitespace inside a JSON payload stays.
    pub(crate) fn to_json(&self) -> String {
        let mut text = String::from("{");
        for attribute in &self.attributes {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&quote(&attribute.name));
            text.push(':');
            match attribute.kind {
                Kind::String => text.push_str(&quote(&attribute.text)),
                Kind::Integer | Kind::Boolean => text.push_str(&attribute.text),
            }
        }
        if let Some(data) = &self.data {
            let utf8 = std::str::from_utf8(&data.bytes).ok();
            let (name, value) = match (data.form, utf8) {
                (Form::Json, Some(json)) => ("data", Cow::Borrowed(json)),
                (Form::Text, Some(plain)) => ("data", Cow::Owned(quote(plain))),
                _ => ("data_base64", Cow::Owned(quote(&STANDARD.encode(&data.bytes)))),
            };
            let comma = if text.len() > 1 { "," } else { "" };
            text.push_str(&format!("{comma}\"{name}\":{value}"));
        }
        text.push('}');
        text
    }

    /// Refuses an event without one of the four required attributes.
    pub(super) fn require(&self) -> Result<(), Invalid> {
        let missing = |name: &&str| self.get(name).is_none_or(str::is_empty);
        match REQUIRED.into_iter().find(missing) {
            Some(name) => Err(Invalid::new(name, "is required and must not be empty")),
            None => Ok(()),
        }
    }
}

/// JSON text of a string.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `None` for `null`, which stands for an attribute that is not set.
fn attribute(name: &str, value: &RawValue) -> Result<Option<Attribute>, Invalid> {
    if !is_attribute_name(name) {
        let rule = "is not an attribute name: only a-z and 0-9 are allowed";
        return Err(Invalid::new(name.to_owned(), rule));
    }
    let text = value.get();
    let (text, kind) = match text.bytes().next() {
        Some(b'n') => return Ok(None),
        Some(b't' | b'f') => (text.to_owned(), Kind::Boolean),
        Some(b'"') => (unquote(value)?, Kind::String),
        Some(b'-' | b'0'..=b'9') if text.parse::<i32>().is_ok() => (text.to_owned(), Kind::Integer),
        _ => {
            let rule = "must be a string, a boolean or a 32-bit integer";
            return Err(Invalid::new(name.to_owned(), rule));
        }
    };
    Ok(Some(Attribute { name: name.to_owned(), text, kind }))
}

fn unquote(value: &RawValue) -> Result<String, Invalid> {
    serde_json::from_str(value.get()).map_err(|error| Invalid::new("event", error.to_string()))
}

fn data(value: &RawValue, content_type: Option<&str>) -> Data {
    let text = value.get();
    if content_type.is_some_and(|media| !is_json(media))
        && let Ok(plain) = serde_json::from_str::<String>(text)
    {
        return Data { bytes: plain.into(), form: Form::Text };
    }
    Data { bytes: Bytes::copy_from_slice(text.as_bytes()), form: Form::Json }
}

fn decode_base64(value: &RawValue) -> Result<Option<Data>, Invalid> {
    let text: Option<String> = serde_json::from_str(value.get())
        .map_err(|_| Invalid::new("data_base64", "must be a string"))?;
    let Some(text) = text else { return Ok(None) };
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| Invalid::new("data_base64", format!("is not Base64: {error}")))?;
    Ok(Some(Data { bytes: bytes.into(), form: Form::Opaque }))
}

/// The members of an object in order, repeated names included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;

    #[track_caller]
    fn read(rest: &str) -> Result<Message, Invalid> {
        Message::from_json(format!("{{{HEAD}{rest}}}").as_bytes())
    }

    #[test]
    fn what_is_read_is_written_back() {
        for rest in [
            "",
            r#","subject":"a \"b\"","n":5,"ok":true"#,
            r#","data":{"big":12345678901234567890123,"b":1.10}"#,
            r#","datacontenttype":"text/plain","data":"line\nline""#,
            r#","datacontenttype":"application/json","data":"a string""#,
            r#","data_base64":"AAEC""#,
            r#","data":null"#,
        ] {
            let text = format!("{{{HEAD}{rest}}}");
            assert_eq!(Message::from_json(text.as_bytes()).unwrap().to_json(), text);
        }
    }

    #[test]
    fn null_means_not_set() {
        assert_eq!(read(r#","subject":null"#).unwrap(), read("").unwrap());
    }

    #[test]
    fn a_text_payload_is_its_own_bytes() {
        let message = read(r#","datacontenttype":"text/plain","data":"hi""#).unwrap();
        assert_eq!(message.data.unwrap().bytes, "hi");
    }

    #[test]
    fn a_refusal_names_the_field() {
        let cases = [
            (r#","subject":"a","subject":"b""#, "subject"),
            (r#","my_ext":"a""#, "my_ext"),
            (r#","ext":1.5"#, "ext"),
            (r#","ext":3000000000"#, "ext"),
            (r#","ext":{}"#, "ext"),
            (r#","data":1,"data_base64":"AA==""#, "data"),
            (r#","data_base64":"***""#, "data_base64"),
        ];
        for (rest, field) in cases {
            assert_eq!(read(rest).unwrap_err().field, field, "{rest}");
        }
        assert_eq!(Message::from_json(b"[1]").unwrap_err().field, "event");
        let no_id = br#"{"specversion":"1.0","source":"/s","type":"t"}"#;
        assert_eq!(Message::from_json(no_id).unwrap_err().field, "id");
    }

    #[test]
    fn a_bad_member_of_a_batch_is_named_by_its_place() {
        let batch = format!("[{{{HEAD}}},{{}}]");
        let refused = Message::from_json_batch(batch.as_bytes()).unwrap_err();
        assert_eq!(refused.field, "[1].specversion");
    }
}
