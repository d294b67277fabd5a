//! A delivery of GitHub → an event.

use std::borrow::Cow;

use bytes::Bytes;
use channel::{Data, Draft, Kind, SpecVersion};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::{EVENT_TYPE_PREFIX, attributes, spec::is_event};
use crate::{
    Overrides,
    webhook::{Answer, Mapped, PAYLOAD, Refused, Request, form_value, is_form, parse_json, push},
};

/// How the deliveries of one source become events.
#[derive(Clone, Debug)]
pub struct Mapping {
    source: String,
    wants_ping: bool,
    overrides: Overrides,
}

impl Mapping {
    pub(super) fn new(source: String, wants_ping: bool, overrides: Overrides) -> Self {
        Self { source, wants_ping, overrides }
    }

    /// What the delivery that came at `now` means.
    ///
    /// # Errors
    ///
    /// When it is none of GitHub's.
    pub(crate) fn map(&self, request: &Request<'_>, now: Timestamp) -> Result<Mapped, Refused> {
        let header = |name: &'static str| {
            let value = request.required(name).and_then(|value| match value.trim() {
                "" => Err("is missing"),
                value => Ok(value),
            });
            value.map_err(|rule| Refused::new(StatusCode::BAD_REQUEST, name, rule))
        };
        let event = header("x-github-event")?;
        if !is_event(event) {
            let rule = "must be the name of an event of GitHub";
            return Err(Refused::new(StatusCode::BAD_REQUEST, "x-github-event", rule));
        }
        let delivery = header("x-github-delivery")?;
        let payload = payload(request)?;
        let json = parse_json(&payload)?;
        if !json.is_object() {
            let rule = "must be a JSON object";
            return Err(Refused::new(StatusCode::BAD_REQUEST, "body", rule));
        }
        if event == "ping" && !self.wants_ping {
            return Ok(Mapped::Answer(Answer::text("pong")));
        }
        let draft = Box::new(self.draft(event, delivery, &json, payload, now)?);
        Ok(Mapped::Event { draft, delivery: Some(delivery.to_owned()) })
    }

    fn draft(
        &self,
        event: &str,
        delivery: &str,
        json: &Value,
        payload: Bytes,
        now: Timestamp,
    ) -> Result<Draft, Refused> {
        let mut draft = Draft::new(SpecVersion::V10);
        push(&mut draft, "id", delivery, Kind::String)?;
        draft.push_text("source", &self.source, Kind::String)?;
        draft.push_text("type", &format!("{EVENT_TYPE_PREFIX}{event}"), Kind::String)?;
        draft.push_text("time", &now.to_string(), Kind::String)?;
        // What somebody wrote into a label or branch must not keep the event from being told: what can be
        // no attribute is left out.
        if let Some(subject) = attributes::subject(event, json).filter(|it| !it.is_empty()) {
            drop(push(&mut draft, "subject", &subject, Kind::String));
        }
        for (name, value) in attributes::extensions(event, json) {
            let (text, kind): (Cow<'_, str>, Kind) = match value {
                Value::String(text) if text.is_empty() => continue,
                Value::String(text) => (Cow::Borrowed(text), Kind::String),
                Value::Bool(value) => (Cow::Owned(value.to_string()), Kind::Boolean),
                Value::Number(number) => {
                    let fits = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
                    let kind = if fits { Kind::Integer } else { Kind::String };
                    (Cow::Owned(number.to_string()), kind)
                }
                _ => continue,
            };
            drop(push(&mut draft, name, &text, kind));
        }
        draft.content_type(b"application/json")?;
        draft.set_data(Some(Data::opaque(payload)));
        self.overrides.apply(&mut draft);
        Ok(draft)
    }
}

/// The JSON of a delivery, which may be in a form.
fn payload(request: &Request<'_>) -> Result<Bytes, Refused> {
    let media_type = request.header("content-type").unwrap_or_default();
    if is_form(media_type) {
        let missing = || {
            let rule = "must have a field payload, as GitHub's forms do";
            Refused::new(StatusCode::BAD_REQUEST, "body", rule)
        };
        return form_value(request.body, PAYLOAD).map(Bytes::from).ok_or_else(missing);
    }
    if channel::rules::is_json(media_type) {
        return Ok(request.body.clone());
    }
    let rule = "must be application/json or application/x-www-form-urlencoded";
    Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", rule))
}
