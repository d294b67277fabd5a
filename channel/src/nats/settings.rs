//! How the process reaches NATS: addresses, credentials, TLS.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use async_nats::{ConnectOptions, ServerAddr};
use serde::Deserialize;

use crate::{Invalid, nats::OpenError};

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The process's way to NATS: the `nats` part of its configuration. What is not given has the
/// default that is named; at most one kind of credentials may be given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NatsSettings {
    /// Addresses with commas between them, as in `nats://one:4222,tls://two:4222`. They must not
    /// hold a user or password: those are shown. Default `nats://127.0.0.1:4222`.
    pub url: String,
    /// A credentials file (`.creds`: a JWT and its key).
    pub credentials_file: Option<PathBuf>,
    /// A file whose first line is the seed of an nkey.
    pub nkey_seed_file: Option<PathBuf>,
    /// The seed of an nkey, for configuration that is filled in from the environment.
    pub nkey_seed: Option<Secret>,
    /// A user; needs `password`.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<Secret>,
    /// A token.
    pub token: Option<Secret>,
    /// TLS.
    pub tls: NatsTls,
    /// What the names of streams, consumers and buckets begin with. Default `CATCHMENT`.
    pub prefix: String,
    /// Longest wait, in milliseconds, for a connection while opening. Default 5,000.
    pub connect_timeout_ms: u64,
    /// Longest wait, in milliseconds, for the receipt of an event; then its outcome is unknown. Default 3,000.
    pub publish_timeout_ms: u64,
    /// Most receipts that are waited for at once. At the limit events are refused. Default 4,096.
    pub publish_window_max: usize,
    /// Most events of one broker that are lent, or read ahead, and not settled. Default 4,096.
    pub lent_max: usize,
    /// How long, in milliseconds, the overflow of a trigger must have been empty until its stream is
    /// removed. Default 3,600,000, an hour.
    pub overflow_removed_after_ms: u64,
}

/// TLS with the servers of NATS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NatsTls {
    /// Authorities that the servers' certificates come from, in PEM; the system's when not given.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, in PEM; needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, in PEM.
    pub key_file: Option<PathBuf>,
    /// Whether a connection without TLS is refused. Default false: the server or `tls://` decides.
    pub require_tls: bool,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            credentials_file: None,
            nkey_seed_file: None,
            nkey_seed: None,
            user: None,
            password: None,
            token: None,
            tls: NatsTls::default(),
            prefix: "CATCHMENT".into(),
            connect_timeout_ms: 5000,
            publish_timeout_ms: 3000,
            publish_window_max: 4096,
            lent_max: 4096,
            overflow_removed_after_ms: 3_600_000,
        }
    }
}

/// Longest time without a sign of life before the connection counts as lost: twice this.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Longest wait before the next try to connect again, before its random part.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(4);

impl NatsSettings {
    /// Every problem of the settings, each with its field.
    pub fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        let mut problem = |field: &'static str, rule: &'static str| {
            problems.push(Invalid::new(field, rule));
        };
        match self.addresses() {
            Ok(addresses) if addresses.iter().any(|address| address.has_user_pass()) => {
                problem("nats.url", "must not hold a user or password: use nats.user");
            }
            Ok(_) => {}
            Err(invalid) => problem("nats.url", invalid),
        }
        let kinds = [
            self.credentials_file.is_some(),
            self.nkey_seed_file.is_some(),
            self.nkey_seed.is_some(),
            self.user.is_some(),
            self.token.is_some(),
        ];
        if kinds.iter().filter(|&&is_given| is_given).count() > 1 {
            let rule = "at most one of credentialsFile, nkeySeedFile, nkeySeed, user and token may be given";
            problem("nats", rule);
        }
        if self.user.is_some() != self.password.is_some() {
            problem("nats.password", "user and password must be given together");
        }
        if self.tls.cert_file.is_some() != self.tls.key_file.is_some() {
            problem("nats.tls.keyFile", "certFile and keyFile must be given together");
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.prefix.is_empty() || self.prefix.len() > 32 || !self.prefix.bytes().all(is_name) {
            problem("nats.prefix", "must be 1 to 32 characters of a-z, A-Z, 0-9 and -");
        }
        for (field, number) in [
            ("nats.connectTimeoutMs", self.connect_timeout_ms),
            ("nats.publishTimeoutMs", self.publish_timeout_ms),
            ("nats.publishWindowMax", self.publish_window_max as u64),
            ("nats.lentMax", self.lent_max as u64),
        ] {
            if !(1..=1_000_000).contains(&number) {
                problem(field, "must be 1 to 1,000,000");
            }
        }
        problems
    }

    /// The longest wait for a receipt.
    pub(super) fn publish_timeout(&self) -> Duration {
        Duration::from_millis(self.publish_timeout_ms)
    }

    /// At least a second, so that looking for what is empty costs little.
    pub(super) fn overflow_removed_after(&self) -> Duration {
        Duration::from_millis(self.overflow_removed_after_ms.max(1000))
    }

    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, &'static str> {
        let parts = self.url.split(',').map(str::trim).filter(|part| !part.is_empty());
        let parsed: Result<Vec<_>, _> = parts.map(str::parse::<ServerAddr>).collect();
        match parsed {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            _ => Err("must be addresses like nats://host:4222, with commas between them"),
        }
    }

    /// What the client is told; reads the files that are named.
    pub(super) async fn options(&self) -> Result<ConnectOptions, OpenError> {
        let mut options = ConnectOptions::new()
            .name("catchment")
            .max_reconnects(None)
            .ping_interval(PING_INTERVAL)
            .connection_timeout(Duration::from_millis(self.connect_timeout_ms))
            .request_timeout(Some(Duration::from_millis(self.connect_timeout_ms)))
            .reconnect_delay_callback(|attempts| reconnect_delay(attempts, fastrand::f64()))
            .require_tls(self.tls.require_tls);
        if let Some(file) = &self.tls.ca_file {
            check_file("nats.tls.caFile", file).await?;
            options = options.add_root_certificates(file.clone());
        }
        if let (Some(cert), Some(key)) = (&self.tls.cert_file, &self.tls.key_file) {
            check_file("nats.tls.certFile", cert).await?;
            check_file("nats.tls.keyFile", key).await?;
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        if let Some(file) = &self.credentials_file {
            let text = read("nats.credentialsFile", file).await?;
            let rule = "is not a credentials file of NATS";
            options = options
                .credentials(&text)
                .map_err(|_secret| Invalid::new("nats.credentialsFile", rule))?;
        }
        let mut seed = self.nkey_seed.clone();
        if let Some(file) = &self.nkey_seed_file {
            let text = read("nats.nkeySeedFile", file).await?;
            seed = Some(Secret::new(text.lines().next().unwrap_or_default().trim()));
        }
        if let Some(Secret(seed)) = seed {
            options = options.nkey(seed);
        }
        if let (Some(user), Some(Secret(password))) = (&self.user, &self.password) {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(Secret(token)) = &self.token {
            options = options.token(token.clone());
        }
        Ok(options)
    }
}

async fn read(field: &'static str, file: &Path) -> Result<String, Invalid> {
    tokio::fs::read_to_string(file).await.map_err(|error| unreadable(field, file, &error))
}

async fn check_file(field: &'static str, file: &Path) -> Result<(), Invalid> {
    let opened = tokio::fs::File::open(file).await;
    opened.map(drop).map_err(|error| unreadable(field, file, &error))
}

fn unreadable(field: &'static str, file: &Path, error: &std::io::Error) -> Invalid {
    Invalid::new(field, format!("{} cannot be read: {error}", file.display()))
}

/// The wait before a try to connect again: doubled from 100 ms, up to a fifth more by `draw` in `[0, 1)`.
fn reconnect_delay(attempts: usize, draw: f64) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(attempts - 2).unwrap_or(u32::MAX).min(10);
    let delay = Duration::from_millis(100).saturating_mul(2_u32.saturating_pow(doublings));
    delay.min(RECONNECT_DELAY_MAX).mul_f64(1.0 + draw / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let settings = NatsSettings {
            nkey_seed: Some(Secret::new("hidden-1")),
            password: Some(Secret::new("hidden-2")),
            token: Some(Secret::new("hidden-3")),
            ..NatsSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hidden"));
    }

    #[test]
    fn every_problem_is_told_with_its_field() {
        let wrong = NatsSettings {
            url: "nats://a:b@host:1".into(),
            user: Some("u".into()),
            token: Some(Secret::new("t")),
            prefix: "A.B".into(),
            lent_max: 0,
            tls: NatsTls { cert_file: Some("c".into()), ..NatsTls::default() },
            ..NatsSettings::default()
        };
        let fields: Vec<_> = wrong.problems().into_iter().map(|problem| problem.field).collect();
        assert_eq!(
            fields,
            [
                "nats.url",
                "nats",
                "nats.password",
                "nats.tls.keyFile",
                "nats.prefix",
                "nats.lentMax"
            ]
        );
        assert_eq!(NatsSettings::default().problems(), []);
        let none = NatsSettings { url: " , ".into(), ..NatsSettings::default() };
        assert_eq!(none.problems().len(), 1);
    }

    #[test]
    fn tries_to_connect_again_come_ever_later_up_to_a_limit() {
        let delays: Vec<_> = (1..10).map(|n| reconnect_delay(n, 0.0).as_millis()).collect();
        assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 3200, 4000, 4000]);
        assert_eq!(reconnect_delay(9, 0.5).as_millis(), 4400);
        assert_eq!(reconnect_delay(usize::MAX, 0.0), RECONNECT_DELAY_MAX);
    }
}
