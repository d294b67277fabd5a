//! What the client library tells us: its log, the connection, what became of records and partitions.

use std::{
    error::Error,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance},
    error::KafkaError,
    message::DeliveryResult,
    producer::ProducerContext,
};
use serde::Deserialize;
use tokio::sync::Notify;

use super::{
    assignment::Assignment,
    health::{Health, Statistics},
    receipt::Receipt,
};

/// The same for all clients of a channel; each uses what concerns it.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// Where to report the connection; only some clients do.
    pub(super) health: Option<Arc<Health>>,
    /// Where the bearer's token is.
    pub(super) token_file: Option<PathBuf>,
    /// A consumer's partitions.
    pub(super) assignment: Option<Arc<Assignment>>,
    /// Told when the client has ended for ever.
    pub(super) fatal: Option<Arc<Notify>>,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Lost connections are its errors; what they mean for us is said by `health`.
        match level {
            RDKafkaLogLevel::Debug => tracing::trace!(facility, "librdkafka: {message}"),
            _ => tracing::debug!(facility, "librdkafka: {message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let statistics = Statistics::read(statistics);
        if self.health.as_ref().is_some_and(|health| health.counted(&statistics)) {
            tracing::info!("kafka can be reached again");
        }
        if let Some(assignment) = &self.assignment {
            assignment.counted(&statistics);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.health.as_ref().is_some_and(|health| health.error(&error, reason)) {
            tracing::warn!(reason, "no broker of kafka can be reached");
        }
        if matches!(error, KafkaError::Global(rdkafka::types::RDKafkaErrorCode::Fatal))
            && let Some(fatal) = &self.fatal
        {
            tracing::warn!(reason, "the kafka client ended and is made anew");
            fatal.notify_one();
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let path = self.token_file.as_ref().ok_or("there is no token file")?;
        let text = fs::read_to_string(path)
            .map_err(|error| format!("the token {}: {error}", path.display()))?;
        Ok(token(text.trim(), SystemTime::now()))
    }
}

/// How long a token lasts that does not say so itself.
const TOKEN_LIFE: Duration = Duration::from_secs(300);

/// What a JSON Web Token says of itself; the library asks again when four fifths of its life are over.
fn token(text: &str, now: SystemTime) -> OAuthToken {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Claims {
        exp: Option<f64>,
        sub: Option<String>,
    }
    let claims: Claims = text
        .split('.')
        .nth(1)
        .and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok())
        .and_then(|json| serde_json::from_slice(&json).ok())
        .unwrap_or_default();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let exp = claims.exp.and_then(|exp| Duration::try_from_secs_f64(exp).ok());
    let end = exp.unwrap_or_else(|| since + TOKEN_LIFE);
    OAuthToken {
        token: text.to_owned(),
        principal_name: claims.sub.unwrap_or_else(|| "catchment".to_owned()),
        lifetime_ms: i64::try_from(end.as_millis()).unwrap_or(i64::MAX),
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Some(assignment) = &self.assignment else { return };
        match rebalance {
            Rebalance::Assign(list) => assignment.assigned(consumer, list),
            Rebalance::Revoke(list) => assignment.revoked(consumer, list),
            Rebalance::Error(error) => tracing::debug!(%error, "partitions cannot be shared out"),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // The library remembers that a partition was paused when it was ours before.
        if let (Some(_), Rebalance::Assign(list)) = (&self.assignment, rebalance)
            && let Err(error) = consumer.resume(list)
        {
            tracing::debug!(%error, "partitions cannot be resumed");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Receipt>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Box<Receipt>) {
        receipt.fill_in(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_how_long_it_lasts() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"me","exp":2000.5}"#);
        let found = token(&format!("e30.{claims}."), now);
        assert_eq!((found.principal_name.as_str(), found.lifetime_ms), ("me", 2_000_500));
        let found = token("opaque", now);
        assert_eq!((found.token.as_str(), found.lifetime_ms), ("opaque", 1_300_000));
    }
}
