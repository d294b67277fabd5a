//! The block of lines that shows one event.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use channel::{Attributes as _, Data, Event, Form, rules};
use serde_json::value::RawValue;

use super::json::{Layout, escape, reformat};

/// The attributes of the specification, in the order Knative's `event_display` has them.
const CONTEXT: [&str; 8] =
    ["specversion", "type", "source", "subject", "id", "time", "dataschema", "datacontenttype"];

/// Bytes of a binary payload that are shown; a screen is enough to recognise it.
const HEX_BYTES_MAX: usize = 256;

const TITLE: Style = AnsiColor::Cyan.on_default().bold();
const SECTION: Style = Style::new().bold();
const NAME: Style = AnsiColor::Green.on_default();

/// Appends the block for `event`, a line break at its end.
pub(super) fn block(out: &mut String, event: &Event, is_colored: bool) {
    let paint = |style: Style| if is_colored { style } else { Style::new() };
    let mut block = Block { out, name: paint(NAME), section: paint(SECTION) };
    block.heading("☁️  cloudevents.Event", paint(TITLE));
    block.heading("Context Attributes,", block.section);
    for name in CONTEXT {
        if let Some(text) = event.attribute(name) {
            block.attribute(name, text);
        }
    }
    let mut extensions: Vec<_> =
        event.attributes().filter(|one| !CONTEXT.contains(&one.name)).collect();
    extensions.sort_by_key(|one| one.name);
    if !extensions.is_empty() {
        block.heading("Extensions,", block.section);
    }
    for extension in extensions {
        block.attribute(extension.name, extension.text);
    }
    if let Some(data) = event.data() {
        block.data(data, event.attribute("datacontenttype"));
    }
}

struct Block<'a> {
    out: &'a mut String,
    name: Style,
    section: Style,
}

impl Block<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        writeln!(self.out, "{line}").unwrap_or_default();
    }

    fn heading(&mut self, text: &str, style: Style) {
        self.line(format_args!("{style}{text}{style:#}"));
    }

    fn attribute(&mut self, name: &str, text: &str) {
        let (style, text) = (self.name, escape(text, false));
        self.line(format_args!("  {style}{name}{style:#}: {text}"));
    }

    fn data(&mut self, data: &Data, media_type: Option<&str>) {
        match readable(data) {
            Some(json) if is_value(data.form, json, media_type) => {
                self.heading("Data,", self.section);
                let indented = reformat(json, Layout::Indented);
                self.indented(indented.as_deref().unwrap_or(json));
            }
            Some(text) => {
                self.heading("Data,", self.section);
                self.indented(text);
            }
            None => {
                let size = data.bytes.len();
                self.heading(&format!("Data (binary, {size} bytes),"), self.section);
                self.hex(&data.bytes);
            }
        }
    }

    fn indented(&mut self, text: &str) {
        for line in text.lines() {
            self.line(format_args!("  {}", escape(line, true)));
        }
    }

    fn hex(&mut self, bytes: &[u8]) {
        let shown = bytes.get(..HEX_BYTES_MAX).unwrap_or(bytes);
        for row in shown.chunks(16) {
            let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            self.line(format_args!("  {}", hex.join(" ")));
        }
        if let more @ 1.. = bytes.len() - shown.len() {
            self.line(format_args!("  ... {more} bytes more"));
        }
    }
}

/// The payload as text, if a person would want to read it as such.
///
/// Windows line breaks count as readable; other control characters mean binary, unless the
/// sender declared JSON or text.
fn readable(data: &Data) -> Option<&str> {
    let text = std::str::from_utf8(&data.bytes).ok()?;
    let is_declared = matches!(data.form, Form::Json | Form::Text);
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    (is_declared || text.chars().all(is_plain)).then_some(text)
}

/// Whether a payload is a JSON value, by where it came from or by its declared type.
fn is_value(form: Form, text: &str, media_type: Option<&str>) -> bool {
    match form {
        Form::Json => true,
        Form::Opaque => {
            media_type.is_some_and(rules::is_json)
                && serde_json::from_str::<&RawValue>(text).is_ok()
        }
        Form::Text | Form::Base64 => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use channel::binding::json;

    use super::{super::LIMITS, *};

    const BARE: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;

    fn event(text: &str) -> Event {
        json::read(&Bytes::copy_from_slice(text.as_bytes()), &LIMITS).unwrap().finish().unwrap()
    }

    #[track_caller]
    fn check(event: &str, expected: &str) {
        let mut shown = String::new();
        block(&mut shown, &self::event(event), false);
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_event_looks_as_knative_shows_it() {
        check(
            r#"{"id":"7","zone":"a","specversion":"1.0","ask":3,"source":"/s","type":"greeting",
                "time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","data":{"msg":"Hello"}}"#,
            "\
☁️  cloudevents.Event
Context Attributes,
  specversion: 1.0
  type: greeting
  source: /s
  id: 7
  time: 2026-01-01T00:00:00Z
  datacontenttype: application/json
Extensions,
  ask: 3
  zone: a
Data,
  {
    \"msg\": \"Hello\"
  }
",
        );
    }

    #[test]
    fn an_attribute_cannot_forge_a_line() {
        check(
            "{\"id\":\"a\\u2028Type: evil\\u202e\",\"specversion\":\"1.0\",\"source\":\"/s\",\"type\":\"t\"}",
            "\
☁️  cloudevents.Event
Context Attributes,
  specversion: 1.0
  type: t
  source: /s
  id: a\\u2028Type: evil\\u202e
",
        );
    }

    #[test]
    fn bytes_are_shown_as_hex_and_counted() {
        let mut shown = String::new();
        let mut draft = event(BARE).edit();
        draft.set_data(Some(Data::opaque(vec![0xff; 300].into())));
        block(&mut shown, &draft.finish().unwrap(), false);
        assert!(shown.contains("Data (binary, 300 bytes),\n  ff ff"), "{shown}");
        assert!(shown.ends_with("  ... 44 bytes more\n"), "{shown}");
        assert_eq!(shown.lines().count(), 6 + 17 + 1);
    }

    #[test]
    fn what_is_declared_as_json_and_is_none_is_shown_as_it_is() {
        for (body, shown_as) in
            [("{\"a\":1}", "  {\n    \"a\": 1\n  }\n"), ("{\"a\":", "  {\"a\":\n")]
        {
            let mut draft = event(BARE).edit();
            draft.content_type(b"application/json").unwrap();
            draft.set_data(Some(Data::opaque(Bytes::from_static(body.as_bytes()))));
            let mut shown = String::new();
            block(&mut shown, &draft.finish().unwrap(), false);
            assert!(shown.ends_with(&format!("Data,\n{shown_as}")), "{shown}");
        }
    }

    #[test]
    fn colours_go_round_names_only() {
        let mut shown = String::new();
        block(&mut shown, &event(BARE), true);
        assert!(shown.contains("\u{1b}[32mid\u{1b}[0m: 1\n"), "{shown:?}");
    }
}
