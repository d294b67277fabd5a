//! Amounts as servers write them: versions, limits.

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
