//! A `KafkaChannel`: the hub's topic, in the Kafka that the process is told of.

use std::sync::Arc;

use channel::{
    Budget, Erased, Hub, Kafka, KafkaPlan, KafkaSettings,
    kafka::{self, KafkaSasl, KafkaTls, KafkaUser, OpenError, Secret},
};

use super::{Backends, ERASE_TIMEOUT, OpenFailure, Opened, not_configured};
use crate::{
    config::{self, SaslMechanism, SaslSettings},
    spec::KafkaChannelSpec,
};

/// What a record takes beyond the largest event.
const RECORD_EXTRA_BYTES: usize = 16 << 10;

impl Backends {
    /// Opens the topic of a hub.
    pub(super) async fn kafka(
        &self,
        hub: &Hub,
        spec: &KafkaChannelSpec,
        budget: Arc<Budget>,
    ) -> Opened {
        let mut settings = self.kafka_settings()?;
        let of_process = &self.settings.kafka;
        settings.instance = self.instance().await;
        settings.overflow_removed_after = self.settings.overflow.removed_after;
        let defaults = KafkaPlan::default();
        let plan = KafkaPlan {
            partitions: spec.num_partitions.unwrap_or(of_process.num_partitions),
            replication_factor: i32::from(
                spec.replication_factor.unwrap_or(of_process.replication_factor),
            ),
            retention: spec.retention().unwrap_or(defaults.retention),
        };
        let runtime = self.runtime.clone();
        match Kafka::open(settings, plan, hub, self.workers, budget, runtime).await {
            Ok(kafka) => Ok(kafka),
            Err(error) => Err(not_opened(&error)),
        }
    }

    /// Deletes the topics of a hub.
    pub(super) async fn erase_kafka(&self, hub: &Hub) -> Result<Erased, OpenFailure> {
        let (settings, runtime) = (self.kafka_settings()?, self.runtime.clone());
        let erased = kafka::erase(settings, hub, ERASE_TIMEOUT, runtime).await;
        erased.map_err(|error| not_opened(&error))
    }

    fn kafka_settings(&self) -> Result<KafkaSettings, OpenFailure> {
        let of_process = &self.settings.kafka;
        let Some(servers) = &of_process.bootstrap_servers else {
            return Err(not_configured("kafka.bootstrapServers"));
        };
        let event_bytes_max = self.settings.memory.limits.event_bytes_max;
        Ok(settings(servers, of_process, event_bytes_max))
    }
}

fn not_opened(error: &OpenError) -> OpenFailure {
    let message = error.to_string();
    match error {
        OpenError::Settings(_) => OpenFailure::for_good("ChannelInvalid", message),
        OpenError::Unreachable { .. } => OpenFailure::for_now("ChannelUnreachable", message),
        OpenError::Refused { .. } => OpenFailure::for_now("ChannelRefused", message),
        OpenError::Topic { .. } => OpenFailure::for_now("ChannelMismatch", message),
        OpenError::NotErased { .. } => OpenFailure::for_now("ChannelNotErased", message),
        _ => OpenFailure::for_now("ChannelFailed", message),
    }
}

fn settings(
    servers: &str,
    of_process: &config::KafkaSettings,
    event_bytes_max: usize,
) -> KafkaSettings {
    let tls = &of_process.tls;
    KafkaSettings {
        tls: tls.enabled.then(|| KafkaTls {
            ca_file: tls.ca_file.clone(),
            cert_file: tls.cert_file.clone(),
            key_file: tls.key_file.clone(),
        }),
        sasl: of_process.sasl.as_ref().and_then(sasl),
        topic_template: of_process.topic_template.clone(),
        channel_topic_template: of_process.channel_topic_template.clone(),
        record_bytes_max: event_bytes_max + RECORD_EXTRA_BYTES,
        publish_timeout: of_process.publish_timeout,
        properties: of_process.properties.0.clone(),
        ..KafkaSettings::new(servers)
    }
}

/// The configuration has checked that what a mechanism needs is there.
fn sasl(settings: &SaslSettings) -> Option<KafkaSasl> {
    let user = || {
        Some(KafkaUser {
            name: settings.user.clone()?,
            password: Secret::Text(settings.password.as_ref()?.expose().to_owned()),
        })
    };
    match settings.mechanism {
        SaslMechanism::Plain => user().map(KafkaSasl::Plain),
        SaslMechanism::ScramSha256 => user().map(KafkaSasl::ScramSha256),
        SaslMechanism::ScramSha512 => user().map(KafkaSasl::ScramSha512),
        SaslMechanism::OAuthBearer => {
            settings.token_file.clone().map(|token_file| KafkaSasl::OauthBearer { token_file })
        }
    }
}
