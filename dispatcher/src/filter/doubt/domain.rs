//! Values that an attribute cannot have in any event.

use channel::{Draft, Kind, SpecVersion, rules};

use super::fact::{Fact, What, quoted};
use crate::filter::{AttributeName, Check};

/// What stands for an event's version.
const VERSIONS: [&str; 2] = ["1.0", "0.3"];

/// Why no event has it so, if that is known.
pub(super) fn never(fact: &Fact) -> Option<String> {
    let Fact { attribute, what, .. } = fact;
    match (what, attribute) {
        (What::Absent, attribute) => {
            attribute.is_required().then(|| format!("every event has `{attribute}`"))
        }
        (What::IsNot(_), _) => None,
        (_, AttributeName::Plain(name)) if rules::check_name(name).is_err() => {
            let invalid = rules::check_name(name).err()?;
            Some(format!("no event has it: {}", invalid.rule))
        }
        (What::NoText, AttributeName::Plain(name)) => {
            let is_text = matches!(&**name, "specversion" | "time" | "datacontenttype");
            is_text.then(|| format!("`{name}` is never a number or a truth value"))
        }
        (What::There | What::NoText, _) => None,
        (What::Is(check), AttributeName::Plain(name)) if &**name == "specversion" => {
            let is_possible = VERSIONS.iter().any(|version| check.holds(version));
            (!is_possible).then(|| "`specversion` is 1.0 or 0.3".to_owned())
        }
        (What::Is(Check::Present), _) => None,
        (What::Is(Check::Exact(text)), attribute) => exact(attribute, text),
        (What::Is(Check::Prefix(text)), attribute) => {
            let is_digit = text.chars().next().is_none_or(|first| first.is_ascii_digit());
            part(attribute, text, is_digit)
        }
        (What::Is(Check::Suffix(text)), attribute) => {
            let is_end = |last: char| last.is_ascii_digit() || matches!(last, 'Z' | 'z');
            part(attribute, text, text.chars().next_back().is_none_or(is_end))
        }
    }
}

/// Why no event has this very value.
fn exact(attribute: &AttributeName, text: &str) -> Option<String> {
    let name = match attribute {
        AttributeName::DataMediaType if text.contains(';') => {
            return Some("`datamediatype` is without parameters".to_owned());
        }
        AttributeName::DataMediaType => "datacontenttype",
        // An extension of version 0.3 may have the name of the schema of 1.0, and any text.
        AttributeName::DataSchema => return None,
        AttributeName::Plain(name) => name,
    };
    let pushed = [SpecVersion::V10, SpecVersion::V03]
        .map(|version| Draft::new(version).push_text(name, text, Kind::String));
    let [Err(invalid), Err(_)] = pushed else { return None };
    Some(format!("no event has {}: {invalid}", quoted(text)))
}

/// Why no value begins, or ends, with this text; `is_time` tells whether a time can.
fn part(attribute: &AttributeName, text: &str, is_time: bool) -> Option<String> {
    let AttributeName::Plain(name) = attribute else {
        let is_media_type = *attribute == AttributeName::DataMediaType;
        return (is_media_type && text.contains(';'))
            .then(|| "`datamediatype` is without parameters".to_owned());
    };
    let is_of_uri =
        |char: char| char.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(char);
    match &**name {
        "time" if !is_time => Some(format!("no RFC 3339 time has {} there", quoted(text))),
        "source" if !text.chars().all(is_of_uri) => {
            Some(format!("no URI-reference has {} in it", quoted(text)))
        }
        _ => None,
    }
}
