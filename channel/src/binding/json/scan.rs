//! The members of a JSON object as slices of its text, without looking into their values.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::binding::DecodeError;

/// A member's name, with escapes undone, and the text of its value.
pub(super) type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// Members of an event: most have fewer than this.
pub(super) type Members<'a> = SmallVec<[Member<'a>; 16]>;

/// Why the members of an object could not be listed.
#[derive(Debug)]
pub(super) enum Unlisted {
    /// A name is there twice.
    Duplicate(String),
    /// There are more members than asked for.
    TooMany,
    /// It is not JSON.
    Bad(DecodeError),
}

/// The body as text that may be given to a JSON parser: UTF-8 and not too deep.
pub(super) fn text(body: &[u8], depth_max: usize) -> Result<&str, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let before = body.get(..error.valid_up_to()).unwrap_or_default();
        let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        DecodeError::BadJson { line, column, reason: "invalid UTF-8".into() }
    })?;
    if !is_within(body, depth_max) {
        return Err(DecodeError::TooDeep { limit: depth_max });
    }
    Ok(text)
}

/// Whether at most `depth_max` objects and arrays are open at once, wherever the text is JSON.
pub(super) fn is_within(text: &[u8], depth_max: usize) -> bool {
    // A sum over all bytes is many times faster than the walk, and mostly answers already.
    let opened = text.iter().filter(|&&byte| byte == b'{' || byte == b'[').count();
    opened <= depth_max || depth(text) <= depth_max
}

fn depth(text: &[u8]) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for &byte in text {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                open += 1;
                most = most.max(open);
            }
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Lists the members of the one object that `text` is, at most `max` of them.
pub(super) fn members(text: &str, max: usize) -> Result<Members<'_>, Unlisted> {
    starts_with(text, b'{', "a JSON object").map_err(Unlisted::Bad)?;
    let mut found = Found { members: Members::new(), max, refused: None };
    let mut parser = serde_json::Deserializer::from_str(text);
    let parsed = found.deserialize(&mut parser).and_then(|()| parser.end());
    match (found.refused, parsed) {
        (Some(refused), _) => Err(refused),
        (None, Err(error)) => Err(Unlisted::Bad(bad(&error))),
        (None, Ok(())) => Ok(found.members),
    }
}

/// Lists the elements of the one array that `text` is, or `None` when there are more than `max`.
pub(super) fn elements(text: &str, max: usize) -> Result<Option<Vec<&RawValue>>, DecodeError> {
    starts_with(text, b'[', "a JSON array")?;
    let mut found = Elements { elements: Vec::new(), max, is_over: false };
    let mut parser = serde_json::Deserializer::from_str(text);
    let parsed = found.deserialize(&mut parser).and_then(|()| parser.end());
    match parsed {
        _ if found.is_over => Ok(None),
        Err(error) => Err(bad(&error)),
        Ok(()) => Ok(Some(found.elements)),
    }
}

/// Refuses another kind of value before the parser would repeat it in its message.
fn starts_with(text: &str, wanted: u8, name: &str) -> Result<(), DecodeError> {
    let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if start.as_bytes().first() == Some(&wanted) {
        return Ok(());
    }
    let before = text.len() - start.len();
    let spaces = text.get(..before).unwrap_or_default();
    Err(DecodeError::BadJson {
        line: spaces.matches('\n').count() + 1,
        column: spaces.rsplit('\n').next().unwrap_or_default().len() + 1,
        reason: format!("expected {name}"),
    })
}

fn bad(error: &serde_json::Error) -> DecodeError {
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or_default();
    DecodeError::BadJson { line: error.line(), column: error.column(), reason: reason.to_owned() }
}

struct Found<'a> {
    members: Members<'a>,
    max: usize,
    refused: Option<Unlisted>,
}

impl<'a> DeserializeSeed<'a> for &mut Found<'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for &mut Found<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let value = map.next_value()?;
            let refused = if self.members.iter().any(|(other, _)| *other == name) {
                Unlisted::Duplicate(name.into_owned())
            } else if self.members.len() == self.max {
                Unlisted::TooMany
            } else {
                self.members.push((name, value));
                continue;
            };
            self.refused = Some(refused);
            return Err(serde::de::Error::custom("refused"));
        }
        Ok(())
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'a> Deserialize<'a> for Name<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'a> Visitor<'a> for NameVisitor {
    type Value = Name<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, name: &'a str) -> Result<Name<'a>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name<'a>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

struct Elements<'a> {
    elements: Vec<&'a RawValue>,
    max: usize,
    is_over: bool,
}

impl<'a> DeserializeSeed<'a> for &mut Elements<'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for &mut Elements<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element()? {
            if self.elements.len() == self.max {
                self.is_over = true;
                return Err(serde::de::Error::custom("refused"));
            }
            self.elements.push(element);
        }
        Ok(())
    }
}
