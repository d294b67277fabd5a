//! Amounts as users and servers write them: durations of Go, versions, bytes.

use std::time::Duration;

/// A duration as Go writes it, as in `1h30m`, `90s` or `1.5s`; `None` when `text` is none.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    Some(total)
}

/// The version of a server, as in `2.12.1` or `2.13.0-dev`; `None` when `text` is none.
pub(super) fn version(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.trim_start_matches('v');
    let numbers = text.split(['-', '+']).next()?;
    let mut parts = numbers.split('.').map(str::parse::<u32>);
    let version = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    parts.next().is_none().then_some(version)
}

/// A number as JetStream's signed fields have it: -1 when there is no limit.
pub(super) fn signed(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("90s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1500)),
            ("2m0.5s", Some(120_500)),
            ("10ms", Some(10)),
            ("0s", Some(0)),
            ("", None),
            ("10", None),
            ("s", None),
            ("1d", None),
            ("1..5s", None),
            ("-1s", None),
            ("99999999999999999999999h", None),
        ] {
            let millis = millis.map(Duration::from_millis);
            assert_eq!(duration(text), millis, "{text}");
        }
    }

    #[test]
    fn versions_are_read_with_what_follows_them() {
        for (text, expected) in [
            ("2.12.1", Some((2, 12, 1))),
            ("v2.9.10", Some((2, 9, 10))),
            ("2.13.0-dev.1", Some((2, 13, 0))),
            ("2.12", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }
}
