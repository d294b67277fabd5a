//! A `NatsJetStreamChannel`: the hub's stream, in the NATS that the process is told of.

use std::sync::Arc;

use channel::{
    Budget, Erased, Hub, Nats, NatsPlan, NatsSettings,
    nats::{self, NatsTls, OpenError, Placement, Retention, Secret, Storage},
};

use super::{Backends, ERASE_TIMEOUT, OpenFailure, Opened, not_configured};
use crate::{
    config,
    spec::{self, GoDuration, NatsChannelSpec},
};

impl Backends {
    /// Opens the stream of a hub.
    pub(super) async fn nats(
        &self,
        hub: &Hub,
        spec: &NatsChannelSpec,
        budget: Arc<Budget>,
    ) -> Opened {
        let (mut settings, plan) = (self.nats_settings()?, plan(spec));
        let removed_after = self.settings.overflow.removed_after.as_millis();
        settings.overflow_removed_after_ms = u64::try_from(removed_after).unwrap_or(u64::MAX);
        match Nats::open(&settings, &plan, hub, self.workers, budget, &self.runtime).await {
            Ok(nats) => Ok(nats),
            Err(error) => Err(not_opened(&error)),
        }
    }

    /// Deletes the streams and the bucket of a hub.
    pub(super) async fn erase_nats(&self, hub: &Hub) -> Result<Erased, OpenFailure> {
        let settings = self.nats_settings()?;
        let erased = nats::erase(&settings, hub, ERASE_TIMEOUT, &self.runtime).await;
        erased.map_err(|error| not_opened(&error))
    }

    fn nats_settings(&self) -> Result<NatsSettings, OpenFailure> {
        let of_process = &self.settings.nats;
        match &of_process.url {
            Some(url) => Ok(settings(url, of_process)),
            None => Err(not_configured("nats.url")),
        }
    }
}

fn not_opened(error: &OpenError) -> OpenFailure {
    let message = error.to_string();
    // Somebody may mend the server as well as the configuration: it is asked again.
    match error {
        OpenError::Invalid(_) => OpenFailure::for_good("ChannelInvalid", message),
        OpenError::Unreachable { .. } => OpenFailure::for_now("ChannelUnreachable", message),
        OpenError::Unauthorized { .. } => OpenFailure::for_now("ChannelRefused", message),
        OpenError::Mismatch { .. } => OpenFailure::for_now("ChannelMismatch", message),
        _ => OpenFailure::for_now("ChannelFailed", message),
    }
}

fn settings(url: &str, of_process: &config::NatsSettings) -> NatsSettings {
    let secret = |secret: &Option<config::Secret>| {
        secret.as_ref().map(|secret| Secret::new(secret.expose()))
    };
    let millis = of_process.publish_timeout.as_millis();
    NatsSettings {
        url: url.to_owned(),
        credentials_file: of_process.credentials_file.clone(),
        nkey_seed_file: of_process.nkey_file.clone(),
        user: of_process.user.clone(),
        password: secret(&of_process.password),
        token: secret(&of_process.token),
        tls: NatsTls {
            ca_file: of_process.tls.ca_file.clone(),
            cert_file: of_process.tls.cert_file.clone(),
            key_file: of_process.tls.key_file.clone(),
            require_tls: of_process.tls.enabled,
        },
        prefix: of_process.stream_prefix.clone(),
        publish_timeout_ms: u64::try_from(millis).unwrap_or(u64::MAX),
        ..NatsSettings::default()
    }
}

/// What the broker says, which is checked, over the defaults. As in natss, zero is not given.
fn plan(spec: &NatsChannelSpec) -> NatsPlan {
    let (config, consumer) = (&spec.stream.config, &spec.consumer_config_template);
    let defaults = NatsPlan::default();
    let count = |number: Option<i64>| number.and_then(|n| u64::try_from(n).ok()).filter(|&n| n > 0);
    let length = |length: Option<GoDuration>| length.map(|it| it.0).filter(|it| !it.is_zero());
    NatsPlan {
        stream_name: spec.stream.override_name.clone(),
        messages_max: count(config.max_msgs),
        bytes_max: match config.max_bytes {
            Some(-1) => None,
            bytes => count(bytes).or(defaults.bytes_max),
        },
        message_bytes_max: count(config.max_msg_size.map(i64::from)),
        storage: match config.storage {
            Some(spec::Storage::Memory) => Storage::Memory,
            Some(spec::Storage::File) | None => Storage::File,
        },
        replicas: count(config.replicas.map(i64::from))
            .and_then(|replicas| usize::try_from(replicas).ok())
            .unwrap_or(defaults.replicas),
        duplicate_window: length(config.duplicate_window).unwrap_or(defaults.duplicate_window),
        placement: config.placement.as_ref().map(|placement| Placement {
            cluster: placement.cluster.clone(),
            tags: placement.tags.clone(),
        }),
        retention: Retention {
            age: length(config.max_age).unwrap_or(defaults.retention.age),
            ..defaults.retention
        },
        ack_wait: length(consumer.ack_wait).unwrap_or(defaults.ack_wait),
        unacked_max: count(consumer.max_ack_pending.map(i64::from)).unwrap_or(defaults.unacked_max),
        additional_subjects: config.additional_subjects.clone(),
    }
}
