//! Record -> the event that it holds, or the one that is made of it.

use bytes::Bytes;
use channel::{
    Data, Draft, Event, Invalid, Kind, Name, SpecVersion,
    binding::{DecodeError, Limits, kafka, undecodable},
};
use jiff::Timestamp;

use super::{EVENT_TYPE, KafkaPlan, event_source, key::KeyType};
use crate::{Overrides, spec::is_core};

/// Longest key that becomes an attribute, and longest value of a header that does.
const VALUE_BYTES_MAX: usize = 4096;

/// Most headers that become attributes.
const HEADERS_MAX: usize = 60;

/// A record as it was read.
#[derive(Clone, Debug)]
pub(super) struct Record<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) time: Option<Timestamp>,
    pub(super) key: Option<&'a [u8]>,
    /// None when a name is not UTF-8.
    pub(super) headers: Option<Vec<kafka::Header<'a>>>,
    pub(super) value: Option<Bytes>,
}

/// What a record holds.
#[derive(Debug)]
pub(super) enum Content {
    /// An event, as it goes to the sink.
    Event(Event),
    /// No event, though it claims to be one: an event that carries its bytes, and what is wrong.
    Poison(Event, String),
}

/// How the records of a source are read.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    name: Name,
    key_type: KeyType,
    overrides: Overrides,
    limits: Limits,
}

impl Mapping {
    pub(super) fn new(name: &Name, plan: &KafkaPlan) -> Self {
        let (name, overrides) = (name.clone(), plan.overrides.clone());
        Self { name, key_type: plan.key_type, overrides, limits: Limits::default() }
    }

    /// Reads a record; whatever it holds, something comes of it.
    ///
    /// # Errors
    ///
    /// Never of what is read today; a record that cannot even be carried would be an error.
    pub(super) fn read(&self, record: &Record<'_>) -> Result<Content, Invalid> {
        let draft = match &record.headers {
            Some(headers) => match kafka::decode(headers, record.value.clone(), &self.limits) {
                Err(DecodeError::NotAnEvent) => {
                    self.made(record, headers).map_err(|invalid| invalid.to_string())
                }
                read => read.map_err(|error| error.to_string()),
            },
            None => Err("a header's name is not UTF-8".to_owned()),
        };
        match draft {
            Ok(mut draft) => {
                self.overrides.apply(&mut draft);
                draft.finish().map(Content::Event)
            }
            Err(problem) => {
                let source = event_source(&self.name, record.topic);
                let bytes = record.value.clone().unwrap_or_default();
                let event = undecodable(&source, &id(record), bytes).finish()?;
                Ok(Content::Poison(event, problem))
            }
        }
    }

    /// The event that is made of a record which is none.
    fn made(&self, record: &Record<'_>, headers: &[kafka::Header<'_>]) -> Result<Draft, Invalid> {
        let mut draft = Draft::new(SpecVersion::V10);
        let subject = format!("partition:{}#{}", record.partition, record.offset);
        let source = event_source(&self.name, record.topic);
        for (name, text) in [
            ("id", id(record).as_str()),
            ("source", &source),
            ("type", EVENT_TYPE),
            ("subject", &subject),
        ] {
            draft.push_text(name, text, Kind::String)?;
        }
        if let Some(time) = record.time {
            draft.push_text("time", &time.to_string(), Kind::String)?;
        }
        if let Some(key) = record.key.filter(|key| (1..=VALUE_BYTES_MAX).contains(&key.len())) {
            draft.push_text("key", &self.key_type.text(key), Kind::String)?;
        }
        for &(name, value) in headers.iter().take(HEADERS_MAX) {
            header(&mut draft, name, value);
        }
        draft.set_data(record.value.clone().map(Data::opaque));
        Ok(draft)
    }
}

fn id(record: &Record<'_>) -> String {
    format!("partition:{}/offset:{}", record.partition, record.offset)
}

/// Adds what a header says. One that can be no attribute, or would hide one, is left out.
fn header(draft: &mut Draft, name: &str, value: &[u8]) {
    if name.eq_ignore_ascii_case("content-type") {
        drop(draft.content_type(value));
        return;
    }
    let name: String =
        name.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    if is_core(&name) || value.len() > VALUE_BYTES_MAX {
        return;
    }
    if let Ok(text) = std::str::from_utf8(value) {
        drop(draft.push_text(&name, text, Kind::String));
    }
}
