//! Attributes made of parts of a request: `com.example.{body.kind|other}`.
//!
//! In braces stands one of `header.NAME`, `query.NAME`, `form.NAME`, `path`, `path.N` (from 0),
//! `body.a.b.0` (members and elements of JSON), `id` (what the signature covers) and `timestamp`, and
//! after a bar what stands there when it is missing. `{{` and `}}` are braces.

use std::borrow::Cow;

use serde_json::Value;

use super::{Body, Request};

/// Longest template.
pub(super) const LENGTH_MAX: usize = 1024;

/// Text with parts of a request in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value { written: String, from: From, missing: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    Header(String),
    Query(String),
    Form(String),
    Path,
    Segment(usize),
    Body(Vec<String>),
    Id,
    Timestamp,
}

/// What a template is filled in from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) body: &'a Body<'a>,
    pub(super) id: Option<&'a str>,
    pub(super) timestamp: Option<i64>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a phrase.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("must not be empty".to_owned());
        }
        if text.len() > LENGTH_MAX {
            return Err(format!("must not be longer than {LENGTH_MAX} bytes"));
        }
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                plain.extend(from.chars().next());
                rest = after;
                continue;
            }
            let inner =
                from.strip_prefix('{').ok_or("has a } without a {; write }} for a brace")?;
            let (inner, after) = inner.split_once('}').ok_or("has a { without a }")?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            let (written, missing) = match inner.split_once('|') {
                Some((written, missing)) => (written.trim(), Some(missing.to_owned())),
                None => (inner.trim(), None),
            };
            let from = From::parse(written)?;
            parts.push(Part::Value { written: written.to_owned(), from, missing });
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The text, or else the first part that is missing and has nothing to stand in for it.
    pub(super) fn fill(&self, parts: &Parts<'_>) -> Result<String, &str> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Value { written, from, missing } => {
                    let value = from.value(parts).filter(|value| !value.is_empty());
                    text.push_str(value.as_deref().or(missing.as_deref()).ok_or(written.as_str())?);
                }
            }
        }
        Ok(text)
    }
}

impl From {
    fn parse(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('.') {
            Some((kind, name)) => (kind, Some(name).filter(|name| !name.is_empty())),
            None => (text, None),
        };
        let parsed = match (kind, name) {
            ("header", Some(name)) => Self::Header(name.to_ascii_lowercase()),
            ("query", Some(name)) => Self::Query(name.to_owned()),
            ("form", Some(name)) => Self::Form(name.to_owned()),
            ("path", None) => Self::Path,
            ("path", Some(number)) => match number.parse() {
                Ok(number) => Self::Segment(number),
                Err(_) => return Err(format!("{{{text}}} needs a number after path.")),
            },
            ("body", Some(path)) => Self::Body(path.split('.').map(str::to_owned).collect()),
            ("id", None) => Self::Id,
            ("timestamp", None) => Self::Timestamp,
            _ => {
                return Err(format!(
                    "{{{text}}} is not known; known are header.NAME, query.NAME, form.NAME, path, path.N, body.PATH, id, timestamp"
                ));
            }
        };
        Ok(parsed)
    }

    fn value<'a>(&self, parts: &Parts<'a>) -> Option<Cow<'a, str>> {
        match self {
            Self::Header(name) => parts.request.header(name).map(Cow::Borrowed),
            Self::Query(name) => parts.request.query(name).map(Cow::Owned),
            Self::Form(name) => parts.body.form(name).map(Cow::Owned),
            Self::Path => Some(Cow::Borrowed(parts.request.path)),
            Self::Segment(number) => parts.request.path.split('/').nth(*number).map(Cow::Borrowed),
            Self::Body(path) => parts.body.at(path).and_then(scalar),
            Self::Id => parts.id.map(Cow::Borrowed),
            Self::Timestamp => parts.timestamp.map(|seconds| Cow::Owned(seconds.to_string())),
        }
    }
}

/// A value that can be an attribute.
pub(crate) fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;

    fn filled(template: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-kind", HeaderValue::from_static("push"));
        let body = Bytes::from(r#"{"a":{"b":[1,true,null,"x y"]},"e":""}"#);
        let request = Request {
            method: &Method::POST,
            path: "one/two",
            query: "q=a%20b",
            headers: &headers,
            body: &body,
        };
        let body = Body::new(&body, "application/json").unwrap();
        let parts = Parts { request: &request, body: &body, id: Some("7"), timestamp: None };
        Template::parse(template).unwrap().fill(&parts).ok()
    }

    #[test]
    fn parts_of_a_request_are_filled_in() {
        for (template, text) in [
            ("plain", Some("plain")),
            ("a.{header.X-Kind}.{query.q}", Some("a.push.a b")),
            ("{path}-{path.1}", Some("one/two-two")),
            ("{body.a.b.0}{body.a.b.1}{body.a.b.3}", Some("1truex y")),
            ("{id}", Some("7")),
            ("{{{id}}}", Some("{7}")),
            ("{body.none|other}", Some("other")),
            ("{body.e|other}", Some("other")),
            ("{body.none|}", Some("")),
            ("{body.a.b.2}", None),
            ("{body.a}", None),
            ("x{timestamp}", None),
            ("{path.9}", None),
        ] {
            assert_eq!(filled(template).as_deref(), text, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_told() {
        for (template, told) in [
            ("", "must not be empty"),
            ("{a", "has a { without a }"),
            ("a}", "has a } without a {"),
            ("{cookie.x}", "{cookie.x} is not known"),
            ("{header.}", "is not known"),
            ("{path.x}", "needs a number"),
            (&"a".repeat(2000), "must not be longer than"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(told), "{template}: {error}");
        }
    }
}
