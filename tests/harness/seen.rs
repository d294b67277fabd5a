//! An event as a subscriber sees it: request or JSON object -> attributes and data, and how they differ from
//! what was sent.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::http::Headers;
use crate::sample::{Key, Mode, Sample, percent_decode};

/// The attributes that the broker's contract lets it add on the way to a subscriber.
pub const ADDED: &[&str] = &["knativearrivaltime"];

/// The attributes that it may add on the way to a dead letter sink.
pub const ADDED_DEAD: &[&str] =
    &["knativearrivaltime", "knativeerrordest", "knativeerrorcode", "knativeerrordata"];

/// An event that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The mode of the request.
    pub mode: Mode,
    /// The attributes decoded, `datacontenttype` among them.
    pub attributes: BTreeMap<String, String>,
    /// The header values of binary mode as they came, under the attribute's name.
    pub wire: BTreeMap<String, Vec<u8>>,
    /// The data; `None` when there is none (in binary mode an empty body says nothing, so it is `None` too).
    pub data: Option<Bytes>,
}

impl Seen {
    /// Reads the event of a request or response.
    ///
    /// # Errors
    ///
    /// What makes it no CloudEvent: every rule here is checked by hand, and duplicates are an error.
    pub fn read(headers: &Headers, body: &Bytes) -> Result<Self, String> {
        let content_type = headers.text("content-type").unwrap_or_default();
        let essence =
            content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence == "application/cloudevents+json" {
            return Self::object(body);
        }
        let mut seen = Self {
            mode: Mode::Binary,
            attributes: BTreeMap::new(),
            wire: BTreeMap::new(),
            data: None,
        };
        for (name, value) in &headers.0 {
            let name = name.to_ascii_lowercase();
            let name = match name.strip_prefix("ce-") {
                Some(name) => name,
                None if name == "content-type" => "datacontenttype",
                None => continue,
            };
            let text = percent_decode(value).ok_or_else(|| format!("{name} is not UTF-8"))?;
            seen.wire.insert(name.to_owned(), value.clone());
            if seen.attributes.insert(name.to_owned(), text).is_some() {
                return Err(format!("attribute {name} twice"));
            }
        }
        seen.data = Some(body.clone()).filter(|body| !body.is_empty());
        seen.complete()
    }

    /// Reads an object of the JSON format.
    ///
    /// # Errors
    ///
    /// As [`Seen::read`].
    pub fn object(text: &[u8]) -> Result<Self, String> {
        // Two readings of one text: the second keeps the bytes of the data.
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(borrow)]
            data: Option<&'a RawValue>,
        }
        let members: BTreeMap<String, Value> =
            serde_json::from_slice(text).map_err(|error| format!("not a JSON object: {error}"))?;
        let raw: Raw<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let mut attributes = BTreeMap::new();
        let mut base64 = None;
        for (name, value) in &members {
            match (name.as_str(), value) {
                ("data", _) => {}
                ("data_base64", value) => {
                    base64 = Some(value.as_str().ok_or("data_base64 is no string")?)
                }
                (_, Value::String(text)) => drop(attributes.insert(name.clone(), text.clone())),
                (_, Value::Number(_) | Value::Bool(_)) => {
                    drop(attributes.insert(name.clone(), value.to_string()))
                }
                (_, Value::Null) => {}
                _ => return Err(format!("attribute {name} is {value}")),
            }
        }
        let content_type =
            attributes.get("datacontenttype").map_or("application/json", String::as_str);
        let data = match (raw.data, base64) {
            (Some(_), Some(_)) => return Err("both data and data_base64".into()),
            (None, Some(text)) => {
                Some(STANDARD.decode(text).map_err(|error| error.to_string())?.into())
            }
            (Some(raw), None) if crate::sample::is_json(content_type) => {
                Some(raw.get().to_owned().into())
            }
            (Some(raw), None) => {
                let text: String =
                    serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
                Some(text.into())
            }
            (None, None) => None,
        };
        Self { mode: Mode::Structured, attributes, wire: BTreeMap::new(), data }.complete()
    }

    fn complete(self) -> Result<Self, String> {
        for name in ["specversion", "id", "source", "type"] {
            if self.attributes.get(name).is_none_or(String::is_empty) {
                return Err(format!("no {name}"));
            }
        }
        Ok(self)
    }

    /// Which event it is.
    #[must_use]
    pub fn key(&self) -> Key {
        let text = |name| self.attributes.get(name).cloned().unwrap_or_default();
        Key { source: text("source"), id: text("id") }
    }

    /// An attribute, decoded.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Every way in which this differs from what was sent, but for attributes that may be added. `sent_as` is the
    /// mode of the sender: what left in binary mode must arrive with the same header bytes.
    #[must_use]
    pub fn differences(&self, sent: &Sample, sent_as: Mode, added: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for one in &sent.attributes {
            match self.attribute(&one.name) {
                // The hop counter is the broker's own: it is taken off before a subscriber.
                None if one.name == "knativebrokerttl" => {}
                None => found.push(format!("attribute {} is missing", one.name)),
                Some(text) if text != one.text => {
                    found.push(format!("attribute {} is {text:?}, sent {:?}", one.name, one.text));
                }
                Some(_) => {}
            }
            let wire = self.wire.get(&one.name);
            if sent_as == Mode::Binary && wire.is_some_and(|wire| *wire != one.wire) {
                let shown = wire.map(|wire| String::from_utf8_lossy(wire).into_owned());
                found.push(format!(
                    "header of {} is {shown:?}, sent {:?}",
                    one.name,
                    String::from_utf8_lossy(&one.wire)
                ));
            }
        }
        let implied = |name: &str| {
            name == "datacontenttype" && sent_as != Mode::Binary && sent.data.is_some()
        };
        for (name, text) in &self.attributes {
            let is_known =
                sent.attribute(name).is_some() || added.contains(&name.as_str()) || implied(name);
            if !is_known {
                found.push(format!("attribute {name} = {text:?} was added"));
            }
        }
        let was = sent.data.as_ref().filter(|data| !data.is_empty());
        let is = self.data.as_ref().filter(|data| !data.is_empty());
        if was != is {
            found.push(format!("data is {}, sent {}", shown(is), shown(was)));
        }
        found
    }
}

fn shown(data: Option<&Bytes>) -> String {
    match data {
        None => "none".into(),
        Some(data) => {
            let start = String::from_utf8_lossy(&data[..data.len().min(60)]).into_owned();
            format!("{} bytes {start:?}", data.len())
        }
    }
}
