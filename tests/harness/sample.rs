//! An event a test sends: attributes and data -> request headers and body in each mode.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::http::Headers;

/// How an event travels in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in `ce-` headers, data as the body.
    Binary,
    /// The whole event as a JSON object.
    Structured,
    /// A JSON array of events.
    Batched,
}

/// `source` and `id`: which event it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The `source` attribute.
    pub source: String,
    /// The `id` attribute.
    pub id: String,
}

/// One attribute, with what stands for it in each form.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// The name.
    pub name: String,
    /// The value, decoded: what a filter sees.
    pub text: String,
    /// The value in an HTTP header.
    pub wire: Vec<u8>,
    /// The value in the JSON format.
    pub json: Value,
}

/// An event to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In the order in which they are written; `datacontenttype` is one of them.
    pub attributes: Vec<Attribute>,
    /// The data, if there is any.
    pub data: Option<Bytes>,
}

impl Sample {
    /// An event of specversion 1.0 without data.
    #[must_use]
    pub fn new(source: &str, id: &str, ty: &str) -> Self {
        let empty = Self { attributes: Vec::new(), data: None };
        empty.with("specversion", "1.0").with("id", id).with("source", source).with("type", ty)
    }

    /// Adds or replaces an attribute.
    #[must_use]
    pub fn with(self, name: &str, text: &str) -> Self {
        self.put(Attribute {
            name: name.to_owned(),
            text: text.to_owned(),
            wire: percent_encode(text),
            json: Value::from(text),
        })
    }

    /// Adds or replaces an integer attribute: a number in the JSON format.
    #[must_use]
    pub fn with_integer(self, name: &str, value: i32) -> Self {
        let text = value.to_string();
        self.put(Attribute {
            name: name.to_owned(),
            wire: text.clone().into(),
            text,
            json: json!(value),
        })
    }

    /// Adds or replaces a Boolean attribute: `true` or `false` in the JSON format.
    #[must_use]
    pub fn with_boolean(self, name: &str, value: bool) -> Self {
        let text = value.to_string();
        self.put(Attribute {
            name: name.to_owned(),
            wire: text.clone().into(),
            text,
            json: json!(value),
        })
    }

    /// Adds an attribute that stands in the header exactly so, and means `text`.
    #[must_use]
    pub fn with_wire(self, name: &str, wire: &[u8], text: &str) -> Self {
        self.put(Attribute {
            name: name.to_owned(),
            text: text.to_owned(),
            wire: wire.to_vec(),
            json: Value::from(text),
        })
    }

    /// Sets data and its media type.
    #[must_use]
    pub fn data(self, content_type: &str, data: impl Into<Bytes>) -> Self {
        let mut sample = self.put(Attribute {
            name: "datacontenttype".into(),
            text: content_type.to_owned(),
            wire: content_type.into(),
            json: Value::from(content_type),
        });
        sample.data = Some(data.into());
        sample
    }

    /// Sets data of `application/json`.
    #[must_use]
    pub fn json(self, data: &Value) -> Self {
        self.data("application/json", data.to_string())
    }

    fn put(mut self, attribute: Attribute) -> Self {
        match self.attributes.iter_mut().find(|other| other.name == attribute.name) {
            Some(other) => *other = attribute,
            None => self.attributes.push(attribute),
        }
        self
    }

    /// The decoded value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|one| one.name == name).map(|one| one.text.as_str())
    }

    /// Which event it is.
    #[must_use]
    pub fn key(&self) -> Key {
        let text = |name| self.attribute(name).unwrap_or_default().to_owned();
        Key { source: text("source"), id: text("id") }
    }

    /// Headers and body in binary mode, without `content-length`.
    #[must_use]
    pub fn binary(&self) -> (Headers, Bytes) {
        let mut headers = Headers::default();
        for one in &self.attributes {
            let name = if one.name == "datacontenttype" {
                "content-type".into()
            } else {
                format!("ce-{}", one.name)
            };
            headers.0.push((name, one.wire.clone()));
        }
        (headers, self.data.clone().unwrap_or_default())
    }

    /// Headers and body in structured mode, without `content-length`. JSON data stands in the body exactly as
    /// it was given.
    #[must_use]
    pub fn structured(&self) -> (Headers, Bytes) {
        let headers =
            Headers(vec![("content-type".into(), b"application/cloudevents+json".to_vec())]);
        (headers, self.object().into())
    }

    /// Headers and body of several events in one request, without `content-length`.
    #[must_use]
    pub fn batched(samples: &[Self]) -> (Headers, Bytes) {
        let headers =
            Headers(vec![("content-type".into(), b"application/cloudevents-batch+json".to_vec())]);
        let objects: Vec<String> = samples.iter().map(Self::object).collect();
        (headers, format!("[{}]", objects.join(",")).into())
    }

    /// The event as an object of the JSON format.
    #[must_use]
    pub fn object(&self) -> String {
        let attributes: Map<String, Value> =
            self.attributes.iter().map(|one| (one.name.clone(), one.json.clone())).collect();
        let mut text = Value::Object(attributes).to_string();
        if let Some(data) = &self.data {
            text.pop();
            text.push_str(&self.data_member(data));
            text.push('}');
        }
        text
    }

    fn data_member(&self, data: &Bytes) -> String {
        let content_type = self.attribute("datacontenttype").unwrap_or("application/json");
        match std::str::from_utf8(data) {
            Ok(text) if is_json(content_type) => format!(",\"data\":{text}"),
            Ok(text) if content_type.starts_with("text/") => format!(",\"data\":{}", json!(text)),
            _ => format!(",\"data_base64\":\"{}\"", STANDARD.encode(data)),
        }
    }

    /// Headers and body in a mode; batched means a batch of this one.
    #[must_use]
    pub fn encode(&self, mode: Mode) -> (Headers, Bytes) {
        match mode {
            Mode::Binary => self.binary(),
            Mode::Structured => self.structured(),
            Mode::Batched => Self::batched(std::slice::from_ref(self)),
        }
    }
}

/// Whether data of this media type is JSON: subtype `json` or with the suffix `+json`.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .split_once('/')
        .is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// The value of a `ce-` header (HTTP binding 3.1.3.2).
#[must_use]
pub fn percent_encode(text: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' | b'"' | b'%' | ..=0x20 | 0x7f.. => wire.extend(format!("%{byte:02X}").bytes()),
            _ => wire.push(byte),
        }
    }
    wire
}

/// The meaning of a `ce-` header: one round of decoding; `None` when it is not UTF-8 after that.
#[must_use]
pub fn percent_decode(wire: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((first, after)) = rest.split_first() {
        let coded = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match coded.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}
