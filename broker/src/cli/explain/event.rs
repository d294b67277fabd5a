//! A file with one event -> the event as triggers would see it.

use bytes::Bytes;
use channel::{Event, binding::json};

use super::super::Failure;
use crate::{display::LIMITS, ingress};

/// Reads an event in the JSON format; `name` is what messages call the file.
///
/// # Errors
///
/// [`Failure::Failed`]: it is something else, or no broker would take it.
pub(super) fn read(bytes: Vec<u8>, name: &str) -> Result<Event, Failure> {
    let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(text) => Bytes::copy_from_slice(text),
        None => Bytes::from(bytes),
    };
    let failed = |why: String| Failure::Failed(format!("{name} is no event: {why}"));
    match bytes.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(b'[') => {
            return Err(failed("it is a batch; one event is explained at a time".to_owned()));
        }
        None => return Err(failed("it is empty".to_owned())),
        Some(_) => {
            let why = "one in the CloudEvents JSON format is needed, such as \
                       {\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}";
            return Err(failed(why.to_owned()));
        }
    }
    let draft = json::read(&bytes, &LIMITS).map_err(|error| failed(error.to_string()))?;
    ingress::rehearse(draft).map_err(|refusal| failed(refusal.to_string()))
}

#[cfg(test)]
mod tests {
    use channel::Attributes as _;

    use super::*;

    #[test]
    fn triggers_see_what_a_broker_adds_and_takes_away() {
        let text =
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","knativebrokerttl":3}"#;
        for start in ["", "\u{feff}", "\n  "] {
            let event = read(format!("{start}{text}\n").into_bytes(), "stdin").unwrap();
            assert_eq!((event.id(), event.attribute("knativebrokerttl")), ("1", None));
            assert!(event.attribute("knativearrivaltime").is_some());
        }
    }

    #[test]
    fn what_is_no_event_is_told_why() {
        let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        for (text, words) in [
            ("", "e.json is no event: it is empty"),
            ("[]", "it is a batch"),
            ("ce-id: 1\nce-type: t\n\n{}", "one in the CloudEvents JSON format is needed"),
            ("{\"specversion\":\"1.0\"}", "required attribute is missing"),
            ("{", "line 1"),
            (&format!("{one}\n{one}"), "line 2"),
            (&one.replace("/s", "a b"), "source: must be a URI-reference"),
            (&one.replace("\"t\"", "\"t\",\"knativebrokerttl\":1"), "no hop"),
        ] {
            let failure = read(text.as_bytes().to_vec(), "e.json").unwrap_err();
            assert!(failure.to_string().contains(words), "{failure}");
            assert_eq!(failure.exit_code(), 1);
        }
        let latin = [br#"{"specversion":"1.0","id":""#.as_slice(), b"\xe9\"}"].concat();
        assert!(read(latin, "e.json").is_err());
    }
}
