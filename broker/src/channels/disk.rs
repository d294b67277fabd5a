//! A `DiskChannel`: settings of the hub over those of the process, and a folder below the data folder.

use std::sync::Arc;

use channel::{
    Budget, Erased, Hub,
    disk::{Disk, DiskSettings, OpenError},
};

use super::{Backends, OpenFailure, Opened};
use crate::{cli::in_words, config, spec::DiskChannelSpec};

impl Backends {
    /// Opens the folder of a hub below the data folder.
    pub(super) async fn disk(
        &self,
        hub: &Hub,
        spec: &DiskChannelSpec,
        budget: Arc<Budget>,
    ) -> Opened {
        let data = self.data().await.map_err(|error| not_opened(&error))?.clone();
        let (hub, workers) = (hub.clone(), self.workers);
        let settings = settings(&self.settings.disk, spec);
        let settings = within_memory(settings, budget.limit(), workers);
        let opening =
            tokio::task::spawn_blocking(move || Disk::open(&data, &hub, workers, settings, budget));
        match opening.await {
            Ok(Ok(disk)) => Ok(disk),
            Ok(Err(error)) => Err(not_opened(&error)),
            Err(_panic) => {
                Err(OpenFailure::for_now("ChannelFailed", "opening it failed unexpectedly"))
            }
        }
    }

    /// Deletes the folder of a hub.
    pub(super) async fn erase_disk(&self, hub: &Hub) -> Result<Erased, OpenFailure> {
        let data = self.data().await.map_err(|error| not_opened(&error))?.clone();
        let hub = hub.clone();
        match tokio::task::spawn_blocking(move || data.erase(&hub)).await {
            Ok(erased) => erased.map_err(|error| not_opened(&error)),
            Err(_panic) => {
                Err(OpenFailure::for_now("ChannelFailed", "deleting it failed unexpectedly"))
            }
        }
    }
}

/// Whether time alone may mend it: damage and another version need somebody.
fn not_opened(error: &OpenError) -> OpenFailure {
    let message = in_words(error.to_string(), std::error::Error::source(error));
    match error {
        OpenError::Damaged { .. } => OpenFailure::for_good("ChannelDamaged", message),
        OpenError::UnsafeName { .. } | OpenError::Version { .. } => {
            OpenFailure::for_good("ChannelUnusable", message)
        }
        _ => OpenFailure::for_now("ChannelUnusable", message),
    }
}

/// Buffers beside the events themselves, smaller than usual where there is little memory: a quarter of
/// what events may take on the way to the disk, a sixteenth on the way back.
fn within_memory(settings: DiskSettings, bytes_max: usize, workers: usize) -> DiskSettings {
    // Two of the largest events, so that one is written while the next one comes.
    let least = settings.event_bytes_max.saturating_mul(2);
    let part = |bytes: usize, usual: usize| bytes.clamp(least.min(usual), usual);
    DiskSettings {
        pending_bytes_max: part(bytes_max / 4 / workers.max(1), settings.pending_bytes_max),
        read_ahead_bytes_max: part(bytes_max / 16, settings.read_ahead_bytes_max),
        ..settings
    }
}

/// What a hub says over what the process says.
fn settings(of_process: &config::DiskSettings, spec: &DiskChannelSpec) -> DiskSettings {
    let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    DiskSettings {
        events_max: of_process.events_max,
        bytes_max: wide(spec.bytes_max.map_or(of_process.bytes_max, |bytes| bytes.0)),
        event_bytes_max: of_process.event_bytes_max,
        free_bytes_min: wide(of_process.free_bytes_min),
        free_percent_min: u64::from(of_process.free_percent_min),
        retention: spec.retention().unwrap_or(of_process.retention),
        retention_bytes_max: wide(
            spec.retention_bytes.map_or(of_process.retention_bytes, |bytes| bytes.0),
        ),
        ..DiskSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_memory_makes_small_buffers_and_much_the_usual_ones() {
        let usual = DiskSettings::default();
        assert_eq!(within_memory(usual, 256 << 20, 2), usual);
        let small = within_memory(usual, 40 << 20, 2);
        assert_eq!(small.pending_bytes_max, 5 << 20);
        assert_eq!(small.read_ahead_bytes_max, 5 << 19);
        let least = 2 * usual.event_bytes_max;
        let tiny = within_memory(usual, 1 << 20, 64);
        assert_eq!((tiny.pending_bytes_max, tiny.read_ahead_bytes_max), (least, least));
    }
}
