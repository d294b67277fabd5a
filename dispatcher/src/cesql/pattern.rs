//! What `LIKE` compares with: `%` for any characters, `_` for one.

use super::evaluate::Steps;

/// A pattern, taken apart once.
///
/// Matching goes through the segments between the `%` once and takes the first place for each, so
/// it needs no recursion. Its cost is that of a search for each segment, at most the length of the
/// text times that of the pattern, and is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    source: Box<str>,
    /// What stands between the `%`. One: there is none, the whole text must match.
    segments: Box<[Segment]>,
}

type Segment = Box<[Part]>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// These characters.
    Text(Box<str>),
    /// `_`: any one character.
    One,
}

impl Pattern {
    /// Reads a pattern. Every text is one: a `\` that does not stand before `%` or `_` is itself.
    pub fn new(source: &str) -> Self {
        let mut segments = Vec::new();
        let (mut parts, mut text) = (Vec::new(), String::new());
        let mut rest = source.chars();
        let flush = |text: &mut String, parts: &mut Vec<Part>| {
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(text).into()));
            }
        };
        while let Some(char) = rest.next() {
            match char {
                '\\' => {
                    let escaped = rest.clone().next().filter(|next| matches!(next, '%' | '_'));
                    if escaped.is_some() {
                        rest.next();
                    }
                    text.push(escaped.unwrap_or('\\'));
                }
                '_' => {
                    flush(&mut text, &mut parts);
                    parts.push(Part::One);
                }
                '%' => {
                    flush(&mut text, &mut parts);
                    segments.push(Segment::from(std::mem::take(&mut parts)));
                }
                char => text.push(char),
            }
        }
        flush(&mut text, &mut parts);
        segments.push(parts.into());
        Self { source: source.into(), segments: segments.into() }
    }

    /// The pattern as it was written, between its quotes.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The one text that matches, if it is only one.
    pub fn exact(&self) -> Option<&str> {
        match &*self.segments {
            [only] => match &**only {
                [] => Some(""),
                [Part::Text(text)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// What every text that matches begins with; empty when that can be anything.
    pub fn prefix(&self) -> &str {
        match self.segments.first().and_then(|segment| segment.first()) {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// What every text that matches ends with; empty when that can be anything.
    pub fn suffix(&self) -> &str {
        match self.segments.last().and_then(|segment| segment.last()) {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// Whether `text` is like this, or `None` when that would take more steps than there are left.
    pub(super) fn matches(&self, text: &str, steps: &mut Steps) -> Option<bool> {
        let (first, others) = self.segments.split_first()?;
        let Some(mut rest) = strip_start(first, text, steps)? else { return Some(false) };
        let Some((last, between)) = others.split_last() else { return Some(rest.is_empty()) };
        for segment in between {
            match skip_past(segment, rest, steps)? {
                Some(after) => rest = after,
                None => return Some(false),
            }
        }
        ends_with(last, rest, steps)
    }
}

/// What follows `segment` at the start of `text`, if it is there.
fn strip_start<'t>(segment: &[Part], text: &'t str, steps: &mut Steps) -> Option<Option<&'t str>> {
    let mut rest = text;
    for part in segment {
        let after = match part {
            Part::Text(text) => {
                steps.take_bytes(text.len())?;
                rest.strip_prefix(&**text)
            }
            Part::One => {
                steps.take_bytes(1)?;
                without_first(rest)
            }
        };
        match after {
            Some(after) => rest = after,
            None => return Some(None),
        }
    }
    Some(Some(rest))
}

/// Whether `text` ends with `segment`.
fn ends_with(segment: &[Part], text: &str, steps: &mut Steps) -> Option<bool> {
    let mut rest = text;
    for part in segment.iter().rev() {
        let before = match part {
            Part::Text(text) => {
                steps.take_bytes(text.len())?;
                rest.strip_suffix(&**text)
            }
            Part::One => {
                steps.take_bytes(1)?;
                let mut chars = rest.chars();
                chars.next_back().map(|_| chars.as_str())
            }
        };
        match before {
            Some(before) => rest = before,
            None => return Some(false),
        }
    }
    Some(true)
}

/// What follows the first place in `text` where `segment` is. The first is the right one: it
/// leaves most to the segments after it.
fn skip_past<'t>(segment: &[Part], text: &'t str, steps: &mut Steps) -> Option<Option<&'t str>> {
    let mut from = text;
    loop {
        if let Some(Part::Text(text)) = segment.first() {
            // The search is linear in both.
            let at = from.find(&**text);
            steps.take_bytes(at.unwrap_or(from.len()).saturating_add(text.len()))?;
            match at.and_then(|at| from.get(at..)) {
                Some(found) => from = found,
                None => return Some(None),
            }
        }
        if let Some(after) = strip_start(segment, from, steps)? {
            return Some(Some(after));
        }
        steps.take(1)?;
        match without_first(from) {
            Some(next) => from = next,
            None => return Some(None),
        }
    }
}

fn without_first(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next().map(|_| chars.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        let found = Pattern::new(pattern).matches(text, &mut Steps::new());
        assert_eq!(found, Some(expected), "{text:?} LIKE {pattern:?}");
    }

    #[test]
    fn wildcards_stand_for_characters_not_bytes() {
        for (pattern, text, expected) in [
            ("_", "é", true),
            ("__", "é", false),
            ("_é_", "aéb", true),
            ("%_", "", false),
            ("%_", "日", true),
            ("_%_", "日", false),
            ("_%_", "日本", true),
            ("%é", "aé", true),
            ("%ab_", "aabab日", true),
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%%", "", true),
            ("a%a", "a", false),
            ("a%a", "aa", true),
            ("%a%a%", "a", false),
            ("%ab%ba%", "aba", false),
            ("%ab%ba%", "abba", true),
            ("%_b%", "bab", true),
            ("%_b%", "ba", false),
            ("a\\%", "a%", true),
            ("a\\%", "ab", false),
            ("a\\\\%", "a\\%", true),
            ("a\\", "a\\", true),
            ("\\_", "_", true),
            ("\\_", "a", false),
        ] {
            check(pattern, text, expected);
        }
    }

    /// The definition, read aloud: exponential, for short texts only.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            (['\\', escaped @ ('%' | '_'), pattern @ ..], text) => {
                text.first() == Some(escaped) && naive(pattern, &text[1..])
            }
            (['%', pattern @ ..], text) => {
                (0..=text.len()).any(|skipped| naive(pattern, &text[skipped..]))
            }
            (['_', pattern @ ..], [_, text @ ..]) => naive(pattern, text),
            ([char, pattern @ ..], [first, text @ ..]) => char == first && naive(pattern, text),
            (_, []) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_pattern_matches_what_its_definition_says(
            pattern in "[ab%_é\\\\]{0,8}",
            text in "[abé%_\\\\]{0,8}",
        ) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive(&chars(&pattern), &chars(&text));
            let found = Pattern::new(&pattern).matches(&text, &mut Steps::new());
            prop_assert_eq!(found, Some(expected));
            if expected {
                let compiled = Pattern::new(&pattern);
                prop_assert!(text.starts_with(compiled.prefix()));
                prop_assert!(text.ends_with(compiled.suffix()));
                prop_assert!(compiled.exact().is_none_or(|exact| exact == text));
            }
        }
    }

    #[test]
    fn what_can_be_looked_up_is_known() {
        for (pattern, exact, prefix, suffix) in [
            ("abc", Some("abc"), "abc", "abc"),
            ("", Some(""), "", ""),
            ("a\\%c", Some("a%c"), "a%c", "a%c"),
            ("abc%", None, "abc", ""),
            ("%abc", None, "", "abc"),
            ("ab%c", None, "ab", "c"),
            ("a_c", None, "a", "c"),
            ("_a_", None, "", ""),
            ("%", None, "", ""),
        ] {
            let pattern = Pattern::new(pattern);
            assert_eq!(
                (pattern.exact(), pattern.prefix(), pattern.suffix()),
                (exact, prefix, suffix)
            );
        }
    }

    #[test]
    fn a_match_that_takes_too_long_is_given_up() {
        let text = "a".repeat(60_000);
        let slow = Pattern::new(&format!("%{}b%", "a_".repeat(1_000)));
        assert_eq!(slow.matches(&text, &mut Steps::new()), None);
        let fast = Pattern::new(&format!("%{}b%", "a".repeat(2_000)));
        assert_eq!(fast.matches(&text, &mut Steps::new()), Some(false));
    }
}
