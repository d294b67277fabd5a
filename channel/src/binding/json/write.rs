//! Event -> JSON.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::value::RawValue;

use super::scan;
use crate::{
    Attributes as _, Data, Event, Form, Kind, SpecVersion,
    binding::Limits,
    event::{DATACONTENTENCODING, DATACONTENTTYPE},
    rules,
};

/// Appends the event as one JSON object.
///
/// Data that came as JSON is written as it came. Data of a JSON media type that is valid JSON becomes
/// `data`, text of a `text/*` type too, as a string; all other data becomes `data_base64`, and so does
/// what came so (JSON format 3.1). Version 0.3 has `datacontentencoding` in its place.
pub fn write(event: &Event, out: &mut Vec<u8>) {
    out.reserve(event.size() + 64);
    let data = event.data().map(|data| (data, member(event, data)));
    let writes_encoding = event.spec_version() == SpecVersion::V03
        && matches!(data, Some((_, Member::Base64 | Member::Encoded)));
    let mut separator = b'{';
    for attribute in event.attributes() {
        if writes_encoding && attribute.name == DATACONTENTENCODING {
            continue;
        }
        out.push(std::mem::replace(&mut separator, b','));
        write_string(attribute.name, out);
        out.push(b':');
        match attribute.kind {
            Kind::String => write_string(attribute.text, out),
            Kind::Integer | Kind::Boolean => out.extend_from_slice(attribute.text.as_bytes()),
        }
    }
    if let Some((data, member)) = data {
        write_data(event.spec_version(), &data.bytes, &member, out);
    }
    out.push(b'}');
}

/// Appends the events as a JSON array. All of them should be of one version (JSON format 4).
pub fn write_batch<'a>(events: impl IntoIterator<Item = &'a Event>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, event) in events.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(event, out);
    }
    out.push(b']');
}

/// How data stands in the object.
enum Member<'a> {
    /// A JSON value.
    Value,
    /// A JSON string.
    Text(&'a str),
    /// A JSON string of the bytes in base64.
    Base64,
    /// The bytes are base64 text, and stand in a JSON string as they are.
    Encoded,
}

fn member<'a>(event: &Event, data: &'a Data) -> Member<'a> {
    let media_type = event.attribute(DATACONTENTTYPE).unwrap_or_default();
    let is_json = rules::is_json(media_type);
    match data.form {
        Form::Json if is_json => Member::Value,
        Form::Base64 => Member::Base64,
        _ if is_encoded(event) => match BASE64_STANDARD.decode(&data.bytes) {
            Ok(_) => Member::Encoded,
            Err(_) => Member::Base64,
        },
        _ if is_json && is_value(&data.bytes) => Member::Value,
        _ if is_json || media_type.is_empty() => Member::Base64,
        form => match std::str::from_utf8(&data.bytes) {
            Ok(text) if form == Form::Text || is_text(media_type) => Member::Text(text),
            _ => Member::Base64,
        },
    }
}

fn write_data(version: SpecVersion, bytes: &[u8], member: &Member<'_>, out: &mut Vec<u8>) {
    let name: &[u8] = match (member, version) {
        (Member::Value | Member::Text(_), _) => br#","data":"#,
        (_, SpecVersion::V10) => br#","data_base64":"#,
        (_, SpecVersion::V03) => br#","datacontentencoding":"base64","data":"#,
    };
    out.extend_from_slice(name);
    match member {
        Member::Value => out.extend_from_slice(bytes),
        Member::Text(text) => write_string(text, out),
        Member::Base64 => write_string(&BASE64_STANDARD.encode(bytes), out),
        Member::Encoded => write_string(&String::from_utf8_lossy(bytes), out),
    }
}

/// Whether binary mode of version 0.3 passed through data that says it is base64 text.
fn is_encoded(event: &Event) -> bool {
    event.spec_version() == SpecVersion::V03
        && event
            .attribute(DATACONTENTENCODING)
            .is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"))
}

/// Whether the bytes are one JSON value that the reader here would take in an envelope.
fn is_value(bytes: &[u8]) -> bool {
    // The envelopes of the event and of a batch are two levels more.
    scan::is_within(bytes, Limits::default().json_depth_max - 2)
        && serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

fn is_text(media_type: &str) -> bool {
    media_type.get(.."text/".len()).is_some_and(|start| start.eq_ignore_ascii_case("text/"))
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "text always fits into memory");
}
