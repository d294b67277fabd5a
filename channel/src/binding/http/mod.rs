//! Request and response -> event, and back (CloudEvents HTTP binding 1.0.2).
//!
//! # Choices where the specification leaves one
//!
//! - A media type that begins with `application/cloudevents` and is not known is refused, even when
//!   `ce-` headers are there: the sender meant a format that is not spoken here.
//! - Attributes in the body of a structured message win; `ce-` headers beside it are not looked at.
//! - `content-encoding` other than `identity` is refused in every mode. The header would have to
//!   stay with the data for ever, and other bindings and the JSON format have no place for it.
//! - An empty body in binary mode means that the event has no data.
//! - Of the headers that are not part of the event, those of [`is_carried`] travel with it.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use crate::{
    Data, Draft, Event, Invalid, SpecVersion, binding::json, event::DATACONTENTTYPE, percent, rules,
};

pub use crate::binding::{DecodeError, Limits, Refused};

/// Media type of one event in the JSON format.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// Media type of several events in the JSON format.
pub const BATCHED: &str = "application/cloudevents-batch+json";

/// Every media type of the specification begins with this.
const MEDIA_TYPE_PREFIX: &str = "application/cloudevents";

static SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");

/// How a message holds its event (HTTP binding, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in headers, data in the body.
    Binary,
    /// One event in the body.
    Structured,
    /// Any number of events in the body.
    Batched,
}

/// What a message held.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one event is the usual case, and a box would be its second allocation"
)]
pub enum Decoded {
    /// One event, in binary or structured mode.
    One(Draft),
    /// A batch, which may be empty.
    Many(Vec<Draft>),
}

/// Whether a header travels with an event without being part of it.
pub fn is_carried(name: &str) -> bool {
    matches!(name, "traceparent" | "tracestate" | "baggage" | "x-request-id" | "retry-after")
        || name.starts_with("knative-")
        || name.starts_with("x-b3-")
}

/// Which mode a message is in, from its headers alone, so that a message that will not be taken can
/// be refused before its body is read.
///
/// # Errors
///
/// [`DecodeError::NotAnEvent`], [`DecodeError::UnsupportedMediaType`],
/// [`DecodeError::UnsupportedEncoding`], or [`DecodeError::Invalid`] for a `content-type` that is
/// there twice or names CloudEvents and is malformed.
pub fn mode(headers: &HeaderMap) -> Result<Mode, DecodeError> {
    let named = match content_type(headers)? {
        Some(value) => named_mode(value.as_bytes())?,
        None => None,
    };
    let mode = match named {
        Some(mode) => mode,
        None if headers.contains_key(&SPECVERSION) => Mode::Binary,
        None => return Err(DecodeError::NotAnEvent),
    };
    for value in headers.get_all(CONTENT_ENCODING) {
        let is_identity = value
            .as_bytes()
            .split(|&byte| byte == b',')
            .all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity"));
        if !is_identity {
            return Err(DecodeError::UnsupportedEncoding { encoding: lossy(value.as_bytes()) });
        }
    }
    Ok(mode)
}

/// Reads the events of a message.
///
/// Every attribute is checked and the required ones are there, so [`Draft::finish`] does not fail on
/// what comes back unless attributes are removed. Data bytes are shared with `body` where they are
/// most of it. `body` may be empty, which in binary mode means that the event has no data.
///
/// # Errors
///
/// Every variant of [`DecodeError`]; the message is refused as a whole.
pub fn decode(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Decoded, DecodeError> {
    match mode(headers)? {
        Mode::Binary => Ok(Decoded::One(binary(headers, body, limits)?)),
        Mode::Structured => {
            let mut draft = json::read(&body, limits)?;
            carry(headers, &mut draft);
            Ok(Decoded::One(draft))
        }
        Mode::Batched => {
            let mut drafts = json::read_batch(&body, limits)?;
            for draft in &mut drafts {
                carry(headers, draft);
            }
            Ok(Decoded::Many(drafts))
        }
    }
}

/// The header lines for a message in structured mode whose body, `body_bytes` long, was written by
/// [`json::write`]: `content-type`, carried headers and `content-length`, each ended by CR LF,
/// without the empty line that ends a head.
pub fn structured_head(event: &Event, body_bytes: usize) -> Vec<u8> {
    let carried = event.carried();
    let mut head = Vec::with_capacity(carried.len() + 96);
    head.extend_from_slice(b"content-type: ");
    head.extend_from_slice(STRUCTURED.as_bytes());
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(carried);
    crate::draft::write_content_length(&mut head, body_bytes);
    head
}

fn content_type(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Invalid> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Invalid::new("content-type", "must not be there more than once")),
    }
}

/// The mode that a media type names, or `None` when it is not one of CloudEvents.
pub(crate) fn named_mode(value: &[u8]) -> Result<Option<Mode>, DecodeError> {
    let value = value.trim_ascii();
    let is_cloudevents = value
        .get(..MEDIA_TYPE_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(MEDIA_TYPE_PREFIX.as_bytes()));
    if !is_cloudevents {
        return Ok(None);
    }
    let text = std::str::from_utf8(value).unwrap_or_default();
    if !rules::is_media_type(text) {
        return Err(Invalid::new("content-type", "must be a media type (RFC 2046)").into());
    }
    let essence = text.split(';').next().unwrap_or_default().trim();
    let mode = if essence.eq_ignore_ascii_case(BATCHED) {
        Some(Mode::Batched)
    } else if essence.eq_ignore_ascii_case(STRUCTURED) {
        Some(Mode::Structured)
    } else {
        None
    };
    let in_utf8 = rules::parameter(text, "charset").is_none_or(|charset| {
        charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii")
    });
    match mode {
        Some(mode) if in_utf8 => Ok(Some(mode)),
        _ => Err(DecodeError::UnsupportedMediaType { media_type: text.to_owned() }),
    }
}

fn binary(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Draft, Invalid> {
    let mut draft = Draft::new(spec_version(headers)?);
    let mut extensions = 0;
    for (name, value) in headers {
        let (name, value) = (name.as_str(), value.as_bytes());
        if let Some(name) = name.strip_prefix("ce-") {
            if name == "specversion" {
                continue;
            }
            if !rules::is_core(draft.spec_version(), name) {
                extensions += 1;
            }
            attribute(&mut draft, name, value, extensions, limits).map_err(by_header)?;
        } else if name == "content-type" {
            bounded(DATACONTENTTYPE, value, limits)
                .and_then(|()| draft.content_type(value))
                .map_err(by_header)?;
        } else if is_carried(name) {
            draft.carry(name, value);
        }
    }
    if let Some(missing) = draft.missing() {
        return Err(by_header(missing));
    }
    draft.set_data((!body.is_empty()).then(|| Data::opaque(body)));
    Ok(draft)
}

fn spec_version(headers: &HeaderMap) -> Result<SpecVersion, Invalid> {
    let mut values = headers.get_all(&SPECVERSION).iter();
    let text = values.next().and_then(|value| percent::decode(value.as_bytes()).ok());
    if values.next().is_some() {
        return Err(Invalid::new("ce-specversion", "must not be there more than once"));
    }
    text.and_then(|text| SpecVersion::parse(&text))
        .ok_or_else(|| Invalid::new("ce-specversion", rules::SPECVERSION_RULE))
}

fn attribute(
    draft: &mut Draft,
    name: &str,
    value: &[u8],
    extensions: usize,
    limits: &Limits,
) -> Result<(), Invalid> {
    if name == DATACONTENTTYPE {
        let rule = "must not be there, content-type stands for it (HTTP binding 3.1.1)";
        return Err(Invalid::new("ce-datacontenttype", rule));
    }
    if let Some(rule) = limits.extensions_rule(extensions) {
        return Err(Invalid::new(name.to_owned(), rule));
    }
    bounded(name, value, limits)?;
    draft.push_wire(name, value)
}

fn bounded(name: &str, value: &[u8], limits: &Limits) -> Result<(), Invalid> {
    match limits.attribute_rule(value.len()) {
        None => Ok(()),
        Some(rule) => Err(Invalid::new(name.to_owned(), rule)),
    }
}

/// Names the header that an attribute came from.
fn by_header(problem: Invalid) -> Invalid {
    let field = match problem.field.as_ref() {
        DATACONTENTTYPE | "content-type" => "content-type".into(),
        "ce-datacontenttype" => problem.field,
        rules::NO_NAME => "ce-".into(),
        name => format!("ce-{name}").into(),
    };
    Invalid { field, rule: problem.rule }
}

fn carry(headers: &HeaderMap, draft: &mut Draft) {
    for (name, value) in headers.iter().filter(|(name, _)| is_carried(name.as_str())) {
        draft.carry(name.as_str(), value.as_bytes());
    }
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
