//! Shows events to a person, or to a program that reads lines: the one printer of `display`,
//! of the admin listener's `/display` and of `dead-letters show`.

mod json;
mod text;

use std::fmt::Write as _;

use bytes::Bytes;
use channel::Invalid;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};

use crate::message::Message;

pub use json::escape;

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A block of lines per event, as Knative's `event_display` prints it.
    Plain,
    /// The same with ANSI colours.
    Colored,
    /// One line per event: the event in the CloudEvents JSON format.
    JsonLines,
}

/// Why a request could not be shown as events.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisplayError {
    /// Neither a structured media type nor binary mode headers.
    #[error(
        "the request carries no CloudEvent: it has no ce-specversion header and no CloudEvents content type"
    )]
    NotAnEvent,
    /// Structured mode in a format other than JSON.
    #[error("content-type: the event format {format} is not supported, only JSON is")]
    Format {
        /// The media type as sent, control characters escaped.
        format: String,
    },
    /// A field that breaks a rule of the specification.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl DisplayError {
    /// The status that tells the sender: 415 for an unknown format, else 400.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Format { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotAnEvent | Self::Invalid(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// The text that shows the events of one request, in any content mode; each event ends with a
/// line break, and an empty batch is empty text.
///
/// The result is safe for a terminal: control characters and bidirectional overrides in the
/// event's own text are written as `\uXXXX` (in JSON lines that is the same string).
///
/// # Errors
///
/// [`DisplayError`]; then nothing of a batch is shown.
pub fn render(headers: &HeaderMap, body: &Bytes, style: Style) -> Result<String, DisplayError> {
    let mut shown = String::new();
    for event in decode(headers, body)? {
        show(&mut shown, &event, style);
    }
    Ok(shown)
}

/// JSON text with one member or element per line, values as written, safe for a terminal.
///
/// `json` must be valid; text nested too deep to indent comes back on one line.
pub(crate) fn indent_json(json: &str) -> String {
    let layout = |layout| json::reformat(json, layout);
    let shown = layout(json::Layout::Indented).or_else(|| layout(json::Layout::Line));
    escape(&shown.unwrap_or_default(), true).into_owned()
}

/// As [`render`], for one event in the JSON format.
///
/// # Errors
///
/// [`DisplayError::Invalid`].
pub fn render_json(event: &[u8], style: Style) -> Result<String, DisplayError> {
    let mut shown = String::new();
    show(&mut shown, &Message::from_json(event)?, style);
    Ok(shown)
}

fn show(out: &mut String, event: &Message, style: Style) {
    // Writing to a string cannot fail.
    match style {
        Style::Plain => text::block(out, event, false),
        Style::Colored => text::block(out, event, true),
        Style::JsonLines => {
            let line = event.to_json();
            let line = json::reformat(&line, json::Layout::Line).unwrap_or(line);
            writeln!(out, "{}", escape(&line, false)).unwrap_or_default();
        }
    }
}

/// Batched is tested before structured, because its media type starts with the other's.
fn decode(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Message>, DisplayError> {
    let media = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let media = media.as_deref().unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/cloudevents-batch+json" => Ok(Message::from_json_batch(body)?),
        "application/cloudevents+json" => Ok(vec![Message::from_json(body)?]),
        other if other.starts_with("application/cloudevents") => {
            Err(DisplayError::Format { format: escape(other, false).into_owned() })
        }
        _ if headers.contains_key("ce-specversion") => Ok(vec![Message::from_http(headers, body)?]),
        _ => Err(DisplayError::NotAnEvent),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[1,
 2]}"#;

    fn structured(
        content_type: &'static str,
        body: &str,
        style: Style,
    ) -> Result<String, DisplayError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        render(&headers, &Bytes::copy_from_slice(body.as_bytes()), style)
    }

    #[test]
    fn each_event_of_a_batch_is_one_json_line() {
        let batch = format!("[{EVENT},{EVENT}]");
        let shown = structured("Application/CloudEvents-Batch+JSON; x=y", &batch, Style::JsonLines)
            .unwrap();
        let line = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[1,2]}"#;
        assert_eq!(shown, format!("{line}\n{line}\n"));
    }

    #[test]
    fn refusals_have_a_status() {
        let cases = [
            ("application/cloudevents+avro", "", 415),
            ("application/cloudevents+jsonx", EVENT, 415),
            ("application/cloudevents+json", "{", 400),
            ("application/json", EVENT, 400),
        ];
        for (content_type, body, status) in cases {
            let refused = structured(content_type, body, Style::Plain).unwrap_err();
            assert_eq!(refused.status(), status, "{content_type}");
        }
    }

    #[test]
    fn a_json_line_never_carries_a_raw_control_character() {
        let event = EVENT.replace("[1,\n 2]", "\"\u{9b}31m \u{202e}\"");
        let shown = structured("application/cloudevents+json", &event, Style::JsonLines).unwrap();
        assert!(shown.contains(r#""data":"\u009b31m \u202e""#), "{shown}");
    }
}
