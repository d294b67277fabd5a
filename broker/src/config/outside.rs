//! What settings take from outside the file: overrides from the environment, secrets, and what can
//! be judged only then.

use std::path::Path;

use super::{ConfigError, Env, Settings, file::invalid, kafka, nats};
use crate::spec::ChannelKind;

/// Overrides `kafka.bootstrapServers`.
pub const KAFKA_SERVERS_ENV: &str = "CATCHMENT_KAFKA_BOOTSTRAP_SERVERS";

/// Overrides `nats.url`.
pub const NATS_URL_ENV: &str = "CATCHMENT_NATS_URL";

/// Completes `settings`, which came from the file at `path`, if there is one.
pub(super) fn apply(
    settings: &mut Settings,
    path: Option<&Path>,
    env: Env<'_>,
) -> Result<(), ConfigError> {
    let servers = given(KAFKA_SERVERS_ENV, env, kafka::check_servers)?;
    settings.kafka.bootstrap_servers = servers.or(settings.kafka.bootstrap_servers.take());
    let url = given(NATS_URL_ENV, env, nats::check_url)?;
    settings.nats.url = url.or(settings.nats.url.take());
    let mut problems = Vec::new();
    settings.kafka.read_secrets(env, &mut problems);
    settings.nats.read_secrets(env, &mut problems);
    let needed = match settings.channel_default {
        ChannelKind::Kafka if settings.kafka.bootstrap_servers.is_none() => {
            Some("kafka.bootstrapServers: is required, for channel.default is kafka")
        }
        ChannelKind::Nats if settings.nats.url.is_none() => {
            Some("nats.url: is required, for channel.default is nats")
        }
        _ => None,
    };
    problems.extend(needed.map(str::to_owned));
    match path {
        Some(path) if !problems.is_empty() => Err(invalid(path, problems.join("; "))),
        _ => Ok(()),
    }
}

/// What an environment variable says, if it is set to anything.
fn given(
    name: &str,
    env: Env<'_>,
    check: fn(&str) -> Result<(), String>,
) -> Result<Option<String>, ConfigError> {
    let Some(value) = env(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let refused =
        |problem: &str| ConfigError::Environment { problem: format!("{name}: {problem}") };
    let text = value.into_string().map_err(|_| refused("is no text"))?;
    // The rule begins with the name of the setting that the variable stands for.
    check(&text).map_err(|rule| refused(rule.split_once(": ").map_or(&*rule, |(_, rule)| rule)))?;
    Ok(Some(text))
}
