//! Bounds of channels that outlive the process, and of what waits in them: `channel.disk`,
//! `overflow`, and which channel a broker gets that asks for none.

use std::time::Duration;

use serde::Deserialize;

use super::{
    file::{Span, put},
    quantity::Bytes,
};
use crate::spec::ChannelKind;

/// The channel of a broker that asks for none, when the configuration does not say either.
pub const CHANNEL_DEFAULT: ChannelKind = ChannelKind::Disk;

/// Bounds of disk channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// Bytes that a channel may take, what waits included. Default 10 GiB.
    pub bytes_max: usize,
    /// Events stored and not settled, of a channel. Default 10,000,000.
    pub events_max: usize,
    /// Bytes of one event, attributes and data. Default: `ingress.bodyBytesMax` and 64 KiB.
    pub event_bytes_max: usize,
    /// How long settled events are kept. Default 24 h.
    pub retention: Duration,
    /// Bytes of settled events that are kept. Default 1 GiB.
    pub retention_bytes: usize,
    /// Bytes that must be free on the filesystem for events to be taken. Default 256 MiB.
    pub free_bytes_min: usize,
    /// The same as a share of the filesystem, in percent; the larger one counts. Default 1.
    pub free_percent_min: u8,
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            bytes_max: 10 << 30,
            events_max: 10_000_000,
            event_bytes_max: (1 << 20) + (64 << 10),
            retention: Duration::from_secs(24 * 60 * 60),
            retention_bytes: 1 << 30,
            free_bytes_min: 256 << 20,
            free_percent_min: 1,
        }
    }
}

/// Storage is looked through for what may be removed several times within it.
const REMOVED_AFTER_MIN: Duration = Duration::from_secs(10);

/// Bounds of what waits for one trigger of a channel that outlives the process. Those of memory
/// channels are a share of the channel: `channel.memory.triggerSharePercent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverflowSettings {
    /// How long a delivery that has not ended holds its event in the channel before the event goes to
    /// the trigger's overflow. Default 10 s.
    pub after: Duration,
    /// Events of a trigger that wait in memory, over all workers. Default 1024.
    pub lane_events_max: usize,
    /// Their bytes. Default 8 MiB.
    pub lane_bytes_max: usize,
    /// Events that wait in the overflow. Default 10,000,000.
    pub events_max: usize,
    /// Their bytes. Default 8 GiB.
    pub bytes_max: usize,
    /// How long one must have been empty until its topic or stream is removed. Default 1 h.
    pub removed_after: Duration,
}

impl Default for OverflowSettings {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(10),
            lane_events_max: 1024,
            lane_bytes_max: 8 << 20,
            events_max: 10_000_000,
            bytes_max: 8 << 30,
            removed_after: Duration::from_secs(60 * 60),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Disk {
    bytes_max: Option<Bytes>,
    events_max: Option<usize>,
    event_bytes_max: Option<Bytes>,
    retention: Option<Span>,
    retention_bytes: Option<Bytes>,
    free_bytes_min: Option<Bytes>,
    free_percent_min: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Overflow {
    after: Option<Span>,
    lane_events_max: Option<usize>,
    lane_bytes_max: Option<Bytes>,
    events_max: Option<usize>,
    bytes_max: Option<Bytes>,
    removed_after: Option<Span>,
}

impl Disk {
    /// `fits` is the largest event that the way in lets through.
    pub(super) fn apply(self, settings: &mut DiskSettings, fits: usize) {
        put(&mut settings.bytes_max, self.bytes_max.map(|bytes| bytes.0));
        put(&mut settings.events_max, self.events_max);
        settings.event_bytes_max = self.event_bytes_max.map_or(fits, |bytes| bytes.0);
        put(&mut settings.retention, self.retention.map(|span| span.0));
        put(&mut settings.retention_bytes, self.retention_bytes.map(|bytes| bytes.0));
        put(&mut settings.free_bytes_min, self.free_bytes_min.map(|bytes| bytes.0));
        put(&mut settings.free_percent_min, self.free_percent_min);
    }
}

impl Overflow {
    pub(super) fn apply(self, settings: &mut OverflowSettings) {
        put(&mut settings.after, self.after.map(|span| span.0));
        put(&mut settings.lane_events_max, self.lane_events_max);
        put(&mut settings.lane_bytes_max, self.lane_bytes_max.map(|bytes| bytes.0));
        put(&mut settings.events_max, self.events_max);
        put(&mut settings.bytes_max, self.bytes_max.map(|bytes| bytes.0));
        put(&mut settings.removed_after, self.removed_after.map(|span| span.0));
    }
}

/// What an overflow cannot go by, if anything.
pub(super) fn unusable_overflow(overflow: &OverflowSettings) -> Option<String> {
    let is_short = overflow.removed_after < REMOVED_AFTER_MIN;
    is_short.then(|| "overflow.removedAfter: must be at least PT10S".to_owned())
}

/// What a disk channel cannot go by, if anything.
pub(super) fn unusable(disk: &DiskSettings) -> Option<String> {
    if let Some(rule) = disk_too_small(disk.bytes_max) {
        return Some(format!("channel.disk.bytesMax: {rule}"));
    }
    if disk.bytes_max / 2 < disk.event_bytes_max {
        return Some("channel.disk.eventBytesMax: must be at most half of bytesMax".to_owned());
    }
    let is_all = disk.free_percent_min > 99;
    is_all.then(|| "channel.disk.freePercentMin: must be from 0 to 99".to_owned())
}

/// Why no disk channel can do with so many bytes, if so.
pub(crate) fn disk_too_small(bytes: usize) -> Option<&'static str> {
    let is_less =
        u64::try_from(bytes).is_ok_and(|bytes| bytes < channel::disk::DiskSettings::BYTES_MIN);
    is_less.then_some("must be at least 8Mi")
}

/// The settings among these that must not be zero, and whether they are.
pub(super) fn zeros(
    disk: &DiskSettings,
    overflow: &OverflowSettings,
) -> impl Iterator<Item = (&'static str, bool)> {
    [
        ("channel.disk.eventsMax", disk.events_max == 0),
        ("channel.disk.eventBytesMax", disk.event_bytes_max == 0),
        ("overflow.after", overflow.after.is_zero()),
        ("overflow.laneEventsMax", overflow.lane_events_max == 0),
        ("overflow.laneBytesMax", overflow.lane_bytes_max == 0),
        ("overflow.eventsMax", overflow.events_max == 0),
        ("overflow.bytesMax", overflow.bytes_max == 0),
    ]
    .into_iter()
}
