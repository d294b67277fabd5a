//! Shows events to a person, or to a program that reads lines: the one printer of `display`,
//! of the admin listener's `/display` and of `dead-letters show`.

mod json;
mod text;

use std::fmt::Write as _;

use bytes::Bytes;
use channel::{
    Data, Draft, Event, Form,
    binding::{
        DecodeError, Limits,
        http::{self as binding, Decoded},
        json as event_json,
    },
    rules,
};
use http::HeaderMap;

pub use json::escape;

/// Bounds of an event that `display`, `send` and `dead-letters` hold: wide enough for whatever any
/// broker is set up to take, whose own bounds its answer tells.
pub(crate) const LIMITS: Limits = Limits {
    attribute_bytes_max: usize::MAX,
    extensions_max: 1000,
    batch_events_max: 10_000,
    json_depth_max: usize::MAX,
};

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

/// The text that shows the events of one request, in any content mode; each event ends with a
/// line break, and an empty batch is empty text.
///
/// The result is safe for a terminal: control characters and bidirectional overrides in the
/// event's own text are written as `\uXXXX` (in JSON lines that is the same string).
///
/// # Errors
///
/// [`DecodeError`]; then nothing of a batch is shown.
pub fn render(headers: &HeaderMap, body: &Bytes, style: Style) -> Result<String, DecodeError> {
    let drafts = match binding::decode(headers, body.clone(), &LIMITS)? {
        Decoded::One(draft) => vec![draft],
        Decoded::Many(drafts) => drafts,
    };
    let mut shown = String::new();
    for mut draft in drafts {
        as_text(&mut draft);
        show(&mut shown, &draft.finish()?, style);
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
/// [`DecodeError`].
pub fn render_json(event: &[u8], style: Style) -> Result<String, DecodeError> {
    let mut shown = String::new();
    let draft = event_json::read(&Bytes::copy_from_slice(event), &LIMITS)?;
    show(&mut shown, &draft.finish()?, style);
    Ok(shown)
}

/// Lets a binary mode payload that is text, whatever its media type, be text in JSON too: people
/// and `jq` read it easier than Base64.
pub(crate) fn as_text(draft: &mut Draft) {
    let is_other_type =
        draft.get("datacontenttype").is_some_and(|media_type| !rules::is_json(media_type));
    let text = draft
        .data()
        .filter(|data| data.form == Form::Opaque && std::str::from_utf8(&data.bytes).is_ok())
        .map(|data| Data { bytes: data.bytes.clone(), form: Form::Text });
    if is_other_type && text.is_some() {
        draft.set_data(text);
    }
}

fn show(out: &mut String, event: &Event, style: Style) {
    // Writing to a string cannot fail.
    match style {
        Style::Plain => text::block(out, event, false),
        Style::Colored => text::block(out, event, true),
        Style::JsonLines => {
            let mut line = Vec::new();
            event_json::write(event, &mut line);
            let line = String::from_utf8_lossy(&line);
            let respaced = json::reformat(&line, json::Layout::Line);
            let line = respaced.as_deref().unwrap_or(&line);
            writeln!(out, "{}", escape(line, false)).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::CONTENT_TYPE};

    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[1,
 2]}"#;

    fn structured(
        content_type: &'static str,
        body: &str,
        style: Style,
    ) -> Result<String, DecodeError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        render(&headers, &Bytes::copy_from_slice(body.as_bytes()), style)
    }

    #[test]
    fn each_event_of_a_batch_is_one_json_line() {
        let batch = format!("[{EVENT},{EVENT}]");
        let shown = structured("Application/CloudEvents-Batch+JSON; x=y", &batch, Style::JsonLines)
            .unwrap();
        let line = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"application/json","data":[1,2]}"#;
        assert_eq!(shown, format!("{line}\n{line}\n"));
    }

    #[test]
    fn text_in_binary_mode_is_text_in_json_whatever_its_type() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("content-type", "application/xml"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let shown = |body: &'static [u8]| {
            render(&headers, &Bytes::from_static(body), Style::JsonLines).unwrap()
        };
        assert!(shown(b"<a/>").contains(r#""data":"<a/>""#), "{}", shown(b"<a/>"));
        assert!(shown(b"\xff").contains(r#""data_base64":"/w==""#), "{}", shown(b"\xff"));
    }

    #[test]
    fn a_request_that_is_no_event_is_refused_as_the_broker_refuses_it() {
        for (content_type, body, refused) in [
            ("application/cloudevents+avro", "", "is not spoken here"),
            ("application/cloudevents+json", "{", "body is not valid JSON at line 1"),
            ("application/json", EVENT, "neither a ce-specversion header"),
        ] {
            let error = structured(content_type, body, Style::Plain).unwrap_err();
            assert!(error.to_string().contains(refused), "{content_type}: {error}");
        }
    }

    #[test]
    fn a_json_line_never_carries_a_raw_control_character() {
        let event = EVENT.replace("[1,\n 2]", "\"\u{9b}31m \u{202e}\"");
        let shown = structured("application/cloudevents+json", &event, Style::JsonLines).unwrap();
        assert!(shown.contains(r#""data":"\u009b31m \u202e""#), "{shown}");
    }
}
