//! Message and its headers -> event, and back (CloudEvents NATS binding, its development version).
//!
//! # Choices where the specification leaves one
//!
//! - Written is the binary mode: a `ce-` header for each attribute with the value that stands in an
//!   HTTP header, `ce-datacontenttype`, the data as payload. A media type is written as it is, like
//!   every client does, unless it has a percent sign.
//! - Read are the binary mode with `ce-datacontenttype` or `content-type`, the structured mode, and a
//!   message without any of these headers whose payload is a JSON object (the binding of 1.0.2).
//! - A client's header map has no order. What it would take from the event goes into headers of our
//!   own, each written only when it is needed: `catchment-order` (attributes that came in an order
//!   of their own), `catchment-types` (numbers and truth values), `catchment-form` (data that was not
//!   the body of a binary-mode message). `catchment-hops` is how often the event may still pass a broker.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use crate::{
    Attribute, Data, Draft, Event, Form, Invalid, Kind, SpecVersion,
    binding::{DecodeError, Limits, http, json, kafka::carry_hops},
    event::DATACONTENTTYPE,
    percent, rules,
};

const PREFIX: &str = "ce-";
const SPECVERSION: &str = "ce-specversion";
const CONTENT_TYPE: &str = "content-type";
const HOPS: &str = "catchment-hops";
const ORDER: &str = "catchment-order";
const TYPES: &str = "catchment-types";
const FORM: &str = "catchment-form";

/// Attributes that come first when nothing says in which order they came; the others follow by name.
const USUAL_ORDER: [&str; 4] = ["id", "source", "type", "subject"];

/// The headers and the payload of an event in binary mode.
pub fn encode(event: &Event) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    let mut order = Vec::new();
    let mut types = String::new();
    for attribute in event.attributes() {
        let value = String::from_utf8_lossy(attribute.wire);
        if attribute.name == DATACONTENTTYPE {
            let coded = value.contains('%').then(|| percent::encode(attribute.text)).flatten();
            put(&mut headers, "ce-datacontenttype", coded.as_deref().unwrap_or(&value));
        } else {
            put(&mut headers, &format!("{PREFIX}{}", attribute.name), &value);
        }
        if attribute.name != "specversion" {
            order.push(attribute.name);
        }
        note_type(&mut types, &attribute);
    }
    if !order.is_sorted_by_key(usual_place) {
        put(&mut headers, ORDER, &order.join(" "));
    }
    if !types.is_empty() {
        put(&mut headers, TYPES, &types);
    }
    if let Some(form) = event.data().and_then(written_form) {
        put(&mut headers, FORM, form);
    }
    if let Some(hops) = event.hops() {
        put(&mut headers, HOPS, &hops.to_string());
    }
    for line in event.carried().split(|&byte| byte == b'\n') {
        // A value that is not text has no place in a header here; it is no part of the event.
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let header = line.trim_ascii_end().split_once(": ").filter(|(name, _)| *name != HOPS);
        if let Some((name, value)) = header {
            put(&mut headers, name, value);
        }
    }
    (headers, event.data().map_or_else(Bytes::new, |data| data.bytes.clone()))
}

/// Reads the event of a message. As with HTTP, [`Draft::finish`] does not fail on what comes back.
///
/// # Errors
///
/// Every variant of [`DecodeError`] but those of batches, which the binding does not have.
pub fn decode(
    headers: Option<&HeaderMap>,
    payload: Bytes,
    limits: &Limits,
) -> Result<Draft, DecodeError> {
    let headers = Sorted::new(headers);
    let named = headers.one(CONTENT_TYPE)?.map(|value| http::named_mode(value.as_bytes()));
    let is_binary = headers.get(SPECVERSION).is_some();
    let mut draft = match named.transpose()?.flatten() {
        Some(http::Mode::Structured) => json::read(&payload, limits)?,
        Some(_) => {
            let media_type = http::BATCHED.to_owned();
            return Err(DecodeError::UnsupportedMediaType { media_type });
        }
        None if is_binary => binary(&headers, payload, limits)?,
        None if payload.trim_ascii_start().starts_with(b"{") => json::read(&payload, limits)?,
        None => return Err(DecodeError::NotAnEvent),
    };
    for (name, values) in headers.0.iter().filter(|(name, _)| http::is_carried(name)) {
        values.iter().for_each(|value| draft.carry(name, value.as_str().as_bytes()));
    }
    draft.set_hops(headers.get(HOPS).and_then(|hops| hops.parse().ok()));
    carry_hops(&mut draft);
    Ok(draft)
}

/// Headers by name in lower case, since the client's map has neither order nor one case.
struct Sorted<'a>(Vec<(Cow<'a, str>, &'a [HeaderValue])>);

impl<'a> Sorted<'a> {
    fn new(headers: Option<&'a HeaderMap>) -> Self {
        let mut sorted: Vec<_> = headers
            .into_iter()
            .flat_map(HeaderMap::iter)
            .map(|(name, values)| {
                let name: &str = name.as_ref();
                let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
                let lower =
                    if is_lower { name.into() } else { Cow::Owned(name.to_ascii_lowercase()) };
                (lower, values.as_slice())
            })
            .collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self(sorted)
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let place = self.0.binary_search_by(|(each, _)| (**each).cmp(name)).ok()?;
        self.0.get(place)?.1.first().map(HeaderValue::as_str)
    }

    fn one(&self, name: &str) -> Result<Option<&'a str>, Invalid> {
        match self.0.iter().filter(|(each, _)| each == name).map(|(_, values)| values.len()).sum() {
            0 => Ok(None),
            1 => Ok(self.get(name)),
            2.. => Err(Invalid::new(name.to_owned(), "must not be there more than once")),
        }
    }
}

fn binary(headers: &Sorted<'_>, payload: Bytes, limits: &Limits) -> Result<Draft, Invalid> {
    let version = headers.one(SPECVERSION)?.and_then(|value| {
        percent::decode(value.as_bytes()).ok().and_then(|text| SpecVersion::parse(&text))
    });
    let version = version.ok_or_else(|| Invalid::new(SPECVERSION, rules::SPECVERSION_RULE))?;
    let mut draft = Draft::new(version);
    let mut extensions = 0;
    for name in names(headers) {
        let written = format!("{PREFIX}{name}");
        let Some(value) = headers.one(&written)? else { continue };
        extensions += usize::from(!rules::is_core(version, name));
        let rule = limits.extensions_rule(extensions).or(limits.attribute_rule(value.len()));
        if let Some(rule) = rule {
            return Err(Invalid::new(written, rule));
        }
        let pushed = match name {
            DATACONTENTTYPE => content_type(&mut draft, value),
            name => push(&mut draft, name, value, kind_of(headers, name)),
        };
        pushed.map_err(|problem| Invalid { field: written.into(), rule: problem.rule })?;
    }
    if let (None, Some(value)) = (draft.get(DATACONTENTTYPE), headers.one(CONTENT_TYPE)?) {
        content_type(&mut draft, value)?;
    }
    if let Some(missing) = draft.missing() {
        return Err(Invalid { field: format!("{PREFIX}{}", missing.field).into(), ..missing });
    }
    let form = read_form(headers.get(FORM), &payload);
    let is_there = !payload.is_empty() || headers.get(FORM).is_some();
    draft.set_data(is_there.then_some(Data { bytes: payload, form }));
    Ok(draft)
}

/// Names of the attributes of a message, in the order in which they came as far as that is known.
fn names<'a>(headers: &'a Sorted<'_>) -> Vec<&'a str> {
    let mut names: Vec<&str> =
        headers.0.iter().filter_map(|(name, _)| name.strip_prefix(PREFIX)).collect();
    names.retain(|&name| name != "specversion");
    names.dedup();
    match headers.get(ORDER) {
        Some(order) => {
            let order: Vec<&str> = order.split(' ').collect();
            names.sort_by_key(|name| order.iter().position(|each| each == name));
        }
        None => names.sort_by_key(usual_place),
    }
    names
}

fn usual_place<'a>(name: &&'a str) -> (usize, &'a str) {
    let place = USUAL_ORDER.iter().position(|usual| usual == name);
    (place.unwrap_or(USUAL_ORDER.len()), name)
}

fn push(draft: &mut Draft, name: &str, value: &str, kind: Kind) -> Result<(), Invalid> {
    match kind {
        Kind::String => draft.push_wire(name, value.as_bytes()),
        kind => draft.push_text(name, value, kind),
    }
}

/// A media type as it is, or percent-coded as the binding asks for.
fn content_type(draft: &mut Draft, value: &str) -> Result<(), Invalid> {
    let decoded = if value.contains('%') && !value.contains([' ', '"']) {
        percent::decode(value.as_bytes()).ok().filter(|text| rules::is_media_type(text))
    } else {
        None
    };
    draft.content_type(decoded.as_deref().unwrap_or(value).as_bytes())
}

fn note_type(types: &mut String, attribute: &Attribute<'_>) {
    let name = match attribute.kind {
        Kind::String => return,
        Kind::Integer => "integer",
        Kind::Boolean => "boolean",
    };
    if !types.is_empty() {
        types.push(' ');
    }
    types.push_str(attribute.name);
    types.push('=');
    types.push_str(name);
}

fn kind_of(headers: &Sorted<'_>, name: &str) -> Kind {
    let types = headers.get(TYPES).unwrap_or_default();
    let found = types.split(' ').filter_map(|each| each.split_once('='));
    match found.filter(|(each, _)| *each == name).map(|(_, kind)| kind).next() {
        Some("integer") => Kind::Integer,
        Some("boolean") => Kind::Boolean,
        _ => Kind::String,
    }
}

/// The name of a form that the payload alone does not tell.
fn written_form(data: &Data) -> Option<&'static str> {
    match data.form {
        Form::Opaque => data.bytes.is_empty().then_some("opaque"),
        Form::Json => Some("json"),
        Form::Text => Some("text"),
        Form::Base64 => Some("base64"),
    }
}

/// The form that a header names, if the payload can have it: another client may write anything.
fn read_form(name: Option<&str>, payload: &Bytes) -> Form {
    match name {
        Some("json") if serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok() => {
            Form::Json
        }
        Some("text") if std::str::from_utf8(payload).is_ok() => Form::Text,
        Some("base64") => Form::Base64,
        _ => Form::Opaque,
    }
}

/// Adds a header, unless its name or value cannot stand in one: then it came from no parser of ours.
fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::binding::arbitrary;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, *value);
        }
        headers
    }

    fn read(lines: &[(&'static str, &str)], payload: &'static str) -> Result<Event, DecodeError> {
        let draft = decode(Some(&headers(lines)), payload.into(), &Limits::default())?;
        Ok(draft.finish().unwrap())
    }

    const LEAST: [(&str, &str); 4] =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];

    proptest! {
        #[test]
        fn an_event_comes_back_byte_for_byte(event in arbitrary::event(), hops: Option<u8>) {
            let mut draft = event.edit();
            draft.set_hops(hops);
            draft.carry("traceparent", b"00-1-2-03");
            // As the ingress does.
            carry_hops(&mut draft);
            let event = draft.finish().unwrap();
            let (headers, payload) = encode(&event);
            let back = decode(Some(&headers), payload, &Limits::default()).unwrap().finish().unwrap();
            prop_assert_eq!(&back, &event);
            prop_assert_eq!(back.http_head(), event.http_head());
            prop_assert_eq!(back.carried(), event.carried());
            prop_assert_eq!(back.hops(), event.hops());
            prop_assert_eq!(back.data(), event.data());
            let kinds = |event: &Event| event.attributes().map(|a| a.kind).collect::<Vec<_>>();
            prop_assert_eq!(kinds(&back), kinds(&event));
        }

        #[test]
        fn any_headers_are_an_event_or_refused(
            lines in proptest::collection::vec(("(ce-|catchment-)?[a-zA-Z-]{1,8}", "[ -~]{0,20}"), 0..8),
            payload: Vec<u8>,
        ) {
            let mut headers = headers(&LEAST);
            for (name, value) in &lines {
                put(&mut headers, name, value);
            }
            if let Ok(draft) = decode(Some(&headers), payload.into(), &Limits::default()) {
                prop_assert!(draft.finish().is_ok());
            }
        }
    }

    #[test]
    fn what_is_written_has_the_bindings_headers() {
        let mut draft = Draft::new(SpecVersion::V10);
        for (name, wire) in [("type", "t"), ("id", "1"), ("source", "/s"), ("subject", "a%20b")] {
            draft.push_wire(name, wire.as_bytes()).unwrap();
        }
        draft.content_type(b"text/plain; charset=utf-8").unwrap();
        draft.set_hops(Some(7));
        let (headers, _) = encode(&draft.finish().unwrap());
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-subject", "a%20b"),
            ("ce-datacontenttype", "text/plain; charset=utf-8"),
            ("catchment-hops", "7"),
            ("catchment-order", "type id source subject datacontenttype"),
        ] {
            assert_eq!(headers.get(name).map(HeaderValue::as_str), Some(value), "{name}");
        }
        assert!(headers.get("content-type").is_none());
    }

    #[test]
    fn both_names_of_the_media_type_are_read() {
        for (name, value, read_as) in [
            ("content-type", "text/plain", "text/plain"),
            ("Content-Type", "text/plain", "text/plain"),
            (
                "ce-datacontenttype",
                "text/plain;charset=%22utf-8%22",
                "text/plain;charset=\"utf-8\"",
            ),
            ("ce-datacontenttype", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ] {
            let event = read(&[&LEAST[..], &[(name, value)]].concat(), "x").unwrap();
            assert_eq!(crate::Attributes::attribute(&event, DATACONTENTTYPE), Some(read_as));
        }
        let both = [("content-type", "a/b"), ("ce-datacontenttype", "c/d")];
        let event = read(&[&LEAST[..], &both].concat(), "x").unwrap();
        assert_eq!(crate::Attributes::attribute(&event, DATACONTENTTYPE), Some("c/d"));
    }

    #[test]
    fn structured_messages_are_read_with_and_without_their_header() {
        let json = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#;
        for lines in [&[("content-type", "application/cloudevents+json; charset=utf-8")][..], &[]] {
            let event = read(lines, json).unwrap();
            assert_eq!((event.id(), event.ty()), ("1", "t"));
            assert_eq!(event.data().unwrap().bytes, r#"{"a":1}"#);
        }
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_reason() {
        let twice = [&LEAST[..], &[("ce-id", "2")]].concat();
        let upper = [&LEAST[..], &[("ce-a_b", "2")]].concat();
        for (lines, payload, reason) in [
            (&[][..], "hello", "neither a ce-specversion"),
            (&[("ce-specversion", "1.0")], "", "ce-id: "),
            (&[("ce-specversion", "2.0")], "", "ce-specversion: "),
            (&twice, "", "ce-id: must not be there more than once"),
            (&upper, "", "ce-a_b: "),
            (&[("content-type", "application/cloudevents-batch+json")], "[]", "content-type: "),
            (&[], "{", "body is not valid JSON"),
        ] {
            let problem = read(lines, payload).unwrap_err().to_string();
            assert!(problem.starts_with(reason), "{problem}");
        }
    }

    #[test]
    fn a_form_that_the_payload_cannot_have_is_not_believed() {
        let claim = [&LEAST[..], &[("catchment-form", "json")]].concat();
        assert_eq!(read(&claim, "{").unwrap().data().unwrap().form, Form::Opaque);
        assert_eq!(read(&claim, "{}").unwrap().data().unwrap().form, Form::Json);
    }
}
