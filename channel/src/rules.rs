//! What CloudEvents 1.0.2 asks of names and values of attributes (sections 3, 3.1 and 3.2).

use std::borrow::Cow;

use crate::{
    Invalid,
    event::{Kind, SpecVersion},
    percent,
};

/// Longest attribute name that is taken. The specification only advises against more than 20.
pub const NAME_BYTES_MAX: usize = 64;

pub(crate) const MISSING_RULE: &str = "required attribute is missing";

pub(crate) const SPECVERSION_RULE: &str = "must be 1.0 or 0.3";

/// Whether the specification itself defines the attribute; all others are extensions.
pub(crate) fn is_core(version: SpecVersion, name: &str) -> bool {
    match name {
        "id" | "source" | "type" | "specversion" | "datacontenttype" | "subject" | "time" => true,
        "dataschema" => version == SpecVersion::V10,
        "schemaurl" | "datacontentencoding" => version == SpecVersion::V03,
        _ => false,
    }
}

/// Whether the attribute holds a URI or URI-reference in any version.
pub(crate) fn is_uri(name: &str) -> bool {
    matches!(name, "source" | "dataschema" | "schemaurl")
}

/// What stands in an error for the empty name.
pub(crate) const NO_NAME: &str = "\"\"";

/// A name as it may stand in an error: not empty and not long.
pub(crate) fn shown_name(name: &str) -> Cow<'static, str> {
    match name.char_indices().nth(NAME_BYTES_MAX) {
        _ if name.is_empty() => Cow::Borrowed(NO_NAME),
        None => Cow::Owned(name.to_owned()),
        Some((end, _)) => Cow::Owned(format!("{}…", name.get(..end).unwrap_or_default())),
    }
}

/// Checks that `text` is the canonical text of a value of `kind` (CloudEvents 3.1).
pub(crate) fn check_kind(name: &str, text: &str, kind: Kind) -> Result<(), Invalid> {
    let rule = match kind {
        Kind::Integer if !is_integer(text) => {
            "must be an integer of 32 bits, without fraction and exponent (CloudEvents 3.1)"
        }
        Kind::Boolean if !matches!(text, "true" | "false") => "must be true or false",
        _ => return Ok(()),
    };
    Err(Invalid::new(shown_name(name), rule))
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = digits == "0" || !digits.starts_with(['0', '+']);
    is_canonical && text.parse::<i32>().is_ok()
}

/// Checks the name of an attribute: lower-case letters and digits, not `data`, and at most
/// [`NAME_BYTES_MAX`] long (CloudEvents 1.0.2, section 3).
///
/// # Errors
///
/// The name, and the rule that it breaks.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let rule = if name.is_empty() {
        "an attribute name must not be empty"
    } else if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        "an attribute name must consist of lower-case letters and digits (CloudEvents 3)"
    } else if name.len() > NAME_BYTES_MAX {
        "an attribute name must not be longer than 64 characters"
    } else if name == "data" {
        "an attribute must not be named data (CloudEvents 3)"
    } else {
        return Ok(());
    };
    Err(Invalid::new(shown_name(name), rule))
}

/// Checks the value of a well-known attribute or extension; `name` has passed [`check_name`].
pub(crate) fn check(version: SpecVersion, name: &str, text: &str) -> Result<(), Invalid> {
    check_named(version, name, text.as_bytes())?;
    if !percent::is_plain_text(text.as_bytes()) && text.chars().any(is_forbidden) {
        let rule = "must not contain control characters or noncharacters (CloudEvents 3.1)";
        return Err(Invalid::new(name.to_owned(), rule));
    }
    Ok(())
}

/// The part of [`check`] that only concerns the attributes of the specification; `text` is UTF-8.
pub(crate) fn check_named(version: SpecVersion, name: &str, text: &[u8]) -> Result<(), Invalid> {
    let rule = match name {
        "specversion" if text != version.as_str().as_bytes() => "must be the version of the event",
        "id" | "type" | "subject" | "source" if text.is_empty() => "must not be empty",
        "source" if !is_uri_reference(text) => URI_REFERENCE_RULE,
        "schemaurl" if version == SpecVersion::V03 && !is_uri_reference(text) => URI_REFERENCE_RULE,
        "dataschema" if version == SpecVersion::V10 && !is_absolute_uri(text) => {
            "must be an absolute URI (RFC 3986, 4.3)"
        }
        "datacontenttype" if !std::str::from_utf8(text).is_ok_and(is_media_type) => {
            "must be a media type (RFC 2046)"
        }
        "time" if !is_timestamp(text) => "must be a timestamp with seconds and offset (RFC 3339)",
        _ => return Ok(()),
    };
    Err(Invalid::new(name.to_owned(), rule))
}

const URI_REFERENCE_RULE: &str = "must be a URI-reference (RFC 3986, 4.1)";

fn is_uri_reference(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| fluent_uri::UriRef::parse(text).is_ok())
}

fn is_absolute_uri(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| fluent_uri::Uri::parse(text).is_ok())
}

/// Characters that the type String excludes; unpaired surrogates cannot be in a `str`.
fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    matches!(code, 0..=0x1f | 0x7f..=0x9f | 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe
}

/// Whether `text` is `type/subtype` with well-formed parameters.
pub(crate) fn is_media_type(text: &str) -> bool {
    if !text.contains(';') {
        return is_essence(text);
    }
    // A header would lose spaces around its value.
    if text != text.trim() {
        return false;
    }
    let mut parts = split_parameters(text);
    parts.next().is_some_and(|essence| is_essence(essence.trim_end())) && parts.all(is_parameter)
}

/// Whether `text` is `type/subtype`.
fn is_essence(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// The value of a media type's parameter, its quotes cut off.
pub(crate) fn parameter<'a>(media_type: &'a str, name: &str) -> Option<&'a str> {
    split_parameters(media_type).skip(1).find_map(|part| {
        let (found, value) = part.trim().split_once('=')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
    })
}

/// Splits at semicolons that are not inside a quoted string.
fn split_parameters(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c| {
        let is_boundary = c == ';' && !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        is_boundary
    })
}

fn is_parameter(part: &str) -> bool {
    let part = part.trim();
    // A stray semicolon is common and harmless.
    part.is_empty()
        || part
            .split_once('=')
            .is_some_and(|(name, value)| is_token(name) && (is_token(value) || is_quoted(value)))
}

fn is_quoted(text: &str) -> bool {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).is_some_and(|inner| {
        let mut escaped = false;
        let plain = inner.chars().all(|c| {
            let fits = escaped || c != '"';
            escaped = !escaped && c == '\\';
            fits && !c.is_control()
        });
        plain && !escaped
    })
}

/// A token of RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether a media type means that the data is JSON: `*/json` or `*/*+json`, parameters aside
/// (JSON format 1.0.2, section 3.1).
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.split_once('/').is_some_and(|(_, subtype)| {
        subtype.eq_ignore_ascii_case("json")
            || subtype
                .len()
                .checked_sub("+json".len())
                .and_then(|at| subtype.get(at..))
                .is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
    })
}

/// Whether `text` is a date-time of RFC 3339, section 5.6.
pub(crate) fn is_timestamp(text: &[u8]) -> bool {
    parse_timestamp(text).is_some()
}

fn parse_timestamp(text: &[u8]) -> Option<()> {
    let (date, rest) = text.split_at_checked("2018-04-05T17:31:00".len())?;
    let &[
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T' | b't',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
    ] = date
    else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let month = number(&[m1, m2])?;
    let day = number(&[d1, d2])?;
    let in_range = (1..=12).contains(&month)
        && (1..=days(year, month)).contains(&day)
        && number(&[h1, h2])? <= 23
        && number(&[n1, n2])? <= 59
        // A leap second is written as second 60.
        && number(&[s1, s2])? <= 60;
    if !in_range {
        return None;
    }
    match rest.strip_prefix(b".") {
        None => offset(rest),
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, rest) = fraction.split_at_checked(digits)?;
            if digits.is_empty() { None } else { offset(rest) }
        }
    }
}

fn offset(text: &[u8]) -> Option<()> {
    match *text {
        [b'Z' | b'z'] => Some(()),
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            (number(&[h1, h2])? <= 23 && number(&[m1, m2])? <= 59).then_some(())
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, &digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_those_of_rfc_3339() {
        for good in [
            "2018-04-05T17:31:00Z",
            "2018-04-05T17:31:00.123456789Z",
            "2018-04-05T17:31:00+01:00",
            "2018-04-05t17:31:00z",
            "2024-02-29T23:59:60-23:59",
        ] {
            assert!(is_timestamp(good.as_bytes()), "{good}");
        }
        for bad in [
            "lunchtime",
            "2018-04-05",
            "2018-04-05T17:31Z",
            "2018-04-05T17:31:00",
            "2018-04-05T17:31:00X",
            "2018-04-05T17:31:00+25:00",
            "2018-04-05T17:31:00+05",
            "2018-04-05T17:31:00+0500",
            "2018-04-05T17:31:00.Z",
            "2018-02-29T17:31:00Z",
            "2018-13-05T17:31:00Z",
            "2018-04-05 17:31:00Z",
            "2018-04-05T24:31:00Z",
        ] {
            assert!(!is_timestamp(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn media_types_need_a_subtype_and_sound_parameters() {
        for good in [
            "text/plain",
            "application/json; charset=utf-8",
            "application/vnd.x+json;charset=\"utf-8; x\"",
            "multipart/form-data; boundary=----x",
            "text/plain;",
            "text/plain ; a=b",
        ] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in [
            "",
            "xyz",
            "text/",
            "/plain",
            "text/plain; =====",
            "text/plain; a",
            "te xt/plain",
            "text/plain; a=\"x",
            " text/plain",
            "text/plain ",
            "text/plain; a=b ",
        ] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }

    #[test]
    fn json_is_told_by_the_subtype() {
        for json in [
            "application/json",
            "APPLICATION/JSON",
            "image/json",
            "application/vnd.x+json; charset=utf-8",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in ["text/plain", "application/jsonx", "json", "application/json+xml"] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn values_are_checked_by_name() {
        for (name, text) in [
            ("id", ""),
            ("type", ""),
            ("subject", ""),
            ("source", ""),
            ("source", "a b"),
            ("dataschema", "#"),
            ("dataschema", "/relative"),
            ("time", "now"),
            ("any", "a\u{7}"),
            ("any", "\u{ffff}"),
            ("any", "\u{85}"),
        ] {
            assert!(check(SpecVersion::V10, name, text).is_err(), "{name} {text:?}");
        }
        for (name, text) in [
            ("source", "#fragment"),
            ("source", "/a"),
            ("dataschema", "urn:x"),
            ("any", ""),
            ("any", "é😀"),
        ] {
            assert!(check(SpecVersion::V10, name, text).is_ok(), "{name} {text:?}");
        }
    }
}
