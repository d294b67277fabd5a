//! What an operator may set of a disk channel.

use std::time::Duration;

/// Bounds of a disk channel, by their names in the configuration under `channel.disk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// Most events stored and not settled. Default 10,000,000.
    pub events_max: usize,
    /// Most bytes on disk of what is still needed: segments of the log that hold unsettled events,
    /// what waits, and notes. Producers are refused when a sixteenth of it is left, so that events
    /// that were accepted have somewhere to wait. Default 10 GiB.
    pub bytes_max: u64,
    /// Most bytes of one event, attributes and data. Default 1 MiB and 64 KiB for attributes.
    pub event_bytes_max: usize,
    /// With less than this free in the file system nothing new is taken. Default 256 MiB.
    pub free_bytes_min: u64,
    /// The same as a share of the file system, in percent; the larger one counts. Default 5.
    pub free_percent_min: u64,
    /// How long settled events stay in the log. Default 24 hours.
    pub retention: Duration,
    /// Most bytes of log that are there for retention alone. Default 1 GiB.
    pub retention_bytes_max: u64,
    /// Size of a segment, the unit of deletion. Default 64 MiB.
    pub segment_bytes: u64,
    /// Most bytes of one worker's events on their way to the disk. Default 32 MiB.
    pub pending_bytes_max: usize,
    /// Most bytes of stored events that are kept in memory before they are lent; others are read
    /// from the log. Default 16 MiB.
    pub read_ahead_bytes_max: usize,
    /// Memory for pages of the database of what waits. Default 2 MiB.
    pub cache_bytes: usize,
}

impl DiskSettings {
    /// The least `bytes_max` that is of use: a segment is an eighth of it, 1 MiB then.
    pub const BYTES_MIN: u64 = 8 << 20;
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            events_max: 10_000_000,
            bytes_max: 10 << 30,
            event_bytes_max: (1 << 20) + (64 << 10),
            free_bytes_min: 256 << 20,
            free_percent_min: 5,
            retention: Duration::from_secs(24 * 60 * 60),
            retention_bytes_max: 1 << 30,
            segment_bytes: 64 << 20,
            pending_bytes_max: 32 << 20,
            read_ahead_bytes_max: 16 << 20,
            cache_bytes: 2 << 20,
        }
    }
}

/// The bounds that can be reached, by their names in the configuration.
pub(super) const BOUNDS: [&str; 7] = [
    EVENTS_MAX,
    BYTES_MAX,
    EVENT_BYTES_MAX,
    FREE_BYTES_MIN,
    FREE_PERCENT_MIN,
    PENDING_BYTES_MAX,
    BUDGET,
];
pub(super) const EVENTS_MAX: &str = "channel.disk.eventsMax";
pub(super) const BYTES_MAX: &str = "channel.disk.bytesMax";
pub(super) const EVENT_BYTES_MAX: &str = "channel.disk.eventBytesMax";
pub(super) const FREE_BYTES_MIN: &str = "channel.disk.freeBytesMin";
pub(super) const FREE_PERCENT_MIN: &str = "channel.disk.freePercentMin";
pub(super) const PENDING_BYTES_MAX: &str = "channel.disk.pendingBytesMax";
/// Memory for events on their way; the process sets it.
pub(super) const BUDGET: &str = "channel.disk.memoryBytesMax";
