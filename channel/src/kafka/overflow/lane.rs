//! Delay -> lane. Pure.

use std::time::Duration;

use crate::Envelope;

/// The longest delay of each lane but the last.
const DELAYS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(30), Duration::from_secs(300), Duration::from_secs(3600)];

/// Lanes of an overflow. As many when it is ordered, though entries then share the first: a trigger may
/// change its mind while something waits.
pub(super) const LANES: i32 = 5;

/// The lane of an entry.
pub(super) fn of(envelope: &Envelope, is_ordered: bool) -> i32 {
    if is_ordered {
        return 0;
    }
    let delay = envelope.due_at.duration_since(envelope.put_at).unwrap_or_default();
    let lane = DELAYS.iter().position(|&longest| delay <= longest).unwrap_or(DELAYS.len());
    i32::try_from(lane).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn entries_of_like_delay_share_a_lane() {
        for (seconds, lane) in
            [(0, 0), (1, 1), (30, 1), (31, 2), (300, 2), (301, 3), (3600, 3), (90_000, 4)]
        {
            let put_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
            let due_at = put_at + Duration::from_secs(seconds);
            let envelope =
                Envelope { attempts: 1, first_at: put_at, put_at, due_at, history: Bytes::new() };
            assert_eq!(of(&envelope, false), lane, "{seconds} s");
            assert!(lane < LANES);
            assert_eq!(of(&envelope, true), 0);
        }
    }
}
