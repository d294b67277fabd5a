//! Event <-> bytes, exactly as it is in memory: what storage of our own keeps.
//!
//! ```text
//! format 1 | spec version 1 | hops 2 | data form 1 | attributes 2 | carried length 4
//! attribute: name length 1 | kind 1 | wire length 4 | text length 4 (all ones: as the wire form)
//!            name, wire form, text
//! carried header lines | data
//! ```
//!
//! Numbers are little-endian. Whoever stores a record checks its bytes; this form has no checksum.

use bytes::{Buf, BufMut, Bytes};

use crate::{Attribute, Data, Draft, Event, Form, Kind, SpecVersion};

const FORMAT: u8 = 1;
const NO_TEXT: u32 = u32::MAX;
const NO_HOPS: u16 = u16::MAX;

/// A record that this program did not write, or not in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a stored event of this version: {0}")]
pub struct Corrupt(&'static str);

/// Bytes that [`encode`] adds for `event`, at most.
pub fn encoded_len_max(event: &Event) -> usize {
    // Names, wire forms and texts are in the head and the decoded text, which the cost counts.
    event.cost() + event.attributes().count() * 10
}

/// Bytes that [`encode`] adds for `event`.
pub fn encoded_len(event: &Event) -> usize {
    let attributes = event.attributes().filter(|attribute| attribute.name != "specversion");
    let attributes = attributes.map(|attribute| {
        let is_plain = attribute.text.as_bytes() == attribute.wire;
        let text = if is_plain { 0 } else { attribute.text.len() };
        10 + attribute.name.len() + attribute.wire.len() + text
    });
    11 + attributes.sum::<usize>()
        + event.carried().len()
        + event.data().map_or(0, |data| data.bytes.len())
}

/// Appends the record of `event` to `bytes`.
pub fn encode(event: &Event, bytes: &mut Vec<u8>) {
    encode_head(event, bytes);
    if let Some(data) = event.data() {
        bytes.put_slice(&data.bytes);
    }
}

/// Appends the record of `event` up to its data, which is the rest of it.
pub fn encode_head(event: &Event, bytes: &mut Vec<u8>) {
    let carried = event.carried();
    let version = match event.spec_version() {
        SpecVersion::V03 => 3,
        SpecVersion::V10 => 10,
    };
    let count = event.attributes().filter(|attribute| attribute.name != "specversion").count();
    bytes.put_slice(&[FORMAT, version]);
    bytes.put_u16_le(event.hops().map_or(NO_HOPS, u16::from));
    bytes.put_u8(event.data().map_or(0, |data| form_code(data.form)));
    bytes.put_u16_le(u16::try_from(count).unwrap_or(u16::MAX));
    bytes.put_u32_le(length(carried.len()));
    for attribute in event.attributes().filter(|attribute| attribute.name != "specversion") {
        encode_attribute(&attribute, bytes);
    }
    bytes.put_slice(carried);
}

fn encode_attribute(attribute: &Attribute<'_>, bytes: &mut Vec<u8>) {
    let is_plain = attribute.text.as_bytes() == attribute.wire;
    bytes.put_u8(u8::try_from(attribute.name.len()).unwrap_or(u8::MAX));
    bytes.put_u8(match attribute.kind {
        Kind::String => 0,
        Kind::Integer => 1,
        Kind::Boolean => 2,
    });
    bytes.put_u32_le(length(attribute.wire.len()));
    bytes.put_u32_le(if is_plain { NO_TEXT } else { length(attribute.text.len()) });
    bytes.put_slice(attribute.name.as_bytes());
    bytes.put_slice(attribute.wire);
    if !is_plain {
        bytes.put_slice(attribute.text.as_bytes());
    }
}

/// The event of a record, still to be charged for and finished. Its data shares `bytes`.
///
/// # Errors
///
/// [`Corrupt`] when `bytes` are no record.
pub fn decode(mut bytes: Bytes) -> Result<Draft, Corrupt> {
    let bytes = &mut bytes;
    let [format, version] = [byte(bytes)?, byte(bytes)?];
    if format != FORMAT {
        return Err(Corrupt("its format is unknown"));
    }
    let version = match version {
        3 => SpecVersion::V03,
        10 => SpecVersion::V10,
        _ => return Err(Corrupt("its specversion is unknown")),
    };
    let hops = number::<2>(bytes).map(u16::from_le_bytes)?;
    let form = byte(bytes)?;
    let count = number::<2>(bytes).map(u16::from_le_bytes)?;
    let carried = number::<4>(bytes).map(u32::from_le_bytes)?;
    let mut draft = Draft::new(version);
    for _ in 0..count {
        decode_attribute(bytes, &mut draft)?;
    }
    draft.carry_lines(&part(bytes, carried)?);
    draft.set_hops(u8::try_from(hops).ok());
    if form != 0 {
        draft.set_data(Some(Data { bytes: std::mem::take(bytes), form: form_of(form)? }));
    }
    Ok(draft)
}

fn decode_attribute(bytes: &mut Bytes, draft: &mut Draft) -> Result<(), Corrupt> {
    let name_len = byte(bytes)?;
    let kind = match byte(bytes)? {
        0 => Kind::String,
        1 => Kind::Integer,
        2 => Kind::Boolean,
        _ => return Err(Corrupt("an attribute has an unknown type")),
    };
    let wire_len = number::<4>(bytes).map(u32::from_le_bytes)?;
    let text_len = number::<4>(bytes).map(u32::from_le_bytes)?;
    let name = part(bytes, u32::from(name_len))?;
    let wire = part(bytes, wire_len)?;
    let name = std::str::from_utf8(&name).map_err(|_| Corrupt("a name is not text"))?;
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(Corrupt("a name has other characters than a-z and 0-9"));
    }
    // The head is a header block: bytes that would break it must not come from storage either.
    if wire.iter().any(|&byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(Corrupt("a value has control characters"));
    }
    if text_len == NO_TEXT {
        std::str::from_utf8(&wire).map_err(|_| Corrupt("a value is not text"))?;
        draft.restore(name, &wire, None, kind);
    } else {
        let text = part(bytes, text_len)?;
        let text = std::str::from_utf8(&text).map_err(|_| Corrupt("a value is not text"))?;
        draft.restore(name, &wire, Some(text), kind);
    }
    Ok(())
}

fn form_code(form: Form) -> u8 {
    match form {
        Form::Opaque => 1,
        Form::Json => 2,
        Form::Text => 3,
        Form::Base64 => 4,
    }
}

fn form_of(code: u8) -> Result<Form, Corrupt> {
    match code {
        1 => Ok(Form::Opaque),
        2 => Ok(Form::Json),
        3 => Ok(Form::Text),
        4 => Ok(Form::Base64),
        _ => Err(Corrupt("its data has an unknown form")),
    }
}

/// Lengths are bounded far below 4 GiB by the limits of every way in.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX - 1)
}

fn byte(bytes: &mut Bytes) -> Result<u8, Corrupt> {
    number::<1>(bytes).map(|[byte]| byte)
}

fn number<const N: usize>(bytes: &mut Bytes) -> Result<[u8; N], Corrupt> {
    let mut number = [0; N];
    if bytes.len() < N {
        return Err(Corrupt("it is cut short"));
    }
    bytes.copy_to_slice(&mut number);
    Ok(number)
}

fn part(bytes: &mut Bytes, len: u32) -> Result<Bytes, Corrupt> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if bytes.len() < len {
        return Err(Corrupt("it is cut short"));
    }
    Ok(bytes.split_to(len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::binding::arbitrary;

    proptest! {
        #[test]
        fn an_event_comes_back_byte_for_byte(event in arbitrary::event(), hops: Option<u8>) {
            let mut draft = event.edit();
            draft.set_hops(hops);
            draft.carry("traceparent", b"00-1-2-03");
            let event = draft.finish().unwrap();
            let mut bytes = Vec::new();
            encode(&event, &mut bytes);
            prop_assert!(bytes.len() <= encoded_len_max(&event));
            prop_assert_eq!(bytes.len(), encoded_len(&event));
            let back = decode(bytes.into()).unwrap().finish().unwrap();
            prop_assert_eq!(&back, &event);
            prop_assert_eq!(back.http_head(), event.http_head());
            prop_assert_eq!(back.carried(), event.carried());
            prop_assert_eq!(back.hops(), event.hops());
            prop_assert_eq!(encoded_len(&back), encoded_len(&event));
            prop_assert_eq!(back.data(), event.data());
            let kinds = |event: &Event| event.attributes().map(|a| a.kind).collect::<Vec<_>>();
            prop_assert_eq!(kinds(&back), kinds(&event));
        }

        #[test]
        fn any_bytes_are_an_event_or_refused(bytes: Vec<u8>) {
            drop(decode(bytes.into()));
        }

        #[test]
        fn a_record_that_is_cut_is_refused_or_has_less_data(
            event in arbitrary::event(), cut in 0_usize..200,
        ) {
            let mut bytes = Vec::new();
            encode(&event, &mut bytes);
            bytes.truncate(cut);
            drop(decode(bytes.into()).map(Draft::finish));
        }
    }
}
