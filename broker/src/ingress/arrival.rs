//! The time of arrival as text (RFC 3339, UTC, nanoseconds), cheap enough for every event.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

thread_local! {
    /// The last second that was written out: most events share it with the one before.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// The text of `now`, for example `2026-03-01T12:00:00.000000042Z`.
pub(super) fn text(now: SystemTime) -> String {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, written)| {
        if *second != since_epoch.as_secs() {
            *second = since_epoch.as_secs();
            *written = date_time(*second);
        }
        let mut text = String::with_capacity(written.len() + ".000000000Z".len());
        text.push_str(written);
        text.push('.');
        let nanos = since_epoch.subsec_nanos();
        let mut place = 100_000_000;
        while place > 0 {
            let digit = char::from_digit(nanos / place % 10, 10).unwrap_or('0');
            text.push(digit);
            place /= 10;
        }
        text.push('Z');
        text
    })
}

fn date_time(second: u64) -> String {
    let timestamp = i64::try_from(second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    let mut text = timestamp.unwrap_or_default().to_string();
    text.truncate("2026-03-01T12:00:00".len());
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_has_all_its_nanoseconds() {
        let second = UNIX_EPOCH + Duration::from_secs(1_772_366_400);
        assert_eq!(text(second), "2026-03-01T12:00:00.000000000Z");
        assert_eq!(text(second + Duration::from_nanos(42)), "2026-03-01T12:00:00.000000042Z");
        assert_eq!(text(second + Duration::from_secs(1)), "2026-03-01T12:00:01.000000000Z");
    }
}
