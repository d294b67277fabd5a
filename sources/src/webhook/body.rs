//! A body read as JSON or as a form, when something asks for it.

use std::cell::OnceCell;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::{Refused, request::form_value};

/// Most arrays and objects of JSON inside one another.
pub const JSON_DEPTH_MAX: usize = 64;

/// The field of a form that holds JSON, with GitHub and Slack.
pub(crate) const PAYLOAD: &str = "payload";

/// A body that is read at most once.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    bytes: &'a Bytes,
    media_type: &'a str,
    json: OnceCell<Option<Value>>,
}

impl<'a> Body<'a> {
    /// The body of a request with that `Content-Type`.
    ///
    /// # Errors
    ///
    /// When it says that it is JSON and is too deep.
    pub(crate) fn new(bytes: &'a Bytes, media_type: &'a str) -> Result<Self, Refused> {
        if channel::rules::is_json(media_type) {
            check_depth(bytes)?;
        }
        Ok(Self { bytes, media_type, json: OnceCell::new() })
    }

    /// The value at `path`, whose steps are names of members or numbers of elements.
    pub(crate) fn at(&self, path: &[String]) -> Option<&Value> {
        let json = self.json.get_or_init(|| match self.form(PAYLOAD) {
            Some(payload) => parse_json(payload.as_bytes()).ok(),
            None => parse_json(self.bytes).ok(),
        });
        path.iter().try_fold(json.as_ref()?, |value, step| match value {
            Value::Object(members) => members.get(step),
            Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The value of a form's field.
    pub(crate) fn form(&self, name: &str) -> Option<String> {
        if is_form(self.media_type) { form_value(self.bytes, name) } else { None }
    }
}

/// Whether a media type is that of a form.
pub(crate) fn is_form(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Reads JSON of no more than [`JSON_DEPTH_MAX`] levels.
///
/// # Errors
///
/// When it is deeper, or no JSON.
pub(crate) fn parse_json(bytes: &[u8]) -> Result<Value, Refused> {
    check_depth(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Refused::new(StatusCode::BAD_REQUEST, "body", format!("must be JSON; it is not at {place}"))
    })
}

fn check_depth(bytes: &[u8]) -> Result<(), Refused> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            let rule = format!("must not have more than {JSON_DEPTH_MAX} levels of JSON");
            return Err(Refused::new(StatusCode::BAD_REQUEST, "body", rule));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_may_be_64_levels_deep_and_no_deeper() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_json(nested(64).as_bytes()).is_ok());
        let refused = parse_json(nested(65).as_bytes()).unwrap_err();
        assert_eq!(refused.reason(), "body: must not have more than 64 levels of JSON");
        let text = format!(r#"["{}\"["]"#, "[".repeat(100));
        assert!(parse_json(text.as_bytes()).is_ok());
        assert_eq!(parse_json(b"{").unwrap_err().status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn values_are_found_by_path() {
        let bytes = Bytes::from(r#"{"a":[{"b":"c"}]}"#);
        let body = Body::new(&bytes, "application/json").unwrap();
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(body.at(&path("a.0.b")), Some(&Value::from("c")));
        assert_eq!(body.at(&path("a.1.b")), None);
        let form = Bytes::from("a=1&b=%7B%7D");
        let body = Body::new(&form, "application/x-www-form-urlencoded; charset=utf-8").unwrap();
        assert_eq!(body.form("b").as_deref(), Some("{}"));
    }
}
