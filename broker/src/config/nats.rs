//! How NATS is reached: `nats` of the configuration file.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use url::Url;

use super::{
    file::{Span, put},
    secret::{self, Secret, SecretSource},
    tls::{Tls, TlsSettings},
};

/// How NATS is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct NatsSettings {
    /// Addresses of some of its servers, such as `nats://host:4222`, separated by commas. Without it
    /// there is no NATS. Never with a user or password in it.
    pub url: Option<String>,
    /// A credentials file: a JWT and the seed of its nkey.
    pub credentials_file: Option<PathBuf>,
    /// A file with the seed of an nkey.
    pub nkey_file: Option<PathBuf>,
    /// A user.
    pub user: Option<String>,
    /// Where the user's password comes from.
    pub password_source: SecretSource,
    /// The user's password; there when a user is.
    pub password: Option<Secret>,
    /// A file with a token.
    pub token_file: Option<PathBuf>,
    /// The token; there when its file is given.
    pub token: Option<Secret>,
    /// Whether and how connections are encrypted.
    pub tls: TlsSettings,
    /// What the names of streams begin with. Default `CATCHMENT`.
    pub stream_prefix: String,
    /// How long NATS may take to store an event. Default 3 s.
    pub publish_timeout: Duration,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            url: None,
            credentials_file: None,
            nkey_file: None,
            user: None,
            password_source: SecretSource::default(),
            password: None,
            token_file: None,
            token: None,
            tls: TlsSettings::default(),
            stream_prefix: "CATCHMENT".to_owned(),
            publish_timeout: Duration::from_secs(3),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Nats {
    url: Option<String>,
    credentials_file: Option<PathBuf>,
    nkey_file: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    token_file: Option<PathBuf>,
    tls: Tls,
    stream_prefix: Option<String>,
    publish_timeout: Option<Span>,
}

impl Nats {
    pub(super) fn apply(self, settings: &mut NatsSettings) {
        settings.url = self.url.or(settings.url.take());
        settings.credentials_file = self.credentials_file;
        settings.nkey_file = self.nkey_file;
        settings.user = self.user;
        settings.password_source =
            SecretSource { file: self.password_file, env: self.password_env };
        settings.token_file = self.token_file;
        self.tls.apply(&mut settings.tls);
        put(&mut settings.stream_prefix, self.stream_prefix);
        put(&mut settings.publish_timeout, self.publish_timeout.map(|span| span.0));
    }
}

impl NatsSettings {
    /// What cannot be used, each with its field.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if let Some(url) = &self.url {
            problems.extend(check_url(url).err());
        }
        let is_of_name = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
        if self.stream_prefix.is_empty() || !self.stream_prefix.chars().all(is_of_name) {
            let rule = "must be letters, digits, dashes and underscores";
            problems.push(format!("nats.streamPrefix: {rule}"));
        }
        if self.publish_timeout.is_zero() {
            problems.push("nats.publishTimeout: must be more than zero".to_owned());
        }
        if self.user.is_some() != self.password_source.is_given() {
            problems.push("nats.user, passwordFile: one needs the other".to_owned());
        }
        self.tls.check("nats.tls", problems);
    }

    /// Reads the secrets; what cannot be read goes to `problems`.
    pub(super) fn read_secrets(&mut self, env: super::Env<'_>, problems: &mut Vec<String>) {
        self.tls.check_files("nats.tls", problems);
        let ways = [
            ("credentialsFile", self.credentials_file.is_some()),
            ("nkeyFile", self.nkey_file.is_some()),
            ("user", self.user.is_some()),
            ("tokenFile", self.token_file.is_some()),
        ];
        let given: Vec<&str> =
            ways.into_iter().filter(|(_, is_given)| *is_given).map(|(field, _)| field).collect();
        if given.len() > 1 {
            problems.push(format!("nats.{}: must be one of them", given.join(", ")));
        }
        for (field, path) in
            [("credentialsFile", &self.credentials_file), ("nkeyFile", &self.nkey_file)]
        {
            let path = path.as_deref();
            let field = format!("nats.{field}");
            problems.extend(path.and_then(|path| secret::check_file(path, &field).err()));
        }
        match self.password_source.read("nats.password", env) {
            Ok(password) => self.password = password,
            Err(problem) => problems.push(problem),
        }
        match self.token_file.as_deref().map(|path| secret::read_file(path, "nats.tokenFile")) {
            Some(Ok(token)) => self.token = Some(token),
            Some(Err(problem)) => problems.push(problem),
            None => {}
        }
    }
}

/// Whether `text` is a list of addresses, none of them with a secret in it.
pub(super) fn check_url(text: &str) -> Result<(), String> {
    for server in text.split(',') {
        let url = Url::parse(server.trim())
            .ok()
            .filter(|url| matches!(url.scheme(), "nats" | "tls" | "ws" | "wss") && url.has_host());
        let Some(url) = url else {
            return Err(
                "nats.url: must be such as nats://host:4222, or several of them separated \
                        by commas"
                    .to_owned(),
            );
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("nats.url: must not hold a user or password; set nats.user and \
                        nats.passwordFile, or nats.tokenFile"
                .to_owned());
        }
    }
    Ok(())
}
