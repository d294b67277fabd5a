//! Delay -> lane. Pure.

use std::time::SystemTime;

use crate::overflow::{DELAY_CLASSES, delay_class};

/// The last tokens of subjects: the classes of delay, each nearly in the order in which it is due,
/// and what is in an order of its own.
const NAMES: [&str; DELAY_CLASSES] = ["now", "30s", "5m", "1h", "longer"];

/// The lane of what is in an order of its own, and its name.
pub(super) const ORDERED: (usize, &str) = (DELAY_CLASSES, "ordered");

pub(super) fn lane_name(lane: usize) -> &'static str {
    NAMES.get(lane).copied().unwrap_or(ORDERED.1)
}

/// The class of what is due at `due_at`.
pub(super) fn lane(ordered: bool, due_at: SystemTime, now: SystemTime) -> usize {
    if ordered {
        return ORDERED.0;
    }
    delay_class(due_at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn delays_are_sorted_into_classes() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (delay, expected) in [
            (0, "now"),
            (1, "30s"),
            (30, "30s"),
            (31, "5m"),
            (300, "5m"),
            (3600, "1h"),
            (3601, "longer"),
        ] {
            let found = lane(false, now + Duration::from_secs(delay), now);
            assert_eq!(lane_name(found), expected, "{delay}");
        }
        assert_eq!(lane_name(lane(false, now - Duration::from_secs(1), now)), "now");
        assert_eq!(lane_name(lane(true, now + Duration::from_secs(1), now)), "ordered");
    }
}
