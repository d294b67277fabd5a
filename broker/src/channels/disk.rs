//! A `DiskChannel`: settings of the broker over those of the process, and a folder below the data folder.

use std::sync::Arc;

use channel::{
    Budget, Name,
    disk::{Disk, DiskSettings, OpenError},
};

use super::{Backends, OpenFailure, Opened};
use crate::{cli::in_words, config, spec::DiskChannelSpec};

impl Backends {
    /// Opens the folder of a broker below the data folder.
    pub(super) async fn disk(
        &self,
        name: &Name,
        spec: &DiskChannelSpec,
        budget: Arc<Budget>,
    ) -> Opened {
        let data = self.data().await.map_err(|error| not_opened(&error))?.clone();
        let settings = settings(&self.settings.disk, spec);
        let (name, workers) = (name.clone(), self.workers);
        let opening = tokio::task::spawn_blocking(move || {
            Disk::open(&data, &name, workers, settings, budget)
        });
        match opening.await {
            Ok(Ok(disk)) => Ok(disk),
            Ok(Err(error)) => Err(not_opened(&error)),
            Err(_panic) => {
                Err(OpenFailure::for_now("ChannelFailed", "opening it failed unexpectedly"))
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

/// What a broker says over what the process says.
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
