//! A verified request → the event that it means.

use bytes::Bytes;
use channel::{Data, Draft, Invalid, Kind, SpecVersion};
use http::StatusCode;
use jiff::Timestamp;

use super::{
    ATTRIBUTE_BYTES_MAX, Answer, Body, Preset, Refused, Request, Template, template::Parts,
    verify::Verified,
};
use crate::{Overrides, github};

/// What a request turned out to be.
#[derive(Debug)]
pub enum Mapped {
    /// One that is answered at once.
    Answer(Answer),
    /// An event.
    Event {
        /// The event.
        draft: Box<Draft>,
        /// The id by which the delivery is known again; a sender that gives none has none.
        delivery: Option<String>,
    },
}

/// How requests become events.
#[derive(Clone, Debug)]
pub enum Mapper {
    /// As templates say.
    Templates(Box<Templates>),
    /// As Knative's GitHubSource does.
    GitHub(github::Mapping),
}

/// The attributes of events, as templates.
#[derive(Clone, Debug)]
pub struct Templates {
    pub(super) preset: Option<Preset>,
    pub(super) kind: Template,
    pub(super) source: Template,
    pub(super) id: Option<Template>,
    pub(super) subject: Option<Template>,
    pub(super) time: Option<Template>,
    pub(super) extensions: Vec<(String, Template)>,
    /// What a delivery is known by, when that is not the event's id.
    pub(super) delivery: Option<Template>,
    pub(super) overrides: Overrides,
}

impl Mapper {
    /// What the request that came at `now` means.
    ///
    /// # Errors
    ///
    /// When it says too little, or something that no event can be made of.
    pub fn map(
        &self,
        request: &Request<'_>,
        verified: &Verified,
        now: Timestamp,
    ) -> Result<Mapped, Refused> {
        match self {
            Self::Templates(templates) => templates.map(request, verified, now),
            Self::GitHub(mapping) => mapping.map(request, now),
        }
    }

    /// The status that says that an event is stored.
    pub fn accepted(&self) -> StatusCode {
        match self {
            Self::Templates(templates) => {
                templates.preset.map_or(StatusCode::ACCEPTED, Preset::accepted)
            }
            Self::GitHub(_) => StatusCode::ACCEPTED,
        }
    }
}

impl Templates {
    fn map(
        &self,
        request: &Request<'_>,
        verified: &Verified,
        now: Timestamp,
    ) -> Result<Mapped, Refused> {
        let media_type = request.header("content-type").unwrap_or_default();
        let body = Body::new(request.body, media_type)?;
        let greeting =
            self.preset.and_then(|preset| preset.greeting(&body, request.header("x-github-event")));
        if let Some(greeting) = greeting {
            return Ok(Mapped::Answer(greeting));
        }
        let timestamp = verified.timestamp.map(Timestamp::as_second);
        let parts = Parts { request, body: &body, id: verified.id.as_deref(), timestamp };
        let fill = |template: &Option<Template>| {
            template.as_ref().and_then(|template| template.fill(&parts).ok())
        };
        let needed = |name: &'static str, template: &Template| {
            template.fill(&parts).map_err(|part| {
                Invalid::new(
                    name,
                    format!("is made of {{{part}}}, which the request does not have"),
                )
            })
        };
        let mut draft = Draft::new(SpecVersion::V10);
        let id = fill(&self.id).or_else(|| verified.id.clone()).filter(|id| !id.is_empty());
        push(&mut draft, "id", &id.clone().unwrap_or_else(random_id), Kind::String)?;
        push(&mut draft, "source", &as_uri(&needed("source", &self.source)?), Kind::String)?;
        push(&mut draft, "type", &needed("type", &self.kind)?, Kind::String)?;
        let time =
            fill(&self.time).unwrap_or_else(|| verified.timestamp.unwrap_or(now).to_string());
        push(&mut draft, "time", &time, Kind::String)?;
        if let Some(subject) = fill(&self.subject).filter(|subject| !subject.is_empty()) {
            push(&mut draft, "subject", &subject, Kind::String)?;
        }
        for (name, template) in &self.extensions {
            if let Ok(value) = template.fill(&parts) {
                push(&mut draft, name, &value, Kind::String)?;
            }
        }
        put_data(&mut draft, media_type, request.body)?;
        self.overrides.apply(&mut draft);
        Ok(Mapped::Event { draft: Box::new(draft), delivery: fill(&self.delivery).or(id) })
    }
}

/// Adds an attribute to `draft`.
///
/// # Errors
///
/// When it breaks a rule, or is longer than [`ATTRIBUTE_BYTES_MAX`].
pub(crate) fn push(draft: &mut Draft, name: &str, text: &str, kind: Kind) -> Result<(), Invalid> {
    if text.len() > ATTRIBUTE_BYTES_MAX {
        let rule = format!("must not be longer than {ATTRIBUTE_BYTES_MAX} bytes");
        return Err(Invalid::new(name.to_owned(), rule));
    }
    draft.push_text(name, text, kind)
}

/// Stands for a media type that is none.
const UNKNOWN_TYPE: &[u8] = b"application/octet-stream";

/// Puts the body as it came.
fn put_data(draft: &mut Draft, media_type: &str, body: &Bytes) -> Result<(), Invalid> {
    if !media_type.is_empty() {
        // Data without a media type can be read; a request refused for it would be lost.
        draft.content_type(media_type.as_bytes()).or_else(|_| draft.content_type(UNKNOWN_TYPE))?;
    }
    if !body.is_empty() {
        draft.set_data(Some(Data::opaque(body.clone())));
    }
    Ok(())
}

/// An id for an event whose sender gives none.
fn random_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Text with everything coded that cannot stand in a URI.
fn as_uri(text: &str) -> String {
    let mut uri = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}
