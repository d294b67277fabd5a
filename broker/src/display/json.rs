//! Re-spaces JSON text without touching its values, and makes text safe for a terminal.

use std::borrow::Cow;

/// Where line breaks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// None at all.
    Line,
    /// One member or element per line, two spaces per level.
    Indented,
}

/// Deeper JSON is not indented: the spaces would outgrow the data.
const DEPTH_MAX: usize = 64;

/// The same JSON with other whitespace; numbers, strings and repeated names stay as written.
///
/// `json` must be valid. `None` when it is nested too deep to indent.
pub(super) fn reformat(json: &str, layout: Layout) -> Option<String> {
    let mut writer = Writer { out: String::with_capacity(json.len()), layout, depth: 0 };
    let mut in_string = false;
    let mut escaped = false;
    let mut previous = ' ';
    for c in json.chars() {
        if in_string {
            writer.out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        writer.token(c, previous)?;
        in_string = c == '"';
        previous = c;
    }
    Some(writer.out)
}

struct Writer {
    out: String,
    layout: Layout,
    depth: usize,
}

impl Writer {
    fn token(&mut self, c: char, previous: char) -> Option<()> {
        let opened = matches!(previous, '{' | '[');
        match c {
            '}' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                if !opened {
                    self.break_line();
                }
            }
            _ if opened => self.break_line(),
            _ if previous == ',' => self.break_line(),
            _ => {}
        }
        self.out.push(c);
        if c == ':' && self.layout == Layout::Indented {
            self.out.push(' ');
        }
        if matches!(c, '{' | '[') {
            self.depth += 1;
            if self.layout == Layout::Indented && self.depth > DEPTH_MAX {
                return None;
            }
        }
        Some(())
    }

    fn break_line(&mut self) {
        if self.layout == Layout::Indented {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", self.depth));
        }
    }
}

/// `text` with every character that could steer a terminal written as `\uXXXX`.
///
/// Those are the control characters and the bidirectional overrides. With `keeps_lines`, line
/// breaks and tabs stay.
pub fn escape(text: &str, keeps_lines: bool) -> Cow<'_, str> {
    let is_unsafe = |c: char| steers(c) && !(keeps_lines && matches!(c, '\n' | '\t'));
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_without_touching_values() {
        let cases = [
            ("1e400", "1e400"),
            ("{ }", "{}"),
            ("[]", "[]"),
            (
                r#"{"a":[1,{"b":"x, {\"y\":[]} \\"}],"a":12345678901234567890123}"#,
                "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x, {\\\"y\\\":[]} \\\\\"\n    }\n  ],\n  \"a\": 12345678901234567890123\n}",
            ),
        ];
        for (json, indented) in cases {
            let shown = reformat(json, Layout::Indented).unwrap();
            assert_eq!(shown, indented);
            let compact: String = json.replace("{ }", "{}");
            assert_eq!(reformat(&shown, Layout::Line).unwrap(), compact);
        }
    }

    #[test]
    fn json_too_deep_to_indent_is_left_alone() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(reformat(&deep, Layout::Indented), None);
        assert_eq!(reformat(&deep, Layout::Line), Some(deep));
    }

    #[test]
    fn nothing_that_steers_a_terminal_stays() {
        let cases = [
            ("plain é €", false, "plain é €"),
            ("\u{1b}[31mred", false, "\\u001b[31mred"),
            ("\u{9b}1m\u{7f}", false, "\\u009b1m\\u007f"),
            ("a\r\nb\tc", false, "a\\u000d\\u000ab\\u0009c"),
            ("a\r\nb\tc", true, "a\\u000d\nb\tc"),
            ("\u{202e}txt", true, "\\u202etxt"),
        ];
        for (text, keeps_lines, safe) in cases {
            assert_eq!(escape(text, keeps_lines), safe);
        }
    }
}
