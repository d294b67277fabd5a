//! Reads the header with which a subscriber asks for time.

use std::time::{Duration, SystemTime};

/// Returns how long from `now` the value of a `Retry-After` header asks to wait, as a number of
/// seconds or as a date (RFC 9110, 10.2.3).
///
/// Anything that asks for nothing is `None`: garbage, a sign, a fraction, a date that has passed, a
/// number that no clock holds. The bound on what is obeyed is the delivery plan's.
pub fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    httpdate::parse_http_date(text).ok()?.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sunday, 6 November 1994, 08:49:37 GMT: the date of RFC 9110's examples.
    const NOW: Duration = Duration::from_secs(784_111_777);

    fn read(value: &[u8]) -> Option<u64> {
        retry_after(value, SystemTime::UNIX_EPOCH + NOW).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_all_three_forms_of_dates_are_read() {
        let cases: [(&[u8], u64); 9] = [
            (b"0", 0),
            (b"120", 120),
            (b" 120\t", 120),
            (b"007", 7),
            (b"18446744073709551615", u64::MAX),
            (b"Sun, 06 Nov 1994 08:49:37 GMT", 0),
            (b"Sun, 06 Nov 1994 08:50:37 GMT", 60),
            (b"Sunday, 06-Nov-94 08:50:37 GMT", 60),
            (b"Sun Nov  6 08:50:37 1994", 60),
        ];
        for (value, expected) in cases {
            assert_eq!(read(value), Some(expected), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn what_asks_for_nothing_is_ignored() {
        let cases: [&[u8]; 13] = [
            b"",
            b" ",
            b"soon",
            b"-1",
            b"+1",
            b"1.5",
            b"1e3",
            b"1, 2",
            b"0x10",
            b"18446744073709551616",
            b"\xff",
            b"Sun, 06 Nov 1994 08:49:36 GMT",
            b"Sun, 32 Nov 1994 08:50:37 GMT",
        ];
        for value in cases {
            assert_eq!(read(value), None, "{}", value.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(value: Vec<u8>) {
            read(&value);
        }
    }
}
