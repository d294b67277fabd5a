//! Kafka record -> event, and back (CloudEvents Kafka binding 1.0.2).
//!
//! # Choices where the specification leaves one
//!
//! - Written in binary mode: attributes are headers `ce_…` in raw UTF-8, the data is the value. An event
//!   without data has no value; on a compacted topic that would be a tombstone.
//! - Read in binary and structured mode. Header names are compared without regard to case, since
//!   clients differ. A batch is refused: the binding has none.
//! - Headers of [`is_carried`] travel with the event as plain headers.
//! - What the binary mode would lose, and this program must not, is in headers of its own that other
//!   clients ignore: [`HOPS`], [`FORM`] for the JSON types of attributes and data, and [`WIRE`] for a
//!   value whose HTTP form is not the usual one. They are believed only where they agree with the rest.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::value::RawValue;

use super::{
    DecodeError, Limits,
    http::{Mode, is_carried, named_mode},
    json,
};
use crate::{
    Attributes, Data, Draft, Event, Form, Invalid, Kind, SpecVersion, event::DATACONTENTTYPE,
    percent, rules,
};

/// Header: how often the event may still pass a broker ([`Event::hops`]), in decimal.
pub const HOPS: &str = "catchment-hops";

/// Header: the form of the data (`json`, `text`, `base64`, or nothing), then `;name=i` or `;name=b` for
/// each attribute that is a JSON integer or boolean.
pub const FORM: &str = "catchment-form";

/// Begins the name of a header that holds the HTTP form of an attribute's value.
pub const WIRE: &str = "catchment-wire-";

const PREFIX: &str = "ce_";
const CONTENT_TYPE: &str = "content-type";

/// One header of a record as it was read.
pub type Header<'a> = (&'a str, &'a [u8]);

/// Gives the headers of the record of `event` to `put`, one by one, and returns the record's value.
pub fn encode(event: &Event, mut put: impl FnMut(&str, &[u8])) -> Option<&Bytes> {
    let mut name = String::from(PREFIX);
    let mut form = String::from(event.data().map_or("", |data| form_name(data.form)));
    for attribute in event.attributes() {
        if attribute.name == DATACONTENTTYPE {
            put(CONTENT_TYPE, attribute.wire);
            continue;
        }
        name.truncate(PREFIX.len());
        name.push_str(attribute.name);
        put(&name, attribute.text.as_bytes());
        let coded = percent::encode(attribute.text);
        if coded.as_ref().map_or(attribute.text, String::as_str).as_bytes() != attribute.wire {
            put(&format!("{WIRE}{}", attribute.name), attribute.wire);
        }
        if let Some(kind) = kind_name(attribute.kind) {
            form.extend([";", attribute.name, "=", kind]);
        }
    }
    for (name, value) in carried(event).filter(|&(name, _)| name != HOPS) {
        put(name, value);
    }
    if let Some(hops) = event.hops() {
        put(HOPS, hops.to_string().as_bytes());
    }
    if !form.is_empty() {
        put(FORM, form.as_bytes());
    }
    event.data().map(|data| &data.bytes)
}

/// The key of the record of `event`: its `partitionkey`, as the binding proposes (3.1).
pub fn key(event: &Event) -> Option<&str> {
    event.attribute("partitionkey")
}

/// Reads the event of a record.
///
/// Every attribute is checked and the required ones are there, so [`Draft::finish`] does not fail on
/// what comes back unless attributes are removed. Data shares `value` where it is most of it.
///
/// # Errors
///
/// Every variant of [`DecodeError`] but those of batches; nothing is known of the event then.
pub fn decode(
    headers: &[Header<'_>],
    value: Option<Bytes>,
    limits: &Limits,
) -> Result<Draft, DecodeError> {
    let mode = match find(headers, CONTENT_TYPE) {
        Some(media_type) => named_mode(media_type)?,
        None => None,
    };
    let mut draft = match mode {
        Some(Mode::Structured) => json::read(&value.unwrap_or_default(), limits)?,
        Some(_) => {
            let media_type = find(headers, CONTENT_TYPE).unwrap_or_default();
            let media_type = String::from_utf8_lossy(media_type).into_owned();
            return Err(DecodeError::UnsupportedMediaType { media_type });
        }
        None => binary(headers, value, limits)?,
    };
    for &(name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name == HOPS {
            draft.set_hops(std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()));
            carry_hops(&mut draft);
        } else if is_carried(&name) && HeaderValue::from_bytes(value).is_ok() && is_token(&name) {
            draft.carry(&name, value);
        }
    }
    Ok(draft)
}

/// The next broker counts on from what it is told.
pub(super) fn carry_hops(draft: &mut Draft) {
    if let Some(hops) = draft.hops() {
        draft.carry(HOPS, hops.to_string().as_bytes());
    }
}

fn binary(
    headers: &[Header<'_>],
    value: Option<Bytes>,
    limits: &Limits,
) -> Result<Draft, DecodeError> {
    let version = find(headers, "ce_specversion").ok_or(DecodeError::NotAnEvent)?;
    let version = std::str::from_utf8(version)
        .ok()
        .and_then(SpecVersion::parse)
        .ok_or_else(|| Invalid::new("ce_specversion", rules::SPECVERSION_RULE))?;
    let hints = Hints::of(headers);
    let mut draft = Draft::new(version);
    let mut extensions = 0;
    for &(name, value) in headers {
        if name.eq_ignore_ascii_case(CONTENT_TYPE) {
            bounded(CONTENT_TYPE, value, limits)?;
            draft.content_type(value).map_err(|problem| by_header(CONTENT_TYPE, problem))?;
        } else if has_prefix(name) && !name.eq_ignore_ascii_case("ce_specversion") {
            let attribute = name.get(PREFIX.len()..).unwrap_or_default().to_ascii_lowercase();
            if !rules::is_core(version, &attribute) {
                extensions += 1;
            }
            if let Some(rule) = limits.extensions_rule(extensions) {
                return Err(Invalid::new(rules::shown_name(name), rule).into());
            }
            bounded(name, value, limits)?;
            hints
                .push(&mut draft, &attribute, value)
                .map_err(|problem| by_header(name, problem))?;
        }
    }
    if let Some(missing) = draft.missing() {
        let header = format!("{PREFIX}{}", missing.field);
        return Err(by_header(&header, missing).into());
    }
    draft.set_data(value.map(|bytes| Data { form: hints.data_form(&bytes), bytes }));
    Ok(draft)
}

/// What the headers of our own say.
struct Hints<'a> {
    headers: &'a [Header<'a>],
    form: &'a str,
}

impl<'a> Hints<'a> {
    fn of(headers: &'a [Header<'a>]) -> Self {
        let form = find(headers, FORM).and_then(|value| std::str::from_utf8(value).ok());
        Self { headers, form: form.unwrap_or_default() }
    }

    fn push(&self, draft: &mut Draft, name: &str, value: &[u8]) -> Result<(), Invalid> {
        if name == DATACONTENTTYPE {
            let rule = "must not be there, content-type stands for it (Kafka binding 3.2.1)";
            return Err(Invalid::new(name.to_owned(), rule));
        }
        let text = std::str::from_utf8(value)
            .map_err(|_| Invalid::new(name.to_owned(), "must be UTF-8 (Kafka binding 3.2.3)"))?;
        if let Some(wire) = self.wire(name)
            && draft.get(name).is_none()
            && draft.push_wire(name, wire).is_ok()
        {
            if draft.get(name) == Some(text) {
                return Ok(());
            }
            draft.remove(name);
        }
        match self.kind(name) {
            Kind::String => draft.push_text(name, text, Kind::String),
            kind => draft
                .push_text(name, text, kind)
                .or_else(|_| draft.push_text(name, text, Kind::String)),
        }
    }

    fn wire(&self, name: &str) -> Option<&'a [u8]> {
        let mut headers = self.headers.iter();
        headers.find(|(header, _)| header.strip_prefix(WIRE) == Some(name)).map(|(_, wire)| *wire)
    }

    fn kind(&self, name: &str) -> Kind {
        let kinds = self.form.split(';').skip(1).filter_map(|part| part.split_once('='));
        match kinds.into_iter().find(|(other, _)| *other == name) {
            Some((_, "i")) => Kind::Integer,
            Some((_, "b")) => Kind::Boolean,
            _ => Kind::String,
        }
    }

    fn data_form(&self, data: &[u8]) -> Form {
        match self.form.split(';').next() {
            Some("json") if serde_json::from_slice::<&RawValue>(data).is_ok() => Form::Json,
            Some("text") if std::str::from_utf8(data).is_ok() => Form::Text,
            Some("base64") => Form::Base64,
            _ => Form::Opaque,
        }
    }
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::Opaque => "",
        Form::Json => "json",
        Form::Text => "text",
        Form::Base64 => "base64",
    }
}

fn kind_name(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::String => None,
        Kind::Integer => Some("i"),
        Kind::Boolean => Some("b"),
    }
}

/// The carried header lines, apart.
fn carried(event: &Event) -> impl Iterator<Item = Header<'_>> {
    event.carried().split(|&byte| byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = line.windows(2).position(|two| two == b": ")?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((std::str::from_utf8(name).ok()?, value.get(2..)?))
    })
}

fn find<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a [u8]> {
    let mut headers = headers.iter();
    headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

fn has_prefix(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

fn is_token(name: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

fn bounded(header: &str, value: &[u8], limits: &Limits) -> Result<(), Invalid> {
    match limits.attribute_rule(value.len()) {
        None => Ok(()),
        Some(rule) => Err(Invalid::new(rules::shown_name(header), rule)),
    }
}

fn by_header(header: &str, problem: Invalid) -> Invalid {
    Invalid { field: rules::shown_name(header).into_owned().into(), rule: problem.rule }
}
