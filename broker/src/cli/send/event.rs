//! The one event that flags describe.

use channel::{Data, Draft, Event, Invalid, Kind, SpecVersion};

use super::{
    super::{Failure, input},
    SendArgs,
};
use crate::display::as_text;

/// Builds the event; `now` is its time and `draw` makes its id where no flag says otherwise.
///
/// # Errors
///
/// [`Failure::Failed`] when the data file cannot be read, [`Failure::Usage`] for an event that
/// breaks a rule of the specification, in the words that a broker has for it.
pub(super) fn from_flags(
    args: &SendArgs,
    now: jiff::Timestamp,
    draw: u128,
) -> Result<Event, Failure> {
    let data = payload(args)?;
    build(args, data, now, draw).map_err(|invalid| Failure::Usage(invalid.to_string()))
}

fn build(
    args: &SendArgs,
    data: Option<Vec<u8>>,
    now: jiff::Timestamp,
    draw: u128,
) -> Result<Event, Invalid> {
    let mut draft = Draft::new(SpecVersion::V10);
    let mut push = |name: &str, text: &str| draft.push_text(name, text, Kind::String);
    push("id", args.id.as_deref().unwrap_or(&uuid(draw)))?;
    push("source", &args.source)?;
    push("type", &args.ty)?;
    if let Some(subject) = &args.subject {
        push("subject", subject)?;
    }
    push("time", args.time.as_deref().unwrap_or(&now.to_string()))?;
    let guessed = || data.as_deref().map(guess);
    if let Some(content_type) = args.content_type.as_deref().or_else(guessed) {
        push("datacontenttype", content_type)?;
    }
    for (name, value) in &args.extensions {
        push(name, value)?;
    }
    draft.set_data(data.map(|bytes| Data::opaque(bytes.into())));
    as_text(&mut draft);
    draft.finish()
}

fn payload(args: &SendArgs) -> Result<Option<Vec<u8>>, Failure> {
    match (&args.data, &args.data_file) {
        (Some(text), _) => Ok(Some(text.clone().into_bytes())),
        (None, Some(file)) => input::read(file).map(Some),
        (None, None) => Ok(None),
    }
}

/// The media type of a payload that came without one.
fn guess(bytes: &[u8]) -> &'static str {
    if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        "application/json"
    } else if std::str::from_utf8(bytes).is_ok() {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}

/// A random UUID (RFC 9562, version 4) from 128 random bits.
fn uuid(draw: u128) -> String {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    let bits = draw & !VERSION & !VARIANT | 4 << 76 | 0b10 << 62;
    let group = |shift: u32, digits: usize| {
        let mask = (1_u128 << (4 * digits)) - 1;
        format!("{:0digits$x}", bits >> shift & mask)
    };
    [group(96, 8), group(80, 4), group(64, 4), group(48, 4), group(0, 12)].join("-")
}

#[cfg(test)]
mod tests {
    use channel::{Attributes as _, binding::json};
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        send: SendArgs,
    }

    fn event(flags: &[&str]) -> Result<Event, Failure> {
        let line = [&["send"], flags].concat();
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        from_flags(&Line::try_parse_from(line).unwrap().send, now, u128::MAX)
    }

    #[test]
    fn an_event_needs_no_flags() {
        let mut text = Vec::new();
        json::write(&event(&[]).unwrap(), &mut text);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            r#"{"specversion":"1.0","id":"ffffffff-ffff-4fff-bfff-ffffffffffff","source":"urn:catchment:send","type":"dev.catchment.event","time":"2026-01-02T03:04:05Z"}"#
        );
    }

    #[test]
    fn the_media_type_is_guessed_unless_given() {
        let cases: [(&[&str], Option<&str>); 5] = [
            (&["--data", "{\"a\":1}"], Some("application/json")),
            (&["--data", "hello"], Some("text/plain")),
            (&["--data", "{}", "--content-type", "text/x"], Some("text/x")),
            (&["--data", ""], Some("text/plain")),
            (&[], None),
        ];
        for (flags, media) in cases {
            assert_eq!(event(flags).unwrap().attribute("datacontenttype"), media, "{flags:?}");
        }
        assert_eq!(guess(b"\xff\xfe"), "application/octet-stream");
    }

    #[test]
    fn an_extension_given_twice_is_wrong_usage() {
        let refused = event(&["--extension", "a=1", "--extension", "a=2"]).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        let both = event(&["--extension", "a=1", "--extension", "b=x y"]).unwrap();
        assert_eq!((both.attribute("a"), both.attribute("b")), (Some("1"), Some("x y")));
    }

    #[test]
    fn what_a_broker_would_refuse_is_wrong_usage_in_its_words() {
        for (flags, words) in [
            (["--source", "a b"], "source: must be a URI-reference (RFC 3986, 4.1)"),
            (["--content-type", "json"], "datacontenttype: must be a media type (RFC 2046)"),
            (["--extension", "a=\u{fdd0}"], "a: must not contain control characters"),
        ] {
            let refused = event(&flags).unwrap_err();
            assert!(refused.to_string().starts_with(words), "{refused}");
            assert_eq!(refused.exit_code(), 2);
        }
    }

    #[test]
    fn a_missing_data_file_is_named() {
        let failure = event(&["--data-file", "/no/such/file"]).unwrap_err();
        assert!(failure.to_string().starts_with("cannot read /no/such/file: "), "{failure}");
        assert_eq!(failure.exit_code(), 1);
    }
}
