//! JSON -> event.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::scan::{self, Members, Unlisted};
use crate::{
    Data, Draft, Form, Invalid, Kind, SpecVersion,
    binding::{DecodeError, Limits, Refused},
    event::{DATACONTENTENCODING, DATACONTENTTYPE},
    rules,
};

/// Reads the one event that `body` holds.
///
/// Attributes are checked and the required ones are there. Data is a slice of `body` where it is
/// most of it.
///
/// # Errors
///
/// [`DecodeError::BadJson`], [`DecodeError::TooDeep`], or [`DecodeError::Invalid`] for the first
/// member that breaks a rule.
pub fn read(body: &Bytes, limits: &Limits) -> Result<Draft, DecodeError> {
    let text = scan::text(body, limits.json_depth_max)?;
    match scan::members(text, members_max(limits)) {
        Ok(members) => Ok(event(&members, body, limits)?),
        Err(Unlisted::Bad(error)) => Err(error),
        Err(unlisted) => Err(refusal(unlisted, limits).into()),
    }
}

/// Reads the events of the batch that `body` holds; there may be none.
///
/// # Errors
///
/// As [`read`], but every event is looked at, and [`DecodeError::Batch`] says of each that is refused
/// why. Events of another version than the first are refused (JSON format 4).
pub fn read_batch(body: &Bytes, limits: &Limits) -> Result<Vec<Draft>, DecodeError> {
    let text = scan::text(body, limits.json_depth_max)?;
    let limit = limits.batch_events_max;
    let elements = scan::elements(text, limit)?.ok_or(DecodeError::TooManyEvents { limit })?;
    let mut drafts: Vec<Draft> = Vec::with_capacity(elements.len());
    let mut refused = Vec::new();
    for (index, element) in elements.into_iter().enumerate() {
        let read = scan::members(element.get(), members_max(limits))
            .map_err(|unlisted| refusal(unlisted, limits))
            .and_then(|members| event(&members, body, limits))
            .and_then(|draft| match drafts.first() {
                Some(first) if first.spec_version() != draft.spec_version() => Err(Invalid::new(
                    "specversion",
                    "must be the same in all events of a batch (JSON format 4)",
                )),
                _ => Ok(draft),
            });
        match read {
            Ok(draft) => drafts.push(draft),
            Err(problem) => refused.push(Refused { index, problem: at(index, problem) }),
        }
    }
    if refused.is_empty() { Ok(drafts) } else { Err(DecodeError::Batch(refused)) }
}

/// Members that are not extensions: ten attributes of either version, and both forms of data.
const MEMBERS_CORE: usize = 12;

fn members_max(limits: &Limits) -> usize {
    limits.extensions_max.saturating_add(MEMBERS_CORE)
}

fn refusal(unlisted: Unlisted, limits: &Limits) -> Invalid {
    match unlisted {
        Unlisted::Duplicate(name) => {
            Invalid::new(rules::shown_name(&name), "must not be there more than once")
        }
        Unlisted::TooMany => {
            Invalid::new("event", limits.extensions_rule(usize::MAX).unwrap_or_default())
        }
        // An element of a batch has been parsed once, so only its kind can be wrong.
        Unlisted::Bad(_) => Invalid::new("", "must be a JSON object"),
    }
}

/// Names the place in the batch before the field.
fn at(index: usize, problem: Invalid) -> Invalid {
    let field = match problem.field.as_ref() {
        "" | "event" => format!("[{index}]"),
        field => format!("[{index}].{field}"),
    };
    Invalid { field: field.into(), rule: problem.rule }
}

fn event(members: &Members<'_>, body: &Bytes, limits: &Limits) -> Result<Draft, Invalid> {
    let member = |name| members.iter().find(|(other, _)| other == name).map(|(_, raw)| *raw);
    let version = spec_version(member("specversion"))?;
    let mut payload = Payload { data: member("data"), ..Payload::default() };
    if version == SpecVersion::V03 && payload.data.is_some() {
        payload.is_encoded = member(DATACONTENTENCODING).is_some_and(|raw| is_base64(raw.get()));
    }

    let mut draft = Draft::new(version);
    let mut extensions = 0;
    for (name, raw) in members {
        match name.as_ref() {
            "specversion" | "data" => {}
            DATACONTENTENCODING if payload.is_encoded => {}
            "data_base64" if version == SpecVersion::V10 => {
                payload.data_base64 = (raw.get() != "null").then_some(raw);
            }
            name => {
                if !rules::is_core(version, name) {
                    extensions += 1;
                }
                attribute(&mut draft, name, raw.get(), extensions, limits)?;
            }
        }
    }
    if let Some(missing) = draft.missing() {
        return Err(missing);
    }
    payload.read(&mut draft, body)?;
    Ok(draft)
}

fn spec_version(raw: Option<&RawValue>) -> Result<SpecVersion, Invalid> {
    let refuse = |rule| Invalid::new("specversion", rule);
    let raw = raw.filter(|raw| raw.get() != "null").ok_or_else(|| refuse(rules::MISSING_RULE))?;
    let text = string("specversion", raw.get())?;
    SpecVersion::parse(&text).ok_or_else(|| refuse(rules::SPECVERSION_RULE))
}

fn attribute(
    draft: &mut Draft,
    name: &str,
    raw: &str,
    extensions: usize,
    limits: &Limits,
) -> Result<(), Invalid> {
    let (text, kind) = match raw.as_bytes().first() {
        // A name is a name even where the value says that it is not set.
        Some(b'n') => return rules::check_name(name),
        Some(b'"') => (string(name, raw)?, Kind::String),
        _ if rules::is_core(draft.spec_version(), name) => {
            return Err(Invalid::new(name.to_owned(), "must be a JSON string"));
        }
        Some(b't' | b'f') => (Cow::Borrowed(raw), Kind::Boolean),
        Some(b'-' | b'0'..=b'9') => (Cow::Borrowed(raw), Kind::Integer),
        _ => {
            rules::check_name(name)?;
            return Err(Invalid::new(
                name.to_owned(),
                "must be a JSON string, integer or boolean (JSON format 2.2)",
            ));
        }
    };
    let rule = limits.extensions_rule(extensions).or_else(|| limits.attribute_rule(text.len()));
    match rule {
        Some(rule) => Err(Invalid::new(rules::shown_name(name), rule)),
        None => draft.push_text(name, &text, kind),
    }
}

/// The content of a JSON string; `raw` has been parsed before, so only its escapes can be wrong.
fn string<'a>(field: &str, raw: &'a str) -> Result<Cow<'a, str>, Invalid> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        None => Err(Invalid::new(rules::shown_name(field), "must be a JSON string")),
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| {
            let rule = "must not have escapes of unpaired surrogates";
            Invalid::new(rules::shown_name(field), rule)
        }),
    }
}

fn is_base64(raw: &str) -> bool {
    string(DATACONTENTENCODING, raw).is_ok_and(|text| text.eq_ignore_ascii_case("base64"))
}

/// The members that hold data.
#[derive(Default)]
struct Payload<'a> {
    data: Option<&'a RawValue>,
    data_base64: Option<&'a RawValue>,
    /// Version 0.3: `datacontentencoding` says that `data` is base64 text.
    is_encoded: bool,
}

impl Payload<'_> {
    fn read(self, draft: &mut Draft, body: &Bytes) -> Result<(), Invalid> {
        let data = match (self.data, self.data_base64) {
            (None, None) => return Ok(()),
            (Some(_), Some(_)) => {
                let rule = "must not be there together with data (JSON format 3.1)";
                return Err(Invalid::new("data_base64", rule));
            }
            (None, Some(raw)) => decoded("data_base64", raw.get())?,
            (Some(raw), None) if self.is_encoded => decoded("data", raw.get())?,
            (Some(raw), None) => match draft.get(DATACONTENTTYPE) {
                None => {
                    draft.push_text(DATACONTENTTYPE, "application/json", Kind::String)?;
                    Data { bytes: share(body, raw.get()), form: Form::Json }
                }
                Some(media_type) if rules::is_json(media_type) => {
                    Data { bytes: share(body, raw.get()), form: Form::Json }
                }
                Some(_) => text_data(raw.get(), body)?,
            },
        };
        draft.set_data(Some(data));
        Ok(())
    }
}

fn text_data(raw: &str, body: &Bytes) -> Result<Data, Invalid> {
    if !raw.starts_with('"') {
        let rule = "must be a JSON string, since datacontenttype is not a JSON type \
            (JSON format 3.1); bytes go into data_base64";
        return Err(Invalid::new("data", rule));
    }
    let bytes = match string("data", raw)? {
        Cow::Borrowed(text) => share(body, text),
        Cow::Owned(text) => Bytes::from(text),
    };
    Ok(Data { bytes, form: Form::Text })
}

fn decoded(field: &'static str, raw: &str) -> Result<Data, Invalid> {
    let text = string(field, raw)?;
    let bytes = BASE64_STANDARD
        .decode(text.as_bytes())
        .map_err(|_| Invalid::new(field, "must be base64 with padding (RFC 4648, 4)"))?;
    Ok(Data { bytes: bytes.into(), form: Form::Base64 })
}

/// The bytes of `part`, which lies in `body`, without a copy where it is most of it: a small slice
/// would keep the memory of a large body that nobody is charged for.
fn share(body: &Bytes, part: &str) -> Bytes {
    if part.len() >= body.len() / 2 {
        body.slice_ref(part.as_bytes())
    } else {
        Bytes::copy_from_slice(part.as_bytes())
    }
}
