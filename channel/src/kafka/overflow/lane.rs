//! Delay -> lane. Pure.

use crate::{
    Envelope,
    overflow::{DELAY_CLASSES, delay_class},
};

/// Lanes of an overflow. As many when it is ordered, though entries then share the first: a trigger may
/// change its mind while something waits.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "they are five")]
pub(super) const LANES: i32 = DELAY_CLASSES as i32;

/// The lane of an entry.
pub(super) fn of(envelope: &Envelope, is_ordered: bool) -> i32 {
    if is_ordered {
        return 0;
    }
    let delay = envelope.due_at.duration_since(envelope.put_at).unwrap_or_default();
    i32::try_from(delay_class(delay)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;

    use super::*;

    #[test]
    fn entries_of_like_delay_share_a_lane() {
        for (seconds, lane) in [(0, 0), (1, 1), (30, 1), (90_000, LANES - 1)] {
            let put_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
            let due_at = put_at + Duration::from_secs(seconds);
            let envelope =
                Envelope { attempts: 1, first_at: put_at, put_at, due_at, history: Bytes::new() };
            assert_eq!(of(&envelope, false), lane, "{seconds} s");
            assert_eq!(of(&envelope, true), 0);
        }
    }
}
