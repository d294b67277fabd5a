//! A value that is nearly what a filter wants, and in what it differs.

use jiff::Timestamp;

use crate::filter::{AttributeName, Check};

/// What keeps `actual`, which fails `check`, from passing it, when that is little; in words.
pub(super) fn value(attribute: &AttributeName, check: &Check, actual: &str) -> Option<String> {
    let name = attribute.to_string();
    let Some(wanted) = super::text_of(check) else {
        return Some(format!("`{name}` is there, but empty"));
    };
    let passes = |text: &str, wanted: &str| of_kind(check, wanted).holds(text);
    let lower = |text: &str| text.to_lowercase();
    let differs = |how: &str| Some(format!("`{name}` differs only in {how}"));
    if passes(actual.trim(), wanted.trim()) {
        return differs("white space at its ends");
    }
    if passes(&lower(actual), &lower(wanted)) {
        return differs("case");
    }
    if passes(&lower(actual.trim()), &lower(wanted.trim())) {
        return differs("case and white space at its ends");
    }
    if let Some(how) = media_type(&name, check, wanted, actual) {
        return Some(how);
    }
    if let (Ok(wanted), Ok(actual)) = (wanted.parse::<Timestamp>(), actual.parse::<Timestamp>())
        && wanted == actual
    {
        return Some(format!("`{name}` is the same time in another form; texts are compared"));
    }
    if passes(&decoded(actual), &decoded(wanted)) {
        return differs("percent-coding; headers are compared decoded");
    }
    if let (Ok(wanted), Ok(actual)) = (wanted.parse::<i128>(), actual.parse::<i128>())
        && wanted == actual
    {
        return Some(format!("`{name}` is the same number in another form; texts are compared"));
    }
    if let Some(start) = wanted.strip_suffix(['*', '%'])
        && actual.starts_with(start)
        && !start.is_empty()
    {
        return Some(format!("there are no wildcards here; use prefix: {{{name}: {start:?}}}"));
    }
    if let Some(end) = wanted.strip_prefix(['*', '%'])
        && actual.ends_with(end)
        && !end.is_empty()
    {
        return Some(format!("there are no wildcards here; use suffix: {{{name}: {end:?}}}"));
    }
    part(&name, check, wanted, actual).or_else(|| {
        let compared = compared(check, wanted, actual);
        is_one_edit(wanted, compared).then(|| format!("`{name}` is one letter away from it"))
    })
}

/// A check of the same kind for another text.
fn of_kind(check: &Check, text: &str) -> Check {
    match check {
        Check::Present => Check::Present,
        Check::Exact(_) => Check::Exact(text.into()),
        Check::Prefix(_) => Check::Prefix(text.into()),
        Check::Suffix(_) => Check::Suffix(text.into()),
    }
}

/// Media types that are the same but for their parameters.
fn media_type(name: &str, check: &Check, wanted: &str, actual: &str) -> Option<String> {
    let is_media_type = matches!(name, "datacontenttype" | "datamediatype");
    if !is_media_type || !matches!(check, Check::Exact(_)) {
        return None;
    }
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_lowercase();
    (essence(wanted) == essence(actual)).then(|| match name {
        "datamediatype" => {
            "`datamediatype` has no parameters: leave out what follows the `;`".into()
        }
        _ => "`datacontenttype` differs only in parameters; `datamediatype` is without them".into(),
    })
}

/// One text that is a part of the other.
fn part(name: &str, check: &Check, wanted: &str, actual: &str) -> Option<String> {
    let without_slash = |text: &'_ str| text.trim_end_matches('/').to_owned();
    if matches!(check, Check::Exact(_)) && without_slash(wanted) == without_slash(actual) {
        return Some(format!("`{name}` differs only in a `/` at its end"));
    }
    let (start, end) = (actual.starts_with(wanted), actual.ends_with(wanted));
    if let Some(rest) = wanted.strip_prefix(actual).filter(|_| !matches!(check, Check::Suffix(_))) {
        return Some(format!("`{name}` stops before {rest:?}"));
    }
    match check {
        Check::Exact(_) if start => Some(format!("`{name}` begins with it: prefix would match")),
        Check::Exact(_) if end => Some(format!("`{name}` ends with it: suffix would match")),
        Check::Prefix(_) if end => Some(format!("`{name}` ends with it: suffix would match")),
        Check::Suffix(_) if start => Some(format!("`{name}` begins with it: prefix would match")),
        Check::Prefix(_) if actual.contains(wanted) => {
            Some(format!("`{name}` has it, but not at its start"))
        }
        Check::Suffix(_) if actual.contains(wanted) => {
            Some(format!("`{name}` has it, but not at its end"))
        }
        _ => None,
    }
}

/// The part of `actual` that `check` compares with `wanted`.
fn compared<'a>(check: &Check, wanted: &str, actual: &'a str) -> &'a str {
    let count = wanted.chars().count();
    match check {
        Check::Prefix(_) => {
            let end = actual.char_indices().nth(count).map_or(actual.len(), |(end, _)| end);
            actual.get(..end).unwrap_or(actual)
        }
        Check::Suffix(_) => {
            let last = count.saturating_sub(1);
            let start = actual.char_indices().rev().nth(last).map_or(0, |(start, _)| start);
            actual.get(start..).unwrap_or(actual)
        }
        Check::Present | Check::Exact(_) => actual,
    }
}

/// Whether one letter more, less or other, or two in turn, makes one text of the other. Texts of one
/// or two letters are all near each other.
fn is_one_edit(left: &str, right: &str) -> bool {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let shorter = left.len().min(right.len());
    if shorter < 3 {
        return false;
    }
    let same = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    let (left, right) =
        (left.get(same..).unwrap_or_default(), right.get(same..).unwrap_or_default());
    let pairs = left.iter().rev().zip(right.iter().rev());
    let same = pairs.take_while(|(left, right)| left == right).count();
    let cut = |text: &[char]| text.get(..text.len().saturating_sub(same)).map(<[char]>::to_vec);
    match (cut(left).as_deref(), cut(right).as_deref()) {
        (Some([a, b]), Some([c, d])) => a == d && b == c,
        (Some(left), Some(right)) => left.len() <= 1 && right.len() <= 1,
        _ => false,
    }
}

/// A text with its percent-coding undone, as far as that gives text.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let coded = after.get(..2).filter(|_| byte == b'%');
        let coded = coded.and_then(|digits| std::str::from_utf8(digits).ok());
        match coded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, check: Check, actual: &str, expected: Option<&str>) {
        let attribute = match name {
            "datamediatype" => AttributeName::DataMediaType,
            name => AttributeName::Plain(name.into()),
        };
        assert_eq!(value(&attribute, &check, actual).as_deref(), expected);
    }

    fn exact(text: &str) -> Check {
        Check::Exact(text.into())
    }

    #[test]
    fn what_is_nearly_right_is_told_with_what_is_wrong() {
        for (name, wanted, actual, expected) in [
            ("type", "greeting", "Greeting", "`type` differs only in case"),
            (
                "type",
                "greeting",
                " greeting\u{a0}",
                "`type` differs only in white space at its ends",
            ),
            ("type", "a ", "A", "`type` differs only in case and white space at its ends"),
            (
                "datacontenttype",
                "application/json",
                "Application/json; charset=utf-8",
                "`datacontenttype` differs only in parameters; `datamediatype` is without them",
            ),
            (
                "datamediatype",
                "text/plain; a=b",
                "text/plain",
                "`datamediatype` has no parameters: leave out what follows the `;`",
            ),
            (
                "time",
                "2018-04-05T17:31:00Z",
                "2018-04-05T19:31:00.0+02:00",
                "`time` is the same time in another form; texts are compared",
            ),
            (
                "subject",
                "a%20b",
                "a b",
                "`subject` differs only in percent-coding; headers are compared decoded",
            ),
            ("count", "5", "05", "`count` is the same number in another form; texts are compared"),
            (
                "type",
                "com.example.*",
                "com.example.made",
                "there are no wildcards here; use prefix: {type: \"com.example.\"}",
            ),
            ("source", "/shop/", "/shop", "`source` differs only in a `/` at its end"),
            ("type", "com.", "com.made", "`type` begins with it: prefix would match"),
            ("type", "made", "com.made", "`type` ends with it: suffix would match"),
            ("type", "com.made.v1", "com.made", "`type` stops before \".v1\""),
            ("type", "greeting", "greting", "`type` is one letter away from it"),
            ("type", "greeting", "greetnig", "`type` is one letter away from it"),
        ] {
            check(name, exact(wanted), actual, Some(expected));
        }
        let prefix = |text: &str| Check::Prefix(text.into());
        check("type", prefix("Com."), "com.made", Some("`type` differs only in case"));
        check("type", prefix("com.made."), "com.made", Some("`type` stops before \".\""));
        check("type", prefix("made"), "com.made", Some("`type` ends with it: suffix would match"));
        check("type", prefix("con.m"), "com.made", Some("`type` is one letter away from it"));
        let suffix = |text: &str| Check::Suffix(text.into());
        check("type", suffix("com"), "com.made", Some("`type` begins with it: prefix would match"));
        check("type", suffix(".mode"), "com.made", Some("`type` is one letter away from it"));
        check("subject", Check::Present, "", Some("`subject` is there, but empty"));
    }

    #[test]
    fn what_is_far_away_has_no_hint() {
        check("type", exact("greeting"), "farewell", None);
        check("type", exact("a"), "b", None);
        check("type", exact("ab"), "ac", None);
        check("source", exact("/1"), "/2", None);
    }
}
