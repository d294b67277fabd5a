//! ISO 8601 durations, as Knative's resources write them.
//!
//! Years and months have the lengths that Knative's parser gives them: a year is 365.2425 days, a
//! month a twelfth of it (730 h 29 min 6 s). A day always has 24 hours.
//!
//! # Why
//!
//! Knative's parser keeps one digit of a fraction, so `PT0.25S` becomes 200 ms and `PT0.05S` no
//! time at all. Here every digit down to the nanosecond counts. jiff's parser knows no months
//! outside a calendar and takes forms that Knative refuses, so it does not serve.

use std::time::Duration;

use jiff::SignedDuration;

const NANOS: u128 = 1_000_000_000;
const DAY_SECONDS: u128 = 24 * 60 * 60;

/// Units before the `T`, in the order in which they must be written, in seconds.
const DATE_UNITS: &[(char, u128)] =
    &[('Y', 31_556_952), ('M', 2_629_746), ('W', 7 * DAY_SECONDS), ('D', DAY_SECONDS)];

/// Units after the `T`.
const TIME_UNITS: &[(char, u128)] = &[('H', 60 * 60), ('M', 60), ('S', 1)];

/// Digits of a fraction that are read. With them the longest unit is still exact to a nanosecond.
const FRACTION_DIGITS_MAX: usize = 18;

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It does not have the form.
    #[error("must be an ISO 8601 duration such as PT0.2S or P1DT12H")]
    Form,
    /// It has the form, but is longer than any time that can be counted.
    #[error("must not be that long")]
    TooLong,
}

/// Reads a duration: `PT0.2S`, `P1DT12H`, `P2W`, `-PT1S`, with a comma or a dot in a fraction.
///
/// Only the last unit may have a fraction; what is below a nanosecond is dropped.
///
/// # Errors
///
/// [`DurationError::Form`] for anything else, also for lower case, for spaces, and for `P` or `T`
/// with nothing after it; [`DurationError::TooLong`] above 2^63 seconds.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let parts = unsigned.strip_prefix('P').ok_or(DurationError::Form)?;
    let (date, time) = match parts.split_once('T') {
        Some((_, "")) => return Err(DurationError::Form),
        Some((date, time)) => (date, Some(time)),
        None if parts.is_empty() => return Err(DurationError::Form),
        None => (parts, None),
    };
    let date_nanos = sum(date, DATE_UNITS, time.is_none())?;
    let time_nanos = sum(time.unwrap_or_default(), TIME_UNITS, true)?;
    let nanos = date_nanos.checked_add(time_nanos).ok_or(DurationError::TooLong)?;
    let length = Duration::new(
        u64::try_from(nanos / NANOS).map_err(|_| DurationError::TooLong)?,
        u32::try_from(nanos % NANOS).map_err(|_| DurationError::TooLong)?,
    );
    let length = SignedDuration::try_from(length).map_err(|_| DurationError::TooLong)?;
    Ok(if is_negative { -length } else { length })
}

/// Writes `length` in the shortest form with days, hours, minutes and seconds: `PT0.2S`, `P1DT1M`,
/// `PT0S`. [`parse`] reads the same length back.
pub fn print(length: Duration) -> String {
    let (minutes, seconds) = (length.as_secs() / 60, length.as_secs() % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let (days, hours) = (hours / 24, hours % 24);
    let fraction = format!("{:09}", length.subsec_nanos());
    let fraction = fraction.trim_end_matches('0');

    let with_unit =
        |count: u64, unit| if count == 0 { String::new() } else { format!("{count}{unit}") };
    let date = with_unit(days, 'D');
    let mut time = with_unit(hours, 'H') + &with_unit(minutes, 'M');
    if !fraction.is_empty() {
        time += &format!("{seconds}.{fraction}S");
    } else if seconds > 0 || length.is_zero() {
        time += &format!("{seconds}S");
    }
    if time.is_empty() { format!("P{date}") } else { format!("P{date}T{time}") }
}

/// Adds up components such as `1H30M`, in nanoseconds. `units` are those that may come, in order.
fn sum(
    mut text: &str,
    mut units: &[(char, u128)],
    may_have_fraction: bool,
) -> Result<u128, DurationError> {
    let mut total = 0_u128;
    while !text.is_empty() {
        let (number, unit, rest) = split_component(text).ok_or(DurationError::Form)?;
        let place = units.iter().position(|(name, _)| *name == unit).ok_or(DurationError::Form)?;
        let (_, seconds) = units.get(place).ok_or(DurationError::Form)?;
        units = units.get(place + 1..).unwrap_or_default();

        let (whole, fraction) = match number.split_once(['.', ',']) {
            Some((_, fraction)) if !is_digits(fraction) => return Err(DurationError::Form),
            Some(_) if !rest.is_empty() || !may_have_fraction => return Err(DurationError::Form),
            Some((whole, fraction)) => (whole, fraction),
            None => (number, "0"),
        };
        if !is_digits(whole) {
            return Err(DurationError::Form);
        }
        let unit_nanos = seconds * NANOS;
        let nanos = whole
            .parse::<u128>()
            .ok()
            .and_then(|count| count.checked_mul(unit_nanos))
            .and_then(|nanos| nanos.checked_add(part_of(unit_nanos, fraction)))
            .and_then(|nanos| nanos.checked_add(total));
        total = nanos.ok_or(DurationError::TooLong)?;
        text = rest;
    }
    Ok(total)
}

/// Splits `12.5H30M` into `12.5`, `H` and `30M`.
fn split_component(text: &str) -> Option<(&str, char, &str)> {
    let (end, unit) = text.char_indices().find(|(_, c)| c.is_alphabetic())?;
    let (number, rest) = text.split_at_checked(end)?;
    Some((number, unit, rest.strip_prefix(unit)?))
}

/// `0.fraction` of `unit_nanos`; `fraction` consists of digits.
fn part_of(unit_nanos: u128, fraction: &str) -> u128 {
    let (value, scale) = fraction
        .bytes()
        .take(FRACTION_DIGITS_MAX)
        .fold((0_u128, 1_u128), |(value, scale), digit| {
            (value * 10 + u128::from(digit - b'0'), scale * 10)
        });
    unit_nanos * value / scale
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knatives_forms_are_read_with_every_digit() {
        let cases = [
            ("PT0S", 0.0),
            ("P0D", 0.0),
            ("-PT0S", 0.0),
            ("PT0.2S", 0.2),
            ("PT0,2S", 0.2),
            ("PT0.25S", 0.25),
            ("PT0.05S", 0.05),
            ("PT1.55S", 1.55),
            ("PT0.000000001S", 1e-9),
            ("PT0.0000000019S", 1e-9),
            ("PT0.00000000000000000000000001S", 0.0),
            ("PT1H2M3S", 3723.0),
            ("PT0.5H", 1800.0),
            ("PT90M", 5400.0),
            ("P1D", 86_400.0),
            ("P1.5D", 129_600.0),
            ("P1DT12H", 129_600.0),
            ("P1W", 604_800.0),
            ("P1M", 2_629_746.0),
            ("P1Y", 31_556_952.0),
            ("P1Y1M1W1DT1H1M1S", 34_881_559.0),
            ("P12M", 31_556_952.0),
            ("+PT1S", 1.0),
            ("-PT1.5S", -1.5),
            ("PT007S", 7.0),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Ok(SignedDuration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let cases = [
            "",
            "P",
            "PT",
            "P1DT",
            "T1S",
            "1s",
            "1S",
            "1",
            "0",
            "pt1s",
            "PT1s",
            "Pt1S",
            "PT1S ",
            " PT1S",
            "PT 1S",
            "PT1",
            "P1",
            "PTS",
            "PT.5S",
            "PT1.S",
            "PT1.2.3S",
            "PT1.5H30M",
            "P1.5DT1H",
            "PT1S1M",
            "PT1M1M",
            "P1D1W",
            "P1H",
            "PT1D",
            "P1S",
            "--PT1S",
            "+-PT1S",
            "P-1D",
            "PT-1S",
            "PT1e3S",
            "PT١S",
            "PT1Ş",
            "P1TT1S",
            "PT1ST",
            "PT1_0S",
            "soon",
        ];
        for text in cases {
            assert_eq!(parse(text), Err(DurationError::Form), "{text:?}");
        }
    }

    #[test]
    fn a_time_beyond_counting_is_refused_with_a_message() {
        for text in ["P99999999999999999999999999Y", "PT9223372036854775808S", "P292277024627Y"] {
            assert_eq!(parse(text), Err(DurationError::TooLong), "{text}");
        }
        let long = format!("PT{}S", "9".repeat(100));
        assert_eq!(parse(&long), Err(DurationError::TooLong));
        assert_eq!(parse("PT9223372036854775807S"), Ok(SignedDuration::from_secs(i64::MAX)));
    }

    #[test]
    fn the_shortest_form_is_printed() {
        let cases = [
            (0, "PT0S"),
            (200, "PT0.2S"),
            (1_050, "PT1.05S"),
            (10_000, "PT10S"),
            (60_000, "PT1M"),
            (60_500, "PT1M0.5S"),
            (3_600_000, "PT1H"),
            (86_400_000, "P1D"),
            (90_061_000, "P1DT1H1M1S"),
        ];
        for (millis, text) in cases {
            assert_eq!(print(Duration::from_millis(millis)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(seconds in 0..=i64::MAX.unsigned_abs(), nanos in 0_u32..1_000_000_000) {
            let length = Duration::new(seconds, nanos);
            prop_assert_eq!(parse(&print(length)), Ok(SignedDuration::try_from(length).unwrap()));
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,20}|[-+PT0-9.,YMWDHS]{0,30}") {
            if let Ok(length) = parse(&text) {
                prop_assert!(text.contains('P') && length <= SignedDuration::MAX);
            }
        }
    }
}
