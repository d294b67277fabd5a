//! A wall clock that does not jump while the process runs.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

static START: OnceLock<(Instant, SystemTime)> = OnceLock::new();

/// The time of day, as far as it has gone on steadily since the process first asked: a clock that
/// is set back or forward moves neither due times nor ages.
///
/// Compare it only with times that it gave, in this process or an earlier one.
pub fn now() -> SystemTime {
    let (instant, time) = START.get_or_init(|| (Instant::now(), SystemTime::now()));
    *time + instant.elapsed()
}

/// Microseconds since 1970, for storage; times before that are 0.
pub(crate) fn to_micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The time that [`to_micros`] gave.
pub(crate) fn from_micros(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}
