//! Durations as Go writes them: natss takes `30s` and `1h30m`, not ISO 8601.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// A length of time, written as Go's `time.ParseDuration` reads it; never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub struct GoDuration(#[schemars(with = "String")] pub Duration);

/// Units in nanoseconds, those first whose names begin with another's.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// Digits of a number, and of a fraction: more of them count no time that can be told apart.
const DIGITS_MAX: usize = 18;

impl GoDuration {
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest == "0" {
            return Some(Self(Duration::ZERO));
        }
        let mut nanos: u128 = 0;
        while !rest.is_empty() {
            let (whole, after) = digits(rest);
            let (fraction, after) = match after.strip_prefix('.') {
                Some(after) => digits(after),
                None => ("", after),
            };
            if (whole.is_empty() && fraction.is_empty())
                || whole.len().max(fraction.len()) > DIGITS_MAX
            {
                return None;
            }
            let (unit, after) =
                UNITS.iter().find_map(|(name, unit)| Some((*unit, after.strip_prefix(name)?)))?;
            let number = |digits: &str| digits.parse::<u128>().unwrap_or(0);
            let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
            nanos = nanos
                .checked_add(number(whole) * unit)?
                .checked_add(number(fraction) * unit / scale)?;
            rest = after;
        }
        let is_given = !text.trim_start_matches('+').is_empty();
        // Go counts in an i64 of nanoseconds.
        let nanos = u64::try_from(nanos).ok().filter(|nanos| i64::try_from(*nanos).is_ok())?;
        is_given.then_some(Self(Duration::from_nanos(nanos)))
    }
}

/// The digits that `text` begins with, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom("must be a duration as Go writes it, such as 30s or 1h30m")
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_those_that_go_reads() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("2m0s", 120_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("+250ms", 250),
            ("1000us", 1),
            ("1000µs", 1),
            ("168h0m0s", 604_800_000),
        ] {
            let expected = Some(GoDuration(Duration::from_millis(millis)));
            assert_eq!(GoDuration::parse(text), expected, "{text}");
        }
        for text in ["", "+", "30", "-1s", "1 s", "s", ".s", "1d", "PT1S", "1h-5m", "9999999999h"] {
            assert_eq!(GoDuration::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9.+hmsnuµ-]{0,24}") {
            GoDuration::parse(&text);
        }

        #[test]
        fn parts_add_up(hours in 0_u64..9_000, minutes in 0_u64..60, millis in 0_u64..60_000) {
            let text = format!("{hours}h{minutes}m{millis}ms");
            let expected = Duration::from_secs(hours * 3600 + minutes * 60)
                + Duration::from_millis(millis);
            prop_assert_eq!(GoDuration::parse(&text), Some(GoDuration(expected)));
        }
    }
}
